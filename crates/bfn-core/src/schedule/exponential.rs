//! The paper's schedule for continuous and discretised data.

use super::Schedule;
use crate::Real;
use crate::error::{Error, check};

/// The schedule along which the standard deviation of the input distribution falls exponentially from 1 to σ₁.
///
/// # Formula
///
/// β(t) = σ₁^(−2t) − 1, α(t) = −2 ln σ₁ · σ₁^(−2t), γ(t) = 1 − σ₁^(2t),
/// and a message between times s and t has accuracy σ₁^(−2s) (σ₁^(−2(t−s)) − 1).
///
/// Here σ₁ ∈ (0, 1) is the standard deviation of the input distribution at t = 1.
///
/// Source: Graves et al. 2023, section 4.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExponentialSchedule {
    sigma_1: f64,
}

impl ExponentialSchedule {
    /// Creates the schedule that ends at standard deviation `sigma_1`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless 0 < `sigma_1` < 1 and β(1) = σ₁⁻² − 1 is finite.
    pub fn new(sigma_1: f64) -> Result<Self, Error> {
        let allowed = sigma_1 > 0.0 && sigma_1 < 1.0 && sigma_1.powi(-2).is_finite();
        Ok(Self {
            sigma_1: check("sigma_1", sigma_1, "between 0 and 1, both excluded, with 1/σ₁² finite", allowed)?
        })
    }

    /// Returns σ₁, the standard deviation of the input distribution at t = 1.
    pub fn sigma_1(&self) -> f64 {
        self.sigma_1
    }

    /// Returns −2 ln σ₁ > 0, the rate at which ln(1 + β) grows.
    fn rate(&self) -> f64 {
        -2.0 * self.sigma_1.ln()
    }
}

impl<R: Real> Schedule<R> for ExponentialSchedule {
    fn beta(&self, t: &R) -> R {
        (t.clone() * self.rate()).exp_m1()
    }
    fn alpha(&self, t: &R) -> R {
        (t.clone() * self.rate()).exp() * self.rate()
    }
    fn time(&self, beta: &R) -> R {
        beta.ln_1p() / self.rate()
    }
    fn step_accuracy(&self, from: &R, to: &R) -> R {
        let growth = ((to.clone() - from.clone()) * self.rate()).exp_m1();
        (from.clone() * self.rate()).exp() * growth
    }
    fn gamma(&self, t: &R) -> R {
        -(t.clone() * -self.rate()).exp_m1()
    }
    fn one_minus_gamma(&self, t: &R) -> R {
        (t.clone() * -self.rate()).exp()
    }
}
