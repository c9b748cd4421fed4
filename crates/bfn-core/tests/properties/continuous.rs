//! Continuous data.

use bfn_core::continuous::{Belief, Reconstruction, flow, send, update};
use bfn_core::distribution::Delta;
use bfn_core::special::normal_cdf;
use bfn_core::{BayesianFlow, ContinuousFlow, ExponentialSchedule, Nd, NoiseSource, Schedule, Tensor};
use proptest::prelude::*;

use crate::statistics::{assert_follows, normal_nodes, source};
use crate::{assert_close, noise, row, sigma_1};

fn flow_of(sigma_1: f64) -> ContinuousFlow {
    ContinuousFlow::new(sigma_1, Reconstruction::Density { deviation: sigma_1 }).unwrap()
}

fn belief(mu: &[f64], rho: f64) -> Belief<Nd> {
    Belief { mu: row(mu), rho: row(&[rho]) }
}

proptest! {
    #[test]
    fn updates_are_additive(
        mu in noise(4), y_a in noise(4), y_b in noise(4),
        rho in 1.0..100.0_f64, alpha_a in 0.01..100.0_f64, alpha_b in 0.01..100.0_f64,
    ) {
        let prior = belief(&mu, rho);
        let (y_a, y_b) = (row(&y_a), row(&y_b));
        let twice = update(&update(&prior, &y_a, alpha_a), &y_b, alpha_b);
        let joint = (alpha_a * &y_a + alpha_b * &y_b) / (alpha_a + alpha_b);
        let once = update(&prior, &joint, alpha_a + alpha_b);
        assert_close(&twice.mu.to_values(), &once.mu.to_values(), 1e-12);
        assert_close(&twice.rho.to_values(), &once.rho.to_values(), 1e-12);
    }

    #[test]
    fn an_update_is_bayes_rule(mu in -2.0..2.0_f64, y in -2.0..2.0_f64, rho in 1.0..50.0_f64, alpha in 0.1..50.0_f64) {
        // ln posterior − ln prior − ln likelihood must not depend on x.
        let updated = update(&belief(&[mu], rho), &row(&[y]), alpha);
        let (mu_1, rho_1) = (updated.mu.to_values()[0], updated.rho.to_values()[0]);
        let difference = |x: f64| {
            let square = |precision: f64, mean: f64| precision * (x - mean) * (x - mean);
            square(rho_1, mu_1) - square(rho, mu) - square(alpha, y)
        };
        prop_assert!((difference(0.7) - difference(-1.3)).abs() < 1e-10);
    }

    #[test]
    fn the_flow_at_time_0_is_the_prior(sigma_1 in sigma_1(), x in noise(5), epsilon in noise(5)) {
        let start = BayesianFlow::<Nd>::flow(&flow_of(sigma_1), &row(&x), &row(&[0.0]), &row(&epsilon));
        let prior = flow_of(sigma_1).prior(&row(&x));
        assert_eq!(start.mu.to_values(), prior.mu.to_values());
        assert_eq!(start.rho.to_values(), prior.rho.to_values());
    }

    #[test]
    fn the_flow_at_time_1_has_deviation_sigma_1(sigma_1 in sigma_1(), x in noise(5), epsilon in noise(5)) {
        let end = BayesianFlow::<Nd>::flow(&flow_of(sigma_1), &row(&x), &row(&[1.0]), &row(&epsilon));
        let gamma = 1.0 - sigma_1 * sigma_1;
        let expected: Vec<f64> = x.iter().zip(&epsilon).map(|(x, e)| gamma * x + gamma.sqrt() * sigma_1 * e).collect();
        assert_close(&end.mu.to_values(), &expected, 1e-13);
        prop_assert!((end.rho.to_values()[0] * sigma_1 * sigma_1 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_true_noise_predicts_the_data(
        sigma_1 in sigma_1(), t in 1e-6..=1.0_f64, x in prop::collection::vec(-1.0..1.0_f64, 4), epsilon in noise(4),
    ) {
        let flow = flow_of(sigma_1);
        let (x, t, epsilon) = (row(&x), row(&[t]), row(&epsilon));
        let theta = BayesianFlow::<Nd>::flow(&flow, &x, &t, &epsilon);
        let x_hat = flow.output(&theta, &epsilon.unsqueeze_last(), &t).x_hat;
        // The rounding error of μ grows by the factor 1/γ.
        let gamma = flow.schedule().gamma(&t.to_values()[0]);
        assert_close(&x_hat.to_values(), &x.to_values(), 1e-14 + 1e-15 / gamma);
    }

    #[test]
    fn predictions_lie_in_the_data_range(sigma_1 in sigma_1(), t in 0.0..=1.0_f64, mu in noise(4), net in noise(4)) {
        let theta = Belief { mu: row(&mu), rho: row(&[1.0]) };
        let output = flow_of(sigma_1).output(&theta, &row(&net).unsqueeze_last(), &row(&[t]));
        prop_assert!(output.x_hat.to_values().iter().all(|x| (-1.0..=1.0).contains(x)));
    }

    #[test]
    fn the_step_loss_is_the_divergence_of_two_normals(x in -1.0..1.0_f64, x_hat in -1.0..1.0_f64, alpha in 0.01..50.0_f64) {
        let output = Delta { x_hat: row(&[x_hat]) };
        let found = flow_of(0.1).loss_step(&row(&[x]), &output, &row(&[alpha]), &row(&[0.0])).to_values()[0];
        // The expectation over y = x + ε/√α of ln N(y; x, 1/α) − ln N(y; x̂, 1/α).
        let ratio = |e: f64| 0.5 * (alpha.sqrt() * (x - x_hat) + e).powi(2) - 0.5 * e * e;
        let expected: f64 = normal_nodes().iter().map(|node| node.weight * ratio(node.at)).sum();
        prop_assert!((found - expected).abs() < 1e-10 * expected.max(1.0), "{found} instead of {expected}");
    }

    #[test]
    fn the_continuous_time_loss_is_the_papers(sigma_1 in sigma_1(), t in 0.0..=1.0_f64, x in -1.0..1.0_f64, x_hat in -1.0..1.0_f64) {
        let output = Delta { x_hat: row(&[x_hat]) };
        let found = flow_of(sigma_1).loss_continuous_time(&row(&[x]), &output, &row(&[t])).to_values()[0];
        let expected = -sigma_1.ln() * sigma_1.powf(-2.0 * t) * (x - x_hat).powi(2);
        prop_assert!((found - expected).abs() <= 1e-12 * expected, "{found} instead of {expected}");
    }

    #[test]
    fn the_density_reconstruction_is_a_normal(x in -1.0..1.0_f64, x_hat in -1.0..1.0_f64, deviation in 0.1..2.0_f64) {
        let flow = ContinuousFlow::new(0.1, Reconstruction::Density { deviation }).unwrap();
        let found = flow.loss_reconstruction(&row(&[x]), &Delta { x_hat: row(&[x_hat]) }).to_values()[0];
        let z = (x - x_hat) / deviation;
        let density = (-0.5 * z * z).exp() / (deviation * (2.0 * std::f64::consts::PI).sqrt());
        prop_assert!((found + density.ln()).abs() < 1e-10 * found.abs().max(1.0));
    }
}

#[test]
fn before_t_min_the_prediction_is_the_priors_mean() {
    let theta = Belief { mu: row(&[0.3, -0.2]), rho: row(&[1.0]) };
    let net = row(&[2.0, -3.0]).unsqueeze_last();
    let output = flow_of(0.001).output(&theta, &net, &row(&[0.0, 0.9e-6]));
    assert_eq!(output.x_hat.to_values(), [0.0, 0.0]);
}

#[test]
fn updates_with_sender_messages_have_the_flow_distribution() {
    let schedule = ExponentialSchedule::new(0.1).unwrap();
    let count = 4000;
    let x: Tensor = row(&vec![0.6; count]);
    let mut source = source(11);
    let grid = [0.0, 0.1, 0.15, 0.4, 0.7];
    let mut theta = Belief { mu: x.full_like(0.0), rho: row(&[1.0]) };
    for pair in grid.windows(2) {
        let alpha = schedule.step_accuracy(&pair[0], &pair[1]);
        let y = send(&x, &row(&[alpha]), &source.normal(&x));
        theta = update(&theta, &y, alpha);
    }
    let gamma = schedule.gamma(&0.7);
    let cdf = |mu: f64| normal_cdf((mu - gamma * 0.6) / (gamma * (1.0 - gamma)).sqrt());
    assert_follows(&theta.mu.to_values(), cdf);
    let direct = flow(&schedule, &x, &row(&[0.7]), &source.normal(&x));
    assert_follows(&direct.mu.to_values(), cdf);
    assert_close(&theta.rho.to_values(), &direct.rho.to_values(), 1e-12);
}

#[test]
fn messages_have_the_senders_distribution() {
    let x: Tensor = row(&vec![-0.4; 4000]);
    let y = send(&x, &row(&[9.0]), &source(12).normal(&x));
    assert_follows(&y.to_values(), |y| normal_cdf((y + 0.4) * 3.0));
}
