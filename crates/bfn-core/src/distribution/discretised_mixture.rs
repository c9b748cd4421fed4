//! A mixture of normals whose mass is gathered into K equal bins of [−1, 1].

use super::bins::{Probability, bin, every, floored, log_density, log_mass};
use super::{Categorical, NormalMixture, RealValued, discretised_normal};
use crate::shape::assert_same;
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// Σ_m w_m N(mean_m, deviation_m²) discretised to K bins; the mass beyond ±1 belongs to the outermost bins.
///
/// # Formula
///
/// p(k) = Σ_m w_m p_m(k) with p_m a [`DiscretisedNormal`](super::DiscretisedNormal), summed through
/// logarithms. Under [`Probability::Floor`] the mixture's probability is held against the floor, and
/// the mixture's density takes its place.
///
/// `weights` has shape `[…, M]` for M components, and `means` and `deviations` > 0 the same.
///
/// Source: Graves et al. 2023, section 5, and the published code.
#[derive(Debug, Clone)]
pub struct DiscretisedMixture<B: Backend> {
    /// The probabilities w of the components.
    pub weights: Categorical<B>,
    /// The means of the components.
    pub means: Tensor<B>,
    /// The standard deviations of the components.
    pub deviations: Tensor<B>,
    /// K, the number of bins.
    pub bins: usize,
    /// How logarithms of probabilities are computed.
    pub probability: Probability,
}

impl<B: Backend> DiscretisedMixture<B> {
    /// A draw of every variable's bin: the component from numbers `uniform` on [0, 1), the place in it
    /// from standard normal `noise`, both of shape `[…]`.
    pub fn sample(&self, uniform: &Tensor<B>, noise: &Tensor<B>) -> Indices<B> {
        let Self { weights, means, deviations, .. } = self.clone();
        bin(&NormalMixture { weights, means, deviations }.sample(uniform, noise), self.bins)
    }

    /// ln p(k) for k of shape `[…, 1]`, and parameters of shape `[…, M]` that broadcast with it.
    fn log_mass(&self, k: &Tensor<B>, [weights, means, deviations]: [&Tensor<B>; 3]) -> Tensor<B> {
        let exact = (weights + log_mass(k, means, deviations, self.bins)).log_sum_exp_last();
        floored(self.probability, exact, || (weights + log_density(k, means, deviations, self.bins)).log_sum_exp_last())
    }
}

impl<B: Backend> OutputDistribution<B> for DiscretisedMixture<B> {
    type Value = Indices<B>;

    fn mode(&self) -> Indices<B> {
        self.log_probabilities().argmax_last()
    }

    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        let shape = self.means.shape();
        assert_same("data and distribution", &shape[..shape.len() - 1], &x.shape());
        let k = x.to_reals(&self.means).unsqueeze_last();
        self.log_mass(&k, [&self.weights.log_probabilities(), &self.means, &self.deviations])
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        let shape = self.means.shape();
        let like = self.means.full(&shape[..shape.len() - 1], 0.0);
        self.sample(&noise.uniform(&like), &noise.normal(&like))
    }
}

impl<B: Backend> FiniteDistribution<B> for DiscretisedMixture<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        let mut shape = self.means.shape();
        // Bins along the last axis but one, components along the last, which the sum removes.
        shape.insert(shape.len() - 1, 1);
        let weights = self.weights.log_probabilities().reshape(&shape);
        let k = every(&self.means, self.bins).unsqueeze_last();
        self.log_mass(&k, [&weights, &self.means.reshape(&shape), &self.deviations.reshape(&shape)])
    }
}

impl<B: Backend> RealValued<B> for DiscretisedMixture<B> {
    /// k̂ = Σ_m w_m k̂_m, each by parts as in [`DiscretisedNormal::mean`](super::DiscretisedNormal::mean).
    fn mean(&self) -> Tensor<B> {
        let means = discretised_normal::mean(&self.means, &self.deviations, self.bins);
        (self.weights.probabilities() * means).sum_last()
    }

    fn tempered(&self, temperature: f64) -> Self {
        Self {
            weights: self.weights.tempered(temperature),
            deviations: &self.deviations * temperature.sqrt(),
            ..self.clone()
        }
    }
}
