//! Grids fitted to measured costs.

use std::convert::Infallible;

use bfn_core::continuous::Belief;
use bfn_core::distribution::{Categorical, Delta};
use bfn_core::times::{Steps, loss_of_steps};
use bfn_core::{BayesianFlow, ContinuousFlow, DiscreteFlow, Error, Grid, Nd, NoiseSource, Schedule, StepCosts, Tensor};
use proptest::prelude::*;

use crate::solvers::DENSITY;
use crate::statistics::source;
use crate::{assert_close, indices, row, tensor};

/// Tabulates the costs c(s, t) on a uniform fine grid of n steps.
fn table(n: usize, cost: impl Fn(f64, f64) -> f64) -> StepCosts {
    let fine = Grid::uniform(n).unwrap();
    let times = fine.times().to_vec();
    let pairs = (0..n).flat_map(|from| (from + 1..=n).map(move |to| (from, to)));
    let costs = pairs.map(|(from, to)| cost(times[from], times[to])).collect();
    StepCosts::new(fine, costs).unwrap()
}

/// Finds the least cost of a path of `steps` steps that starts at `from`, by trying all paths.
fn by_trying(costs: &StepCosts, from: usize, steps: usize) -> f64 {
    let n = costs.fine().count();
    if steps == 1 {
        return costs.cost(from, n);
    }
    let next = from + 1..=n + 1 - steps;
    next.map(|to| costs.cost(from, to) + by_trying(costs, to, steps - 1)).fold(f64::INFINITY, f64::min)
}

proptest! {
    #[test]
    fn no_grid_is_cheaper(
        costs in (1..8_usize).prop_flat_map(|n| prop::collection::vec(-1.0..3.0_f64, n * (n + 1) / 2)),
        start in 0..8_usize
    ) {
        let n = (((1 + 8 * costs.len()) as f64).sqrt() as usize - 1) / 2;
        let costs = StepCosts::new(Grid::uniform(n).unwrap(), costs).unwrap();
        let start = start % n;
        for steps in 1..=n - start {
            let best = costs.best_from(start, steps).unwrap();
            prop_assert!((best.cost - by_trying(&costs, start, steps)).abs() < 1e-12);
            prop_assert_eq!(best.grid.count(), steps);
            prop_assert_eq!((best.grid.first(), best.grid.last()), (costs.fine().times()[start], 1.0));
            let index = |t: &f64| costs.fine().times().iter().position(|fine| fine == t).unwrap();
            let path: Vec<usize> = best.grid.times().iter().map(index).collect();
            let sum: f64 = path.windows(2).map(|pair| costs.cost(pair[0], pair[1])).sum();
            prop_assert!((sum - best.cost).abs() < 1e-12);
        }
    }
}

#[test]
fn a_known_optimum_is_found() {
    // For c(s, t) = (t − s)(1 − s)² and one inner time u, the cost u + (1 − u)³ is least at u = 1 − 3^(−1/2).
    let costs = table(1000, |s, t| (t - s) * (1.0 - s).powi(2));
    let best = costs.best(2).unwrap();
    let u = 1.0 - 3.0_f64.powf(-0.5);
    assert!((best.grid.times()[1] - u).abs() <= 5e-4, "{:?}", best.grid);
    assert!((best.cost - (u + (1.0 - u).powi(3))).abs() < 1e-6);
    // For c(s, t) = (t − s)², equal steps are best.
    assert_eq!(table(60, |s, t| (t - s).powi(2)).best(12).unwrap().grid.times(), Grid::uniform(12).unwrap().times());
}

#[test]
fn measured_costs_of_a_point_mass_are_exact() {
    let flow = ContinuousFlow::new(0.1, DENSITY).unwrap();
    let x = tensor(&[3, 2], &[0.3, -0.1, 0.8, 0.5, -0.9, 0.0]);
    let fine = Grid::uniform(6).unwrap();
    let mut noise = source(3);
    let (flow_noise, sender_noise) = (noise.normal(&x), noise.normal(&x));
    let predict = |theta: &Belief<Nd>, t: f64| Ok::<_, Infallible>(Delta { x_hat: &theta.mu * (0.9 - 0.2 * t) });
    let Ok(costs) = StepCosts::measured(&flow, &x, &fine, &flow_noise, &sender_noise, predict);
    for from in 0..6 {
        let s = fine.times()[from];
        let theta = flow.flow(&x, &row(&[s]), &flow_noise);
        let Ok(output) = predict(&theta, s);
        let distance: f64 = (&x - &output.x_hat).square().to_values().iter().sum();
        for to in from + 1..=6 {
            let alpha: f64 = flow.schedule().step_accuracy(&s, &fine.times()[to]);
            assert_close(&[costs.cost(from, to)], &[0.5 * alpha * distance], 1e-12);
        }
    }
    let twice = costs.clone().plus(&costs).scaled(0.5);
    assert_close(twice.costs(), costs.costs(), 1e-15);
}

#[test]
fn measured_costs_are_those_of_the_bound() {
    // For discrete data and an exact predictor of one variable, the costs of a grid's steps add up to its loss.
    let (flow, count) = (DiscreteFlow::new(3, 2.0).unwrap(), 20_000);
    let ln_p = row(&[0.1, 0.3, 0.6]).ln();
    let x = indices(&[count, 1], &(0..count).map(|i| [0, 1, 1, 1, 2, 2, 2, 2, 2, 2][i % 10]).collect::<Vec<_>>());
    let like: Tensor = row(&[0.0]).full(&[count, 1, 3], 0.0);
    let predict = |z: &Tensor| Categorical::from_logits(&(z + &ln_p));
    let mut noise = source(4);
    let (flow_noise, sender_noise) = (noise.normal(&like), noise.normal(&like));
    let fine = Grid::uniform(5).unwrap();
    let Ok(costs) = StepCosts::measured(&flow, &x, &fine, &flow_noise, &sender_noise, |theta, _| {
        Ok::<_, Infallible>(predict(&theta.0))
    });
    let costs = costs.scaled(1.0 / count as f64);
    let path = [0, 2, 3, 5];
    let sum: f64 = path.windows(2).map(|pair| costs.cost(pair[0], pair[1])).sum();
    let times: Vec<f64> = path.iter().map(|index| fine.times()[*index]).collect();
    let steps = Steps::new(Grid::new(times).unwrap());
    let drawn: Vec<_> = (0..count).map(|i| steps.draw((i * 7919 % count) as f64 / count as f64)).collect();
    let (flow_noise, sender_noise) = (noise.normal(&like), noise.normal(&like));
    let Ok(losses) =
        loss_of_steps(&flow, &x, &drawn, &flow_noise, &sender_noise, |theta, _| Ok::<_, Infallible>(predict(&theta.0)));
    let losses = losses.to_values();
    let mean = losses.iter().sum::<f64>() / count as f64;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / count as f64;
    let error = (variance / count as f64).sqrt();
    assert!((sum - mean).abs() < 4.0 * error && error < 0.02 * mean, "{sum}, {mean} ± {error}");
}

#[test]
fn tables_that_are_none_are_refused() {
    let fine = Grid::uniform(3).unwrap();
    let parameter = |result: Result<StepCosts, Error>| matches!(result, Err(Error::Parameter { .. }));
    assert!(parameter(StepCosts::new(fine.clone(), vec![1.0; 5])));
    assert!(parameter(StepCosts::new(fine.clone(), vec![f64::NAN; 6])));
    let costs = StepCosts::new(fine, vec![1.0; 6]).unwrap();
    // Measured or scaled costs need not be finite.
    assert!(matches!(
        costs.clone().scaled(f64::NAN).best(1),
        Err(Error::Parameter { parameter: "the cost of a step", .. })
    ));
    assert!(costs.best(0).is_err() && costs.best(4).is_err() && costs.best_from(3, 1).is_err());
    assert!(costs.best_from(2, 2).is_err() && costs.best_from(2, 1).is_ok());
}
