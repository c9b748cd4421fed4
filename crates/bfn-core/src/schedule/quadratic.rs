//! The paper's schedule for discrete data.

use super::Schedule;
use crate::Real;
use crate::error::{Error, check};

/// The schedule β(t) = β(1) t².
///
/// # Formula
///
/// β(t) = β(1) t², α(t) = 2 β(1) t, and a message between times s and t has accuracy
/// β(1) (t − s)(t + s); with s = (i−1)/n and t = i/n that is β(1)(2i − 1)/n².
///
/// Here β(1) > 0 is the total accuracy of all messages.
///
/// Source: Graves et al. 2023, section 6.8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuadraticSchedule {
    beta_1: f64,
}

impl QuadraticSchedule {
    /// Creates the schedule that ends at accuracy `beta_1`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `beta_1` is finite and above 0.
    pub fn new(beta_1: f64) -> Result<Self, Error> {
        let allowed = beta_1 > 0.0 && beta_1.is_finite();
        Ok(Self { beta_1: check("beta_1", beta_1, "finite and above 0", allowed)? })
    }

    /// Returns β(1), the accuracy at t = 1.
    pub fn beta_1(&self) -> f64 {
        self.beta_1
    }
}

impl<R: Real> Schedule<R> for QuadraticSchedule {
    fn beta(&self, t: &R) -> R {
        t.clone() * t.clone() * self.beta_1
    }
    fn alpha(&self, t: &R) -> R {
        t.clone() * (2.0 * self.beta_1)
    }
    fn time(&self, beta: &R) -> R {
        (beta.clone() / self.beta_1).sqrt()
    }
    fn step_accuracy(&self, from: &R, to: &R) -> R {
        (to.clone() - from.clone()) * (to.clone() + from.clone()) * self.beta_1
    }
}
