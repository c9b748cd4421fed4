//! A normal distribution whose mass is gathered into K equal bins of [−1, 1].

use super::RealValued;
use super::bins::{Probability, bin, every, floored, log_density, log_mass};
use crate::shape::assert_same;
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// N(mean, deviation²) discretised to K bins; the mass beyond ±1 belongs to the outermost bins.
///
/// # Formula
///
/// p(k) = G(right edge) − G(left edge) with G(x) = Φ((x − mean)/deviation), but G = 0 left of the
/// first bin and 1 right of the last. Bin k ∈ {0..K−1} has the centre (2k + 1)/K − 1 and edges 1/K
/// to either side.
///
/// `mean` and `deviation` > 0 have shape `[…]` each.
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
    /// k̂ = Σ_k p(k) k_c, the mean over bin centres.
    ///
    /// # Formula
    ///
    /// Summed by parts, k̂ = (1 − 1/K) − (2/K) Σ_j G(e_j) over the K − 1 inner edges e_j, which needs no
    /// array of K probabilities.
    pub fn mean(&self) -> Tensor<B> {
        mean(&self.mean, &self.deviation, self.bins)
    }

    /// A draw of every variable's bin from standard normal numbers of shape `[…]`.
    pub fn sample(&self, noise: &Tensor<B>) -> Indices<B> {
        bin(&(&self.mean + &self.deviation * noise), self.bins)
    }

    fn log_mass(&self, k: &Tensor<B>, mean: &Tensor<B>, deviation: &Tensor<B>) -> Tensor<B> {
        let exact = log_mass(k, mean, deviation, self.bins);
        floored(self.probability, exact, || log_density(k, mean, deviation, self.bins))
    }
}

/// The mean over bin centres of a discretised normal; see [`DiscretisedNormal::mean`].
pub(super) fn mean<B: Backend>(mean: &Tensor<B>, deviation: &Tensor<B>, bins: usize) -> Tensor<B> {
    let edges: Vec<f64> = (1..bins).map(|j| 2.0 * j as f64 / bins as f64 - 1.0).collect();
    let sum = mean.sum_normal_cdf(&edges, &deviation.recip());
    // The last centre, less a bin's width for each inner edge that the mass lies left of.
    sum.affine(-2.0 / bins as f64, 1.0 - 1.0 / bins as f64)
}

impl<B: Backend> OutputDistribution<B> for DiscretisedNormal<B> {
    type Value = Indices<B>;

    fn mode(&self) -> Indices<B> {
        self.log_probabilities().argmax_last()
    }

    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        assert_same("data and distribution", &self.mean.shape(), &x.shape());
        self.log_mass(&x.to_reals(&self.mean), &self.mean, &self.deviation)
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        self.sample(&noise.normal(&self.mean))
    }
}

impl<B: Backend> FiniteDistribution<B> for DiscretisedNormal<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        let k = every(&self.mean, self.bins);
        self.log_mass(&k, &self.mean.unsqueeze_last(), &self.deviation.unsqueeze_last())
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
