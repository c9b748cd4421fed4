//! Tests of samples, and integrals over the standard normal distribution.

use std::f64::consts::PI;

use bfn_core::RngNoise;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Returns a source of noise with a fixed seed.
pub(crate) fn source(seed: u64) -> RngNoise<Xoshiro256PlusPlus> {
    RngNoise(Xoshiro256PlusPlus::seed_from_u64(seed))
}

/// Panics if the Kolmogorov–Smirnov test rejects the distribution function at a level of 0.1 %.
#[track_caller]
pub(crate) fn assert_follows(samples: &[f64], cdf: impl Fn(f64) -> f64) {
    assert!(samples.iter().all(|x| x.is_finite()), "samples that are no finite numbers");
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let distance = sorted.iter().enumerate().fold(0.0_f64, |distance, (i, x)| {
        let p = cdf(*x);
        assert!((0.0..=1.0).contains(&p), "a distribution function of {p} at {x}");
        distance.max(p - i as f64 / count).max((i + 1) as f64 / count - p)
    });
    let scaled = distance * count.sqrt();
    assert!(scaled < 1.95, "Kolmogorov-Smirnov: √n D = {scaled}");
}

/// Panics if Pearson's test rejects the probabilities at a level of about 0.1 %.
#[track_caller]
pub(crate) fn assert_frequencies(drawn: &[usize], probabilities: &[f64]) {
    let total = drawn.len() as f64;
    let mut statistic = 0.0;
    for (value, p) in probabilities.iter().enumerate() {
        let count = drawn.iter().filter(|index| **index == value).count() as f64;
        assert!(*p > 0.0 || count == 0.0, "value {value} is impossible but was drawn");
        if *p > 0.0 {
            statistic += (count - total * p).powi(2) / (total * p);
        }
    }
    // Wilson and Hilferty's cube root, at 3.1 standard deviations.
    let freedom = probabilities.len() as f64 - 1.0;
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + 3.1 * spread.sqrt()).powi(3);
    assert!(statistic < limit, "χ² = {statistic} with {freedom} degrees of freedom; the limit is {limit}");
}

/// A point of a quadrature formula.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) at: f64,
    pub(crate) weight: f64,
}

/// Returns nodes for ∫ f(z) N(z; 0, 1) dz by the trapezoidal rule, whose error falls faster than any power of the step.
pub(crate) fn normal_nodes() -> Vec<Node> {
    let step = 0.15;
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    (-60..=60).map(|i| f64::from(i) * step).map(|at| Node { at, weight: step * density(at) }).collect()
}

/// Returns nodes for ∫₀¹ f(t) dt by Simpson's rule with `intervals` intervals, an even number.
pub(crate) fn unit_nodes(intervals: usize) -> Vec<Node> {
    let weight = |i: usize| match i {
        0 => 1.0,
        i if i == intervals => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let width = 1.0 / intervals as f64;
    (0..=intervals).map(|i| Node { at: i as f64 * width, weight: weight(i) * width / 3.0 }).collect()
}

/// Computes the slope of the line through (ln x, ln y): the order of a power law.
pub(crate) fn order(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x.ln()).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y.ln()).sum::<f64>() / count;
    let covariance: f64 = points.iter().map(|(x, y)| (x.ln() - mean_x) * (y.ln() - mean_y)).sum();
    covariance / points.iter().map(|(x, _)| (x.ln() - mean_x).powi(2)).sum::<f64>()
}

/// A generator that always returns the largest number.
struct Largest;

impl rand::RngCore for Largest {
    fn next_u32(&mut self) -> u32 {
        u32::MAX
    }
    fn next_u64(&mut self) -> u64 {
        u64::MAX
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(u8::MAX);
    }
}

#[test]
fn uniform_numbers_stay_below_1_in_f32() {
    use bfn_core::{Nd, NoiseSource};
    let like = crate::like::<f32>();
    assert_eq!(NoiseSource::<Nd<f32>>::uniform(&mut RngNoise(Largest), &like).to_values()[0], 1.0 - 2.0_f64.powi(-24));
}

#[test]
fn the_tests_refuse_wrong_distributions() {
    use bfn_core::{NoiseSource, special::normal_cdf};
    let like = crate::tensor(&[4000], &[0.0; 4000]);
    let samples = NoiseSource::<bfn_core::Nd>::normal(&mut source(1), &like).to_values();
    assert_follows(&samples, normal_cdf);
    let shifted = std::panic::catch_unwind(|| assert_follows(&samples, |x| normal_cdf(x - 0.1)));
    assert!(shifted.is_err(), "a shift by a tenth of the deviation must be noticed");
    assert!(std::panic::catch_unwind(|| assert_follows(&[f64::NAN; 4000], normal_cdf)).is_err());
    assert!(std::panic::catch_unwind(|| assert_follows(&samples, |_| f64::NAN)).is_err());
    let drawn: Vec<usize> = samples.iter().map(|x| usize::from(*x > 0.0)).collect();
    assert_frequencies(&drawn, &[0.5, 0.5]);
    let biased = std::panic::catch_unwind(|| assert_frequencies(&drawn, &[0.46, 0.54]));
    assert!(biased.is_err(), "a bias of four per cent must be noticed");
}
