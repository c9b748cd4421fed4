//! The paper's sampler, for any flow.

use super::Moment;
use crate::{Backend, BayesianFlow, Grid, Interval, NoiseSource, OutputDistribution, Tensor};

/// Draws data with the paper's ancestral sampler.
///
/// # Formula
///
/// θ₀ is the prior. For each step from s to t of the grid: x' ~ p_O(· | θ; s), y ~ p_S(· | x'; β(t) − β(s)),
/// θ ← h(θ, y, β(t) − β(s)). The result is p_O(· | θ; 1) after the last step; callers use its mode or a draw from it.
///
/// `like` has the shape of a message ([`BayesianFlow::message_shape`]), and the precision and device of the result.
/// `grid` usually consists of n equal steps from 0 to 1, [`Grid::uniform`]. `predict` maps (θ, t) to the output
/// distribution; it usually evaluates a network, or in a test an exact posterior. `observe` is called at the beginning
/// of every step and at the end; an error that it returns ends the sampling.
///
/// # Errors
///
/// Returns the first error of `predict` or `observe`.
///
/// Source: Graves et al. 2023, section 3.
pub fn ancestral<B, F, E>(
    flow: &F,
    like: &Tensor<B>,
    grid: &Grid,
    noise: &mut dyn NoiseSource<B>,
    predict: impl FnMut(&F::Theta, f64) -> Result<F::Output, E>,
    observe: impl FnMut(Moment<'_, F::Theta, F::Output>) -> Result<(), E>,
) -> Result<F::Output, E>
where
    B: Backend,
    F: BayesianFlow<B>,
{
    exchange(flow.prior(like), grid, predict, observe, |theta, output, interval| {
        let alpha = flow.step_accuracy(interval.from, interval.to);
        let x = output.draw(noise);
        let y = flow.send(&x, &like.full(&[1], alpha), &noise.normal(like));
        flow.update(theta, &y, alpha)
    })
}

/// Runs the loop of the ancestral sampler: `receive` sends a message about the prediction and updates θ with it.
pub(crate) fn exchange<Theta, Output, E>(
    prior: Theta,
    grid: &Grid,
    mut predict: impl FnMut(&Theta, f64) -> Result<Output, E>,
    mut observe: impl FnMut(Moment<'_, Theta, Output>) -> Result<(), E>,
    mut receive: impl FnMut(&Theta, &Output, Interval) -> Theta,
) -> Result<Output, E> {
    let steps = grid.count();
    let mut theta = prior;
    for (step, interval) in grid.steps().enumerate() {
        let output = predict(&theta, interval.from)?;
        observe(Moment { step, steps, t: interval.from, theta: &theta, output: &output })?;
        theta = receive(&theta, &output, interval);
    }
    let t = grid.last();
    let output = predict(&theta, t)?;
    observe(Moment { step: steps, steps, t, theta: &theta, output: &output })?;
    Ok(output)
}
