//! Guidance by a score, in cases where the posterior given the statement is known.

use std::convert::Infallible;

use bfn_core::continuous::Belief;
use bfn_core::discrete::Logits;
use bfn_core::sampler::{Conditional, Motion, Sampler, Solver, Steered};
use bfn_core::{ContinuousFlow, DiscreteFlow, FiniteDistribution, Grid, Nd, OutputDistribution, Tensor};

use crate::solvers::{DENSITY, Mixture, posterior};
use crate::statistics::{assert_frequencies, source};
use crate::{assert_close, row, tensor};

/// The weights p(k), and the likelihoods p(c | k).
const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
const LIKELIHOODS: [f64; 3] = [0.1, 0.6, 0.9];

/// Computes ∇_z ln Σ_k p(k | z) p(c | k) = p(j | z) (p(c | j)/p(c | z) − 1).
fn gradient(theta: &Logits<Nd>, _t: f64) -> Tensor {
    let p = posterior(theta, &row(&WEIGHTS).ln()).probabilities();
    let joint = &p * row(&LIKELIHOODS);
    let total = joint.sum_last().unsqueeze_last();
    joint / total - p
}

#[test]
fn bayes_rule_moves_the_mean_of_classes() {
    let flow = DiscreteFlow::new(3, 2.0).unwrap();
    let theta = Logits(tensor(&[2, 1, 3], &[0.3, -1.0, 0.5, 2.0, 0.1, -0.7]));
    let moved = flow.mean_signal(&posterior(&theta, &row(&WEIGHTS).ln())) + flow.steer(&gradient(&theta, 0.4), 0.4);
    let expected = flow.mean_signal(&posterior(&theta, &(row(&WEIGHTS) * row(&LIKELIHOODS)).ln()));
    assert_close(&moved.to_values(), &expected.to_values(), 1e-13);
}

#[test]
fn bayes_rule_moves_the_mean_of_numbers() {
    // The statement is that a number comes from the second of two normal distributions.
    let (flow, mixture) = (ContinuousFlow::new(0.1, DENSITY).unwrap(), Mixture::two());
    let of_second = |mu: f64, rho: f64| {
        let beta = rho - 1.0;
        let evidence = |k: usize| {
            let precision = mixture.deviations[k].powi(-2);
            let known = mixture.means[k] * precision + rho * mu;
            let exponent = 0.5 * known * known / (precision + beta) - 0.5 * mixture.means[k].powi(2) * precision;
            mixture.weights[k] * (precision / (precision + beta)).sqrt() * exponent.exp()
        };
        evidence(1) / (evidence(0) + evidence(1))
    };
    let second = Mixture { weights: vec![1.0], means: vec![mixture.means[1]], deviations: vec![mixture.deviations[1]] };
    for t in [0.05, 0.3, 0.7] {
        let rho = 0.1_f64.powf(-2.0 * t);
        for mu in [-0.6, -0.1, 0.2, 0.5] {
            let slope = (of_second(mu + 1e-6, rho).ln() - of_second(mu - 1e-6, rho).ln()) / 2e-6;
            let shift = flow.steer(&tensor(&[1, 1], &[slope]), t).to_values()[0];
            assert_close(&[mixture.x_hat(mu, rho) + shift], &[second.x_hat(mu, rho)], 1e-6);
        }
    }
}

#[test]
fn samples_are_those_of_which_the_statement_is_true() {
    let (flow, count) = (DiscreteFlow::new(3, 4.0).unwrap(), 6000);
    let like = tensor(&[count, 1, 3], &vec![0.0; 3 * count]);
    let steered = Steered::new(&flow, gradient, 1.0);
    let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(posterior(theta, &row(&WEIGHTS).ln()));
    let joint = [0, 1, 2].map(|k: usize| WEIGHTS[k] * LIKELIHOODS[k]);
    let expected = joint.map(|p| p / joint.iter().sum::<f64>());
    for solver in [Solver::Sde1, Solver::Sde2] {
        let sampler = Sampler::new(solver, Grid::uniform(150).unwrap()).unwrap();
        let mut noise = source(321);
        let Ok(sample) = sampler.sample(&steered, &like, &mut noise, predict, |_| Ok(()));
        // The last prediction ignores the statement, which is added here. θ decides nearly everything by then.
        let drawn = Logits(sample.theta.0 + row(&LIKELIHOODS).ln());
        assert_frequencies(&posterior(&drawn, &row(&WEIGHTS).ln()).draw(&mut noise).to_vec(), &expected);
    }
}

#[test]
fn a_weight_of_nothing_changes_nothing() {
    let flow = ContinuousFlow::new(0.1, DENSITY).unwrap();
    let like = tensor(&[5, 1], &[0.0; 5]);
    let mixture = Mixture::two();
    let predict = |theta: &Belief<Nd>, _: f64| Ok::<_, Infallible>(mixture.predict(theta));
    let score = |theta: &Belief<Nd>, _: f64| theta.mu.full_like(3.0);
    let values = |weight: f64| {
        let sampler = Sampler::new(Solver::Ode2, Grid::uniform_from(0.1, 8).unwrap()).unwrap();
        let steered = Steered::new(&flow, score, weight);
        let Ok(sample) = sampler.sample(&steered, &like, &mut source(322), predict, |_| Ok(()));
        sample.theta.mu.to_values()
    };
    let sampler = Sampler::new(Solver::Ode2, Grid::uniform_from(0.1, 8).unwrap()).unwrap();
    let Ok(plain) = sampler.sample(&flow, &like, &mut source(322), predict, |_| Ok(()));
    assert_eq!(values(0.0), plain.theta.mu.to_values());
    assert!(values(1.0).iter().zip(plain.theta.mu.to_values()).all(|(moved, plain)| *moved > plain));
}
