//! Extreme inputs give finite results, in f64 and in f32.

use bfn_core::continuous::Reconstruction;
use bfn_core::distribution::{Categorical, DiscretisedNormal, Probability};
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Element, FiniteDistribution, Nd, OutputDistribution,
    Tensor,
};

use crate::like;

const TIMES: [f64; 7] = [0.0, 1e-7, 1e-6, 1e-3, 0.5, 0.999, 1.0];
const NETWORK: [f64; 5] = [-1e3, -1.0, 0.0, 1.0, 1e3];
const NOISE: [f64; 3] = [-6.0, 0.0, 6.0];

#[track_caller]
fn assert_finite<F: Element>(what: &str, tensor: &Tensor<Nd<F>>) {
    let values = tensor.to_values();
    assert!(values.iter().all(|value| value.is_finite()), "{what}: {values:?}");
}

/// Checks all losses of a flow at all extreme times, for the given network outputs.
fn check<F: Element, G: BayesianFlow<Nd<F>>>(
    what: &str,
    flow: &G,
    x: &G::Data,
    shape: &[usize],
    network: &Tensor<Nd<F>>,
) {
    let like = like::<F>();
    for t in TIMES {
        for epsilon in NOISE {
            let what = format!("{what}, t = {t}, ε = {epsilon}");
            let noise = like.full(&flow.message_shape(shape), epsilon);
            let times = like.full(&[1], t);
            let theta = flow.flow(x, &times, &noise);
            assert_finite(&what, &flow.network_input(&theta));
            let output = flow.output(&theta, network, &times);
            assert_finite(&what, &flow.loss_continuous_time(x, &output, &times));
            let alpha = like.full(&[1], flow.step_accuracy(0.5 * t, 0.5 * t + 0.01));
            assert_finite(&what, &flow.loss_step(x, &output, &alpha, &noise));
            assert_finite(&what, &flow.loss_reconstruction(x, &output));
        }
    }
}

fn continuous_data<F: Element>() {
    for sigma_1 in [1e-4, 0.03, 0.999] {
        for probability in [Probability::Exact, Probability::Floor] {
            let reconstruction = Reconstruction::Bins { bins: 256, deviation: sigma_1, probability };
            let flow = ContinuousFlow::new(sigma_1, reconstruction).unwrap();
            let x = like::<F>().from_values_like(&[5], &[-1.0, -0.3, 0.0, 0.3, 1.0]);
            let network = like::<F>().from_values_like(&[5, 1], &NETWORK);
            check(&format!("continuous, σ₁ = {sigma_1}"), &flow, &x, &[5], &network);
        }
    }
}

fn discretised_data<F: Element>() {
    for sigma_1 in [1e-4, 0.03, 0.999] {
        for bins in [2, 256, 1000] {
            for probability in [Probability::Exact, Probability::Floor] {
                let flow = DiscretisedFlow::new(bins, sigma_1).unwrap().with_probability(probability);
                let x = like::<F>().indices_like(&[5], &[0, 1, bins / 2, bins - 2, bins - 1]);
                for ln_sigma in NETWORK {
                    let values: Vec<f64> = NETWORK.iter().flat_map(|mean| [*mean, ln_sigma]).collect();
                    let network = like::<F>().from_values_like(&[5, 2], &values);
                    check(
                        &format!("discretised, σ₁ = {sigma_1}, K = {bins}, ln σ = {ln_sigma}"),
                        &flow,
                        &x,
                        &[5],
                        &network,
                    );
                }
            }
        }
    }
}

fn discrete_data<F: Element>() {
    // The last accuracy saturates every probability, even in f64.
    for beta_1 in [1e-4, 3.0, 1e6] {
        for classes in [2, 27, 1000] {
            let flow = DiscreteFlow::new(classes, beta_1).unwrap();
            let x = like::<F>().indices_like(&[5], &[0, 1, classes / 2, classes - 2, classes - 1]);
            let per_variable = flow.outputs_per_variable();
            let values: Vec<f64> = (0..5 * per_variable).map(|i| NETWORK[(7 * i + i / 5) % 5]).collect();
            let network = like::<F>().from_values_like(&[5, per_variable], &values);
            check(&format!("discrete, β(1) = {beta_1}, K = {classes}"), &flow, &x, &[5], &network);
        }
    }
}

#[test]
fn continuous_data_stays_finite() {
    continuous_data::<f64>();
    continuous_data::<f32>();
}

#[test]
fn discretised_data_stays_finite() {
    discretised_data::<f64>();
    discretised_data::<f32>();
}

#[test]
fn discrete_data_stays_finite() {
    discrete_data::<f64>();
    discrete_data::<f32>();
}

#[test]
fn probabilities_sum_to_one_in_f32() {
    let like = like::<f32>();
    for bins in [2, 16, 256, 1000] {
        for deviation in [1e-3, 0.05, 1.0, 10.0] {
            for mean in [-100.0, -1.0, -0.3, 0.0, 0.9, 100.0] {
                let output = DiscretisedNormal {
                    mean: like.full(&[1], mean),
                    deviation: like.full(&[1], deviation),
                    bins,
                    probability: Probability::Exact,
                };
                assert_finite("ln p", &output.log_probabilities());
                let sum = output.probabilities().sum_last().to_values()[0];
                assert!((sum - 1.0).abs() < 1e-5, "N({mean}, {deviation}²) in {bins} bins sums to {sum}");
            }
        }
    }
    let logits: Vec<f64> = (0..1000).map(|i| NETWORK[i % 5]).collect();
    let output = Categorical::from_logits(&like.from_values_like(&[1, 1000], &logits));
    let sum = output.probabilities().sum_last().to_values()[0];
    assert!((sum - 1.0).abs() < 1e-5, "softmax of extreme logits sums to {sum}");
}

#[test]
fn log_probabilities_in_f32_follow_those_in_f64() {
    fn of<F: Element>(mean: f64, deviation: f64, bins: usize, k: usize) -> f64 {
        let like = like::<F>();
        let (mean, deviation) = (like.full(&[1], mean), like.full(&[1], deviation));
        let output = DiscretisedNormal { mean, deviation, bins, probability: Probability::Exact };
        output.log_prob(&like.indices_like(&[1], &[k])).to_values()[0]
    }
    for bins in [2, 16, 256] {
        for deviation in [2.0_f64.powi(-10), 0.0625, 1.0, 8.0, 64.0] {
            for mean in [-32.0, -1.0, -0.25, 0.0, 0.875] {
                for k in [0, bins / 2, bins - 1] {
                    let (wide, narrow) = (of::<f64>(mean, deviation, bins, k), of::<f32>(mean, deviation, bins, k));
                    let allowed = 2e-6 * wide.abs().max(1.0);
                    assert!(
                        (wide - narrow).abs() <= allowed,
                        "ln p({k}) of N({mean}, {deviation}²) in {bins} bins is {narrow} in f32, {wide} in f64"
                    );
                }
            }
        }
    }
}
