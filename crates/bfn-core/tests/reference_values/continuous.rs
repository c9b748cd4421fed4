//! Continuous data.

use bfn_core::continuous::{Belief, Reconstruction};
use bfn_core::distribution::Probability;
use bfn_core::{BayesianFlow, ContinuousFlow, Nd, Schedule, Tensor};

use crate::file::Reference;
use crate::{TOLERANCE, assert_close, assert_close_above_floor};

#[test]
fn continuous_data_of_256_bins() {
    check(&Reference::open("equations/continuous_256"), 1.0);
}

#[test]
fn continuous_data_of_16_bins() {
    check(&Reference::open("equations/continuous_16"), 0.7);
}

/// Compares a flow with the reference; `relative_deviation` is the deviation of the last message in units of σ₁.
fn check(reference: &Reference, relative_deviation: f64) {
    let sigma_1 = reference.setting("sigma1_squared").sqrt();
    let bins = reference.count("bins");
    let deviation = relative_deviation * sigma_1;
    let flow_with =
        |probability| ContinuousFlow::new(sigma_1, Reconstruction::Bins { bins, deviation, probability }).unwrap();
    let flow = flow_with(Probability::Floor);
    let (x, t, net) = (reference.tensor("x"), reference.tensor("t"), reference.tensor("net"));

    let theta = BayesianFlow::<Nd>::flow(&flow, &x, &t, &reference.tensor("eps"));
    assert_close("mu", &theta.mu, &reference.tensor("mu"), TOLERANCE);

    let n = reference.count("n_steps");
    let alphas: Vec<f64> = (0..n).map(|i| accuracy(&flow, i, n)).collect();
    assert_close("alphas", &x.from_values_like(&[n], &alphas), &reference.tensor("alphas"), TOLERANCE);

    let prior = Belief { mu: reference.tensor("mu"), rho: x.full(&[1], reference.number("rho")) };
    let alpha = alphas[reference.count("update_alpha_index") - 1];
    let updated = flow.update(&prior, &reference.tensor("y"), alpha);
    assert_close("updated_mu", &updated.mu, &reference.tensor("updated_mu"), TOLERANCE);
    let updated_rho = x.full(&[1], reference.number("updated_rho"));
    assert_close("updated_rho", &updated.rho, &updated_rho, TOLERANCE);

    let output = flow.output(&theta, &net, &t);
    assert_close("x_hat", &output.x_hat, &reference.tensor("x_hat"), TOLERANCE);
    let loss = flow.loss_continuous_time(&x, &output, &t);
    assert_close("loss_continuous_time", &loss, &reference.tensor("loss_continuous_time"), TOLERANCE);

    let t_n = reference.tensor("t_n");
    let theta_n = Belief { mu: reference.tensor("mu_n"), rho: theta.rho.clone() };
    let output_n = flow.output(&theta_n, &net, &t_n);
    let alpha_n = flow.schedule().step_accuracy(&t_n, &(&t_n + 1.0 / n as f64));
    let loss = flow.loss_step(&x, &output_n, &alpha_n, &x.full_like(0.0)) * n as f64;
    assert_close("loss_n_step", &loss, &reference.tensor("loss_n_step"), TOLERANCE);

    let last = flow.output(&theta, &net, &t.full_like(1.0));
    let expected = reference.tensor("reconstruction");
    let floored: Tensor = flow.loss_reconstruction(&x, &last);
    assert_close("reconstruction", &floored, &expected, TOLERANCE);
    let exact = flow_with(Probability::Exact).loss_reconstruction(&x, &last);
    let compared = assert_close_above_floor("exact reconstruction", &exact, &expected, &(-&exact).exp());
    assert!(compared > 0, "no probability of the file lies above the floor");
}

/// Computes α_i of the uniform grid, where i counts from 0.
fn accuracy(flow: &ContinuousFlow, i: usize, n: usize) -> f64 {
    BayesianFlow::<Nd>::step_accuracy(flow, i as f64 / n as f64, (i + 1) as f64 / n as f64)
}
