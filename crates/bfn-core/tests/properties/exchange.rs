//! Losses compared with a direct simulation of the message exchange. Messages are drawn one after the other, beliefs
//! are updated with them, and the surprise of each message is taken from the densities of sender and receiver.

use std::f64::consts::PI;

use bfn_core::continuous::Reconstruction;
use bfn_core::discrete::Receiver;
use bfn_core::distribution::{ContinuousDistribution, Normal};
use bfn_core::head::{CategoricalHead, MixtureHead, NormalHead};
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, FiniteDistribution, Nd, NoiseSource,
    OutputDistribution, Tensor,
};

use crate::statistics::source;
use crate::{indices, row, tensor};

const EXAMPLES: usize = 20_000;
const STEPS: usize = 4;
const DENSITY: Reconstruction = Reconstruction::Density { deviation: 0.1 };

/// A message as the simulation sees it.
struct Message<'a, O> {
    output: &'a O,
    y: &'a Tensor,
    alpha: f64,
}

/// Compares n times the loss of a random step with the sum of ln p_S/p_R over a whole exchange.
fn check<F: BayesianFlow<Nd>>(
    flow: &F,
    x: &F::Data,
    network: impl Fn(&Tensor) -> Tensor,
    surprise: impl Fn(Message<'_, F::Output>) -> Tensor,
) {
    let like =
        tensor(&flow.message_shape(&[EXAMPLES, 1]), &vec![0.0; flow.message_shape(&[EXAMPLES, 1]).iter().product()]);
    let times = |i: usize| i as f64 / STEPS as f64;
    let predict = |theta: &F::Theta, t: &Tensor| flow.output(theta, &network(&flow.network_input(theta)), t);
    let mut noise = source(61);

    let mut theta = flow.prior(&like);
    let mut simulated = vec![0.0; EXAMPLES];
    for i in 0..STEPS {
        let alpha = flow.step_accuracy(times(i), times(i + 1));
        let output = predict(&theta, &row(&[times(i)]));
        let y = flow.send(x, &row(&[alpha]), &noise.normal(&like));
        let nats = surprise(Message { output: &output, y: &y, alpha }).to_values();
        simulated.iter_mut().zip(nats).for_each(|(sum, nats)| *sum += nats);
        theta = flow.update(&theta, &y, alpha);
    }

    let starts: Vec<f64> = (0..EXAMPLES).map(|example| times(example % STEPS)).collect();
    let alphas: Vec<f64> = starts.iter().map(|s| flow.step_accuracy(*s, s + 1.0 / STEPS as f64)).collect();
    let theta = flow.flow(x, &row(&starts), &noise.normal(&like));
    let output = predict(&theta, &row(&starts));
    let sender_noise = noise.normal(&like);
    let simulated = Moments::of(&simulated);
    for loss in [
        flow.loss_step(x, &output, &row(&alphas), &sender_noise),
        flow.loss_step_steady(x, &output, &row(&alphas), &sender_noise),
    ] {
        let estimated = Moments::of(&(loss * STEPS as f64).to_values());
        let error = simulated.error.hypot(estimated.error);
        let difference = (simulated.mean - estimated.mean).abs();
        let means = (simulated.mean, estimated.mean);
        assert!(difference < 4.0 * error, "exchange and loss: {means:?} nats, {error} standard error");
        assert!(error < 0.05 * simulated.mean.abs(), "too little is sent to compare: {means:?}, {error}");
    }
}

struct Moments {
    mean: f64,
    error: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, error: (variance / count).sqrt() }
    }
}

/// Returns a network that is the same linear function for every θ: P numbers per variable from its input.
fn linear(offsets: &[f64], slopes: &[f64]) -> impl Fn(&Tensor) -> Tensor {
    let (offsets, slopes) = (row(offsets), row(slopes));
    move |input| input.reshape(&[EXAMPLES, 1, 1]) * &slopes + &offsets
}

/// Computes ln N(y; x, 1/α), the log-density of the sender's message y.
fn normal_sender(x: &Tensor, y: &Tensor, alpha: f64) -> Tensor {
    Normal { mean: x.clone(), deviation: x.full_like(alpha.powf(-0.5)) }.log_prob(y)
}

fn continuous_x() -> Tensor {
    tensor(&[EXAMPLES, 1], &vec![0.4; EXAMPLES])
}

#[test]
fn continuous_data_with_a_point_mass() {
    let (flow, x) = (ContinuousFlow::new(0.3, DENSITY).unwrap(), continuous_x());
    check(&flow, &x, linear(&[0.2], &[0.5]), |message| {
        let receiver = message.output.blurred(message.alpha.powf(-0.5));
        normal_sender(&x, message.y, message.alpha) - receiver.log_prob(message.y)
    });
}

#[test]
fn continuous_data_with_a_normal() {
    let (flow, x) = (ContinuousFlow::new(0.3, DENSITY).unwrap().with_head(NormalHead), continuous_x());
    check(&flow, &x, linear(&[0.2, -0.5], &[0.5, 0.3]), |message| {
        let receiver = message.output.blurred(message.alpha.powf(-0.5));
        normal_sender(&x, message.y, message.alpha) - receiver.log_prob(message.y)
    });
}

#[test]
fn continuous_data_with_a_mixture() {
    let head = MixtureHead::new(2).unwrap();
    let (flow, x) = (ContinuousFlow::new(0.3, DENSITY).unwrap().with_head(head), continuous_x());
    let network = linear(&[0.1, -0.1, 0.3, -0.8, -0.5, -1.0], &[1.0, 0.0, 0.5, 0.8, 0.3, 0.0]);
    check(&flow, &x, network, |message| {
        let receiver = message.output.blurred(message.alpha.powf(-0.5));
        normal_sender(&x, message.y, message.alpha) - receiver.log_prob(message.y)
    });
}

/// Computes ln Σ_k p_O(k) N(y; k_c, 1/α) by plain loops.
fn bin_receiver(probabilities: &Tensor, y: &Tensor, alpha: f64) -> Tensor {
    let bins = probabilities.shape()[2];
    let p = probabilities.to_values();
    let density = |distance: f64| (alpha / (2.0 * PI)).sqrt() * (-0.5 * alpha * distance * distance).exp();
    let of_example = |(example, y): (usize, f64)| {
        let centre = |k: usize| (2 * k + 1) as f64 / bins as f64 - 1.0;
        (0..bins).map(|k| p[example * bins + k] * density(y - centre(k))).sum::<f64>().ln()
    };
    let values: Vec<f64> = y.to_values().into_iter().enumerate().map(of_example).collect();
    tensor(&y.shape(), &values)
}

#[test]
fn discretised_data_with_a_mixture() {
    let flow = DiscretisedFlow::new(5, 0.3).unwrap().with_head(MixtureHead::new(2).unwrap());
    let (x, centre) = (indices(&[EXAMPLES, 1], &vec![3; EXAMPLES]), continuous_x());
    let network = linear(&[0.1, -0.1, 0.3, -0.8, -0.5, -1.0], &[1.0, 0.0, 0.5, 0.8, 0.3, 0.0]);
    check(&flow, &x, network, |message| {
        let receiver = bin_receiver(&message.output.probabilities(), message.y, message.alpha);
        normal_sender(&centre, message.y, message.alpha) - receiver
    });
}

#[test]
fn discretised_data_with_free_bins() {
    let flow = DiscretisedFlow::new(5, 0.3).unwrap().with_head(CategoricalHead);
    let (x, centre) = (indices(&[EXAMPLES, 1], &vec![3; EXAMPLES]), continuous_x());
    check(&flow, &x, linear(&[0.5, 0.3, 0.0, -0.2, 0.1], &[-2.0, -1.0, 0.0, 1.0, 2.0]), |message| {
        let receiver = bin_receiver(&message.output.probabilities(), message.y, message.alpha);
        normal_sender(&centre, message.y, message.alpha) - receiver
    });
}

/// Computes ln p_S(y) − ln p_R(y) for discrete data from the normal densities by plain loops.
fn class_surprise(x: usize, probabilities: &Tensor, y: &Tensor, alpha: f64, receiver: Receiver) -> Tensor {
    let classes = probabilities.shape()[2];
    let (scale, variance) = (classes as f64, alpha * classes as f64);
    let density = |y: f64, class: usize, j: usize| {
        let mean = if class == j { alpha * (scale - 1.0) } else { -alpha };
        (-0.5 * (y - mean).powi(2) / variance).exp() / (2.0 * PI * variance).sqrt()
    };
    let rows = y.to_values();
    let p = probabilities.to_values();
    let of_example = |(y, p): (&[f64], &[f64])| {
        let joint = |class: usize| (0..classes).map(|j| density(y[j], class, j)).product::<f64>();
        let received = match receiver {
            Receiver::Joint => (0..classes).map(|class| p[class] * joint(class)).sum::<f64>(),
            Receiver::Factorised => (0..classes)
                .map(|j| (0..classes).map(|class| p[class] * density(y[j], class, j)).sum::<f64>())
                .product(),
        };
        joint(x).ln() - received.ln()
    };
    let values: Vec<f64> = rows.chunks_exact(classes).zip(p.chunks_exact(classes)).map(of_example).collect();
    tensor(&y.shape()[..2], &values)
}

fn discrete(receiver: Receiver) {
    let flow = DiscreteFlow::new(3, 1.5).unwrap().with_receiver(receiver);
    let x = indices(&[EXAMPLES, 1], &vec![1; EXAMPLES]);
    let network = |theta: &Tensor| theta * 2.0 + row(&[0.3, -0.4, 0.0]);
    check(&flow, &x, network, |message| {
        class_surprise(1, &message.output.probabilities(), message.y, message.alpha, receiver)
    });
}

#[test]
fn discrete_data_with_the_joint_receiver() {
    discrete(Receiver::Joint);
}

#[test]
fn discrete_data_with_the_factorised_receiver() {
    discrete(Receiver::Factorised);
}

#[test]
fn the_factorised_receiver_stays_finite() {
    let flow = DiscreteFlow::new(4, 1.0).unwrap().with_receiver(Receiver::Factorised);
    let theta = flow.prior(&tensor(&[1, 1, 4], &[0.0; 4]));
    for class in 0..4 {
        for logits in [[1e3, 0.0, 0.0, 0.0], [-1e3, 0.0, 1e3, 5.0]] {
            let output = flow.output(&theta, &tensor(&[1, 1, 4], &logits), &row(&[0.5]));
            for alpha in [1e-6, 1.0, 100.0] {
                let noise = tensor(&[1, 1, 4], &[0.5, -1.0, 2.0, 0.0]);
                let loss = flow.loss_step(&indices(&[1, 1], &[class]), &output, &row(&[alpha]), &noise).to_values()[0];
                assert!(loss.is_finite(), "class {class}, logits {logits:?}, α = {alpha}: {loss}");
            }
        }
    }
}
