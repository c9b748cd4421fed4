//! Estimates of the variational bound of a trained network on a split, with their standard errors.

mod estimate;
mod grid;
mod spread;

pub use estimate::{Estimate, TimeBin};

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use bfn_data::{Batch, DataError, Dataset, Draw, InOrder, Prefetch, Purpose, Seed};
use bfn_nets::Tensor;
use bfn_nets::networks::Mode;
use tch::Kind;

use self::spread::Spread;
use crate::config::Times;
use crate::draws;
use crate::examples::{Column, Examples};
use crate::model::Model;
use crate::objective::{Objective, Term};
use crate::side::Side;

/// An estimator of the variational bound.
#[allow(missing_debug_implementations, reason = "a data set need not have one")]
pub struct Estimator<'a> {
    /// The losses.
    pub objective: &'a dyn Objective,
    /// The network.
    pub model: &'a Model,
    /// The examples.
    pub dataset: Arc<dyn Dataset>,
    /// The number of examples to evaluate, from the first on; all examples if there are fewer.
    pub limit: usize,
    /// Examples per call of the network.
    pub batch: usize,
    /// The seed of all draws.
    pub seed: Seed,
    /// Draws per example.
    pub repeats: u32,
    /// How times are spread over the examples.
    pub times: Times,
    /// What the network is conditioned on besides θ and t.
    pub side: Side,
    /// The variables whose terms count, `[h]` on the model's device; if absent, all variables count.
    pub counted: Option<tch::Tensor>,
}

/// A term of the bound, estimated once for one example.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The example.
    pub example: usize,
    /// The time of the draw.
    pub t: f64,
    /// The term in nats, summed over the variables of the example that count.
    pub nats: f64,
}

impl Estimator<'_> {
    /// Returns the number of examples that are evaluated.
    pub fn examples(&self) -> usize {
        self.limit.min(self.dataset.len())
    }

    /// Returns the number of network calls that one term takes.
    pub fn calls(&self) -> u64 {
        (self.examples().div_ceil(self.batch) * self.repeats as usize) as u64
    }

    /// Draws a term for each example, `repeats` times.
    ///
    /// `observe` is called after each batch; if it breaks off, there is no result. Unless independent times are
    /// requested, the times are equally spaced over the examples of one repeat and over the repeats of one example,
    /// from a random start and in a random order. The choice of times then adds little noise to the mean.
    ///
    /// # Errors
    ///
    /// Returns an error if the split has no examples or the data set finds a fault in its files.
    pub fn draw(&self, term: Term, observe: impl FnMut() -> ControlFlow<()>) -> Result<Option<Vec<Sample>>> {
        self.draw_by(
            |repeat| self.times(term, repeat),
            |batch, t, repeat| {
                let examples = self.prepare(batch, t, term, repeat);
                let loss = self.objective.loss(self.model, &examples, term, Mode::Evaluate);
                (examples.t.exact().to_vec(), loss)
            },
            observe,
        )
    }

    /// Draws a loss for each example, `repeats` times.
    ///
    /// `numbers` returns one number for each example of a repeat. `loss` receives a batch with the numbers of its
    /// examples, and returns the times and losses of these examples; the losses have the shape `[B, D]`.
    fn draw_by(
        &self,
        numbers: impl Fn(u64) -> Vec<f64>,
        loss: impl Fn(&Batch, Vec<f64>, u64) -> (Vec<f64>, Tensor),
        mut observe: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Vec<Sample>>> {
        let _no_gradient = tch::no_grad_guard();
        let mut samples = Vec::with_capacity(self.examples() * self.repeats as usize);
        for repeat in 0..u64::from(self.repeats) {
            let numbers = numbers(repeat);
            for batch in self.batches(repeat)? {
                let batch = batch?;
                let of_batch = batch.indices.iter().map(|index| numbers[*index as usize]).collect();
                let (times, loss) = loss(&batch, of_batch, repeat);
                let counted = match &self.counted {
                    None => loss.array().shallow_clone(),
                    Some(variables) => loss.array().index_select(-1, variables),
                };
                let nats = Vec::<f64>::try_from(counted.to_kind(Kind::Double).sum_dim_intlist(-1_i64, false, None))?;
                let drawn = batch.indices.iter().zip(times).zip(nats);
                samples.extend(drawn.map(|((index, t), nats)| Sample { example: *index as usize, t, nats }));
                if observe().is_break() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(samples))
    }

    /// Returns the batches of one repeat, which are prepared ahead.
    fn batches(&self, repeat: u64) -> Result<Prefetch<Result<Batch, DataError>>> {
        let draw = Draw { seed: self.seed, epoch: repeat };
        let batches = InOrder::new(Arc::clone(&self.dataset), draw, self.batch)?.limited(self.examples())?;
        let total = batches.batches();
        Ok(Prefetch::new(0..total, 1, 2, move |number| batches.batch(number)))
    }

    fn times(&self, term: Term, repeat: u64) -> Vec<f64> {
        match term {
            Term::Reconstruction => vec![1.0; self.examples()],
            Term::ContinuousTime => self.spread(term, repeat),
            Term::Step { n, .. } => {
                let n = f64::from(n);
                self.spread(term, repeat).into_iter().map(|t| (t * n).floor() / n).collect()
            }
        }
    }

    /// Draws a number in [0, 1) for each example.
    fn spread(&self, term: Term, repeat: u64) -> Vec<f64> {
        let of = |number| Spread { seed: self.seed, number, examples: self.examples() as u64 };
        match self.times {
            Times::Independent => of(number(term, repeat)).independent(),
            Times::LowDiscrepancy => of(number(term, 0)).equally_spaced(repeat, self.repeats),
        }
    }

    fn prepare(&self, batch: &Batch, t: Vec<f64>, term: Term, repeat: u64) -> Examples {
        let width = self.objective.message_width(batch.values.ncols());
        let step = number(term, repeat);
        let normal = |purpose| draws::normal(self.seed, purpose, step, &batch.indices, width);
        let noise = match term {
            Term::Reconstruction => normal(Purpose::Reconstruction),
            _ => normal(Purpose::Noise),
        };
        let sender_noise = matches!(term, Term::Step { .. }).then(|| normal(Purpose::SenderNoise));
        let condition = self.side.condition(batch);
        let x = draws::stored(&batch.values);
        let examples = Examples { x, t: Column::new(t), weights: None, noise, sender_noise, condition };
        examples.on(self.model.device())
    }
}

/// Returns the number that identifies the draws of a term in a repeat.
fn number(term: Term, repeat: u64) -> u64 {
    match term {
        Term::ContinuousTime | Term::Reconstruction => repeat,
        Term::Step { n, .. } => (u64::from(n) << 32) | repeat,
    }
}
