//! Discretised data with normal and mixture output distributions.

use bfn_core::continuous::Belief;
use bfn_core::distribution::{BinDistribution, Probability, RealValued, bin, centre};
use bfn_core::head::{BinHead, MixtureHead, NormalHead};
use bfn_core::{BayesianFlow, DiscretisedFlow, FiniteDistribution, Nd, OutputDistribution, Schedule};

use crate::file::{Reference, mean, mean_over_dimensions};
use crate::{TOLERANCE, assert_close, assert_close_above_floor};

/// The tolerance of the n-step loss: the file's receiver clamps probabilities at 2.2e−16, the exact one does not.
const N_STEP_TOLERANCE: f64 = 1e-8;

#[test]
fn discretised_data_of_256_bins() {
    check(&Reference::open("equations/discretised_normal_256"), NormalHead);
}

#[test]
fn discretised_data_of_16_bins() {
    check(&Reference::open("equations/discretised_normal_16"), NormalHead);
}

#[test]
fn discretised_data_of_256_bins_with_a_mixture() {
    check_mixture(&Reference::open("equations/discretised_gmm_256"));
}

#[test]
fn discretised_data_of_16_bins_with_a_mixture() {
    check_mixture(&Reference::open("equations/discretised_gmm_16"));
}

fn check_mixture(reference: &Reference) {
    check(reference, MixtureHead::new(reference.count("components")).unwrap());
}

fn check<H>(reference: &Reference, head: H)
where
    H: BinHead<Nd> + Clone,
    H::Output: BinDistribution<Nd>,
{
    let bins = reference.count("bins");
    let flow = DiscretisedFlow::new(bins, reference.setting("sigma1_squared").sqrt()).unwrap().with_head(head);
    let floored = flow.clone().with_probability(Probability::Floor);
    let (t, net) = (reference.tensor("t"), reference.tensor("net"));
    let x = bin(&reference.tensor("x"), bins);
    assert_close("centres", &centre(&x.to_reals(&t), bins), &reference.tensor("x"), TOLERANCE);

    let theta = BayesianFlow::<Nd>::flow(&flow, &x, &t, &reference.tensor("eps"));
    assert_close("mu", &theta.mu, &reference.tensor("mu"), TOLERANCE);

    let n = reference.count("n_steps");
    let time = |i: usize| i as f64 / n as f64;
    let alphas: Vec<f64> = (0..n).map(|i| flow.step_accuracy(time(i), time(i + 1))).collect();
    assert_close("alphas", &t.from_values_like(&[n], &alphas), &reference.tensor("alphas"), TOLERANCE);

    let prior = Belief { mu: reference.tensor("mu"), rho: t.full(&[1], reference.number("rho")) };
    let updated = flow.update(&prior, &reference.tensor("y"), alphas[2]);
    assert_close("updated_mu", &updated.mu, &reference.tensor("updated_mu"), TOLERANCE);
    let updated_rho = t.full(&[1], reference.number("updated_rho"));
    assert_close("updated_rho", &updated.rho, &updated_rho, TOLERANCE);

    let output = flow.output(&theta, &net, &t);
    assert_close("probabilities", &output.probabilities(), &reference.tensor("probabilities"), TOLERANCE);
    assert_close("x_hat", &output.mean(), &reference.tensor("x_hat"), TOLERANCE);
    let loss = flow.loss_continuous_time(&x, &output, &t);
    assert_close("loss_continuous_time", &loss, &reference.tensor("loss_continuous_time"), TOLERANCE);

    let expected = reference.tensor("log_prob");
    assert_close("log_prob", &floored.output(&theta, &net, &t).log_prob(&x), &expected, TOLERANCE);
    let exact = output.log_prob(&x);
    let compared = assert_close_above_floor("exact log_prob", &exact, &expected, &exact.exp());
    assert!(compared > 0, "no probability of the file lies above the floor");

    let last = t.full_like(1.0);
    let expected = reference.tensor("reconstruction");
    let loss = floored.loss_reconstruction(&x, &floored.output(&theta, &net, &last));
    assert_close("reconstruction", &loss, &expected, TOLERANCE);
    let exact = flow.loss_reconstruction(&x, &flow.output(&theta, &net, &last));
    assert_close_above_floor("exact reconstruction", &exact, &expected, &(-&exact).exp());

    let t_n = reference.tensor("t_n");
    let theta_n = Belief { mu: reference.tensor("mu_n"), rho: theta.rho.clone() };
    let output_n = flow.output(&theta_n, &net, &t_n);
    assert_close("probabilities_n", &output_n.probabilities(), &reference.tensor("probabilities_n"), TOLERANCE);
    let alpha_n = flow.schedule().step_accuracy(&t_n, &(&t_n + 1.0 / n as f64));
    let samples = reference.rows("sender_eps");
    let losses: Vec<_> = samples.iter().map(|noise| flow.loss_step(&x, &output_n, &alpha_n, noise)).collect();
    let loss = mean_over_dimensions(&mean(&losses)) * n as f64;
    let expected = reference.tensor("loss_n_step_mean_over_dims");
    assert_close("loss_n_step", &loss, &expected, N_STEP_TOLERANCE);
}
