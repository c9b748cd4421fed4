//! Drawing data points of mixed kinds.

use super::{MixedFlow, PartTheta, Predicted};
use crate::continuous::Belief;
use crate::discrete::Logits;
use crate::sampler::Moment;
use crate::{Backend, BayesianFlow, Indices, NoiseSource, OutputDistribution, Tensor};

/// The paper's ancestral sampler for mixed data; see [`sampler::ancestral`](crate::sampler::ancestral).
///
/// `like` has the shape `[B, message_width]`.
///
/// # Errors
///
/// Whatever `predict` returns.
pub fn ancestral<B, C, X, D, E>(
    flow: &MixedFlow<B, C, X, D>,
    like: &Tensor<B>,
    grid: &[f64],
    noise: &mut dyn NoiseSource<B>,
    mut predict: impl FnMut(&[PartTheta<B>], f64) -> Result<Predicted<B, C, X, D>, E>,
    mut observe: impl FnMut(Moment<'_, Vec<PartTheta<B>>, Predicted<B, C, X, D>>),
) -> Result<Predicted<B, C, X, D>, E>
where
    B: Backend,
    C: BayesianFlow<B, Data = Tensor<B>, Theta = Belief<B>>,
    X: BayesianFlow<B, Data = Indices<B>, Theta = Belief<B>>,
    D: BayesianFlow<B, Data = Indices<B>, Theta = Logits<B>>,
{
    let steps = grid.len().saturating_sub(1);
    let mut theta = flow.prior(like);
    for (step, times) in grid.windows(2).enumerate() {
        let (s, t) = (times[0], times[1]);
        let output = predict(&theta, s)?;
        observe(Moment { step, steps, t: s, theta: &theta, output: &output });
        let x = output.draw(noise);
        let y = flow.send(&x, s, t, &noise.normal(like));
        theta = flow.update(&theta, &y, s, t);
    }
    let t = grid.last().copied().unwrap_or(0.0);
    let output = predict(&theta, t)?;
    observe(Moment { step: steps, steps, t, theta: &theta, output: &output });
    Ok(output)
}
