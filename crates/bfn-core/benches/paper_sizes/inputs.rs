//! The inputs of the equations.

use bfn_core::{Element, Indices, Nd, NoiseSource, RngNoise, Tensor};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The number of examples in a batch.
const BATCH: usize = 64;

/// The accuracy of the messages.
pub(crate) const ALPHA: f64 = 0.5;

/// The times of a sampling step, and the time of the step before.
pub(crate) const FROM: f64 = 0.5;
pub(crate) const TO: f64 = 0.6;
pub(crate) const BEFORE: f64 = 0.4;

/// A floating-point precision, with its name and the tolerance to which loops must agree.
pub(crate) trait Precision: Element {
    const NAME: &'static str;
    const TOLERANCE: f64;
}

impl Precision for f32 {
    const NAME: &'static str = "f32";
    const TOLERANCE: f64 = 2e-3;
}

impl Precision for f64 {
    const NAME: &'static str = "f64";
    const TOLERANCE: f64 = 1e-9;
}

/// The sizes of one kind of data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) variables: usize,
    pub(crate) classes: usize,
    pub(crate) numbers_per_message: usize,
    pub(crate) network_outputs: usize,
}

/// Random data, noise and network output; the θ of each example has its own time.
#[derive(Debug)]
pub(crate) struct Inputs<F: Precision> {
    pub(crate) size: Size,
    pub(crate) indices: Indices<Nd<F>>,
    pub(crate) reals: Tensor<Nd<F>>,
    pub(crate) t: Tensor<Nd<F>>,
    pub(crate) alpha: Tensor<Nd<F>>,
    pub(crate) noise: Tensor<Nd<F>>,
    pub(crate) sender_noise: Tensor<Nd<F>>,
    pub(crate) network: Tensor<Nd<F>>,
}

/// The number of bytes of each argument and of the result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes {
    pub(crate) data: usize,
    pub(crate) message: usize,
    pub(crate) network: usize,
    pub(crate) result: usize,
}

impl<F: Precision> Inputs<F> {
    pub(crate) fn new(size: Size) -> Self {
        let mut source = RngNoise(Xoshiro256PlusPlus::seed_from_u64(1));
        let like: Tensor<Nd<F>> = Tensor::from_nd(ndarray::ArrayD::from_elem(vec![1], F::of(0.0)));
        let shape = [BATCH, size.variables];
        let message = match size.numbers_per_message {
            1 => shape.to_vec(),
            numbers => vec![BATCH, size.variables, numbers],
        };
        let mut normal = |shape: &[usize]| source.normal(&like.full(shape, 0.0));
        let network = normal(&[BATCH, size.variables, size.network_outputs]) * 0.5;
        let (noise, sender_noise) = (normal(&message), normal(&message));
        let classes: Vec<usize> = (0..BATCH * size.variables).map(|_| source.0.random_range(0..size.classes)).collect();
        let reals: Vec<f64> = classes.iter().map(|k| (2 * k + 1) as f64 / size.classes as f64 - 1.0).collect();
        let times: Vec<f64> = (0..BATCH).map(|b| (b as f64 + 0.5) / BATCH as f64).collect();
        Self {
            size,
            indices: like.indices_like(&shape, &classes),
            reals: like.from_values_like(&shape, &reals),
            t: like.from_values_like(&[BATCH], &times),
            alpha: like.full(&[BATCH], ALPHA),
            noise,
            sender_noise,
            network,
        }
    }

    /// Returns the sizes in bytes; the data of `continuous` are real numbers, those of the other kinds are indices.
    pub(crate) fn bytes(&self) -> Bytes {
        let Size { numbers_per_message, network_outputs, .. } = self.size;
        let variables = BATCH * self.size.variables;
        let reals = |numbers: usize| variables * numbers * size_of::<F>();
        Bytes {
            data: if network_outputs == 1 && numbers_per_message == 1 {
                reals(1)
            } else {
                variables * size_of::<usize>()
            },
            message: reals(numbers_per_message),
            network: reals(network_outputs),
            result: reals(1),
        }
    }

    /// Returns the example to which a variable belongs.
    pub(crate) fn example(&self, variable: usize) -> usize {
        variable / self.size.variables
    }
}
