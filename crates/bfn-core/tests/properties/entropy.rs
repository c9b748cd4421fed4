//! The expected entropy of the input distribution, its schedule and its grid.

use bfn_core::continuous::Reconstruction;
use bfn_core::entropy::{Categorical, grid, linear_schedule, nonlinearity, normal, simulated};
use bfn_core::sampler::Motion;
use bfn_core::{ContinuousFlow, DiscreteFlow, Error, ExponentialSchedule, Grid, LogarithmicSchedule, Nd, NoiseSource};
use bfn_core::{QuadraticSchedule, Schedule};
use proptest::prelude::*;

use crate::statistics::{normal_nodes, source};
use crate::{sigma_1, tensor};

/// Computes −Σ θ ln θ for θ = softmax z.
fn entropy_of(z: &[f64]) -> f64 {
    let peak = z.iter().copied().fold(f64::MIN, f64::max);
    let ln_total = peak + z.iter().map(|z| (z - peak).exp()).sum::<f64>().ln();
    z.iter().map(|z| (ln_total - z) * (z - ln_total).exp()).sum()
}

proptest! {
    // Each case computes on the order of a hundred thousand exponentials.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_classes_by_quadrature_of_the_entropy_itself(beta in 0.001..8.0_f64) {
        // The difference of the two logits is N(2β, 4β).
        let integrand = |at: f64| entropy_of(&[2.0 * beta + 2.0 * beta.sqrt() * at, 0.0]);
        let expected: f64 = normal_nodes().iter().map(|node| node.weight * integrand(node.at)).sum();
        let found = Categorical::new(2).unwrap().at(beta);
        prop_assert!((found / expected - 1.0).abs() < 1e-9, "{found} and {expected}");
    }

    #[test]
    fn three_classes_by_quadrature_of_the_entropy_itself(beta in 0.01..4.0_f64) {
        // The differences from the true class have mean −3β, variance 6β and covariance 3β.
        let deviation = (3.0 * beta).sqrt();
        let nodes = normal_nodes();
        let mut expected = 0.0;
        for a in &nodes {
            for b in &nodes {
                let first = -3.0 * beta + deviation * 2.0_f64.sqrt() * a.at;
                let second = -3.0 * beta + deviation * (a.at / 2.0_f64.sqrt() + b.at * 1.5_f64.sqrt());
                expected += a.weight * b.weight * entropy_of(&[0.0, first, second]);
            }
        }
        let found = Categorical::new(3).unwrap().at(beta);
        prop_assert!((found - expected).abs() < 1e-8, "{found} and {expected}");
    }

    #[test]
    fn the_entropy_falls(classes in 2..300_usize, shift in 0.0..40.0_f64) {
        let entropy = Categorical::new(classes).unwrap();
        let beta = shift / classes as f64;
        let (before, after) = (entropy.at(beta), entropy.at(beta + 0.01 / classes as f64));
        prop_assert!(before <= (classes as f64).ln() && after < before && after > 0.0, "{before} to {after}");
    }

    #[test]
    fn the_first_message_takes_half_of_each_other_class(classes in 2..1000_usize) {
        // dH/dβ = −(K − 1)/2 at β = 0.
        let (entropy, k) = (Categorical::new(classes).unwrap(), classes as f64);
        let beta = 1e-6 / k;
        let slope = (entropy.at(beta) - k.ln()) / beta;
        prop_assert!((slope / (0.5 * (k - 1.0)) + 1.0).abs() < 1e-4, "{slope}");
    }

    #[test]
    fn continuous_data_want_the_papers_schedule(sigma_1 in sigma_1(), t in 0.0..=1.0_f64) {
        let exact = ExponentialSchedule::new(sigma_1).unwrap();
        prop_assert!(nonlinearity(normal, &exact, 50) < 1e-12);
        let fitted = linear_schedule(normal, exact.beta(&1.0), 20).unwrap();
        prop_assert!((fitted.beta(&t) - exact.beta(&t)).abs() <= 1e-10 * (1.0 + exact.beta(&t)));
    }
}

#[test]
fn the_entropy_of_a_normal_is_in_absolute_units() {
    // The entropy is ½ ln(2πe), less ½ ln(1 + β) once the precision is 1 + β.
    assert!((normal(0.0) - 1.418_938_533_204_672_7).abs() < 1e-15);
    for beta in [1e-9, 0.5, 3.0, 1e6] {
        let fall = normal(beta) - normal(0.0);
        assert!((fall + 0.5 * (1.0 + beta).ln()).abs() < 1e-9, "β = {beta}: {fall}");
    }
}

#[test]
fn many_classes_by_simulation() {
    const PARTS: usize = 20;
    let mut noise = source(3);
    for (classes, beta) in [(5, 0.8), (27, 0.3), (27, 0.75), (256, 0.05)] {
        let like = tensor(&[1, 1], &[0.0]).full(&[2000, classes], 0.0);
        let parts: Vec<f64> =
            (0..PARTS).map(|_| simulated(beta, &NoiseSource::<Nd>::normal(&mut noise, &like))).collect();
        let found = parts.iter().sum::<f64>() / PARTS as f64;
        let variance = parts.iter().map(|part| (part - found).powi(2)).sum::<f64>() / (PARTS - 1) as f64;
        let (expected, allowed) = (Categorical::new(classes).unwrap().at(beta), 4.0 * (variance / PARTS as f64).sqrt());
        assert!(allowed < 0.1 * expected, "K = {classes}: ± {allowed} of {expected} says nothing");
        assert!((found - expected).abs() < allowed, "K = {classes}: {found} and {expected} ± {allowed}");
    }
}

#[test]
fn what_is_no_number_has_no_entropy() {
    assert!(Categorical::new(3).unwrap().at(f64::NAN).is_nan());
    assert!(nonlinearity(|_| f64::NAN, &QuadraticSchedule::new(1.0).unwrap(), 10).is_nan());
}

#[test]
fn extreme_accuracies() {
    for classes in [2, 27, 1000] {
        let (entropy, k) = (Categorical::new(classes).unwrap(), classes as f64);
        assert_eq!(entropy.at(0.0), k.ln());
        assert!((entropy.at(1e-300) - k.ln()).abs() < 1e-11);
        assert!(entropy.at(1e6).abs() < 1e-30);
        // At large β, the entropy falls as e^(−Kβ/4), up to a slowly varying factor.
        let (before, after) = (entropy.at(120.0 / k), entropy.at(124.0 / k));
        assert!((after / before / (-1.0_f64).exp() - 1.0).abs() < 0.03, "K = {classes}: {}", after / before);
    }
}

/// A row of the table in the documentation of `entropy`.
struct Published {
    classes: usize,
    beta_1: f64,
    left: f64,
    quadratic: f64,
    logarithmic: f64,
}

#[test]
fn the_closed_forms_come_as_close_as_documented() {
    let row =
        |classes, beta_1, left, quadratic, logarithmic| Published { classes, beta_1, left, quadratic, logarithmic };
    for Published { classes, beta_1, left, quadratic, logarithmic } in [
        row(2, 3.0, 0.155, 0.104, 0.069),
        row(2, 6.0, 0.028, 0.171, 0.088),
        row(2, 9.0, 0.006, 0.273, 0.094),
        row(4, 3.0, 0.039, 0.130, 0.025),
        row(27, 0.5625, 0.043, 0.110, 0.129),
        row(27, 0.75, 0.013, 0.167, 0.133),
        row(27, 1.5, 0.0001, 0.366, 0.135),
        row(256, 0.2, 0.0, 0.351, 0.287),
    ] {
        let categorical = Categorical::new(classes).unwrap();
        let entropy = |beta: f64| categorical.at(beta);
        let remaining = entropy(beta_1) / (classes as f64).ln();
        assert!((remaining - left).abs() < 6e-4, "{classes}, {beta_1}: {remaining} is left");
        let found = nonlinearity(entropy, &QuadraticSchedule::new(beta_1).unwrap(), 100);
        assert!((found - quadratic).abs() < 6e-4, "{classes}, {beta_1}: quadratic {found}");
        let found = nonlinearity(entropy, &LogarithmicSchedule::new(classes, beta_1).unwrap(), 100);
        assert!((found - logarithmic).abs() < 6e-4, "{classes}, {beta_1}: logarithmic {found}");
        let fitted = linear_schedule(entropy, beta_1, 100).unwrap();
        let found = nonlinearity(entropy, &fitted, 173);
        assert!(found < 2e-5, "{classes}, {beta_1}: fitted {found}");
        let start = 2.0 * (entropy(0.0) - entropy(beta_1)) / (classes as f64 - 1.0);
        assert!((fitted.alpha(&0.0) / start - 1.0).abs() < 0.02, "{classes}, {beta_1}: {start}");
    }
}

#[test]
fn a_simulated_entropy_gives_a_schedule_too() {
    let like = tensor(&[1, 1], &[0.0]).full(&[2000, 4], 0.0);
    let epsilon = NoiseSource::<Nd>::normal(&mut source(8), &like);
    let fitted = linear_schedule(|beta| simulated(beta, &epsilon), 3.0, 40).unwrap();
    let categorical = Categorical::new(4).unwrap();
    assert!(nonlinearity(|beta| categorical.at(beta), &fitted, 50) < 0.02);
}

#[test]
fn a_saturated_end_is_no_obstacle() {
    // Beyond Kβ ≈ 500 the entropy is 0 in f64, so the last knots are indistinguishable.
    let categorical = Categorical::new(27).unwrap();
    let fitted = linear_schedule(|beta| categorical.at(beta), 40.0, 60).unwrap();
    assert!(nonlinearity(|beta| categorical.at(beta), &fitted, 50) < 1e-3);
    assert!((fitted.beta(&1.0) - 40.0).abs() < 1e-12);
}

#[test]
fn the_entropy_grid_takes_equal_amounts() {
    let categorical = Categorical::new(27).unwrap();
    let entropy = |beta: f64| categorical.at(beta);
    let schedule = QuadraticSchedule::new(0.75).unwrap();
    for n in [1, 2, 10, 37] {
        let grid = grid(entropy, &schedule, 0.0, n).unwrap();
        assert_eq!((grid.count(), grid.first(), grid.last()), (n, 0.0, 1.0));
        let decrement = (entropy(0.0) - entropy(0.75)) / n as f64;
        for step in grid.steps() {
            let taken = entropy(schedule.beta(&step.from)) - entropy(schedule.beta(&step.to));
            assert!((taken / decrement - 1.0).abs() < 1e-4, "n = {n}: {taken} and {decrement}");
        }
    }
    let linear = linear_schedule(entropy, 0.75, 200).unwrap();
    for (i, t) in grid(entropy, &linear, 0.0, 10).unwrap().times().iter().enumerate() {
        assert!((t - i as f64 / 10.0).abs() < 1e-5, "{t} is not {i}/10");
    }
}

#[test]
fn the_entropy_grid_may_start_later() {
    let discrete = DiscreteFlow::new(27, 0.75).unwrap();
    let categorical = Categorical::new(27).unwrap();
    let entropy = |t: f64| categorical.at(discrete.schedule().beta(&t));
    let grid = Motion::<Nd>::entropy_grid(&discrete, 0.1, 9).unwrap();
    assert_eq!((grid.first(), grid.last(), grid.count()), (0.1, 1.0, 9));
    let decrement = (entropy(0.1) - entropy(1.0)) / 9.0;
    for step in grid.steps() {
        let taken = entropy(step.from) - entropy(step.to);
        assert!((taken / decrement - 1.0).abs() < 1e-4, "{step:?}: {taken} and {decrement}");
    }
    // Under the exponential schedule the entropy of a normal falls linearly, so the grid is uniform.
    let density = Reconstruction::Density { deviation: 0.1 };
    let grid = Motion::<Nd>::entropy_grid(&ContinuousFlow::new(0.03, density).unwrap(), 0.2, 8).unwrap();
    let uniform = Grid::uniform_from(0.2, 8).unwrap();
    for (found, expected) in grid.times().iter().zip(uniform.times()) {
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    }
    for eta in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(
            bfn_core::entropy::grid(normal, discrete.schedule(), eta, 3),
            Err(Error::Parameter { parameter: "eta", .. })
        ));
    }
}
