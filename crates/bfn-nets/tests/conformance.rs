//! Runs the conformance suite of `bfn-core` on libtorch, and checks the gradients of every loss.

use bfn_core::conformance::{self, Tolerance};
use bfn_core::continuous::Reconstruction;
use bfn_core::discrete::{Readout, Receiver};
use bfn_core::distribution::Probability;
use bfn_core::head::{CategoricalHead, MixtureHead, NormalHead, Prediction};
use bfn_core::mixed::{MixedFlow, MixedValues, Part, PartValues};
use bfn_core::{BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow};
use bfn_nets::{Indices, Tensor, Torch, device};
use tch::Kind;

fn scalar(kind: Kind, device: tch::Device) -> Tensor {
    Tensor::new(tch::Tensor::zeros([1], (kind, device)))
}

#[test]
fn libtorch_conforms_in_f64() {
    for device in device::available() {
        conformance::run(&scalar(Kind::Double, device), Tolerance::DOUBLE);
    }
}

#[test]
fn libtorch_conforms_in_f32() {
    for device in device::available() {
        conformance::run(&scalar(Kind::Float, device), Tolerance::SINGLE);
    }
}

/// Draws standard normal numbers in f64.
fn normal(shape: &[usize]) -> tch::Tensor {
    let shape: Vec<i64> = shape.iter().map(|length| *length as i64).collect();
    tch::Tensor::randn(shape, (Kind::Double, tch::Device::Cpu))
}

/// Compares the gradient of Σ loss with respect to the network's output with central differences, in f64.
fn gradients_agree<F>(name: &str, flow: &F, x: &F::Data, data_shape: [usize; 2], scale: f64)
where
    F: BayesianFlow<Torch>,
{
    tch::manual_seed(3);
    let message = flow.message_shape(&data_shape);
    let noise = Tensor::new(normal(&message));
    let sender_noise = Tensor::new(normal(&message));
    let t = Tensor::new(tch::Tensor::from_slice(&[0.3, 0.8]));
    let one = t.full_like(1.0);
    let alpha = t.full_like(flow.step_accuracy(0.3, 0.4));
    let network_shape = [data_shape[0], data_shape[1], flow.outputs_per_variable()];
    let network = normal(&network_shape) * scale;

    type Loss<'a, F> = Box<dyn Fn(&F, &Tensor) -> Tensor + 'a>;
    let (noise, sender_noise, t, one, alpha) = (&noise, &sender_noise, &t, &one, &alpha);
    let losses: [(&str, Loss<'_, F>); 3] = [
        (
            "continuous-time",
            Box::new(move |flow, net| flow.loss_continuous_time(x, &flow.output(&flow.flow(x, t, noise), net, t), t)),
        ),
        (
            "step",
            Box::new(move |flow, net| {
                flow.loss_step(x, &flow.output(&flow.flow(x, t, noise), net, t), alpha, sender_noise)
            }),
        ),
        (
            "reconstruction",
            Box::new(move |flow, net| flow.loss_reconstruction(x, &flow.output(&flow.flow(x, one, noise), net, one))),
        ),
    ];
    for (what, loss) in losses {
        gradient_agrees(&format!("{name}, {what}"), &network, |net| loss(flow, net));
    }
}

/// Compares the gradient of Σ `loss` at `network` with central differences.
fn gradient_agrees(what: &str, network: &tch::Tensor, loss: impl Fn(&Tensor) -> Tensor) {
    const STEP: f64 = 1e-6;
    let leaf = network.copy().set_requires_grad(true);
    loss(&Tensor::new(leaf.shallow_clone())).array().sum(Kind::Double).backward();
    let gradient = Tensor::new(leaf.grad()).to_values();
    assert!(gradient.iter().any(|g| *g != 0.0), "{what}: no gradient");
    let network = Tensor::new(network.shallow_clone());
    let values = network.to_values();
    for (index, expected) in gradient.iter().enumerate() {
        let at = |shift: f64| {
            let mut moved = values.clone();
            moved[index] += shift;
            let net = network.from_values_like(&network.shape(), &moved);
            loss(&net).to_values().iter().sum::<f64>()
        };
        let found = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        let size = expected.abs().max(found.abs()).max(1.0);
        assert!((found - expected).abs() < 1e-5 * size, "{what}: {expected} against {found}");
    }
}

#[test]
fn gradients_of_every_loss_agree_with_central_differences() {
    let like = scalar(Kind::Double, tch::Device::Cpu);
    let shape = [2, 3];
    let indices = |values: [usize; 6]| -> Indices { like.indices_like(&shape, &values) };

    let reconstruction = Reconstruction::Bins { bins: 16, deviation: 0.1, probability: Probability::Exact };
    let continuous = ContinuousFlow::new(0.1, reconstruction).expect("a flow");
    // Predictions inside [−1, 1], where clipping does not set the gradient to zero.
    let x = like.from_values_like(&shape, &[-0.4, 0.1, 0.3, 0.2, -0.1, 0.5]);
    gradients_agree("continuous", &continuous, &x, shape, 0.1);
    let of_data = continuous.clone().with_prediction(Prediction::Data);
    gradients_agree("continuous, data prediction", &of_data, &x, shape, 0.1);
    let density = Reconstruction::Density { deviation: 0.1 };
    let mixture = || MixtureHead::new(2).expect("a head");
    for reconstruction in [density, reconstruction] {
        let flow = ContinuousFlow::new(0.1, reconstruction).expect("a flow");
        gradients_agree("continuous normal", &flow.clone().with_head(NormalHead), &x, shape, 0.3);
        gradients_agree("continuous mixture", &flow.with_head(mixture()), &x, shape, 0.3);
    }

    let bins = indices([0, 7, 15, 3, 8, 12]);
    for probability in [Probability::Exact, Probability::Floor] {
        let discretised = DiscretisedFlow::new(16, 0.1).expect("a flow").with_probability(probability);
        gradients_agree("discretised", &discretised, &bins, shape, 0.3);
    }
    let discretised = DiscretisedFlow::new(16, 0.1).expect("a flow");
    gradients_agree("discretised mixture", &discretised.with_head(mixture()), &bins, shape, 0.3);
    let free = DiscretisedFlow::new(16, 0.1).expect("a flow").with_head(CategoricalHead);
    gradients_agree("free bins", &free, &bins, shape, 1.0);
    let factorised = DiscreteFlow::new(5, 1.0).expect("a flow").with_receiver(Receiver::Factorised);
    gradients_agree("factorised", &factorised, &indices([0, 4, 2, 1, 3, 3]), shape, 1.0);
    let posterior = DiscreteFlow::new(5, 1.0).expect("a flow").with_readout(Readout::Posterior);
    gradients_agree("posterior", &posterior, &indices([0, 4, 2, 1, 3, 3]), shape, 1.0);
    gradients_agree("binary", &DiscreteFlow::new(2, 3.0).expect("a flow"), &indices([0, 1, 1, 0, 1, 0]), shape, 1.0);
    gradients_agree("discrete", &DiscreteFlow::new(5, 1.0).expect("a flow"), &indices([0, 4, 2, 1, 3, 3]), shape, 1.0);
}

#[test]
fn gradients_of_mixed_data_agree_with_central_differences() {
    tch::manual_seed(5);
    let like = scalar(Kind::Double, tch::Device::Cpu);
    let density = Reconstruction::Density { deviation: 0.1 };
    let flow: MixedFlow<Torch> = MixedFlow::new(vec![
        Part::Continuous { variables: 2, flow: ContinuousFlow::new(0.1, density).expect("a flow") },
        Part::Discretised { variables: 3, flow: DiscretisedFlow::new(16, 0.1).expect("a flow") },
        Part::Discrete { variables: 2, flow: DiscreteFlow::new(2, 3.0).expect("a flow") },
        Part::Discrete { variables: 2, flow: DiscreteFlow::new(5, 1.0).expect("a flow") },
    ])
    .expect("a flow");
    let x = MixedValues(vec![
        PartValues::Reals(like.from_values_like(&[2, 2], &[-0.4, 0.1, 0.3, 0.2])),
        PartValues::Indices(like.indices_like(&[2, 3], &[0, 7, 15, 3, 8, 12])),
        PartValues::Indices(like.indices_like(&[2, 2], &[0, 1, 1, 0])),
        PartValues::Indices(like.indices_like(&[2, 2], &[0, 4, 2, 1])),
    ]);
    let noise = Tensor::new(normal(&[2, flow.message_width()]));
    let sender_noise = Tensor::new(normal(&[2, flow.message_width()]));
    let network = normal(&[2, flow.output_width()]) * 0.1;
    let (from, to) = ([0.3, 0.8], [0.4, 0.9]);
    let t = like.from_values_like(&[2], &from);
    let one = t.full_like(1.0);
    let (theta, last) = (flow.flow(&x, &t, &noise), flow.flow(&x, &one, &noise));
    gradient_agrees("mixed, continuous-time", &network, |net| {
        flow.loss_continuous_time(&x, &flow.output(&theta, net, &t), &t).total()
    });
    gradient_agrees("mixed, step", &network, |net| {
        flow.loss_step(&x, &flow.output(&theta, net, &t), &from, &to, &sender_noise).total()
    });
    gradient_agrees("mixed, reconstruction", &network, |net| {
        flow.loss_reconstruction(&x, &flow.output(&last, net, &one)).total()
    });
}
