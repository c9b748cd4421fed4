//! The distribution over two classes.

use super::Categorical;
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// A distribution over two classes, given by the logit of class 1.
///
/// # Formula
///
/// p(1) = 1/(1 + e^(−logit)), p(0) = 1/(1 + e^logit).
///
/// `logit` has shape `[…]`. The distribution equals the two-class [`Categorical`] with half the storage.
///
/// Source: Graves et al. 2023, section 6.
#[derive(Debug, Clone)]
pub struct Bernoulli<B: Backend> {
    /// ln p(1) − ln p(0).
    pub logit: Tensor<B>,
}

impl<B: Backend> Bernoulli<B> {
    /// Returns p(1), which is also the mean of the class.
    pub fn mean(&self) -> Tensor<B> {
        (-self.softplus(-1.0)).exp()
    }

    /// Returns the same distribution with one logit per class.
    pub fn categorical(&self) -> Categorical<B> {
        Categorical::from_binary_logit(&self.logit)
    }

    /// Draws every variable from numbers uniform on [0, 1), of shape `[…]`: class 1 where `uniform` is at least p(0).
    pub fn sample(&self, uniform: &Tensor<B>) -> Indices<B> {
        self.categorical().sample(uniform)
    }

    /// Computes ln(1 + e^(sign · logit)) without overflow.
    fn softplus(&self, sign: f64) -> Tensor<B> {
        let logit = self.logit.affine(sign, 0.0);
        logit.clamp(0.0, f64::INFINITY) + (-logit.abs()).exp().ln_1p()
    }
}

impl<B: Backend> OutputDistribution<B> for Bernoulli<B> {
    type Value = Indices<B>;

    /// Class 1 where its logit is above 0.
    fn mode(&self) -> Indices<B> {
        self.categorical().mode()
    }

    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        // ln p(x) = −ln(1 + e^(−(2x − 1) logit)), computed for both signs, of which x selects one.
        let (one, zero) = (self.softplus(-1.0), self.softplus(1.0));
        -x.to_reals(&self.logit).where_below(0.5, &zero, &one)
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        self.sample(&noise.uniform(&self.logit))
    }
}

impl<B: Backend> FiniteDistribution<B> for Bernoulli<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        self.categorical().log_probabilities()
    }
}
