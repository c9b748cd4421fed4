//! Accuracy schedules: how much information the messages up to time t carry about the data.

mod exponential;
mod logarithmic;
mod quadratic;
mod tabulated;

pub use exponential::ExponentialSchedule;
pub use logarithmic::LogarithmicSchedule;
pub use quadratic::QuadraticSchedule;
pub use tabulated::{Knot, TabulatedSchedule};

use std::fmt::Debug;

use crate::Real;

/// An accuracy schedule β(t) on t ∈ [0, 1].
///
/// # Formula
///
/// β(0) = 0, β is increasing, α(t) = dβ/dt; a message sent between times s < t has accuracy β(t) − β(s).
///
/// `R` is the type of number that the schedule computes with: `f64` for step grids on the host, a tensor for the
/// times of a batch. The schedules of this crate implement both with one body. A custom schedule that has learned
/// parameters may implement the trait for its tensors only.
///
/// Source: Graves et al. 2023, section 3.
pub trait Schedule<R: Real = f64>: Debug {
    /// Returns β(t), the total accuracy of all messages up to time t.
    fn beta(&self, t: &R) -> R;

    /// Returns α(t) = dβ/dt, the accuracy rate.
    fn alpha(&self, t: &R) -> R;

    /// Returns the time at which the accuracy reaches `beta`: the inverse of β(t).
    fn time(&self, beta: &R) -> R;

    /// Returns β(to) − β(from), the accuracy of one message; override it where digits cancel.
    fn step_accuracy(&self, from: &R, to: &R) -> R {
        self.beta(to) - self.beta(from)
    }

    /// Returns γ(t) = β(t) / (1 + β(t)), the weight of the data in the mean of the flow distribution.
    fn gamma(&self, t: &R) -> R {
        let beta = self.beta(t);
        beta.clone() / (beta + 1.0)
    }

    /// Returns 1 − γ(t) = 1 / (1 + β(t)), the variance of the input distribution; override it where digits cancel.
    fn one_minus_gamma(&self, t: &R) -> R {
        let beta = self.beta(t);
        beta.constant(1.0) / (beta + 1.0)
    }
}
