//! A mixture of normals whose mass is gathered into K equal bins of [−1, 1].

use super::bins::{Probability, bin, every, floored, log_density, log_mass, log_masses};
use super::{BinDistribution, Categorical, NormalMixture, RealValued, discretised_normal, divergence_by_rows};
use crate::shape::assert_same;
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// Σ_m w_m N(mean_m, deviation_m²) discretised to K bins; the mass beyond ±1 belongs to the outermost bins.
///
/// # Formula
///
/// p(k) = Σ_m w_m p_m(k) with p_m a [`DiscretisedNormal`](super::DiscretisedNormal), summed through logarithms. Under
/// [`Probability::Floor`], the mixture's probability is compared with the floor; below it, the mixture's density
/// takes its place.
///
/// `weights`, `means` and `deviations` > 0 have shape `[…, M]` for M components.
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
    /// Draws every variable's bin, from numbers of shape `[…]`.
    ///
    /// `uniform` on [0, 1) selects the component, standard normal `noise` the position in it.
    pub fn sample(&self, uniform: &Tensor<B>, noise: &Tensor<B>) -> Indices<B> {
        let Self { weights, means, deviations, .. } = self.clone();
        bin(&NormalMixture { weights, means, deviations }.sample(uniform, noise), self.bins)
    }

    /// Computes ln Σ_m w_m p_m(k) of all bins; `of_component` computes ln p_m(k) from a mean and a deviation.
    fn mixed(&self, of_component: impl Fn(&Tensor<B>, &Tensor<B>) -> Tensor<B>) -> Tensor<B> {
        let weights = self.weights.log_probabilities();
        let components = weights.shape().last().copied().unwrap_or(0);
        let weighted = |m: usize| {
            let part = of_component(&self.means.select_last(m), &self.deviations.select_last(m));
            (part + weights.slice_last(m, 1)).unsqueeze_last()
        };
        // Components lie along the last axis, which the sum removes, and bins along the second to last.
        let parts: Vec<Tensor<B>> = (0..components).map(weighted).collect();
        Tensor::concat_last(&parts.iter().collect::<Vec<_>>()).log_sum_exp_last()
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
        let Self { means, deviations, bins, probability, .. } = self;
        let weights = self.weights.log_probabilities();
        let k = x.to_reals(means).unsqueeze_last();
        let exact = (&weights + log_mass(&k, means, deviations, *bins)).log_sum_exp_last();
        floored(*probability, exact, || (weights + log_density(&k, means, deviations, *bins)).log_sum_exp_last())
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        let shape = self.means.shape();
        let like = self.means.full(&shape[..shape.len() - 1], 0.0);
        self.sample(&noise.uniform(&like), &noise.normal(&like))
    }
}

impl<B: Backend> FiniteDistribution<B> for DiscretisedMixture<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        let Self { bins, probability, .. } = self;
        let exact = self.mixed(|mean, deviation| log_masses(mean, deviation, *bins));
        floored(*probability, exact, || {
            let k = every(&self.means, *bins);
            self.mixed(|mean, deviation| log_density(&k, &mean.unsqueeze_last(), &deviation.unsqueeze_last(), *bins))
        })
    }
}

impl<B: Backend> BinDistribution<B> for DiscretisedMixture<B> {
    /// Computed in blocks of variables: the arrays over all bins and components never exist as a whole.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        let Self { weights, means, deviations, bins, probability } = self;
        let (bins, probability) = (*bins, *probability);
        let components = means.shape().last().copied().unwrap_or(0);
        let logits = weights.log_probabilities();
        divergence_by_rows(
            x,
            alpha,
            noise,
            [&logits, means, deviations],
            bins * components,
            |[logits, means, deviations]| Self {
                weights: Categorical::from_logits(logits),
                means: means.clone(),
                deviations: deviations.clone(),
                bins,
                probability,
            },
        )
    }
}

impl<B: Backend> RealValued<B> for DiscretisedMixture<B> {
    /// k̂ = Σ_m w_m k̂_m, each summed by parts as in [`DiscretisedNormal::mean`](super::DiscretisedNormal::mean).
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
