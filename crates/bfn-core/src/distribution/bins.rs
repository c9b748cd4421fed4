//! The K equal bins of [−1, 1], and the mass of a normal in one of them.

use std::f64::consts::PI;

use crate::{Backend, Indices, Tensor};

/// The method for computing the logarithm of a bin's probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Probability {
    /// ln(G(right) − G(left)), computed from logarithms of the distribution function: exactly normalised, and finite
    /// in f32 however small the probability.
    #[default]
    Exact,
    /// The method of the published code: where the probability is below 1e−5, the density at the bin's centre times
    /// the bin's width. Not normalised; for comparison with published figures.
    Floor,
}

/// The probability below which [`Probability::Floor`] uses the density.
const FLOOR: f64 = 1e-5;

/// Returns the centre of bin k, (2k + 1)/K − 1, for bin indices given as real numbers.
pub fn centre<B: Backend>(k: &Tensor<B>, bins: usize) -> Tensor<B> {
    k.affine(2.0 / bins as f64, 1.0 / bins as f64 - 1.0)
}

/// Returns the bin that contains each number; numbers beyond ±1 fall into the outermost bins.
pub fn bin<B: Backend>(x: &Tensor<B>, bins: usize) -> Indices<B> {
    let half = bins as f64 / 2.0;
    x.affine(half, half).to_index(bins)
}

/// Returns 0, 1 … K − 1 as real numbers.
pub(super) fn every<B: Backend>(like: &Tensor<B>, bins: usize) -> Tensor<B> {
    let every: Vec<f64> = (0..bins).map(|k| k as f64).collect();
    like.from_values_like(&[bins], &every)
}

/// Returns the K − 1 edges between the bins.
pub(super) fn inner_edges(bins: usize) -> Vec<f64> {
    (1..bins).map(|j| 2.0 * j as f64 / bins as f64 - 1.0).collect()
}

/// Computes ln of the mass of N(mean, deviation²) in bin k; `k` (as real numbers), `mean` and `deviation` broadcast.
pub(super) fn log_mass<B: Backend>(k: &Tensor<B>, mean: &Tensor<B>, deviation: &Tensor<B>, bins: usize) -> Tensor<B> {
    let inverse = deviation.recip();
    let half_width = 1.0 / bins as f64;
    let offset = centre(k, bins) - mean;
    let inner = (&offset * &inverse).normal_ln_mass(&(&inverse * half_width));
    // The outermost bins extend to infinity: their mass is a tail, by symmetry a lower one. For the other bins, the
    // cheap ln Φ(0) is computed and not used.
    let outermost = |first: &Tensor<B>, inner: &Tensor<B>, last: &Tensor<B>| {
        k.where_below(0.5, first, &k.where_below(bins as f64 - 1.5, inner, last))
    };
    let (right, left) = (&offset + half_width, half_width - &offset);
    let tail = (outermost(&right, &offset.full(&[1], 0.0), &left) * inverse).normal_ln_cdf();
    outermost(&tail, &inner, &tail)
}

/// Computes ln of the mass of N(mean, deviation²) in every bin, along a new last axis.
pub(super) fn log_masses<B: Backend>(mean: &Tensor<B>, deviation: &Tensor<B>, bins: usize) -> Tensor<B> {
    mean.normal_ln_masses(&inner_edges(bins), &deviation.recip())
}

/// Computes ln(density · width) for bin k: the density of N(mean, deviation²) at its centre times the bin's width.
pub(super) fn log_density<B: Backend>(
    k: &Tensor<B>,
    mean: &Tensor<B>,
    deviation: &Tensor<B>,
    bins: usize,
) -> Tensor<B> {
    let density = ((centre(k, bins) - mean) / deviation).square() * -0.5 - deviation.ln();
    density + ((2.0 / bins as f64).ln() - 0.5 * (2.0 * PI).ln())
}

/// Returns the `exact` log-probabilities, with `density` in their place where [`Probability::Floor`] requires it.
pub(super) fn floored<B: Backend>(
    probability: Probability,
    exact: Tensor<B>,
    density: impl FnOnce() -> Tensor<B>,
) -> Tensor<B> {
    match probability {
        Probability::Exact => exact,
        Probability::Floor => exact.exp().where_below(FLOOR, &density(), &exact),
    }
}
