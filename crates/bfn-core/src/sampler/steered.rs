//! Guidance by a custom score: samples for which a statement is to be true.

use super::{Advance, Conditional, Motion, Other};
use crate::{Backend, Error, Grid, OutputDistribution, Tensor};

/// The score of a statement c about the data: the gradient of ln p(c | θ).
///
/// A closure over (θ, t) is a score. With automatic differentiation, it can differentiate the log-probability that a
/// classifier of noisy data assigns to c.
pub trait Score<B: Backend, State> {
    /// Returns ∇ ln p(c | θ) at time t with respect to μ, or to the logits z, in the shape of a message.
    fn gradient(&self, theta: &State, t: f64) -> Tensor<B>;
}

/// A flow whose predictions are moved towards a statement about the data.
///
/// # Formula
///
/// With m the sum of all messages (ρμ, or z) and v = 1, or K for discrete data, Bayes' rule moves the signal of the
/// mean prediction to
///
/// ```text
/// E[signal | θ, c] = E[signal | θ] + v ∇_m ln p(c | θ)
/// ```
///
/// exactly. Here the gradient is multiplied by a weight, which is 1 for Bayes' rule. In μ it is
/// (1 − γ) ∇_μ ln p(c | θ).
///
/// The flow is a [`Motion`], so any [`Sampler`](super::Sampler) runs it. Second-order schemes take the gradient to be
/// constant over a step. The last prediction is not moved, since by then everything is decided.
///
/// Source: Dhariwal and Nichol 2021 (arXiv:2105.05233), for diffusion models.
#[derive(Debug, Clone)]
pub struct Steered<'a, F, S> {
    flow: &'a F,
    score: S,
    weight: f64,
}

impl<B, State, S> Score<B, State> for S
where
    B: Backend,
    S: Fn(&State, f64) -> Tensor<B>,
{
    fn gradient(&self, theta: &State, t: f64) -> Tensor<B> {
        self(theta, t)
    }
}

impl<'a, F, S> Steered<'a, F, S> {
    /// Creates the flow steered by the score, which is multiplied by `weight`.
    pub fn new(flow: &'a F, score: S, weight: f64) -> Self {
        Self { flow, score, weight }
    }
}

impl<B, F, S> Motion<B> for Steered<'_, F, S>
where
    B: Backend,
    F: Conditional<B>,
    S: Score<B, F::State>,
{
    type State = F::State;
    type Prediction = F::Prediction;

    fn mean_signal(&self, output: &F::Prediction) -> Tensor<B> {
        self.flow.mean_signal(output)
    }

    fn signal(&self, x: &<F::Prediction as OutputDistribution<B>>::Value, like: &Tensor<B>) -> Tensor<B> {
        self.flow.signal(x, like)
    }

    fn nearest(&self, output: &F::Prediction) -> <F::Prediction as OutputDistribution<B>>::Value {
        self.flow.nearest(output)
    }

    fn tempered(&self, output: F::Prediction, temperature: f64) -> F::Prediction {
        self.flow.tempered(output, temperature)
    }

    fn heated(&self, noise: Tensor<B>, temperature: f64) -> Tensor<B> {
        self.flow.heated(noise, temperature)
    }

    fn start(&self, t: f64, noise: &Tensor<B>) -> F::State {
        self.flow.start(t, noise)
    }

    /// Performs the flow's step with all signals moved.
    fn advance(&self, theta: &F::State, step: &Advance<'_, B>) -> F::State {
        let shift = self.flow.steer(&(self.score.gradient(theta, step.from) * self.weight), step.from);
        let signal = step.signal + &shift;
        let other = step.other.map(|other| Other { t: other.t, signal: &other.signal + &shift });
        self.flow.advance(theta, &Advance { signal: &signal, other: other.as_ref(), ..*step })
    }

    fn retreat(&self, theta: &F::State, from: f64, to: f64, noise: &Tensor<B>) -> F::State {
        self.flow.retreat(theta, from, to, noise)
    }

    fn middle(&self, from: f64, to: f64) -> f64 {
        self.flow.middle(from, to)
    }

    fn expected_entropy(&self) -> Result<Box<dyn Fn(f64) -> f64 + '_>, Error> {
        self.flow.expected_entropy()
    }

    fn entropy_grid(&self, eta: f64, steps: usize) -> Result<Grid, Error> {
        self.flow.entropy_grid(eta, steps)
    }
}
