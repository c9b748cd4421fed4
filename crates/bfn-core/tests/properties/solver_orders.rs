//! The orders of the solvers, by regression of the error on the number of steps.

use bfn_core::continuous::Belief;
use bfn_core::discrete::Logits;
use bfn_core::distribution::Delta;
use bfn_core::sampler::{Sampler, Solver};
use bfn_core::{ContinuousFlow, DiscreteFlow, Grid, Nd, NoiseSource, Schedule, Tensor};

use crate::solvers::{DENSITY, Mixture, posterior};
use crate::statistics::{order, source};
use crate::{row, tensor};

const STEPS: [usize; 4] = [24, 48, 96, 192];

/// Panics unless the errors fall with the given power of the number of steps.
#[track_caller]
fn assert_order(what: &str, points: &[(f64, f64)], expected: f64, allowed: f64) {
    let found = -order(points);
    assert!((found - expected).abs() <= allowed, "{what}: order {found}, expected {expected}; errors {points:?}");
}

/// Computes, for each number of steps, the largest distance of the paths' ends from those of many steps.
fn ordinary_errors(solver: Solver, grid: impl Fn(usize) -> Grid, end: impl Fn(&Sampler) -> Tensor) -> Vec<(f64, f64)> {
    let truth = end(&Sampler::new(Solver::Ode2SingleStep, grid(6000)).unwrap()).to_values();
    let error = |n: usize| {
        let found = end(&Sampler::new(solver, grid(n)).unwrap()).to_values();
        found.iter().zip(&truth).fold(0.0, |largest: f64, (a, b)| largest.max((a - b).abs()))
    };
    STEPS.iter().map(|n| (*n as f64, error(*n))).collect()
}

const ORDINARY: [(Solver, f64); 4] =
    [(Solver::Ode1, 1.0), (Solver::OdeEuler, 1.0), (Solver::Ode2, 2.0), (Solver::Ode2SingleStep, 2.0)];

#[test]
fn ordinary_equations_of_continuous_data_are_solved_to_their_order() {
    let flow = ContinuousFlow::new(0.2, DENSITY).unwrap();
    let mixture = Mixture::two();
    let like = row(&[0.0; 6]);
    let end = |sampler: &Sampler| {
        crate::solvers::run(sampler, &flow, &like, 21, |theta: &Belief<Nd>| mixture.predict(theta)).theta.mu
    };
    for (solver, expected) in ORDINARY {
        let uniform = |n| Grid::uniform_from(0.1, n).unwrap();
        assert_order(&format!("{solver}, uniform in t"), &ordinary_errors(solver, uniform, end), expected, 0.25);
        let in_lambda = |n| Grid::uniform_in_lambda(flow.schedule(), 0.01, n).unwrap();
        assert_order(&format!("{solver}, uniform in λ"), &ordinary_errors(solver, in_lambda, end), expected, 0.25);
    }
}

#[test]
fn ordinary_equations_of_discrete_data_are_solved_to_their_order() {
    let flow = DiscreteFlow::new(3, 2.0).unwrap();
    let ln_weights = row(&[0.2, 0.3, 0.5]).ln();
    let like = tensor(&[4, 3], &[0.0; 12]);
    let end = |sampler: &Sampler| {
        let predict = |theta: &Logits<Nd>| posterior(theta, &ln_weights);
        crate::solvers::run(sampler, &flow, &like, 22, predict).theta.0
    };
    for (solver, expected) in ORDINARY {
        let uniform = |n| Grid::uniform_from(0.1, n).unwrap();
        assert_order(&solver.to_string(), &ordinary_errors(solver, uniform, end), expected, 0.25);
    }
}

/// Noise that is 1 for one example at each draw, the next example every time, and 0 for all others.
struct Impulses(usize);

impl NoiseSource<Nd> for Impulses {
    fn normal(&mut self, like: &Tensor) -> Tensor {
        let mut values = vec![0.0; like.shape()[0]];
        values[self.0] = 1.0;
        self.0 += 1;
        like.from_values_like(&like.shape(), &values)
    }

    fn uniform(&mut self, _like: &Tensor) -> Tensor {
        panic!("no solver of this test draws values")
    }
}

#[test]
fn stochastic_equations_of_continuous_data_are_solved_to_their_weak_order() {
    // Normal data have a linear posterior mean, so μ at the end is linear in all noise. Its mean and its variance,
    // the sum of the squared responses to the impulses, are therefore exact. The prediction is slightly wrong on
    // purpose: with the true one, even a single step ends in the right mean.
    let flow = ContinuousFlow::new(0.2, DENSITY).unwrap();
    let data = Mixture { weights: vec![1.0], means: vec![0.3], deviations: vec![0.4] };
    let moments = |solver, n: usize| -> [f64; 2] {
        let sampler = Sampler::new(solver, Grid::uniform_from(0.1, n).unwrap()).unwrap();
        let like = row(&vec![0.0; n + 2]);
        let predict = |theta: &Belief<Nd>, _: f64| {
            Ok::<_, std::convert::Infallible>(Delta { x_hat: data.predict(theta).x_hat * 0.8 + 0.1 })
        };
        let Ok(sample) = sampler.sample(&flow, &like, &mut Impulses(0), predict, |_| Ok(()));
        let mu = sample.theta.mu.to_values();
        let mean = mu[n + 1];
        [mean, mu[..=n].iter().map(|mu| (mu - mean).powi(2)).sum::<f64>()]
    };
    let truth = moments(Solver::Sde2, 2000);
    for (solver, expected) in [(Solver::Sde1, 1.0), (Solver::SdeEuler, 1.0), (Solver::Sde2, 2.0)] {
        for (moment, name) in ["mean", "variance"].iter().enumerate() {
            let errors: Vec<(f64, f64)> =
                STEPS.iter().map(|n| (*n as f64, (moments(solver, *n)[moment] - truth[moment]).abs())).collect();
            assert_order(&format!("{solver}, {name}"), &errors, expected, 0.3);
        }
    }
}

/// The noise of a fine grid, summed over the steps of a coarser one, so that paths of different grids stay close.
struct Summed<'a> {
    fine: &'a [Tensor],
    weights: &'a [f64],
    stride: usize,
    next: usize,
}

impl NoiseSource<Nd> for Summed<'_> {
    fn normal(&mut self, _like: &Tensor) -> Tensor {
        // The first noise is that of the start.
        let range = if self.next == 0 { 0..1 } else { self.next..self.next + self.stride };
        self.next = range.end;
        let total: f64 = self.weights[range.clone()].iter().sum();
        let part = |i: usize| &self.fine[i] * (self.weights[i] / total).sqrt();
        range.clone().skip(1).fold(part(range.start), |sum, i| sum + part(i))
    }

    fn uniform(&mut self, _like: &Tensor) -> Tensor {
        panic!("no solver of this test draws values")
    }
}

#[test]
fn stochastic_equations_of_discrete_data_are_solved_to_their_weak_order() {
    const COUNT: usize = 60_000;
    const FINE: usize = 32;
    let flow = DiscreteFlow::new(2, 3.0).unwrap();
    let ln_weights = row(&[0.3, 0.7]).ln();
    let like = tensor(&[COUNT, 2], &vec![0.0; 2 * COUNT]);
    let fine_grid = Grid::uniform_from(0.1, FINE).unwrap();
    let mut generator = source(23);
    let fine: Vec<Tensor> = (0..=FINE).map(|_| generator.normal(&like)).collect();
    let accuracy = |from: f64, to: f64| Schedule::<f64>::step_accuracy(flow.schedule(), &from, &to);
    let weights: Vec<f64> =
        std::iter::once(1.0).chain(fine_grid.steps().map(|step| accuracy(step.from, step.to))).collect();
    let expectation = |solver, n: usize| -> f64 {
        let sampler = Sampler::new(solver, Grid::uniform_from(0.1, n).unwrap()).unwrap();
        let mut noise = Summed { fine: &fine, weights: &weights, stride: FINE / n, next: 0 };
        let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, std::convert::Infallible>(posterior(theta, &ln_weights));
        let Ok(sample) = sampler.sample(&flow, &like, &mut noise, predict, |_| Ok(()));
        let theta = sample.theta.probabilities().select_last(0);
        theta.square().to_values().iter().sum::<f64>() / COUNT as f64
    };
    for (solver, expected) in [(Solver::Sde1, 1.0), (Solver::SdeEuler, 1.0), (Solver::Sde2, 2.0)] {
        let values: Vec<f64> = [4, 8, 16, FINE].iter().map(|n| expectation(solver, *n)).collect();
        let differences: Vec<(f64, f64)> =
            [4.0, 8.0, 16.0].iter().zip(values.windows(2)).map(|(n, pair)| (*n, (pair[0] - pair[1]).abs())).collect();
        assert_order(&solver.to_string(), &differences, expected, 0.45);
    }
}
