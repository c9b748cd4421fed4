//! Sampling of times and steps.

use std::convert::Infallible;

use bfn_core::distribution::Categorical;
use bfn_core::times::{Spread, Step, Steps, TimeDensity, loss_of_steps};
use bfn_core::{BayesianFlow, DiscreteFlow, Grid, Nd, NoiseSource};
use proptest::prelude::*;
use rand::Rng;

use crate::statistics::{assert_follows, assert_frequencies, source};
use crate::{assert_close, distribution, indices, noise, tensor};

const SPREADS: [Spread; 4] = [Spread::Independent, Spread::Stratified, Spread::Antithetic, Spread::LowDiscrepancy];

/// The mean and the variance of an estimate.
struct Moments {
    mean: f64,
    variance: f64,
}

/// Computes the moments of an estimate from `count` spread uniform numbers, over many batches.
fn moments(spread: Spread, count: usize, seed: u64, estimate: impl Fn(f64) -> f64) -> Moments {
    let mut random = source(seed).0;
    let estimates: Vec<f64> = (0..4000)
        .map(|_| {
            let uniforms: Vec<f64> = (0..spread.uniforms(count)).map(|_| random.random()).collect();
            spread.spread(count, &uniforms).iter().map(|u| estimate(*u)).sum::<f64>() / count as f64
        })
        .collect();
    let mean = estimates.iter().sum::<f64>() / estimates.len() as f64;
    let variance = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (estimates.len() - 1) as f64;
    Moments { mean, variance }
}

proptest! {
    #[test]
    fn spread_numbers_stay_in_the_unit_interval(uniforms in prop::collection::vec(0.0..1.0_f64, 1..40)) {
        for spread in SPREADS {
            let count = uniforms.len();
            let found = spread.spread(count, &uniforms[..spread.uniforms(count)]);
            prop_assert_eq!(found.len(), count);
            prop_assert!(found.iter().all(|u| (0.0..=1.0).contains(u)), "{spread:?}: {found:?}");
        }
    }

    #[test]
    fn every_stratum_gets_one(uniforms in prop::collection::vec(0.0..1.0_f64, 2..40)) {
        let n = uniforms.len();
        for spread in [Spread::Stratified, Spread::LowDiscrepancy] {
            let mut found = spread.spread(n, &uniforms[..spread.uniforms(n)]);
            found.sort_by(f64::total_cmp);
            for (j, u) in found.iter().enumerate() {
                let (low, high) = (j as f64 / n as f64, (j + 1) as f64 / n as f64);
                prop_assert!(*u > low - 1e-12 && *u < high + 1e-12, "{spread:?}: {u} outside {low}..{high}");
            }
        }
    }

    #[test]
    fn a_density_integrates_to_one_and_its_draws_invert_it(masses in prop::collection::vec(0.01..5.0_f64, 1..8), u in 0.0..1.0_f64) {
        let edges: Vec<f64> = (0..=masses.len()).map(|i| (i as f64 / masses.len() as f64).powi(2)).collect();
        let density = TimeDensity::new(&edges, &masses).unwrap();
        let middle = |pair: &[f64]| density.at(0.5 * (pair[0] + pair[1])) * (pair[1] - pair[0]);
        let total: f64 = edges.windows(2).map(middle).sum();
        prop_assert!((total - 1.0).abs() < 1e-12);
        let time = density.draw(u);
        let before: f64 = edges.windows(2).map(|pair| density.at(0.5 * (pair[0] + pair[1])) * (time.t.min(pair[1]) - pair[0]).max(0.0)).sum();
        prop_assert!((before - u).abs() < 1e-12, "{before} of the mass lies before {time:?}, not {u}");
        prop_assert!((time.weight * density.at(time.t) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_uniform_density_changes_nothing(u in 0.0..1.0_f64) {
        let time = TimeDensity::uniform().draw(u);
        prop_assert_eq!((time.t, time.weight), (u, 1.0));
    }

    #[test]
    fn steps_have_the_weight_of_their_sum(mut times in prop::collection::vec(0.0..1.0_f64, 2..12), seed in 0..1000_u64) {
        times.sort_by(f64::total_cmp);
        times.dedup();
        prop_assume!(times.len() > 1);
        let n = times.len() - 1;
        let masses: Vec<f64> = (0..n).map(|i| 1.0 + ((seed + i as u64 * 7) % 5) as f64).collect();
        let total: f64 = masses.iter().sum();
        let steps = Steps::weighted(Grid::new(times).unwrap(), &masses).unwrap();
        // Σ_i p_i f_i / p_i over a fine grid of uniform numbers, of which each step receives a whole number.
        let fine = total as usize * 16;
        let f = |step: &Step| step.weight * (step.to - step.from).powi(2);
        let estimate: f64 = (0..fine).map(|j| f(&steps.draw((j as f64 + 0.5) / fine as f64))).sum::<f64>() / fine as f64;
        let sum: f64 = steps.all().iter().map(f).sum();
        prop_assert!((estimate - sum).abs() < 1e-12);
    }

    #[test]
    fn uniform_steps_of_the_uniform_grid_are_those_of_l_n(n in 1..50_usize, u in 0.0..1.0_f64) {
        let step = Steps::new(Grid::uniform(n).unwrap()).draw(u);
        let i = (u * n as f64).floor();
        prop_assert!((step.weight - n as f64).abs() < 1e-9);
        prop_assume!((u * n as f64 - (u * n as f64).round()).abs() > 1e-9);
        prop_assert!((step.from - i / n as f64).abs() < 1e-15 && (step.to - (i + 1.0) / n as f64).abs() < 1e-15);
    }

    #[test]
    fn a_step_of_the_loss_is_that_of_the_flow(epsilon in noise(6), sender in noise(6), p in distribution(3), u in 0.0..1.0_f64) {
        let flow = DiscreteFlow::new(3, 2.0).unwrap();
        let steps = Steps::new(Grid::new(vec![0.0, 0.1, 0.5, 1.0]).unwrap());
        let drawn = [steps.draw(u), steps.draw(1.0 - u)];
        let x = indices(&[2, 1], &[0, 2]);
        let (epsilon, sender) = (tensor(&[2, 1, 3], &epsilon), tensor(&[2, 1, 3], &sender));
        let logits = tensor(&[3], &p.iter().map(|p| p.ln()).collect::<Vec<f64>>());
        let found = loss_of_steps::<Nd, _, Infallible>(&flow, &x, &drawn, &epsilon, &sender, |theta, t| {
            assert_eq!(t.to_values(), [drawn[0].from, drawn[1].from]);
            Ok(Categorical::from_logits(&(&theta.0 + &logits)))
        });
        let Ok(found) = found;
        for (row, step) in drawn.iter().enumerate() {
            let part = |noise: &bfn_core::Tensor| tensor(&[1, 1, 3], &noise.to_values()[3 * row..3 * row + 3]);
            let x = indices(&[1, 1], &[2 * row]);
            let alpha = flow.step_accuracy(step.from, step.to);
            let theta = BayesianFlow::<Nd>::flow(&flow, &x, &crate::row(&[step.from]), &part(&epsilon));
            let output = Categorical::from_logits(&(&theta.0 + &logits));
            let expected = flow.loss_step_steady(&x, &output, &crate::row(&[alpha]), &part(&sender)) * step.weight;
            assert_close(&found.to_values()[row..=row], &expected.to_values(), 1e-13);
        }
    }
}

#[test]
fn every_spread_is_unbiased() {
    let density = TimeDensity::new(&[0.0, 0.25, 0.5, 1.0], &[1.0, 2.0, 5.0]).unwrap();
    let integral = (1.0_f64).exp_m1();
    for (seed, spread) in SPREADS.into_iter().enumerate() {
        for count in [1, 7, 16] {
            let plain = moments(spread, count, seed as u64, f64::exp);
            let weighted = moments(spread, count, 50 + seed as u64, |u| {
                let time = density.draw(u);
                time.weight * time.t.exp()
            });
            for Moments { mean, variance } in [plain, weighted] {
                let deviation = (variance / 4000.0).sqrt();
                assert!(
                    (mean - integral).abs() < 4.0 * deviation + 1e-12,
                    "{spread:?}, {count}: {mean} is not {integral}"
                );
            }
        }
    }
}

#[test]
fn even_spreads_vary_less() {
    let variance = |spread, count| moments(spread, count, 5, f64::exp).variance;
    let independent = variance(Spread::Independent, 16);
    // The variance of e^u is 0.242.
    assert!((independent * 16.0 / 0.242 - 1.0).abs() < 0.1, "{independent}");
    assert!(variance(Spread::Antithetic, 16) < independent / 20.0);
    assert!(variance(Spread::Stratified, 16) < independent / 100.0);
    assert!(variance(Spread::LowDiscrepancy, 16) < independent / 10.0);
    // With strata, the variance falls as 1/n³: doubling n divides it by 8.
    let ratio = variance(Spread::Stratified, 16) / variance(Spread::Stratified, 32);
    assert!((ratio / 8.0 - 1.0).abs() < 0.15, "{ratio}");
}

#[test]
fn a_density_like_the_integrand_varies_less() {
    let f = |t: f64| (8.0 * t).exp();
    let edges: Vec<f64> = (0..=16).map(|i| f64::from(i) / 16.0).collect();
    let masses: Vec<f64> = edges.windows(2).map(|pair| f(0.5 * (pair[0] + pair[1]))).collect();
    let density = TimeDensity::new(&edges, &masses).unwrap();
    let plain = moments(Spread::Independent, 8, 1, f).variance;
    let weighted = moments(Spread::Independent, 8, 2, |u| {
        let time = density.draw(u);
        time.weight * f(time.t)
    });
    assert!(weighted.variance < plain / 50.0, "{} and {plain}", weighted.variance);
}

#[test]
fn drawn_times_follow_their_density() {
    let density = TimeDensity::new(&[0.0, 0.25, 1.0], &[3.0, 1.0]).unwrap();
    let mut random = source(11).0;
    let times: Vec<f64> = (0..4000).map(|_| density.draw(random.random()).t).collect();
    assert_follows(&times, |t| if t < 0.25 { 3.0 * t } else { 0.75 + (t - 0.25) / 3.0 });
    let steps = Steps::weighted(Grid::new(vec![0.0, 0.1, 0.6, 1.0]).unwrap(), &[1.0, 2.0, 5.0]).unwrap();
    let which = |step: Step| [0.0, 0.1, 0.6].iter().position(|t| *t == step.from).unwrap();
    let drawn: Vec<usize> = (0..4000).map(|_| which(steps.draw(random.random()))).collect();
    assert_frequencies(&drawn, &[0.125, 0.25, 0.625]);
}

#[test]
fn drawn_steps_estimate_the_loss_of_a_grid() {
    // For a fixed imperfect predictor on an uneven grid, the mean over drawn steps is the sum over all steps.
    let flow = DiscreteFlow::new(3, 2.0).unwrap();
    let steps = Steps::weighted(Grid::new(vec![0.0, 0.3, 0.4, 0.8, 1.0]).unwrap(), &[1.0, 1.0, 4.0, 4.0]).unwrap();
    let logits = tensor(&[3], &[0.0, 0.5, -1.0]);
    let mut random = source(21);
    let mut estimate = |drawn: &[Step]| {
        let count = drawn.len();
        let zeros = tensor(&[1], &[0.0]).full(&[count, 1, 3], 0.0);
        let (epsilon, sender) = (NoiseSource::<Nd>::normal(&mut random, &zeros), random.normal(&zeros));
        let x = indices(&[count, 1], &vec![1; count]);
        let Ok(losses) = loss_of_steps::<Nd, _, Infallible>(&flow, &x, drawn, &epsilon, &sender, |theta, _| {
            Ok(Categorical::from_logits(&(&theta.0 * 0.5 + &logits)))
        });
        let values = losses.to_values();
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        Moments { mean, variance: variance / count as f64 }
    };
    let count = 40_000;
    let sum: Vec<Moments> = steps.all().into_iter().map(|step| estimate(&vec![step; count])).collect();
    let start = Spread::LowDiscrepancy.spread(count, &[0.37]);
    let drawn = estimate(&start.iter().map(|u| steps.draw(*u)).collect::<Vec<Step>>());
    let total: f64 = sum.iter().map(|moments| moments.mean).sum();
    let variance: f64 = drawn.variance + sum.iter().map(|moments| moments.variance).sum::<f64>();
    assert!((drawn.mean - total).abs() < 4.0 * variance.sqrt(), "{} and {total} ± {}", drawn.mean, variance.sqrt());
    assert!(total > 0.1 && variance.sqrt() < 0.02 * total, "{total} ± {}", variance.sqrt());
}
