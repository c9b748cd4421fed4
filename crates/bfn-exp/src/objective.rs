//! Where the equations meet a network: the losses for any kind of data.

use std::fmt::Debug;

use bfn_core::distribution::{bin, centre};
use bfn_core::sampler::{Conditional, Dynamics, Guided};
use bfn_nets::networks::Mode;
use bfn_nets::{Indices, Tensor, Torch};
use tch::Kind;

use crate::completion::Completing;
use crate::draws::column;
use crate::examples::Examples;
use crate::generative::{Generative, Seen};
use crate::gridded::Gridded;
use crate::model::Model;

/// A term of the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// The integrand of L^∞.
    ContinuousTime,
    /// n times the divergence of the step that starts at t, out of n equal steps.
    Step {
        /// The number of steps n.
        n: u32,
        /// Whether the message includes all of its noise, as the published code estimates the divergence. The mean is
        /// the same, the spread larger. Tables cannot be evaluated this way; the flag does not affect them.
        noisy: bool,
    },
    /// The integrand of L^r; t is 1.
    Reconstruction,
}

/// The losses of a Bayesian flow of any kind, which also draws whole or partial samples.
pub trait Objective: Generative + Completing + Gridded + Debug + Send + Sync {
    /// Returns P, the number of network outputs per variable.
    fn outputs_per_variable(&self) -> usize;

    /// Returns the number of random numbers in a message about D variables.
    fn message_width(&self, variables: usize) -> usize;

    /// Computes a term of the loss at the given times, in nats per variable: `[B, D]`.
    fn loss(&self, model: &Model, examples: &Examples, term: Term, mode: Mode) -> Tensor;
}

/// A flow of `bfn-core` over variables of one kind, for values as a loader stores them.
#[derive(Debug)]
pub struct Stored<F> {
    /// The flow.
    pub flow: F,
    /// The number of bins or classes; 1 for real numbers.
    pub values: usize,
}

/// Data in the form that a flow takes.
pub trait Encoding {
    /// Converts from values as they are stored, `[B, D]`.
    fn encode(stored: &tch::Tensor, values: usize) -> Self;

    /// Converts to values as they are stored, in row-major order.
    fn decode(&self, values: usize) -> Vec<f64>;
}

impl Encoding for Indices {
    fn encode(stored: &tch::Tensor, _values: usize) -> Self {
        Self::new(stored.to_kind(Kind::Int64))
    }

    fn decode(&self, _values: usize) -> Vec<f64> {
        self.to_vec().into_iter().map(|index| index as f64).collect()
    }
}

/// Bins become real numbers, their centres; real numbers are unchanged.
impl Encoding for Tensor {
    fn encode(stored: &tch::Tensor, values: usize) -> Self {
        let stored = Self::new(stored.to_kind(Kind::Float));
        if values > 1 { centre(&stored, values) } else { stored }
    }

    fn decode(&self, values: usize) -> Vec<f64> {
        if values > 1 { bin(self, values).decode(values) } else { self.to_values() }
    }
}

impl<F> Objective for Stored<F>
where
    F: Dynamics<Torch> + Conditional<Torch> + Debug + Send + Sync,
    F::Data: Encoding,
    F::Theta: Seen,
    F::Output: Guided,
{
    fn outputs_per_variable(&self) -> usize {
        self.flow.outputs_per_variable()
    }

    fn message_width(&self, variables: usize) -> usize {
        self.flow.message_shape(&[variables]).iter().product()
    }

    fn loss(&self, model: &Model, examples: &Examples, term: Term, mode: Mode) -> Tensor {
        let flow = &self.flow;
        let shape: Vec<usize> = examples.x.size().iter().map(|length| *length as usize).collect();
        let message = flow.message_shape(&shape);
        let as_message = |noise: &tch::Tensor| Tensor::new(noise.shallow_clone()).reshape(&message);

        let x = F::Data::encode(&examples.x, self.values);
        let t = examples.t.on_device();
        let noise = as_message(&examples.noise);
        let theta = flow.flow(&x, &t, &noise);
        let output =
            flow.output(&theta, &model.predict(&flow.network_input(&theta), &t, examples.condition.as_ref(), mode), &t);
        match term {
            Term::ContinuousTime => flow.loss_continuous_time(&x, &output, &t),
            Term::Reconstruction => flow.loss_reconstruction(&x, &output),
            Term::Step { n, noisy } => {
                let n = f64::from(n);
                let accuracies: Vec<f64> =
                    examples.t.exact().iter().map(|t| flow.step_accuracy(*t, t + 1.0 / n)).collect();
                let alpha = column(&accuracies, model.device());
                let sender_noise = examples.sender_noise.as_ref().map_or_else(|| noise.full_like(0.0), as_message);
                let loss = if noisy {
                    flow.loss_step(&x, &output, &alpha, &sender_noise)
                } else {
                    flow.loss_step_steady(&x, &output, &alpha, &sender_noise)
                };
                loss * n
            }
        }
    }
}
