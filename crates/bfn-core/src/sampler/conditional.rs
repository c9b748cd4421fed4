//! Drawing data of which some variables are known: inpainting and imputation.

use super::{Advance, Motion, Scheme};
use crate::{Backend, Error, Grid, OutputDistribution, Tensor};

/// A batch of data points of which some variables are known.
#[derive(Debug, Clone)]
pub struct Observed<B: Backend, X> {
    /// The values; where a variable is not known, any value will do.
    pub values: X,
    /// `[B, D]`: 1 for every variable that is known, 0 for every other.
    pub known: Tensor<B>,
}

/// A flow as a sampler sees it when some variables are known: those send messages about their true values at every
/// step, all others about the prediction.
///
/// # Formula
///
/// In each step the signal that stands for the prediction is m ⊙ signal(x) + (1 − m) ⊙ signal(x̂), with m = 1 for
/// what is known. θ then learns what is known by exact Bayesian updates, and the network sees it together with what
/// it has predicted of the rest. With the ancestral sampler each known variable's messages are p_S(y | x; α), as in
/// training. A temperature heats the noise of the others alone.
///
/// Samples follow the conditional distribution only nearly: what was predicted before the known variables had said
/// all of it is not taken back. [`Passes`](super::Passes) lessen that error, [`Particles`](super::Particles) remove it.
///
/// It is a [`Motion`], so that any [`Sampler`](super::Sampler) runs it, with every solver and option. The last
/// prediction covers all variables; a caller puts the known values back in their places.
///
/// Source: Graves et al. 2023, section 3, with true messages in the place of predicted ones.
#[derive(Debug, Clone)]
pub struct Conditioned<'a, B: Backend, F> {
    flow: &'a F,
    truth: Tensor<B>,
    known: Tensor<B>,
}

/// What a flow must know to draw data under conditions, beyond how it moves.
pub trait Conditional<B: Backend>: Motion<B> {
    /// One number for each variable, `[B, D]`, repeated for each number of its message, in the shape of `like`.
    fn spread(&self, per_variable: &Tensor<B>, like: &Tensor<B>) -> Tensor<B>;

    /// ln p_R(y | θ; α) − ln p_S(y | x; α) of the message y that is sent between two times about x with standard
    /// normal `noise`, in nats, per variable, `[B, D]`.
    ///
    /// The receiver is the joint one, whatever the n-step loss is measured with.
    fn message_weight(
        &self,
        x: &<Self::Prediction as OutputDistribution<B>>::Value,
        output: &Self::Prediction,
        from: f64,
        to: f64,
        noise: &Tensor<B>,
    ) -> Tensor<B>;

    /// ln p_O(x | θ; 1) of the last prediction, in nats, per variable, `[B, D]`: what
    /// [`loss_reconstruction`](crate::BayesianFlow::loss_reconstruction) is the negative of.
    fn last_weight(
        &self,
        x: &<Self::Prediction as OutputDistribution<B>>::Value,
        output: &Self::Prediction,
    ) -> Tensor<B>;

    /// v ∇_m from ∇_θ at time t: how far a gradient of ln p(c | θ) in μ, or in the logits z, moves the mean signal; see
    /// [`Steered`](super::Steered).
    fn steer(&self, gradient: &Tensor<B>, t: f64) -> Tensor<B>;

    /// θ of these examples, counted from 0, in this order.
    fn select(&self, theta: &Self::State, examples: &[usize]) -> Self::State;
}

impl<'a, B: Backend, F: Conditional<B>> Conditioned<'a, B, F> {
    /// The flow with these variables known, for messages of the shape of `like`.
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not fit each other.
    pub fn new(
        flow: &'a F,
        observed: &Observed<B, <F::Prediction as OutputDistribution<B>>::Value>,
        like: &Tensor<B>,
    ) -> Self {
        let (truth, known) = (flow.signal(&observed.values, like), flow.spread(&observed.known, like));
        Self { flow, truth, known }
    }

    /// The true signal where it is known, this one elsewhere.
    pub(super) fn blend(&self, signal: &Tensor<B>) -> Tensor<B> {
        self.known.where_below(0.5, signal, &self.truth)
    }

    /// One tensor for what is known, another for the rest, both in the shape of a message.
    pub(super) fn choose(&self, known: &Tensor<B>, other: &Tensor<B>) -> Tensor<B> {
        self.known.where_below(0.5, other, known)
    }
}

impl<B: Backend, F: Conditional<B>> Motion<B> for Conditioned<'_, B, F> {
    type State = F::State;
    type Prediction = F::Prediction;

    fn mean_signal(&self, output: &F::Prediction) -> Tensor<B> {
        self.blend(&self.flow.mean_signal(output))
    }

    fn signal(&self, x: &<F::Prediction as OutputDistribution<B>>::Value, like: &Tensor<B>) -> Tensor<B> {
        self.blend(&self.flow.signal(x, like))
    }

    fn nearest(&self, output: &F::Prediction) -> <F::Prediction as OutputDistribution<B>>::Value {
        self.flow.nearest(output)
    }

    fn tempered(&self, output: F::Prediction, temperature: f64) -> F::Prediction {
        self.flow.tempered(output, temperature)
    }

    /// The noise of what is known stays as it is: its messages are true ones at every temperature.
    fn heated(&self, noise: Tensor<B>, temperature: f64) -> Tensor<B> {
        self.choose(&noise, &self.flow.heated(noise.clone(), temperature))
    }

    /// The flow distribution of what is known; of a signal of 0 elsewhere.
    fn start(&self, t: f64, noise: &Tensor<B>) -> F::State {
        let signal = self.blend(&noise.full_like(0.0));
        let redraw =
            Advance { scheme: Scheme::Redraw, from: t, to: t, signal: &signal, other: None, noise: Some(noise) };
        self.flow.advance(&self.flow.start(t, noise), &redraw)
    }

    fn advance(&self, theta: &F::State, step: &Advance<'_, B>) -> F::State {
        self.flow.advance(theta, step)
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
