//! The training step and the state that it changes.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use bfn_core::times::TimeDensity;
use bfn_data::{Batches, Dataset, Prefetch, Purpose, Seed};
use bfn_nets::networks::{Mode, count_operations};
use bfn_nets::optimiser::is_not_finite;
use bfn_nets::{Checkpoint, Ema, NamedTensor, Optimiser, Recorded, Snapshot, parameter, seed_dropout};
use tch::{Kind, Tensor};

use crate::config::{Experiment, TrainingConfig};
use crate::draws;
use crate::examples::{Column, Examples};
use crate::model::Model;
use crate::objective::Term;
use crate::phases::{Phase, Phases};
use crate::task::Task;

/// Batches prepared ahead of the loop, and the threads that prepare them.
const AHEAD: usize = 4;
const THREADS: usize = 1;

/// A network in training: all that a checkpoint holds, and how one step changes it.
#[allow(missing_debug_implementations, reason = "a data set need not have one")]
pub struct Trainer {
    experiment: Experiment,
    task: Task,
    time_density: TimeDensity,
    batches: Batches,
    model: Model,
    ema: Ema,
    optimiser: Optimiser,
    /// The way to a gradient and back, where it is recorded.
    recorded: Option<Recorded<Tensor>>,
}

/// What a step measured, still on the device.
#[derive(Debug)]
pub struct Measured {
    /// The mean loss of the step's examples, in nats per variable.
    pub loss: Tensor,
    /// The norm of the gradient before it was clipped.
    pub gradient_norm: Tensor,
}

impl Trainer {
    /// A network before its first step.
    ///
    /// # Errors
    ///
    /// Settings of the optimiser or the average that make no sense, a data set without examples, a device that cannot
    /// record steps that are to be recorded.
    pub fn new(experiment: &Experiment, task: Task, dataset: Arc<dyn Dataset>, model: Model) -> Result<Self> {
        let training = &experiment.training;
        Ok(Self {
            batches: Batches::new(dataset, Seed(training.seed), training.batch)?,
            optimiser: Optimiser::new(model.parameters(), experiment.optimiser)?,
            time_density: draws::density(&training.time_density)?,
            ema: Ema::new(model.parameters(), experiment.ema)?,
            recorded: training.cuda_graphs.then(|| Recorded::new(model.device())).transpose()?,
            experiment: experiment.clone(),
            task,
            model,
        })
    }

    /// What is modelled.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The network.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The network, while the average of its weights is in it.
    ///
    /// # Errors
    ///
    /// A device that fails.
    pub fn with_average<T>(&mut self, body: impl FnOnce(&Model, &Task) -> Result<T>) -> Result<T> {
        let _averaged = self.ema.averaged()?;
        body(&self.model, &self.task)
    }

    /// Step number `step`, counted from 0: the one place where weights change.
    ///
    /// Nothing here waits for the device. At a loss or gradient that is not finite the optimiser takes no step; the
    /// average of the weights moves on as after any other.
    ///
    /// # Errors
    ///
    /// Batches that end too soon, data that cannot be read any more, a device that fails.
    pub fn step(
        &mut self,
        step: u64,
        batches: &mut impl Iterator<Item = Result<Examples>>,
        phases: &mut Phases,
    ) -> Result<Measured> {
        let TrainingConfig { accumulation, clip, seed, .. } = self.experiment.training;
        let parts = u64::from(accumulation);
        let device = self.model.device();
        let mut total = Tensor::zeros([], (Kind::Float, device));
        for part in 0..parts {
            let examples = batches.next().context("the batches ended before the steps")??.on(device);
            phases.end(Phase::Data);
            seed_dropout(seed, step * parts + part);
            let (task, model) = (&self.task, &self.model);
            total += match &mut self.recorded {
                None => gradients(task, model, &examples, parts, || {
                    phases.end(Phase::Loss);
                    phases.transfer(Phase::Loss, Phase::Network, model.take_time());
                }),
                Some(recorded) => {
                    recorded.run(examples, |examples| gradients(task, model, examples, parts, || ()))?.shallow_clone()
                }
            };
            phases.end(Phase::Backward);
        }
        let gradient_norm = self.optimiser.clip_gradients(clip)?;
        let broken = is_not_finite(&(&total + &gradient_norm));
        self.optimiser.step_unless(&broken, self.experiment.learning_rate(step))?;
        match self.recorded {
            None => self.optimiser.zero_grad()?,
            Some(_) => self.optimiser.zero_grad_in_place()?,
        }
        self.ema.update(step + 1)?;
        phases.end(Phase::Optimiser);
        Ok(Measured { loss: total, gradient_norm })
    }

    /// The floating-point operations of the network's way forward with one example; see [`count_operations`].
    ///
    /// # Errors
    ///
    /// What the data set finds wrong with its files.
    pub fn operations(&self) -> Result<u64> {
        let example = self.examples(0)?.swap_remove(0).first(1).on(self.model.device());
        let loss = || self.task.objective.loss(&self.model, &example, Term::ContinuousTime, Mode::Train);
        Ok(count_operations(loss).1)
    }

    /// The batches of some steps with everything random about them, prepared ahead on another thread.
    pub fn prefetch(&self, steps: Range<u64>) -> Prefetch<Result<Examples>> {
        let parts = u64::from(self.experiment.training.accumulation);
        Prefetch::new(steps.start * parts..steps.end * parts, THREADS, AHEAD, self.prepare())
    }

    /// The batches of one step once more, to be looked at.
    ///
    /// # Errors
    ///
    /// What the data set finds wrong with its files.
    pub fn examples(&self, step: u64) -> Result<Vec<Examples>> {
        let parts = u64::from(self.experiment.training.accumulation);
        (step * parts..(step + 1) * parts).map(self.prepare()).collect()
    }

    /// From the number of a batch to its examples: a pure function, whichever thread calls it.
    fn prepare(&self) -> impl Fn(u64) -> Result<Examples> + Send + Sync + 'static {
        let TrainingConfig { batch, times, seed, accumulation, condition_dropout, .. } = self.experiment.training;
        let is_weighted = !self.experiment.training.time_density.is_empty();
        let seed = Seed(seed);
        let parts = u64::from(accumulation);
        let batches = self.batches.clone();
        let width = self.task.objective.message_width(self.task.form.dimensions());
        let side = self.task.side;
        let device = self.model.device();
        let density = self.time_density.clone();
        move |number| {
            let drawn = batches.batch(number)?;
            // The parts of one step share one set of times.
            let part = (number % parts) as usize;
            let uniforms = draws::times(seed, number / parts, batch * parts as usize, times);
            let times = uniforms.into_iter().skip(part).step_by(parts as usize).map(|uniform| density.draw(uniform));
            let (t, weights) = times.map(|time| (time.t, time.weight)).unzip();
            let examples = Examples {
                x: draws::stored(&drawn.values),
                t: Column::new(t),
                weights: is_weighted.then(|| Column::new(weights)),
                noise: draws::normal(seed, Purpose::Noise, 0, &drawn.positions, width),
                sender_noise: None,
                condition: side.dropped_condition(&drawn, condition_dropout, seed),
            };
            Ok(examples.ready_for(device))
        }
    }

    /// A copy of all that changes, in the memory of the host.
    ///
    /// # Errors
    ///
    /// A device that fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::new();
        snapshot.add("model", &parameter::named(self.model.parameters()))?;
        snapshot.add("ema", &self.ema.state())?;
        snapshot.add("optimiser", &self.optimiser.state())?;
        Ok(snapshot)
    }

    /// The bytes of all that a step changes: weights, their gradients and average, and the state of the optimiser.
    pub fn state_bytes(&self) -> u64 {
        let weights = parameter::named(self.model.parameters());
        let bytes = |tensors: &[NamedTensor]| {
            tensors
                .iter()
                .map(|named| (named.tensor.numel() * named.tensor.kind().elt_size_in_bytes()) as u64)
                .sum::<u64>()
        };
        2 * bytes(&weights) + bytes(&self.ema.state()) + bytes(&self.optimiser.state())
    }

    /// Goes back to what a checkpoint holds.
    ///
    /// # Errors
    ///
    /// A checkpoint of another network.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.load_into("model", &parameter::named(self.model.parameters()))?;
        checkpoint.load_into("ema", &self.ema.state())?;
        checkpoint.load_into("optimiser", &self.optimiser.state())?;
        Ok(())
    }
}

/// Adds the gradient of the mean loss of some examples, one of so many parts of a step, and returns that loss.
/// `between` is called when it is known, before its gradient is.
fn gradients(task: &Task, model: &Model, examples: &Examples, parts: u64, between: impl FnOnce()) -> Tensor {
    let loss = task.objective.loss(model, examples, Term::ContinuousTime, Mode::Train);
    let loss = weighted(loss.array(), examples.weights.as_ref()).mean(Kind::Float) / parts as f64;
    between();
    loss.backward();
    loss.detach()
}

/// Losses `[B, D]` of examples times their factors, if they have any.
fn weighted(losses: &Tensor, weights: Option<&Column>) -> Tensor {
    match weights {
        None => losses.shallow_clone(),
        Some(weights) => losses * weights.on_device().unsqueeze_last().array(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_has_its_weight() {
        let losses = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape([2, 3]);
        let found: Vec<f32> =
            weighted(&losses, Some(&Column::new(vec![2.0, 0.5]))).flatten(0, 1).try_into().expect("numbers");
        assert_eq!(found, [2.0, 4.0, 6.0, 2.0, 2.5, 3.0]);
        assert_eq!(weighted(&losses, None), losses);
    }
}
