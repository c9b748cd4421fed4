//! Drawing data with some known variables: inpainting and imputation.

use super::{Advance, Motion, Scheme};
use crate::{Backend, Error, Grid, OutputDistribution, Tensor};

/// A batch of data points with some known variables.
#[derive(Debug, Clone)]
pub struct Observed<B: Backend, X> {
    /// The values; those of unknown variables are arbitrary.
    pub values: X,
    /// A mask `[B, D]`: 1 for every known variable, 0 for every other.
    pub known: Tensor<B>,
}

/// A flow with some known variables.
///
/// In every step, known variables send messages about their true values; all others send messages about the
/// prediction.
///
/// # Formula
///
/// In each step, the signal m ⊙ signal(x) + (1 − m) ⊙ signal(x̂) represents the prediction, with m = 1 for known
/// variables. θ thus learns the known values by exact Bayesian updates, and the network sees them together with its
/// predictions of the rest. With the ancestral sampler, the messages of each known variable are p_S(y | x; α), as in
/// training. A temperature scales only the noise of the unknown variables.
///
/// Samples follow the conditional distribution only approximately: predictions made before the known variables have
/// sent all their messages are not revised. [`Passes`](super::Passes) reduce this error,
/// [`Particles`](super::Particles) remove it.
///
/// The flow is a [`Motion`], so any [`Sampler`](super::Sampler) runs it, with every solver and option. The last
/// prediction covers all variables; the caller restores the known values.
///
/// Source: Graves et al. 2023, section 3, with true messages in place of predicted ones.
#[derive(Debug, Clone)]
pub struct Conditioned<'a, B: Backend, F> {
    flow: &'a F,
    truth: Tensor<B>,
    known: Tensor<B>,
}

/// The operations that a flow needs to draw data under conditions, in addition to its [`Motion`].
pub trait Conditional<B: Backend>: Motion<B> {
    /// Repeats the number of each variable, `[B, D]`, for each number of its message, in the shape of `like`.
    fn spread(&self, per_variable: &Tensor<B>, like: &Tensor<B>) -> Tensor<B>;

    /// Computes ln p_R(y | θ; α) − ln p_S(y | x; α) in nats, per variable, `[B, D]`.
    ///
    /// y is the message about x sent between the two times with standard normal `noise`. The receiver is the joint
    /// one, whichever receiver the n-step loss uses.
    fn message_weight(
        &self,
        x: &<Self::Prediction as OutputDistribution<B>>::Value,
        output: &Self::Prediction,
        from: f64,
        to: f64,
        noise: &Tensor<B>,
    ) -> Tensor<B>;

    /// Computes ln p_O(x | θ; 1) of the last prediction in nats, per variable, `[B, D]`.
    ///
    /// This is the negative of [`loss_reconstruction`](crate::BayesianFlow::loss_reconstruction).
    fn last_weight(
        &self,
        x: &<Self::Prediction as OutputDistribution<B>>::Value,
        output: &Self::Prediction,
    ) -> Tensor<B>;

    /// Converts ∇_θ into v ∇_m at time t: the shift of the mean signal by a gradient of ln p(c | θ) in μ, or in the
    /// logits z; see [`Steered`](super::Steered).
    fn steer(&self, gradient: &Tensor<B>, t: f64) -> Tensor<B>;

    /// Selects θ of the given examples, counted from 0, in this order.
    fn select(&self, theta: &Self::State, examples: &[usize]) -> Self::State;
}

impl<'a, B: Backend, F: Conditional<B>> Conditioned<'a, B, F> {
    /// Creates the flow with these known variables, for messages in the shape of `like`.
    ///
    /// # Panics
    ///
    /// Panics if the shapes do not match.
    pub fn new(
        flow: &'a F,
        observed: &Observed<B, <F::Prediction as OutputDistribution<B>>::Value>,
        like: &Tensor<B>,
    ) -> Self {
        let (truth, known) = (flow.signal(&observed.values, like), flow.spread(&observed.known, like));
        Self { flow, truth, known }
    }

    /// Returns the true signal of known variables and the given signal of all others.
    pub(super) fn blend(&self, signal: &Tensor<B>) -> Tensor<B> {
        self.known.where_below(0.5, signal, &self.truth)
    }

    /// Combines a tensor for known variables with one for the others, both in the shape of a message.
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

    /// Leaves the noise of known variables unchanged: their messages are true ones at every temperature.
    fn heated(&self, noise: Tensor<B>, temperature: f64) -> Tensor<B> {
        self.choose(&noise, &self.flow.heated(noise.clone(), temperature))
    }

    /// Draws from the flow distribution of the known values, with a signal of 0 elsewhere.
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
