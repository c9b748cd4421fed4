//! Sources of random numbers, which the caller always provides.

use rand::Rng;
use rand_distr::StandardNormal;

use crate::{Backend, Tensor};

/// A source of random numbers for a sampler.
///
/// No equation of this crate draws random numbers itself: a loss takes its noise as a tensor, and a sampler takes a
/// source. A program that must repeat a run exactly implements this trait on a generator keyed by (seed, step,
/// example). [`RngNoise`] is sufficient for everything else.
pub trait NoiseSource<B: Backend> {
    /// Draws standard normal numbers in the shape of `like`, in its precision and on its device.
    fn normal(&mut self, like: &Tensor<B>) -> Tensor<B>;

    /// Draws numbers uniform on [0, 1) in the shape of `like`, in its precision and on its device.
    fn uniform(&mut self, like: &Tensor<B>) -> Tensor<B>;
}

/// A [`NoiseSource`] over any generator of the `rand` crate.
#[derive(Debug, Clone)]
pub struct RngNoise<R>(pub R);

impl<B: Backend, R: Rng> NoiseSource<B> for RngNoise<R> {
    fn normal(&mut self, like: &Tensor<B>) -> Tensor<B> {
        let shape = like.shape();
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| self.0.sample(StandardNormal)).collect();
        like.from_values_like(&shape, &values)
    }

    fn uniform(&mut self, like: &Tensor<B>) -> Tensor<B> {
        let shape = like.shape();
        // In f32 the largest numbers below 1 would be rounded to 1.
        let below_1 = |value: f64| value.min(1.0 - f64::from(f32::EPSILON) / 2.0);
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| below_1(self.0.random())).collect();
        like.from_values_like(&shape, &values)
    }
}
