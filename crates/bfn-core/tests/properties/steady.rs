//! The n-step loss with less noise: the mean over the noise and its mirror image.

use bfn_core::continuous::Reconstruction;
use bfn_core::discrete::Receiver;
use bfn_core::head::{CategoricalHead, MixtureHead, NormalHead};
use bfn_core::{BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Indices, Nd, NoiseSource as _, Tensor};

use crate::statistics::source;
use crate::{assert_close, indices, row, tensor};

const EXAMPLES: usize = 2000;
const DENSITY: Reconstruction = Reconstruction::Density { deviation: 0.1 };

/// Returns class or bin 1 for every example.
fn ones() -> Indices {
    indices(&[EXAMPLES, 1], &vec![1; EXAMPLES])
}

/// Returns 0.3 for every example.
fn reals() -> Tensor {
    tensor(&[EXAMPLES, 1], &vec![0.3; EXAMPLES])
}

/// Computes `loss_step` and `loss_step_steady` under the same noise, then under its negative.
///
/// Panics unless the part that `loss_step_steady` leaves out is odd in the noise.
fn losses<F: BayesianFlow<Nd>>(flow: &F, x: &F::Data, network: &[f64], alpha: f64) -> [Vec<f64>; 2] {
    let shape = flow.message_shape(&[EXAMPLES, 1]);
    let like = tensor(&shape, &vec![0.0; shape.iter().product()]);
    let mut source = source(83);
    let theta = flow.flow(x, &row(&[0.4]), &source.normal(&like));
    let network = tensor(&[EXAMPLES, 1, network.len()], &network.repeat(EXAMPLES));
    let output = flow.output(&theta, &network, &row(&[0.4]));
    let (alpha, noise) = (row(&[alpha]), source.normal(&like));
    let losses =
        |noise: &Tensor| [flow.loss_step(x, &output, &alpha, noise), flow.loss_step_steady(x, &output, &alpha, noise)];
    let ([plain, steady], [mirrored, mirrored_steady]) = (losses(&noise), losses(&-&noise));
    assert_close(&(&plain + &mirrored).to_values(), &(&steady + &mirrored_steady).to_values(), 1e-9);
    [[plain, mirrored], [steady, mirrored_steady]].map(|both| both.iter().flat_map(Tensor::to_values).collect())
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// Checks that the noise of `loss_step` falls as √α and that of `loss_step_steady` as α, the latter never greater.
fn check<F: BayesianFlow<Nd>>(flow: &F, x: &F::Data, network: &[f64]) {
    let deviations = |alpha| losses(flow, x, network, alpha).map(|loss| deviation(&loss));
    let [before, after] = [1e-3, 1e-5].map(deviations);
    let [plain, steady] = [0, 1].map(|loss| before[loss] / after[loss]);
    assert!((8.0..13.0).contains(&plain), "loss_step falls by {plain} where α does by 100");
    assert!((80.0..130.0).contains(&steady), "loss_step_steady falls by {steady} where α does by 100");
    assert!(after[1] < 0.05 * after[0], "{after:?}");
    check_over_all_accuracies(flow, x, network);
}

/// Checks that from α = 1e−4 to 1e6 the mean is the same and the deviation no greater than that of `loss_step`.
fn check_over_all_accuracies<F: BayesianFlow<Nd>>(flow: &F, x: &F::Data, network: &[f64]) {
    for alpha in [1e-4, 1e-2, 0.3, 3.0, 30.0, 1e3, 1e6] {
        let [plain, steady] = losses(flow, x, network, alpha);
        let [of_plain, of_steady] = [&plain, &steady].map(|loss| deviation(loss));
        // This holds for any sample of noise with its negative, except for rounding where messages decide everything.
        assert!(of_steady <= of_plain + 1e-12, "α = {alpha}: deviation {of_steady}, of loss_step {of_plain}");
        let left_out: Vec<f64> = plain.iter().zip(&steady).map(|(plain, steady)| plain - steady).collect();
        let mean = left_out[..EXAMPLES].iter().sum::<f64>() / EXAMPLES as f64;
        let error = deviation(&left_out) / (EXAMPLES as f64).sqrt();
        assert!(mean.abs() < 4.0 * error + 1e-9, "α = {alpha}: what is left out has the mean {mean} ± {error}");
    }
}

#[test]
fn noise_falls_with_the_accuracy_for_discretised_data() {
    check(&DiscretisedFlow::new(5, 0.3).unwrap(), &ones(), &[0.2, 0.1]);
}

#[test]
fn noise_falls_with_the_accuracy_for_discrete_data_under_both_receivers() {
    for receiver in [Receiver::Joint, Receiver::Factorised] {
        check(&DiscreteFlow::new(2, 2.0).unwrap().with_receiver(receiver), &ones(), &[0.3]);
        check(&DiscreteFlow::new(5, 2.0).unwrap().with_receiver(receiver), &ones(), &[0.3, -0.2, 0.4, 0.0, 0.1]);
    }
}

#[test]
fn noise_falls_with_the_accuracy_for_mixtures_of_continuous_data() {
    let flow = ContinuousFlow::new(0.3, DENSITY).unwrap().with_head(MixtureHead::new(2).unwrap());
    check(&flow, &reals(), &[0.2, -0.3, 0.4, -0.5, 0.1, 0.2]);
}

/// `loss_step_steady` is no noisier than `loss_step` for uniform predictions at large accuracies.
///
/// This is the case of the first step from the prior, the only one for n = 1: predictions are far from the data and
/// messages are clear.
#[test]
fn it_is_no_noisier_for_uniform_predictions_at_large_accuracies() {
    let bins = DiscretisedFlow::new(64, 1e-3).unwrap().with_head(CategoricalHead);
    check_over_all_accuracies(&bins, &ones(), &[0.0; 64]);
    check_over_all_accuracies(&DiscreteFlow::new(27, 0.75).unwrap(), &ones(), &[0.0; 27]);
}

#[test]
fn closed_forms_are_left_as_they_are() {
    let flow = ContinuousFlow::new(0.3, DENSITY).unwrap();
    let [plain, steady] = losses(&flow, &reals(), &[0.2], 0.7);
    assert_eq!(plain, steady);
    let [plain, steady] = losses(&flow.with_head(NormalHead), &reals(), &[0.2, 0.1], 0.7);
    assert_eq!(plain, steady);
}
