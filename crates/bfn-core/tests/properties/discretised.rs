//! Discretised data.

use bfn_core::discretised::log_ratio;
use bfn_core::distribution::{Categorical, DiscretisedNormal, Probability, centre};
use bfn_core::head::Prediction;
use bfn_core::{BayesianFlow, DiscretisedFlow, FiniteDistribution, Nd, continuous};
use proptest::prelude::*;

use crate::{assert_close, distribution, indices, noise, row, sigma_1, tensor};

fn centre_of(k: usize, bins: usize) -> f64 {
    (2 * k + 1) as f64 / bins as f64 - 1.0
}

/// Generates one variable of K bins: the bin, noise and K probabilities.
fn variable() -> impl Strategy<Value = (usize, f64, Vec<f64>)> {
    (2..40_usize).prop_flat_map(|bins| (0..bins, -4.0..4.0, distribution(bins)))
}

proptest! {
    #[test]
    fn flow_and_messages_are_those_of_the_bin_centres(
        sigma_1 in sigma_1(), bins in 2..300_usize, position in 0.0..1.0_f64, t in 0.0..=1.0_f64, epsilon in noise(1),
    ) {
        let k = (position * bins as f64) as usize;
        let flow = DiscretisedFlow::new(bins, sigma_1).unwrap();
        let (x, t, epsilon) = (indices(&[1], &[k]), row(&[t]), row(&epsilon));
        let at_centre = row(&[centre_of(k, bins)]);
        let found = BayesianFlow::<Nd>::flow(&flow, &x, &t, &epsilon);
        let expected = continuous::flow(flow.schedule(), &at_centre, &t, &epsilon);
        assert_close(&found.mu.to_values(), &expected.mu.to_values(), 1e-14);
        assert_close(&found.rho.to_values(), &expected.rho.to_values(), 1e-14);
        let alpha = row(&[3.0]);
        let expected = continuous::send(&at_centre, &alpha, &epsilon);
        assert_close(&flow.send(&x, &alpha, &epsilon).to_values(), &expected.to_values(), 1e-14);
    }

    #[test]
    fn the_log_ratio_is_that_of_the_densities((k, epsilon, p_o) in variable(), alpha in 0.01..400.0_f64) {
        let bins = p_o.len();
        let x = centre_of(k, bins);
        let logits: Vec<f64> = p_o.iter().map(|p| p.ln()).collect();
        let output = Categorical::from_logits(&tensor(&[1, bins], &logits));
        let found = log_ratio(&row(&[x]), &row(&[alpha]), &row(&[epsilon]), &output.log_probabilities()).to_values()[0];
        let y = x + epsilon / alpha.sqrt();
        let density = |mean: f64| -0.5 * alpha * (y - mean).powi(2) + 0.5 * (alpha / (2.0 * std::f64::consts::PI)).ln();
        let receiver: f64 = p_o.iter().enumerate().map(|(j, p)| p * density(centre_of(j, bins)).exp()).sum();
        let expected = density(x) - receiver.ln();
        prop_assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} instead of {expected}");
    }

    #[test]
    fn the_step_loss_is_the_log_ratio_of_a_message(
        bins in 2..40_usize, position in 0.0..1.0_f64, mean in -1.5..1.5_f64, deviation in 0.01..2.0_f64,
        epsilon in -4.0..4.0_f64, alpha in 0.01..400.0_f64,
    ) {
        let k = (position * bins as f64) as usize;
        let flow = DiscretisedFlow::new(bins, 0.1).unwrap();
        let output = DiscretisedNormal { mean: row(&[mean]), deviation: row(&[deviation]), bins, probability: Probability::Exact };
        let found = flow.loss_step(&indices(&[1], &[k]), &output, &row(&[alpha]), &row(&[epsilon]));
        let x = row(&[centre_of(k, bins)]);
        let expected = log_ratio(&x, &row(&[alpha]), &row(&[epsilon]), &output.log_probabilities());
        assert_close(&found.to_values(), &expected.to_values(), 1e-12);
    }

    #[test]
    fn the_continuous_time_loss_is_the_papers(
        sigma_1 in sigma_1(), t in 0.0..=1.0_f64, bins in 2..40_usize, position in 0.0..1.0_f64,
        mean in -1.5..1.5_f64, deviation in 0.01..2.0_f64,
    ) {
        let k = (position * bins as f64) as usize;
        let flow = DiscretisedFlow::new(bins, sigma_1).unwrap();
        let output = DiscretisedNormal { mean: row(&[mean]), deviation: row(&[deviation]), bins, probability: Probability::Exact };
        let found = flow.loss_continuous_time(&indices(&[1], &[k]), &output, &row(&[t])).to_values()[0];
        let k_hat: f64 =
            output.probabilities().to_values().iter().enumerate().map(|(j, p)| p * centre_of(j, bins)).sum();
        let scale = -sigma_1.ln() * sigma_1.powf(-2.0 * t);
        let expected = scale * (centre_of(k, bins) - k_hat).powi(2);
        prop_assert!((found - expected).abs() < 1e-11 * scale, "{found} instead of {expected}");
    }

    #[test]
    fn the_true_noise_predicts_the_bin(
        sigma_1 in (-9.0..-2.5_f64).prop_map(f64::exp), position in 0.0..1.0_f64, epsilon in -3.0..3.0_f64,
    ) {
        // At t = 1 the deviation σ₁ √… e^(−10) is far below the width of a bin.
        let bins = 16;
        let k = (position * 16.0) as usize;
        let flow = DiscretisedFlow::new(bins, sigma_1).unwrap();
        let (x, t) = (indices(&[1], &[k]), row(&[1.0]));
        let theta = BayesianFlow::<Nd>::flow(&flow, &x, &t, &row(&[epsilon]));
        let output = flow.output(&theta, &tensor(&[1, 2], &[epsilon, -10.0]), &t);
        assert_close(&flow.loss_reconstruction(&x, &output).to_values(), &[0.0], 1e-12);
        assert_close(&output.mean().to_values(), &[centre_of(k, bins)], 1e-12);
    }
}

#[test]
fn before_t_min_the_prediction_is_a_standard_normal() {
    let flow = DiscretisedFlow::new(16, 0.001).unwrap();
    let theta = BayesianFlow::<Nd>::prior(&flow, &row(&[0.0, 0.0]));
    let output = flow.output(&theta, &tensor(&[2, 2], &[2.0, 1.0, -3.0, 5.0]), &row(&[0.0]));
    assert_eq!(output.mean.to_values(), [0.0, 0.0]);
    assert_eq!(output.deviation.to_values(), [1.0, 1.0]);
}

/// The exponent is limited to [−10, 10] and the deviation to [1e−3, 10].
#[test]
fn deviations_have_limits() {
    let sigma_1 = 1e-4_f64;
    let flow = DiscretisedFlow::new(16, sigma_1).unwrap();
    let deviation = |t: f64, ln_sigma: f64| {
        let theta = BayesianFlow::<Nd>::prior(&flow, &row(&[0.0]));
        flow.output(&theta, &tensor(&[1, 2], &[0.0, ln_sigma]), &row(&[t])).deviation.to_values()[0]
    };
    let ratio = |t: f64| (sigma_1.powf(2.0 * t) / -(2.0 * t * sigma_1.ln()).exp_m1()).sqrt();
    // The ratio is 74 early and 1e−4 at the end; only with both can all four limits be seen.
    for (t, ln_sigma, expected) in [
        (1.0, 9.0, ratio(1.0) * 9.0_f64.exp()),
        (1.0, 11.0, ratio(1.0) * 10.0_f64.exp()),
        (1.0, 50.0, ratio(1.0) * 10.0_f64.exp()),
        (1e-5, -9.0, ratio(1e-5) * (-9.0_f64).exp()),
        (1e-5, -10.5, ratio(1e-5) * (-10.0_f64).exp()),
        (1e-5, -50.0, ratio(1e-5) * (-10.0_f64).exp()),
        (1e-5, 1.0, 10.0),
        (1.0, 0.0, 1e-3),
    ] {
        assert_close(&[deviation(t, ln_sigma) / expected], &[1.0], 1e-9);
    }
    let flow = flow.with_prediction(Prediction::Data);
    let theta = BayesianFlow::<Nd>::prior(&flow, &row(&[0.0; 4]));
    let output = flow.output(&theta, &tensor(&[4, 2], &[0.0, 50.0, 0.0, 2.0, 0.0, -5.0, 0.0, -50.0]), &row(&[0.5; 4]));
    assert_close(&output.deviation.to_values(), &[10.0, 2.0_f64.exp(), (-5.0_f64).exp(), 1e-3], 1e-12);
}

#[test]
fn centres_are_evenly_spaced_in_the_middle_of_their_bins() {
    let every = row(&[0.0, 1.0, 2.0, 3.0]);
    assert_close(&centre(&every, 4).to_values(), &[-0.75, -0.25, 0.25, 0.75], 1e-15);
}
