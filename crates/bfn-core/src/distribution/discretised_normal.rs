//! A normal distribution whose mass is gathered into K equal bins of [−1, 1].

use super::bins::{Probability, bin, every, floored, inner_edges, log_density, log_mass, log_masses};
use super::{BinDistribution, RealValued, divergence_by_rows};
use crate::shape::assert_same;
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// N(mean, deviation²) discretised to K bins; the mass beyond ±1 belongs to the outermost bins.
///
/// # Formula
///
/// p(k) = G(right edge) − G(left edge) with G(x) = Φ((x − mean)/deviation), except that G = 0 at the left edge of the
/// first bin and G = 1 at the right edge of the last. Bin k ∈ {0..K−1} has the centre (2k + 1)/K − 1; its edges lie
/// 1/K to either side.
///
/// `mean` has shape `[…]`; `deviation` > 0 has the same shape or one that broadcasts to it.
///
/// Source: Graves et al. 2023, section 5.
#[derive(Debug, Clone)]
pub struct DiscretisedNormal<B: Backend> {
    /// The mean of the normal.
    pub mean: Tensor<B>,
    /// The standard deviation of the normal.
    pub deviation: Tensor<B>,
    /// K, the number of bins.
    pub bins: usize,
    /// How logarithms of probabilities are computed.
    pub probability: Probability,
}

impl<B: Backend> DiscretisedNormal<B> {
    /// Returns k̂ = Σ_k p(k) k_c, the mean over bin centres.
    ///
    /// # Formula
    ///
    /// Summation by parts gives k̂ = (1 − 1/K) − (2/K) Σ_j G(e_j) over the K − 1 inner edges e_j, which needs no
    /// array of K probabilities.
    pub fn mean(&self) -> Tensor<B> {
        mean(&self.mean, &self.deviation, self.bins)
    }

    /// Draws every variable's bin from standard normal numbers of shape `[…]`.
    pub fn sample(&self, noise: &Tensor<B>) -> Indices<B> {
        bin(&(&self.mean + &self.deviation * noise), self.bins)
    }
}

/// Computes the mean over bin centres of a discretised normal; see [`DiscretisedNormal::mean`].
pub(super) fn mean<B: Backend>(mean: &Tensor<B>, deviation: &Tensor<B>, bins: usize) -> Tensor<B> {
    let sum = mean.sum_normal_cdf(&inner_edges(bins), &deviation.recip());
    // The last bin's centre minus, for each inner edge, a bin's width times the mass to the left of the edge.
    sum.affine(-2.0 / bins as f64, 1.0 - 1.0 / bins as f64)
}

impl<B: Backend> OutputDistribution<B> for DiscretisedNormal<B> {
    type Value = Indices<B>;

    fn mode(&self) -> Indices<B> {
        self.log_probabilities().argmax_last()
    }

    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        assert_same("data and distribution", &self.mean.shape(), &x.shape());
        let Self { mean, deviation, bins, probability } = self;
        let k = x.to_reals(mean);
        let exact = log_mass(&k, mean, deviation, *bins);
        floored(*probability, exact, || log_density(&k, mean, deviation, *bins))
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        self.sample(&noise.normal(&self.mean))
    }
}

impl<B: Backend> FiniteDistribution<B> for DiscretisedNormal<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        let Self { mean, deviation, bins, probability } = self;
        floored(*probability, log_masses(mean, deviation, *bins), || {
            log_density(&every(mean, *bins), &mean.unsqueeze_last(), &deviation.unsqueeze_last(), *bins)
        })
    }
}

impl<B: Backend> BinDistribution<B> for DiscretisedNormal<B> {
    /// Computed in blocks of variables: the arrays over all bins never exist as a whole.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        let Self { mean, deviation, bins, probability } = self;
        let (bins, probability) = (*bins, *probability);
        let deviation = mean.full_like(0.0) + deviation;
        divergence_by_rows(x, alpha, noise, [mean, &deviation], bins, |[mean, deviation]| Self {
            mean: mean.clone(),
            deviation: deviation.clone(),
            bins,
            probability,
        })
    }
}

impl<B: Backend> RealValued<B> for DiscretisedNormal<B> {
    fn mean(&self) -> Tensor<B> {
        Self::mean(self)
    }

    fn tempered(&self, temperature: f64) -> Self {
        Self { deviation: &self.deviation * temperature.sqrt(), ..self.clone() }
    }
}
