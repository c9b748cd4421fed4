//! The identity that holds exactly on every trajectory. With one variable, the exact posterior predictor of a finite
//! mixture and the joint receiver, Σ_i ln p_S/p_R − ln p_O(x | θ_n) = −ln p(x).

use std::ops::Range;

use bfn_core::continuous::{self, Belief};
use bfn_core::discrete::Readout;
use bfn_core::distribution::{Categorical, centre};
use bfn_core::{BayesianFlow, DiscreteFlow, DiscretisedFlow, Nd, OutputDistribution, Tensor, discretised};
use proptest::prelude::*;

use crate::{distribution, indices, row, tensor};

const STEPS: usize = 12;

/// A mixture of K values, the value that is sent, and the noise of the messages.
#[derive(Debug, Clone)]
struct Exchange {
    weights: Vec<f64>,
    x: usize,
    grid: Vec<f64>,
    noise: Vec<Vec<f64>>,
}

fn exchange(classes: Range<usize>, noise_per_class: bool) -> impl Strategy<Value = Exchange> {
    (classes, 1..STEPS).prop_flat_map(move |(classes, steps)| {
        let numbers = if noise_per_class { classes } else { 1 };
        let grid = prop::collection::vec(0.0..1.0_f64, steps - 1).prop_map(|mut times| {
            times.extend([0.0, 1.0]);
            times.sort_by(f64::total_cmp);
            times
        });
        let noise = prop::collection::vec(prop::collection::vec(-4.0..4.0_f64, numbers), steps);
        (distribution(classes), 0..classes, grid, noise).prop_map(|(weights, x, grid, noise)| Exchange {
            weights,
            x,
            grid,
            noise,
        })
    })
}

impl Exchange {
    fn assert_total(&self, total: f64) {
        let expected = -self.weights[self.x].ln();
        assert!((total - expected).abs() < 1e-9, "the message is {total} nats long, −ln p(x) is {expected}");
    }

    fn ln_weights(&self) -> Tensor {
        let values: Vec<f64> = self.weights.iter().map(|p| p.ln()).collect();
        tensor(&[1, values.len()], &values)
    }

    /// Computes the losses of the messages and of the reconstruction of discrete data.
    ///
    /// The network knows p(x = k | θ) ∝ p(k) e^(z_k). It outputs the logits of this posterior, or only ln p(k) if the
    /// readout adds the information in θ.
    fn discrete_total(&self, beta_1: f64, readout: Readout) -> f64 {
        let classes = self.weights.len();
        let flow = DiscreteFlow::new(classes, beta_1).unwrap().with_readout(readout);
        let x = indices(&[1], &[self.x]);
        let predict = |z: &Tensor| {
            let logits = match readout {
                Readout::Direct => self.ln_weights() + z,
                Readout::Posterior => self.ln_weights(),
            };
            // For two classes, the network outputs one logit.
            let logits = if classes == 2 { logits.select_last(1) - logits.select_last(0) } else { logits };
            logits.reshape(&[1, flow.outputs_per_variable()])
        };
        let mut theta = flow.prior(&tensor(&[1, classes], &vec![0.0; classes]));
        let mut total = 0.0;
        for (times, epsilon) in self.grid.windows(2).zip(&self.noise) {
            let alpha = flow.step_accuracy(times[0], times[1]);
            let output = flow.output(&theta, &predict(&theta.0), &row(&[times[0]]));
            let (epsilon, alpha_row) = (tensor(&[1, classes], epsilon), row(&[alpha]));
            total += flow.loss_step(&x, &output, &alpha_row, &epsilon).to_values()[0];
            theta = flow.update(&theta, &flow.send(&x, &alpha_row, &epsilon), alpha);
        }
        let output = flow.output(&theta, &predict(&theta.0), &row(&[1.0]));
        total + flow.loss_reconstruction(&x, &output).to_values()[0]
    }
}

proptest! {
    #[test]
    fn discrete_data(exchange in exchange(2..12, true), beta_1 in 0.01..10.0_f64) {
        exchange.assert_total(exchange.discrete_total(beta_1, Readout::Direct));
    }

    #[test]
    fn discrete_data_by_the_posterior_readout(exchange in exchange(3..12, true), beta_1 in 0.01..10.0_f64) {
        exchange.assert_total(exchange.discrete_total(beta_1, Readout::Posterior));
    }

    #[test]
    fn two_classes_by_either_readout(exchange in exchange(2..3, true), beta_1 in 0.01..10.0_f64) {
        for readout in [Readout::Direct, Readout::Posterior] {
            exchange.assert_total(exchange.discrete_total(beta_1, readout));
        }
    }

    #[test]
    fn discretised_data(exchange in exchange(2..12, false), sigma_1 in 0.05..0.9_f64) {
        let bins = exchange.weights.len();
        let flow = DiscretisedFlow::new(bins, sigma_1).unwrap();
        let x_index = indices(&[1], &[exchange.x]);
        let every: Vec<f64> = (0..bins).map(|k| k as f64).collect();
        let centres = centre(&row(&every), bins);
        let x = row(&[centres.to_values()[exchange.x]]);
        // p(x = k | θ) ∝ p(k) exp(ρ μ k_c − β k_c²/2) for messages of total accuracy β = ρ − 1 and sum ρ μ.
        let predict = |theta: &Belief<Nd>| {
            let sum = (&theta.rho * &theta.mu).unsqueeze_last();
            let beta = (&theta.rho - 1.0).unsqueeze_last();
            Categorical::from_logits(&(exchange.ln_weights() + sum * &centres - beta * centres.square() * 0.5))
        };
        let mut theta = BayesianFlow::<Nd>::prior(&flow, &row(&[0.0]));
        let mut total = 0.0;
        for (times, epsilon) in exchange.grid.windows(2).zip(&exchange.noise) {
            let alpha = flow.step_accuracy(times[0], times[1]);
            if alpha == 0.0 {
                continue;
            }
            let (epsilon, alpha_row) = (row(epsilon), row(&[alpha]));
            let probabilities = bfn_core::FiniteDistribution::log_probabilities(&predict(&theta));
            total += discretised::log_ratio(&x, &alpha_row, &epsilon, &probabilities).to_values()[0];
            theta = flow.update(&theta, &flow.send(&x_index, &alpha_row, &epsilon), alpha);
        }
        total -= predict(&theta).log_prob(&x_index).to_values()[0];
        exchange.assert_total(total);
    }

    #[test]
    fn the_posterior_of_the_flow_is_bayes_rule(sigma_1 in 0.05..0.9_f64, t in 0.01..=1.0_f64, epsilon in -4.0..4.0_f64) {
        // The predictor above relies on this: ln p_F(μ | k; t) = ρ μ k_c − β k_c²/2 + a term without k.
        let schedule = bfn_core::ExponentialSchedule::new(sigma_1).unwrap();
        let theta = continuous::flow(&schedule, &row(&[0.3]), &row(&[t]), &row(&[epsilon]));
        let (mu, rho) = (theta.mu.to_values()[0], theta.rho.to_values()[0]);
        let gamma = 1.0 - 1.0 / rho;
        let ln_flow = |k_c: f64| -(mu - gamma * k_c).powi(2) / (2.0 * gamma * (1.0 - gamma));
        let logit = |k_c: f64| rho * mu * k_c - 0.5 * (rho - 1.0) * k_c * k_c;
        let difference = (ln_flow(0.5) - ln_flow(-0.75)) - (logit(0.5) - logit(-0.75));
        prop_assert!(difference.abs() < 1e-9 * rho.max(1.0), "differs by {difference}");
    }
}
