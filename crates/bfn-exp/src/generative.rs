//! Sampling with a network, for any kind of data.

use std::fmt::Debug;

use anyhow::Result;
use bfn_core::continuous::Belief;
use bfn_core::discrete::Logits;
use bfn_core::sampler::{Dynamics, Guided, Sampler};
use bfn_core::{NoiseSource, OutputDistribution};
use bfn_nets::{Tensor, Torch};

use crate::conditioning::Conditioning;
use crate::draws::column;
use crate::model::Model;
use crate::objective::{Encoding, Stored};

/// The samplers of a Bayesian flow of any kind.
pub trait Generative {
    /// Draws a batch of B samples of D variables, `shape` = \[B, D\].
    /// `conditioning` holds what the network is conditioned on. `observe` is called at every step and at the end.
    ///
    /// # Errors
    ///
    /// Returns the first error of `observe`; the network is not evaluated after it.
    fn sample(
        &self,
        model: &Model,
        conditioning: Option<&Conditioning>,
        sampler: &Sampler,
        shape: [usize; 2],
        noise: &mut dyn NoiseSource<Torch>,
        observe: &mut dyn FnMut(View<'_>) -> Result<()>,
    ) -> Result<Drawn>;
}

/// A batch of samples.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The most probable values under the last prediction, `[B, D]` in row-major order; for tables, classes drawn from it
    /// and the integers nearest to its means.
    /// Bins or classes are whole numbers, real numbers are as they are.
    pub values: Vec<f64>,
    /// The number of evaluations for each sample.
    pub evaluations: usize,
}

/// A moment of sampling, shown to an observer.
///
/// Belief and prediction are means in [−1, 1], `[B, D]`, or probabilities for discrete data, `[B, D, K]`.
pub struct View<'a> {
    /// The number of steps done; the final prediction counts as the last.
    pub step: usize,
    /// The total number of steps.
    pub steps: usize,
    /// The time.
    pub t: f64,
    pub(crate) belief: &'a dyn Fn() -> Tensor,
    pub(crate) prediction: &'a dyn Fn() -> Tensor,
}

/// Parameters of an input distribution that can be shown.
pub trait Seen {
    /// Returns means `[B, D]`, or probabilities `[B, D, K]`.
    fn seen(&self) -> Tensor;
}

impl View<'_> {
    /// Computes the input distribution.
    pub fn belief(&self) -> Tensor {
        (self.belief)()
    }

    /// Computes the output distribution.
    pub fn prediction(&self) -> Tensor {
        (self.prediction)()
    }
}

impl Debug for View<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "step {} of {} at t = {}", self.step, self.steps, self.t)
    }
}

impl Seen for Belief<Torch> {
    fn seen(&self) -> Tensor {
        self.mu.clone()
    }
}

impl Seen for Logits<Torch> {
    fn seen(&self) -> Tensor {
        self.probabilities()
    }
}

impl<F> Generative for Stored<F>
where
    F: Dynamics<Torch>,
    F::Data: Encoding,
    F::Theta: Seen,
    F::Output: Guided,
{
    fn sample(
        &self,
        model: &Model,
        conditioning: Option<&Conditioning>,
        sampler: &Sampler,
        shape: [usize; 2],
        noise: &mut dyn NoiseSource<Torch>,
        observe: &mut dyn FnMut(View<'_>) -> Result<()>,
    ) -> Result<Drawn> {
        let flow = &self.flow;
        let like = column(&[0.0], model.device()).full(&flow.message_shape(&shape), 0.0);
        let predict = |theta: &F::Theta, t: f64| {
            let t = like.full(&[shape[0]], t);
            let input = flow.network_input(theta);
            anyhow::Ok(Conditioning::predict(conditioning, model, &input, &t, |network| {
                flow.output(theta, network, &t)
            }))
        };
        let sample = sampler.sample(flow, &like, noise, predict, |moment| {
            let belief = || moment.theta.seen();
            let prediction = || seen_signal(&flow.mean_signal(moment.output));
            let (step, steps, t) = (moment.step, moment.steps, moment.t);
            observe(View { step, steps, t, belief: &belief, prediction: &prediction })
        })?;
        Ok(Drawn { values: sample.output.mode().decode(self.values), evaluations: sample.evaluations })
    }
}

/// Recovers a mean prediction from its signal: x̂ itself, or ê from K ê − 1.
fn seen_signal(signal: &Tensor) -> Tensor {
    match signal.shape()[..] {
        [_, _, classes] => (signal + 1.0) / classes as f64,
        _ => signal.clone(),
    }
}
