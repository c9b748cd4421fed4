//! Discrete data, with the joint mixture receiver and the published factorised one.

use bfn_core::discrete::{Logits, Receiver};
use bfn_core::{BayesianFlow, DiscreteFlow, FiniteDistribution, Nd, Schedule};

use crate::file::{Reference, mean, mean_over_dimensions};
use crate::{TOLERANCE, assert_close};

#[test]
fn discrete_data_of_2_classes() {
    check(&Reference::open("equations/discrete_2"));
}

#[test]
fn discrete_data_of_5_classes() {
    check(&Reference::open("equations/discrete_5"));
}

#[test]
fn discrete_data_of_27_classes() {
    check(&Reference::open("equations/discrete_27"));
}

fn check(reference: &Reference) {
    let classes = reference.count("classes");
    let flow = DiscreteFlow::new(classes, reference.setting("beta1")).unwrap();
    let (x, t, net) = (reference.indices("x"), reference.tensor("t"), reference.tensor("net"));

    let theta = BayesianFlow::<Nd>::flow(&flow, &x, &t, &reference.tensor("eps"));
    let expected = reference.tensor("theta");
    // With two classes, the file holds only the probability of class 0, and the network receives only that.
    if classes == 2 {
        assert_close("theta", &theta.probabilities().select_last(0), &expected, TOLERANCE);
        assert_close("network input", &flow.network_input(&theta), &(expected * 2.0 - 1.0), TOLERANCE);
    } else {
        assert_close("theta", &theta.probabilities(), &expected, TOLERANCE);
        assert_close("network input", &flow.network_input(&theta), &expected, TOLERANCE);
    }

    let n = reference.count("n_steps");
    let time = |i: usize| i as f64 / n as f64;
    let alphas: Vec<f64> = (0..n).map(|i| flow.step_accuracy(time(i), time(i + 1))).collect();
    assert_close("alphas", &t.from_values_like(&[n], &alphas), &reference.tensor("alphas"), TOLERANCE);

    let prior = Logits(reference.tensor("prior").ln());
    let updated = flow.update(&prior, &reference.tensor("y"), alphas[2]).probabilities();
    assert_close("updated", &updated, &reference.tensor("updated"), TOLERANCE);

    let output = flow.output(&theta, &net, &t);
    assert_close("probabilities", &output.probabilities(), &reference.tensor("probabilities"), TOLERANCE);
    let loss = flow.loss_continuous_time(&x, &output, &t);
    assert_close("loss_continuous_time", &loss, &reference.tensor("loss_continuous_time"), TOLERANCE);
    let loss = flow.loss_reconstruction(&x, &output);
    assert_close("reconstruction", &loss, &reference.tensor("reconstruction"), TOLERANCE);

    let t_n = reference.tensor("t_n");
    let alpha_n = flow.schedule().step_accuracy(&t_n, &(&t_n + 1.0 / n as f64));
    let samples = reference.rows("sender_eps");
    let losses: Vec<_> = samples.iter().map(|noise| flow.loss_step(&x, &output, &alpha_n, noise)).collect();
    assert_close("loss_n_step", &(mean(&losses) * n as f64), &reference.tensor("loss_n_step"), TOLERANCE);

    let factorised = flow.with_receiver(Receiver::Factorised);
    let losses: Vec<_> = samples.iter().map(|noise| factorised.loss_step(&x, &output, &alpha_n, noise)).collect();
    let loss = mean_over_dimensions(&mean(&losses)) * n as f64;
    let expected = reference.tensor("loss_n_step_official_marginals_mean_over_dims");
    assert_close("factorised loss_n_step", &loss, &expected, TOLERANCE);
}
