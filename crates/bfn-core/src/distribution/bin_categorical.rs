//! A free distribution over bins.

use super::bins::every;
use super::{BinDistribution, Categorical, RealValued, centre};
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// A categorical distribution over the K bins of [−1, 1], whose values are the bin centres.
///
/// # Formula
///
/// p(k) ∝ e^(logits_k); k̂ = Σ_k p(k) k_c.
///
/// Source: Graves et al. 2023, section 5 (any distribution over bins may be chosen).
#[derive(Debug, Clone)]
pub struct BinCategorical<B: Backend>(pub Categorical<B>);

impl<B: Backend> BinCategorical<B> {
    /// A draw of every variable's bin from numbers uniform on [0, 1), of shape `[…]`.
    pub fn sample(&self, uniform: &Tensor<B>) -> Indices<B> {
        self.0.sample(uniform)
    }
}

impl<B: Backend> OutputDistribution<B> for BinCategorical<B> {
    type Value = Indices<B>;

    fn mode(&self) -> Indices<B> {
        self.0.mode()
    }

    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        self.0.log_prob(x)
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        self.0.draw(noise)
    }
}

impl<B: Backend> FiniteDistribution<B> for BinCategorical<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        self.0.log_probabilities()
    }
}

impl<B: Backend> BinDistribution<B> for BinCategorical<B> {}

impl<B: Backend> RealValued<B> for BinCategorical<B> {
    fn mean(&self) -> Tensor<B> {
        let probabilities = self.0.probabilities();
        let bins = probabilities.shape().last().copied().unwrap_or(0);
        let centres = centre(&every(&probabilities, bins), bins);
        (probabilities * centres).sum_last()
    }

    fn tempered(&self, temperature: f64) -> Self {
        Self(self.0.tempered(temperature))
    }
}
