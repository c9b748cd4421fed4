//! Parameters outside their domain give errors that name them; mismatched shapes panic with a message naming both.

use std::panic::catch_unwind;

use bfn_core::continuous::{self, Belief, Reconstruction};
use bfn_core::discrete::{self, Logits};
use bfn_core::distribution::{Categorical, Delta, DiscretisedNormal, Probability};
use bfn_core::schedule::Knot;
use bfn_core::times::{Steps, TimeDensity};
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Error, ExponentialSchedule, Grid, LogarithmicSchedule,
    Nd, OutputDistribution, QuadraticSchedule, TabulatedSchedule, Tensor, discretised, entropy,
};

use crate::{indices, row, tensor};

/// Panics unless the error names the parameter, with its value in the message.
#[track_caller]
fn assert_names<T: std::fmt::Debug>(parameter: &str, value: f64, result: Result<T, Error>) {
    let error = result.unwrap_err();
    let message = error.to_string();
    assert!(message.contains(parameter) && message.contains(&value.to_string()), "{message}");
    let Error::Parameter { parameter: named, .. } = error else { panic!("not a parameter: {message}") };
    assert_eq!(named, parameter);
}

const DENSITY: Reconstruction = Reconstruction::Density { deviation: 0.1 };

#[test]
fn sigma_1_lies_between_0_and_1() {
    for sigma_1 in [0.0, 1.0, -0.5, 1.5, 1e-155, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_names("sigma_1", sigma_1, ExponentialSchedule::new(sigma_1));
        assert_names("sigma_1", sigma_1, ContinuousFlow::new(sigma_1, DENSITY));
        assert_names("sigma_1", sigma_1, DiscretisedFlow::new(16, sigma_1));
    }
}

#[test]
fn beta_1_is_positive_and_finite() {
    for beta_1 in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_names("beta_1", beta_1, QuadraticSchedule::new(beta_1));
        assert_names("beta_1", beta_1, DiscreteFlow::new(3, beta_1));
    }
}

#[test]
fn there_are_two_classes_or_bins_at_least() {
    for count in [0, 1] {
        assert_names("classes", count as f64, DiscreteFlow::new(count, 1.0));
        assert_names("bins", count as f64, DiscretisedFlow::new(count, 0.1));
        let reconstruction = Reconstruction::Bins { bins: count, deviation: 0.1, probability: Probability::Exact };
        assert_names("bins", count as f64, ContinuousFlow::new(0.1, reconstruction));
    }
}

#[test]
fn the_reconstruction_deviation_is_positive_and_finite() {
    for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_names("deviation", deviation, ContinuousFlow::new(0.1, Reconstruction::Density { deviation }));
        let bins = Reconstruction::Bins { bins: 4, deviation, probability: Probability::Exact };
        assert_names("deviation", deviation, ContinuousFlow::new(0.1, bins));
    }
}

#[test]
fn a_logarithmic_schedule_has_classes_and_an_end() {
    for beta_1 in [0.0, -1.0, f64::NAN, f64::INFINITY, 104.0] {
        assert_names("beta_1", beta_1, LogarithmicSchedule::new(27, beta_1));
    }
    assert_names("classes", 1.0, LogarithmicSchedule::new(1, 1.0));
}

/// Panics unless the error names the grid and the entry.
#[track_caller]
fn assert_falls_at<T: std::fmt::Debug>(name: &str, at: usize, result: Result<T, Error>) {
    let error = result.unwrap_err();
    let Error::Grid { grid, index, value, .. } = error else { panic!("not a grid: {error}") };
    assert!(grid.contains(name) && index == at, "{error}");
    assert!(error.to_string().contains(&value.to_string()), "{error}");
}

#[test]
fn a_table_increases_from_0_to_1() {
    let table = |t: &[f64], beta: &[f64]| {
        let knots: Vec<Knot> = t.iter().zip(beta).map(|(t, beta)| Knot { t: *t, beta: *beta }).collect();
        TabulatedSchedule::new(&knots)
    };
    assert_names("knots", 0.0, table(&[], &[]));
    assert_names("knots", 1.0, table(&[0.0], &[0.0]));
    assert_names("first t", 0.1, table(&[0.1, 1.0], &[0.0, 1.0]));
    assert_names("first t", f64::NAN, table(&[f64::NAN, 1.0], &[0.0, 1.0]));
    assert_names("first beta", 0.5, table(&[0.0, 1.0], &[0.5, 1.0]));
    assert_names("last t", 0.9, table(&[0.0, 0.9], &[0.0, 1.0]));
    assert_names("last beta", f64::INFINITY, table(&[0.0, 1.0], &[0.0, f64::INFINITY]));
    assert_falls_at("t of the knots", 2, table(&[0.0, 0.5, 0.4, 1.0], &[0.0, 1.0, 2.0, 3.0]));
    assert_falls_at("t of the knots", 1, table(&[0.0, f64::NAN, 1.0], &[0.0, 1.0, 2.0]));
    for beta in [1.0, 0.5, f64::NAN] {
        assert_falls_at("beta of the knots", 2, table(&[0.0, 0.5, 0.6, 1.0], &[0.0, 1.0, beta, 3.0]));
    }
}

#[test]
fn an_entropy_falls() {
    assert_names("classes", 1.0, entropy::Categorical::new(1));
    for beta_1 in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_names("beta_1", beta_1, entropy::linear_schedule(entropy::normal, beta_1, 10));
    }
    assert_names("knots", 1.0, entropy::linear_schedule(entropy::normal, 1.0, 1));
    assert_names("steps", 0.0, entropy::grid(entropy::normal, &QuadraticSchedule::new(1.0).unwrap(), 0.0, 0));
    for rises in [(|beta| beta) as fn(f64) -> f64, |_| 1.0, |_| f64::NAN] {
        assert_falls_at("entropy lost", 1, entropy::linear_schedule(rises, 1.0, 10));
    }
    assert!(entropy::linear_schedule(|beta| (9.0 * beta).cos() - 5.0 * beta, 1.0, 10).is_err());
}

#[test]
fn densities_and_grids_of_times() {
    assert_names("first edge", 0.1, TimeDensity::new(&[0.1, 1.0], &[1.0]));
    assert_names("last edge", 0.9, TimeDensity::new(&[0.0, 0.9], &[1.0]));
    assert_names("edges", 1.0, TimeDensity::new(&[0.0], &[]));
    assert_falls_at("edges", 2, TimeDensity::new(&[0.0, 0.5, 0.5, 1.0], &[1.0; 3]));
    for mass in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_names("mass", mass, TimeDensity::new(&[0.0, 0.5, 1.0], &[1.0, mass]));
        assert_names("mass", mass, Steps::weighted(Grid::uniform(2).unwrap(), &[1.0, mass]));
    }
    assert_falls_at("shares", 2, TimeDensity::new(&[0.0, 0.5, 1.0], &[1.0, 1e-300]));
}

/// Panics unless `action` panics with a message that names both shapes.
#[track_caller]
fn assert_panics(shapes: [&[usize]; 2], action: impl FnOnce() + std::panic::UnwindSafe) {
    let payload = catch_unwind(action).expect_err("mistaken shapes must panic");
    let message = payload.downcast_ref::<String>().expect("the message is formatted");
    for shape in shapes {
        assert!(message.contains(&format!("{shape:?}")), "{message} does not name {shape:?}");
    }
}

fn zeros(shape: &[usize]) -> Tensor {
    tensor(shape, &vec![0.0; shape.iter().product()])
}

#[test]
fn continuous_shapes() {
    let schedule = ExponentialSchedule::new(0.1).unwrap();
    // An axis of length 1 would broadcast, so all variables would share their noise.
    for wrong in [&[2, 4][..], &[2, 1], &[3]] {
        let shapes = [&[2, 3], wrong];
        assert_panics(shapes, || drop(continuous::flow(&schedule, &zeros(&[2, 3]), &zeros(&[2]), &zeros(wrong))));
        assert_panics(shapes, || drop(continuous::send(&zeros(&[2, 3]), &row(&[1.0]), &zeros(wrong))));
        let belief = || Belief::<Nd> { mu: zeros(&[2, 3]), rho: row(&[1.0]) };
        assert_panics(shapes, || drop(continuous::update(&belief(), &zeros(wrong), 1.0)));
        let flow = ContinuousFlow::new(0.1, DENSITY).unwrap();
        let output = || Delta { x_hat: zeros(&[2, 3]) };
        assert_panics(shapes, || drop(flow.loss_continuous_time(&zeros(wrong), &output(), &row(&[0.5]))));
        assert_panics(shapes, || drop(flow.loss_step(&zeros(wrong), &output(), &row(&[0.5]), &zeros(wrong))));
        assert_panics(shapes, || drop(flow.loss_reconstruction(&zeros(wrong), &output())));
    }
    let flow = ContinuousFlow::new(0.1, DENSITY).unwrap();
    let theta = || Belief::<Nd> { mu: zeros(&[2, 3]), rho: row(&[1.0]) };
    assert_panics([&[2, 3, 1], &[2, 3, 2]], || drop(flow.output(&theta(), &zeros(&[2, 3, 2]), &row(&[0.5]))));
    // There is one time per example, not one per variable.
    assert_panics([&[3, 1], &[2, 3]], || {
        drop(continuous::flow(&schedule, &zeros(&[2, 3]), &zeros(&[3]), &zeros(&[2, 3])));
    });
}

#[test]
fn discretised_shapes() {
    let flow = DiscretisedFlow::new(16, 0.1).unwrap();
    let theta = || Belief::<Nd> { mu: zeros(&[2, 3]), rho: row(&[1.0]) };
    assert_panics([&[2, 3, 2], &[2, 3, 3]], || drop(flow.output(&theta(), &zeros(&[2, 3, 3]), &row(&[0.5]))));
    assert_panics([&[2, 3, 2], &[2, 1, 2]], || drop(flow.output(&theta(), &zeros(&[2, 1, 2]), &row(&[0.5]))));
    let output = || DiscretisedNormal {
        mean: zeros(&[2, 3]),
        deviation: zeros(&[2, 3]) + 1.0,
        bins: 16,
        probability: Probability::Exact,
    };
    assert_panics([&[2, 3], &[2, 1]], || drop(output().log_prob(&indices(&[2, 1], &[0, 1]))));
    assert_panics([&[2, 3], &[2, 1]], || {
        drop(flow.loss_continuous_time(&indices(&[2, 1], &[0, 1]), &output(), &row(&[0.5])));
    });
    assert_panics([&[2, 3], &[2, 1]], || {
        drop(discretised::log_ratio(&zeros(&[2, 3]), &row(&[1.0]), &zeros(&[2, 1]), &zeros(&[2, 3, 16])));
    });
    assert_panics([&[2, 1], &[2, 3]], || {
        drop(discretised::log_ratio(&zeros(&[2, 3]), &row(&[1.0]), &zeros(&[2, 3]), &zeros(&[2, 1, 16])));
    });
}

#[test]
fn discrete_shapes() {
    let flow = DiscreteFlow::new(5, 1.0).unwrap();
    let x = || indices(&[2, 3], &[0; 6]);
    for wrong in [&[2, 3, 4][..], &[2, 3], &[2, 4, 5]] {
        let shapes = [&[2, 3, 5], wrong];
        assert_panics(shapes, || drop(BayesianFlow::<Nd>::flow(&flow, &x(), &row(&[0.5]), &zeros(wrong))));
        assert_panics(shapes, || drop(BayesianFlow::<Nd>::send(&flow, &x(), &row(&[0.5]), &zeros(wrong))));
        assert_panics(shapes, || drop(discrete::update(&Logits::<Nd>(zeros(&[2, 3, 5])), &zeros(wrong))));
        assert_panics(shapes, || drop(flow.output(&Logits::<Nd>(zeros(&[2, 3, 5])), &zeros(wrong), &row(&[0.5]))));
        assert_panics(shapes, || drop(discrete::log_ratio(&x(), &zeros(wrong), &zeros(&[2, 3, 5]))));
    }
    let binary = DiscreteFlow::new(2, 1.0).unwrap();
    assert_panics([&[2, 3, 1], &[2, 3, 2]], || {
        drop(binary.output(&Logits::<Nd>(zeros(&[2, 3, 2])), &zeros(&[2, 3, 2]), &row(&[0.5])));
    });
    let output = Categorical::from_logits(&zeros(&[2, 3, 5]));
    assert_panics([&[2, 3, 5], &[3, 2]], || {
        drop(flow.loss_reconstruction(&indices(&[3, 2], &[0; 6]), &output));
    });
}
