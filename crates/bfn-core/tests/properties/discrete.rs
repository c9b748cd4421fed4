//! Discrete data.

use bfn_core::discrete::{Logits, log_ratio, send, update};
use bfn_core::distribution::Categorical;
use bfn_core::special::normal_cdf;
use bfn_core::{BayesianFlow, DiscreteFlow, FiniteDistribution, Nd, NoiseSource};
use proptest::prelude::*;

use crate::statistics::{assert_follows, source};
use crate::{assert_close, distribution, indices, noise, row, tensor};

/// Generates one variable of K classes: the class, K numbers of noise and K probabilities.
fn variable() -> impl Strategy<Value = (usize, Vec<f64>, Vec<f64>)> {
    (2..30_usize).prop_flat_map(|classes| (0..classes, noise(classes), distribution(classes)))
}

fn categorical(probabilities: &[f64]) -> Categorical<Nd> {
    let logits: Vec<f64> = probabilities.iter().map(|p| p.ln()).collect();
    Categorical::from_logits(&tensor(&[1, logits.len()], &logits))
}

/// Computes ln N(y; α(K e_k − 1), αK I) over all K dimensions.
fn ln_density(y: &[f64], k: usize, alpha: f64) -> f64 {
    let classes = y.len() as f64;
    let term = |(j, y): (usize, &f64)| {
        let mean = alpha * (if j == k { classes - 1.0 } else { -1.0 });
        -(y - mean).powi(2) / (2.0 * alpha * classes) - 0.5 * (2.0 * std::f64::consts::PI * alpha * classes).ln()
    };
    y.iter().enumerate().map(term).sum()
}

/// Computes ln Σ_k p_k N(y; α(K e_k − 1), αK I), the joint mixture.
fn ln_receiver(y: &[f64], probabilities: &[f64], alpha: f64) -> f64 {
    let terms: Vec<f64> = probabilities.iter().enumerate().map(|(k, p)| p.ln() + ln_density(y, k, alpha)).collect();
    let peak = terms.iter().copied().fold(f64::MIN, f64::max);
    peak + terms.iter().map(|term| (term - peak).exp()).sum::<f64>().ln()
}

proptest! {
    #[test]
    fn updates_are_additive(z in noise(5), y_a in noise(5), y_b in noise(5)) {
        let z = Logits(row(&z));
        let (y_a, y_b) = (row(&y_a), row(&y_b));
        let twice = update(&update(&z, &y_a), &y_b);
        let once = update(&z, &(&y_a + &y_b));
        assert_close(&twice.0.to_values(), &once.0.to_values(), 1e-14);
    }

    #[test]
    fn an_update_is_bayes_rule((x, epsilon, theta) in variable(), alpha in 0.01..2.0_f64) {
        // θ'_k ∝ θ_k p_S(y | k; α).
        let classes = theta.len();
        let y = send(&indices(&[1], &[x]), &row(&[alpha]), &tensor(&[1, classes], &epsilon));
        let logits: Vec<f64> = theta.iter().map(|p| p.ln()).collect();
        let found = update(&Logits(tensor(&[1, classes], &logits)), &y).probabilities();
        let y = y.to_values();
        let evidence = ln_receiver(&y, &theta, alpha);
        let expected: Vec<f64> =
            theta.iter().enumerate().map(|(k, p)| (p.ln() + ln_density(&y, k, alpha) - evidence).exp()).collect();
        assert_close(&found.to_values(), &expected, 1e-9);
    }

    #[test]
    fn logits_that_differ_by_a_constant_are_one_belief(z in noise(6), shift in -50.0..50.0_f64) {
        let z = tensor(&[1, 6], &z);
        let found = Logits(&z + shift).probabilities();
        assert_close(&found.to_values(), &Logits(z).probabilities().to_values(), 1e-13);
    }

    #[test]
    fn messages_have_the_papers_mean_and_deviation((x, epsilon, _) in variable(), alpha in 0.01..20.0_f64) {
        let classes = epsilon.len();
        let y = send(&indices(&[1], &[x]), &row(&[alpha]), &tensor(&[1, classes], &epsilon));
        let k = classes as f64;
        let expected: Vec<f64> = epsilon
            .iter()
            .enumerate()
            .map(|(j, e)| alpha * (k * f64::from(u8::from(j == x)) - 1.0) + (alpha * k).sqrt() * e)
            .collect();
        assert_close(&y.to_values(), &expected, 1e-13);
    }

    #[test]
    fn the_flow_at_time_0_is_the_uniform_prior((x, epsilon, _) in variable(), beta_1 in 0.01..20.0_f64) {
        let classes = epsilon.len();
        let flow = DiscreteFlow::new(classes, beta_1).unwrap();
        let noise = tensor(&[1, classes], &epsilon);
        let start = BayesianFlow::<Nd>::flow(&flow, &indices(&[1], &[x]), &row(&[0.0]), &noise);
        assert_close(&start.0.to_values(), &flow.prior(&noise).0.to_values(), 0.0);
        assert_close(&start.probabilities().to_values(), &vec![1.0 / classes as f64; classes], 1e-15);
    }

    #[test]
    fn the_log_ratio_is_that_of_the_densities((x, epsilon, p_o) in variable(), alpha in 0.01..5.0_f64) {
        let classes = epsilon.len();
        let x_index = indices(&[1], &[x]);
        let y = send(&x_index, &row(&[alpha]), &tensor(&[1, classes], &epsilon));
        let found = log_ratio(&x_index, &y, &categorical(&p_o).log_probabilities()).to_values()[0];
        let y = y.to_values();
        let expected = ln_density(&y, x, alpha) - ln_receiver(&y, &p_o, alpha);
        prop_assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} instead of {expected}");
    }

    #[test]
    fn the_step_loss_is_the_log_ratio_of_a_message((x, epsilon, p_o) in variable(), alpha in 0.01..5.0_f64) {
        let classes = epsilon.len();
        let flow = DiscreteFlow::new(classes, 1.0).unwrap();
        let (x, alpha, noise) = (indices(&[1], &[x]), row(&[alpha]), tensor(&[1, classes], &epsilon));
        let output = categorical(&p_o);
        let found = flow.loss_step(&x, &output, &alpha, &noise);
        let message = send(&x, &alpha, &noise);
        let expected = log_ratio(&x, &message, &output.log_probabilities());
        // The ratio is a difference of numbers as large as the message.
        let largest = message.to_values().iter().fold(1.0, |largest: f64, y| largest.max(y.abs()));
        assert_close(&found.to_values(), &expected.to_values(), 1e-15 * largest + 1e-14);
    }

    #[test]
    fn the_continuous_time_loss_is_a_squared_distance((x, _, p_o) in variable(), beta_1 in 0.01..20.0_f64, t in 0.0..=1.0_f64) {
        let classes = p_o.len();
        let flow = DiscreteFlow::new(classes, beta_1).unwrap();
        let found = flow.loss_continuous_time(&indices(&[1], &[x]), &categorical(&p_o), &row(&[t])).to_values()[0];
        let distance: f64 = p_o.iter().enumerate().map(|(k, p)| (f64::from(u8::from(k == x)) - p).powi(2)).sum();
        let expected = classes as f64 * beta_1 * t * distance;
        prop_assert!((found - expected).abs() < 1e-12 * expected.max(1.0), "{found} instead of {expected}");
    }

    #[test]
    fn certainty_costs_nothing(x in 0..4_usize, epsilon in noise(4), alpha in 0.01..5.0_f64) {
        let flow = DiscreteFlow::new(4, 1.0).unwrap();
        let mut logits = [0.0; 4];
        logits[x] = 1e3;
        let output = Categorical::from_logits(&tensor(&[1, 4], &logits));
        let x = indices(&[1], &[x]);
        let step = flow.loss_step(&x, &output, &row(&[alpha]), &tensor(&[1, 4], &epsilon));
        assert_close(&step.to_values(), &[0.0], 1e-12);
        assert_close(&flow.loss_continuous_time(&x, &output, &row(&[0.5])).to_values(), &[0.0], 1e-12);
        assert_close(&flow.loss_reconstruction(&x, &output).to_values(), &[0.0], 1e-12);
    }

    #[test]
    fn two_classes_need_one_logit(logit in -30.0..30.0_f64, z in noise(2)) {
        let flow = DiscreteFlow::new(2, 1.0).unwrap();
        let theta = Logits(tensor(&[1, 2], &z));
        let output = flow.output(&theta, &tensor(&[1, 1], &[logit]), &row(&[0.5]));
        let one = 1.0 / (1.0 + (-logit).exp());
        assert_close(&output.probabilities().to_values(), &[1.0 - one, one], 1e-13);
        let zero = theta.probabilities().to_values()[0];
        assert_close(&flow.network_input(&theta).to_values(), &[2.0 * zero - 1.0], 1e-15);
    }
}

#[test]
fn the_expected_step_loss_is_the_divergence_of_the_densities() {
    // For K = 2, ∫ p_S ln(p_S/p_R) d²y on a grid of explicit densities is the mean of the loss over its noise.
    let flow = DiscreteFlow::new(2, 1.0).unwrap();
    for (x, p, alpha) in [(0, 0.3, 0.2), (1, 0.3, 0.2), (0, 0.9, 1.5), (1, 0.95, 0.7)] {
        let p_o = [p, 1.0 - p];
        let deviation = (2.0_f64 * alpha).sqrt();
        let side: Vec<f64> = (-140..=140).map(|i| f64::from(i) * 0.1 * deviation).collect();
        let cell = (0.1 * deviation).powi(2);
        let mut expected = 0.0;
        for y_0 in &side {
            for y_1 in &side {
                let y = [*y_0, *y_1];
                let sender = ln_density(&y, x, alpha);
                expected += cell * sender.exp() * (sender - ln_receiver(&y, &p_o, alpha));
            }
        }
        // The ratio depends on y only through y₁ − y₀, whose noise is √2 times a standard normal.
        let nodes = crate::statistics::normal_nodes();
        let half = 0.5_f64.sqrt();
        let epsilon: Vec<f64> = nodes.iter().flat_map(|node| [-half * node.at, half * node.at]).collect();
        let count = nodes.len();
        let output = Categorical::from_logits(&(tensor(&[count, 2], &vec![0.0; 2 * count]) + row(&p_o).ln()));
        let alpha = row(&[alpha]);
        let losses =
            flow.loss_step(&indices(&[count], &vec![x; count]), &output, &alpha, &tensor(&[count, 2], &epsilon));
        let found: f64 = losses.to_values().iter().zip(&nodes).map(|(loss, node)| loss * node.weight).sum();
        assert!((found - expected).abs() < 1e-8, "x = {x}, p = {p}: {found} instead of {expected}");
    }
}

#[test]
fn updates_with_sender_messages_have_the_flow_distribution() {
    let (classes, count, x) = (3, 4000, 1);
    let flow = DiscreteFlow::new(classes, 2.0).unwrap();
    let like = tensor(&[count, classes], &vec![0.0; count * classes]);
    let data = indices(&[count], &vec![x; count]);
    let mut source = source(21);
    let mut theta = flow.prior(&like);
    for pair in [0.0, 0.2, 0.35, 0.6, 0.8].windows(2) {
        let alpha = flow.step_accuracy(pair[0], pair[1]);
        let y = flow.send(&data, &row(&[alpha]), &source.normal(&like));
        theta = flow.update(&theta, &y, alpha);
    }
    let direct = flow.flow(&data, &row(&[0.8]), &source.normal(&like));
    let beta = 2.0 * 0.64;
    let deviation = (beta * classes as f64).sqrt();
    for logits in [theta.0, direct.0] {
        for k in 0..classes {
            let mean = beta * (if k == x { 2.0 } else { -1.0 });
            assert_follows(&logits.select_last(k).to_values(), |z| normal_cdf((z - mean) / deviation));
        }
        // The components are independent, so a difference has twice the variance.
        let difference = logits.select_last(1) - logits.select_last(0);
        let cdf = |z: f64| normal_cdf((z - 3.0 * beta) / (deviation * 2.0_f64.sqrt()));
        assert_follows(&difference.to_values(), cdf);
    }
}
