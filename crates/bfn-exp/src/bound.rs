//! Estimating the variational bound of a trained network on a split, with its standard error.

mod grid;

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use bfn_data::{Batch, Dataset, Draw, InOrder, Permutation, Prefetch, Purpose, Seed};
use bfn_nets::networks::Mode;
use tch::Kind;

use crate::draws;
use crate::model::Model;
use crate::objective::{Examples, Objective, Term};

/// At most this many bins of time, within which the standard error compares examples.
const TIME_BINS: usize = 50;

/// A bin has at least about this many draws: with fewer, its mean follows them and hides their spread.
const DRAWS_PER_BIN: usize = 20;

/// How to estimate a bound.
#[allow(missing_debug_implementations, reason = "a data set need not have one")]
pub struct Estimator<'a> {
    /// The losses.
    pub objective: &'a dyn Objective,
    /// The network.
    pub model: &'a Model,
    /// The examples.
    pub dataset: Arc<dyn Dataset>,
    /// Only this many, from the first on.
    pub limit: usize,
    /// Examples per call of the network.
    pub batch: usize,
    /// The seed of all draws.
    pub seed: Seed,
    /// Draws per example.
    pub repeats: u32,
    /// The classes whose labels the network is told, if any.
    pub classes: Option<usize>,
}

/// A term of the bound, estimated once for one example.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The example.
    pub example: usize,
    /// The time of the draw.
    pub t: f64,
    /// The term, in nats, summed over the example's variables.
    pub nats: f64,
}

/// A mean and its standard error.
#[derive(Debug, Clone, Copy)]
pub struct Estimate {
    /// The mean, in nats per example.
    pub mean: f64,
    /// Its standard error over examples and draws.
    pub standard_error: f64,
}

impl Estimator<'_> {
    /// Examples that are evaluated.
    pub fn examples(&self) -> usize {
        self.limit.min(self.dataset.len())
    }

    /// Calls of the network that one term takes.
    pub fn calls(&self) -> u64 {
        (self.examples().div_ceil(self.batch) * self.repeats as usize) as u64
    }

    /// Draws a term for each example, `repeats` times. `observe` is called after each batch; where it breaks off, there
    /// is no result.
    ///
    /// Over the examples of one repeat the times are equally spaced, from a random start and in a
    /// random order, so that the mean over times has little noise of its own.
    ///
    /// # Errors
    ///
    /// A split without examples, or what the data set finds wrong with its files.
    pub fn draw(&self, term: Term, mut observe: impl FnMut() -> ControlFlow<()>) -> Result<Option<Vec<Sample>>> {
        let _no_gradient = tch::no_grad_guard();
        let count = self.examples();
        let mut samples = Vec::with_capacity(count * self.repeats as usize);
        for repeat in 0..u64::from(self.repeats) {
            let draw = Draw { seed: self.seed, epoch: repeat };
            let batches = InOrder::new(Arc::clone(&self.dataset), draw, self.batch)?.limited(count)?;
            let total = batches.batches();
            let times = self.times(term, repeat);
            for batch in Prefetch::new(0..total, 1, 2, move |number| batches.batch(number)) {
                let batch = batch?;
                let t: Vec<f64> = batch.indices.iter().map(|index| times[*index as usize]).collect();
                let examples = self.prepare(&batch, t, term, repeat);
                let loss = self.objective.loss(self.model, &examples, term, Mode::Evaluate);
                let nats =
                    Vec::<f64>::try_from(loss.array().to_kind(Kind::Double).sum_dim_intlist(-1_i64, false, None))?;
                let drawn = batch.indices.iter().zip(&examples.t).zip(nats);
                samples.extend(drawn.map(|((index, t), nats)| Sample { example: *index as usize, t: *t, nats }));
                if observe().is_break() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(samples))
    }

    fn times(&self, term: Term, repeat: u64) -> Vec<f64> {
        let count = self.examples();
        if term == Term::Reconstruction {
            return vec![1.0; count];
        }
        let start = self.seed.stream(Purpose::Time, number(term, repeat), 0).uniform();
        let order = Permutation::new(self.seed, Purpose::Order, number(term, repeat), count as u64);
        let spaced = (0..count as u64).map(|i| (start + order.at(i) as f64 / count as f64).fract());
        match term {
            Term::Step { n } => spaced.map(|t| (t * f64::from(n)).floor() / f64::from(n)).collect(),
            _ => spaced.collect(),
        }
    }

    fn prepare(&self, batch: &Batch, t: Vec<f64>, term: Term, repeat: u64) -> Examples {
        let device = self.model.device();
        let width = self.objective.message_width(batch.values.ncols());
        let step = number(term, repeat);
        let normal = |purpose| draws::normal(self.seed, purpose, step, &batch.indices, width).to_device(device);
        let noise = match term {
            Term::Reconstruction => normal(Purpose::Reconstruction),
            _ => normal(Purpose::Noise),
        };
        let sender_noise = matches!(term, Term::Step { .. }).then(|| normal(Purpose::SenderNoise));
        let condition = draws::condition(batch.labels.as_deref(), self.classes).map(|condition| condition.on(device));
        Examples { x: draws::stored(&batch.values).to_device(device), t, noise, sender_noise, condition }
    }
}

/// A number of its own for the draws of each term and repeat.
fn number(term: Term, repeat: u64) -> u64 {
    match term {
        Term::ContinuousTime | Term::Reconstruction => repeat,
        Term::Step { n } => (u64::from(n) << 32) | repeat,
    }
}

impl Estimate {
    /// The mean of `loss` + `reconstruction` over examples, and its standard error over examples and draws.
    ///
    /// The times of a repeat are equally spaced, so what the mean loss at a time differs from the
    /// mean over all times is no error: it is taken off, in bins of time, before the spread over the
    /// examples is measured. Both lists hold the same examples in the same order.
    pub fn of_total(loss: &[Sample], reconstruction: &[Sample]) -> Self {
        let examples = loss.iter().map(|sample| sample.example + 1).max().unwrap_or(0);
        let count = loss.len() as f64;
        let bins = (loss.len() / DRAWS_PER_BIN).clamp(1, TIME_BINS);
        let bin = |sample: &Sample| ((sample.t * bins as f64) as usize).min(bins - 1);
        let mut sums = vec![0.0; bins];
        let mut counts = vec![0.0; bins];
        for sample in loss {
            sums[bin(sample)] += sample.nats;
            counts[bin(sample)] += 1.0;
        }
        let mut of_example = vec![0.0; examples];
        let mut mean = 0.0;
        for (loss, reconstruction) in loss.iter().zip(reconstruction) {
            mean += (loss.nats + reconstruction.nats) / count;
            let adjusted = loss.nats - sums[bin(loss)] / counts[bin(loss)];
            of_example[loss.example] += adjusted + reconstruction.nats;
        }
        let repeats = count / examples as f64;
        let adjusted: Vec<f64> = of_example.iter().map(|sum| sum / repeats).collect();
        let centre = adjusted.iter().sum::<f64>() / examples as f64;
        let squares: f64 = adjusted.iter().map(|value| (value - centre).powi(2)).sum();
        let variance = squares / (examples as f64 - 1.0);
        Self { mean, standard_error: (variance / examples as f64).sqrt() }
    }

    /// The mean of one term, in nats per example.
    pub fn mean(samples: &[Sample]) -> f64 {
        samples.iter().map(|sample| sample.nats).sum::<f64>() / samples.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples whose loss is `nats(example, t, noise)`, with equally spaced times in a random order.
    fn samples(count: usize, repeats: u64, seed: u64, nats: impl Fn(usize, f64, f64) -> f64) -> Vec<Sample> {
        let seed = Seed(seed);
        let mut samples = Vec::new();
        for repeat in 0..repeats {
            let order = Permutation::new(seed, Purpose::Order, repeat, count as u64);
            let start = seed.stream(Purpose::Time, repeat, 0).uniform();
            for example in 0..count {
                let t = (start + order.at(example as u64) as f64 / count as f64).fract();
                let mut noise = [0.0];
                seed.stream(Purpose::Noise, repeat, example as u64).fill_standard_normal(&mut noise);
                samples.push(Sample { example, t, nats: nats(example, t, noise[0]) });
            }
        }
        samples
    }

    fn nothing(like: &[Sample]) -> Vec<Sample> {
        like.iter().map(|sample| Sample { nats: 0.0, ..*sample }).collect()
    }

    /// An example's own share of the loss, with variance 1 over examples.
    fn share(example: usize) -> f64 {
        let mut value = [0.0];
        Seed(99).stream(Purpose::Other(1), 0, example as u64).fill_standard_normal(&mut value);
        value[0]
    }

    #[test]
    fn what_depends_on_time_alone_is_no_error() {
        let loss = samples(5000, 1, 1, |_, t, _| 30.0 * t);
        let estimate = Estimate::of_total(&loss, &nothing(&loss));
        assert!((estimate.mean - 15.0).abs() < 0.01, "{estimate:?}");
        assert!(estimate.standard_error < 0.005, "{estimate:?}");
    }

    #[test]
    fn examples_are_an_error_that_repeats_do_not_lessen() {
        for repeats in [1, 8] {
            let loss = samples(2000, repeats, 2, |example, t, _| share(example) + 5.0 * t);
            let estimate = Estimate::of_total(&loss, &nothing(&loss));
            let expected = 1.0 / 2000_f64.sqrt();
            assert!((estimate.standard_error / expected - 1.0).abs() < 0.06, "{repeats}: {estimate:?}");
        }
    }

    #[test]
    fn few_examples_do_not_hide_their_spread() {
        let claimed = |seed: u64| {
            let loss = samples(40, 1, seed, |example, _, _| share(example + 40 * seed as usize));
            Estimate::of_total(&loss, &nothing(&loss)).standard_error
        };
        let mean = (0..100).map(claimed).sum::<f64>() / 100.0;
        assert!((mean * 40_f64.sqrt() - 1.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn the_spread_of_estimates_over_draws_and_examples_is_the_standard_error() {
        // Each estimate has examples of its own, so that all of the error shows.
        let estimates: Vec<Estimate> = (0..200)
            .map(|seed| {
                let loss = samples(300, 2, seed, |example, t, noise| {
                    share(example + 300 * seed as usize) + 10.0 * t + 2.0 * t * noise
                });
                Estimate::of_total(&loss, &nothing(&loss))
            })
            .collect();
        let mean = estimates.iter().map(|estimate| estimate.mean).sum::<f64>() / 200.0;
        let spread = (estimates.iter().map(|e| (e.mean - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        let claimed = estimates.iter().map(|estimate| estimate.standard_error).sum::<f64>() / 200.0;
        assert!((claimed / spread - 1.0).abs() < 0.2, "claimed {claimed}, spread {spread}");
    }
}
