//! The n-step loss without its noise of first order.

use bfn_core::discrete::Receiver;
use bfn_core::{BayesianFlow, DiscreteFlow, DiscretisedFlow, Indices, NoiseSource as _, Tensor};

use crate::statistics::source;
use crate::{assert_close, indices, row, tensor};

const EXAMPLES: usize = 2000;

/// The standard deviations of both losses under the same noise, after checking that what is left out is odd in it.
fn deviations<F: BayesianFlow<bfn_core::Nd, Data = Indices>>(flow: &F, network: &[f64], alpha: f64) -> [f64; 2] {
    let x = indices(&[EXAMPLES, 1], &vec![1; EXAMPLES]);
    let shape = flow.message_shape(&[EXAMPLES, 1]);
    let like = tensor(&shape, &vec![0.0; shape.iter().product()]);
    let mut source = source(83);
    let theta = flow.flow(&x, &row(&[0.4]), &source.normal(&like));
    let network = tensor(&[EXAMPLES, 1, network.len()], &network.repeat(EXAMPLES));
    let output = flow.output(&theta, &network, &row(&[0.4]));
    let (alpha, noise) = (row(&[alpha]), source.normal(&like));
    let losses = |noise: &Tensor| {
        [flow.loss_step(&x, &output, &alpha, noise), flow.loss_step_steady(&x, &output, &alpha, noise)]
    };
    let ([plain, steady], [mirrored, mirrored_steady]) = (losses(&noise), losses(&-&noise));
    assert_close(&(&plain + mirrored).to_values(), &(&steady + mirrored_steady).to_values(), 1e-9);
    [plain, steady].map(|loss| {
        let values = loss.to_values();
        let mean = values.iter().sum::<f64>() / EXAMPLES as f64;
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / EXAMPLES as f64).sqrt()
    })
}

/// The noise of `loss_step` falls as √α, that of `loss_step_steady` as α.
fn check<F: BayesianFlow<bfn_core::Nd, Data = Indices>>(flow: &F, network: &[f64]) {
    let [before, after] = [1e-3, 1e-5].map(|alpha| deviations(flow, network, alpha));
    let [plain, steady] = [0, 1].map(|loss| before[loss] / after[loss]);
    assert!((8.0..13.0).contains(&plain), "loss_step falls by {plain} where α does by 100");
    assert!((80.0..130.0).contains(&steady), "loss_step_steady falls by {steady} where α does by 100");
    assert!(after[1] < 0.05 * after[0], "{after:?}");
}

#[test]
fn noise_falls_with_the_accuracy_for_discretised_data() {
    check(&DiscretisedFlow::new(5, 0.3).unwrap(), &[0.2, 0.1]);
}

#[test]
fn noise_falls_with_the_accuracy_for_discrete_data_under_both_receivers() {
    for receiver in [Receiver::Joint, Receiver::Factorised] {
        check(&DiscreteFlow::new(2, 2.0).unwrap().with_receiver(receiver), &[0.3]);
        check(&DiscreteFlow::new(5, 2.0).unwrap().with_receiver(receiver), &[0.3, -0.2, 0.4, 0.0, 0.1]);
    }
}
