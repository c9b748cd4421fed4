//! A normal distribution whose mass is gathered into K equal bins of [−1, 1].

use std::f64::consts::PI;

use crate::shape::assert_same;
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// How the logarithm of a bin's probability is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Probability {
    /// ln(G(right) − G(left)) through logarithms of the distribution function: exactly normalised,
    /// finite in f32 however small the probability.
    #[default]
    Exact,
    /// As the published code has it: where the probability is under 1e−5, the density at the bin's
    /// centre times the bin's width. Not normalised; for comparing with published figures.
    Floor,
}

/// The probability under which [`Probability::Floor`] uses the density.
const FLOOR: f64 = 1e-5;

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

/// The centre of bin k, (2k + 1)/K − 1, for bin indices given as real numbers.
pub fn centre<B: Backend>(k: &Tensor<B>, bins: usize) -> Tensor<B> {
    k.affine(2.0 / bins as f64, 1.0 / bins as f64 - 1.0)
}

/// The bin that holds each number; numbers beyond ±1 fall into the outermost bins.
pub fn bin<B: Backend>(x: &Tensor<B>, bins: usize) -> Indices<B> {
    let half = bins as f64 / 2.0;
    x.affine(half, half).to_index(bins)
}

impl<B: Backend> DiscretisedNormal<B> {
    /// k̂ = Σ_k p(k) k_c, the mean over bin centres.
    ///
    /// # Formula
    ///
    /// Summed by parts, k̂ = (1 − 1/K) − (2/K) Σ_j G(e_j) over the K − 1 inner edges e_j, which needs no
    /// array of K probabilities.
    pub fn mean(&self) -> Tensor<B> {
        let bins = self.bins as f64;
        let edges: Vec<f64> = (1..self.bins).map(|j| 2.0 * j as f64 / bins - 1.0).collect();
        let sum = self.mean.sum_normal_cdf(&edges, &self.deviation.recip());
        sum.affine(-2.0 / bins, 1.0 - 1.0 / bins)
    }

    /// A draw of every variable's bin from standard normal numbers of shape `[…]`.
    pub fn sample(&self, noise: &Tensor<B>) -> Indices<B> {
        bin(&(&self.mean + &self.deviation * noise), self.bins)
    }

    /// ln p(k), where k (as real numbers), `mean` and `deviation` broadcast.
    fn log_mass(&self, k: &Tensor<B>, mean: &Tensor<B>, deviation: &Tensor<B>) -> Tensor<B> {
        let half_width = 1.0 / self.bins as f64;
        let offset = centre(k, self.bins) - mean;
        // By symmetry the bin may lie on the lower side, where the distribution function keeps its digits.
        let distance = -offset.abs();
        let near = ((&distance + half_width) / deviation).normal_ln_cdf();
        let far = ((&distance - half_width) / deviation).normal_ln_cdf();
        let inner = &near + (-(far - &near).clamp(f64::NEG_INFINITY, -1e-30).exp_m1()).ln();
        let first = ((&offset + half_width) / deviation).normal_ln_cdf();
        let last = ((half_width - &offset) / deviation).normal_ln_cdf();
        let not_first = k.where_below(0.5, &first, &inner);
        let exact = k.where_below(self.bins as f64 - 1.5, &not_first, &last);
        match self.probability {
            Probability::Exact => exact,
            Probability::Floor => {
                let density = (&offset / deviation).square() * -0.5 - deviation.ln();
                let constant = (2.0 * half_width).ln() - 0.5 * (2.0 * PI).ln();
                exact.exp().where_below(FLOOR, &(density + constant), &exact)
            }
        }
    }
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
        let every: Vec<f64> = (0..self.bins).map(|k| k as f64).collect();
        let k = self.mean.from_values_like(&[self.bins], &every);
        self.log_mass(&k, &self.mean.unsqueeze_last(), &self.deviation.unsqueeze_last())
    }
}
