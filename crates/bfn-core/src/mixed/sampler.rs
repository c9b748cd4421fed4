//! Drawing data points of mixed kinds.

use super::{MixedFlow, PartTheta, Predicted};
use crate::continuous::Belief;
use crate::discrete::Logits;
use crate::sampler::{Moment, exchange};
use crate::{Backend, BayesianFlow, Grid, Indices, Interval, NoiseSource, OutputDistribution, Tensor};

/// Draws mixed data with the paper's ancestral sampler; see [`sampler::ancestral`](crate::sampler::ancestral).
///
/// If the parts' flows have a [`Motion`](crate::sampler::Motion), a [`Sampler`](crate::sampler::Sampler) runs this
/// solver and every other one.
///
/// `like` has the shape `[B, message_width]`.
///
/// # Errors
///
/// Returns the first error of `predict` or `observe`.
pub fn ancestral<B, C, X, D, E>(
    flow: &MixedFlow<B, C, X, D>,
    like: &Tensor<B>,
    grid: &Grid,
    noise: &mut dyn NoiseSource<B>,
    mut predict: impl FnMut(&[PartTheta<B>], f64) -> Result<Predicted<B, C, X, D>, E>,
    observe: impl FnMut(Moment<'_, Vec<PartTheta<B>>, Predicted<B, C, X, D>>) -> Result<(), E>,
) -> Result<Predicted<B, C, X, D>, E>
where
    B: Backend,
    C: BayesianFlow<B, Data = Tensor<B>, Theta = Belief<B>>,
    X: BayesianFlow<B, Data = Indices<B>, Theta = Belief<B>>,
    D: BayesianFlow<B, Data = Indices<B>, Theta = Logits<B>>,
{
    let predict = |theta: &Vec<PartTheta<B>>, t: f64| predict(theta, t);
    exchange(flow.prior(like), grid, predict, observe, |theta, output, Interval { from, to }| {
        let x = output.draw(noise);
        let y = flow.send(&x, from, to, &noise.normal(like));
        flow.update(theta, &y, from, to)
    })
}
