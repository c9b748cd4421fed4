//! A schedule for discrete data that follows the late fall of the entropy, at large β.

use super::Schedule;
use crate::Real;
use crate::error::{Error, check, check_count};

/// The largest K β(1)/4 whose exponential fits well within the range of an f64.
const LARGEST_EXPONENT: f64 = 700.0;

/// The schedule along which e^(−Kβ/4) falls linearly.
///
/// # Formula
///
/// β(t) = −(4/K) ln(1 − t + t e^(−Kβ(1)/4)), α(t) = (4/K) q / (1 − t q) with q = 1 − e^(−Kβ(1)/4), and a
/// message between times s and t has accuracy (4/K) ln(1 + (t − s) q / (1 − t q)).
///
/// For K classes, the difference between the logit of the true class and another has the distribution N(Kβ, 2Kβ). The
/// expected entropy of the input distribution therefore falls as e^(−Kβ/4) once β is large, and this schedule makes
/// that fall linear in t. [`crate::entropy`] states how linear it is over the whole range of t.
///
/// K ≥ 2 is the number of classes and β(1) > 0 is the total accuracy of all messages.
///
/// # Numerics
///
/// No digits cancel at either end: 1 − t q is computed as (1 − t) + t e^(−Kβ(1)/4). Where this leaves the range of
/// the time's precision (f32, from Kβ(1)/4 ≈ 88), β is limited to β(1), while α(1) = (4/K)(e^(Kβ(1)/4) − 1) is
/// infinite.
///
/// Source: Tao and Abe 2024, "A Bayesian Flow Network Framework for Chemistry Tasks", arXiv:2407.20294.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogarithmicSchedule {
    classes: usize,
    beta_1: f64,
}

impl LogarithmicSchedule {
    /// Creates the schedule for `classes` classes that ends at accuracy `beta_1`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `classes` ≥ 2, `beta_1` > 0 and `classes` · `beta_1` / 4 ≤ 700, beyond
    /// which α(1) cannot be represented as an f64.
    pub fn new(classes: usize, beta_1: f64) -> Result<Self, Error> {
        let classes = check_count("classes", classes)?;
        let allowed = beta_1 > 0.0 && beta_1 * classes as f64 / 4.0 <= LARGEST_EXPONENT;
        Ok(Self { classes, beta_1: check("beta_1", beta_1, "above 0 and at most 2800 / classes", allowed)? })
    }

    /// Returns K, the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns β(1), the accuracy at t = 1.
    pub fn beta_1(&self) -> f64 {
        self.beta_1
    }

    /// Returns K/4, the rate at which the entropy falls with β.
    fn rate(&self) -> f64 {
        self.classes as f64 / 4.0
    }

    /// Returns q = 1 − e^(−Kβ(1)/4).
    fn fall(&self) -> f64 {
        -(-self.rate() * self.beta_1).exp_m1()
    }

    /// Returns 1 − t q, accurate even where q rounds to 1.
    fn rest<R: Real>(&self, t: &R) -> R {
        (t.constant(1.0) - t.clone()) + t.clone() * (-self.rate() * self.beta_1).exp()
    }
}

impl<R: Real> Schedule<R> for LogarithmicSchedule {
    fn beta(&self, t: &R) -> R {
        let grown = t.clone() * self.fall() / self.rest(t);
        (grown.ln_1p() / self.rate()).clamp(0.0, self.beta_1)
    }
    fn alpha(&self, t: &R) -> R {
        t.constant(self.fall() / self.rate()) / self.rest(t)
    }
    fn time(&self, beta: &R) -> R {
        -(beta.clone() * -self.rate()).exp_m1() / self.fall()
    }
    fn step_accuracy(&self, from: &R, to: &R) -> R {
        let grown = (to.clone() - from.clone()) * self.fall() / self.rest(to);
        grown.ln_1p() / self.rate()
    }
}
