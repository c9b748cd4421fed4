//! The training step and the state that it changes.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use bfn_core::times::TimeDensity;
use bfn_data::{Batches, Dataset, Prefetch, Purpose, Seed};
use bfn_nets::networks::{Mode, count_operations};
use bfn_nets::optimiser::is_not_finite;
use bfn_nets::{Checkpoint, Ema, NamedTensor, Optimiser, Recorded, Snapshot, device, parameter, seed_dropout};
use tch::{Kind, Tensor};

use crate::config::{Experiment, TrainingConfig};
use crate::draws;
use crate::examples::{Column, Examples};
use crate::model::Model;
use crate::objective::Term;
use crate::phases::{Phase, Phases};
use crate::task::Task;

/// The number of batches prepared ahead of the loop, and of threads that prepare them.
const AHEAD: usize = 4;
const THREADS: usize = 1;

/// A network in training: the state that a checkpoint holds, and the step that changes it.
#[allow(missing_debug_implementations, reason = "a data set need not have one")]
pub struct Trainer {
    experiment: Experiment,
    task: Task,
    time_density: TimeDensity,
    batches: Batches,
    model: Model,
    ema: Ema,
    optimiser: Optimiser,
    /// The forward and backward pass, if they are recorded.
    recorded: Option<Recorded<Tensor>>,
}

/// The measurements of a step, still on the device.
#[derive(Debug)]
pub struct Measured {
    /// The mean loss of the step's examples, in nats per variable.
    pub loss: Tensor,
    /// The norm of the gradient before it was clipped.
    pub gradient_norm: Tensor,
}

impl Trainer {
    /// Prepares a network for its first step.
    ///
    /// # Errors
    ///
    /// Returns an error if settings of the optimiser, the moving average or the density of times are invalid, the data
    /// set has no examples, or the device cannot record steps that are to be recorded.
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

    /// Returns the task, which states what is modelled.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Returns the network.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Calls `body` with the network while its weights are replaced by their moving average.
    ///
    /// # Errors
    ///
    /// Returns an error if the device or `body` fails.
    pub fn with_average<T>(&mut self, body: impl FnOnce(&Model, &Task) -> Result<T>) -> Result<T> {
        let _averaged = self.ema.averaged()?;
        body(&self.model, &self.task)
    }

    /// Carries out step number `step`, counted from 0. This is the only place where weights change.
    ///
    /// Nothing here waits for the device. If the loss or gradient is not finite, the optimiser takes no step; the
    /// moving average is updated as after any other step.
    ///
    /// # Errors
    ///
    /// Returns an error if the batches end too soon, data can no longer be read, or the device fails.
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

    /// Counts the floating-point operations of the forward pass with one example; see [`count_operations`].
    ///
    /// # Errors
    ///
    /// Returns an error if the data set finds a fault in its files.
    pub fn operations(&self) -> Result<u64> {
        let example = self.examples(0)?.swap_remove(0).first(1).on(self.model.device());
        let loss = || self.task.objective.loss(&self.model, &example, Term::ContinuousTime, Mode::Train);
        Ok(count_operations(loss).1)
    }

    /// Prepares the batches of some steps with all their random draws, ahead on another thread.
    pub fn prefetch(&self, steps: Range<u64>) -> Prefetch<Result<Examples>> {
        let parts = u64::from(self.experiment.training.accumulation);
        let prepare = self.prepare();
        let prepare = move |number| device::on_one_thread(|| prepare(number));
        Prefetch::new(steps.start * parts..steps.end * parts, THREADS, AHEAD, prepare)
    }

    /// Returns the batches of one step again, for inspection.
    ///
    /// # Errors
    ///
    /// Returns an error if the data set finds a fault in its files.
    pub fn examples(&self, step: u64) -> Result<Vec<Examples>> {
        let parts = u64::from(self.experiment.training.accumulation);
        (step * parts..(step + 1) * parts).map(self.prepare()).collect()
    }

    /// Returns the pure function from the number of a batch to its examples, which any thread may call.
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

    /// Copies all state that changes to the memory of the host.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::new();
        snapshot.add("model", &parameter::named(self.model.parameters()))?;
        snapshot.add("ema", &self.ema.state())?;
        snapshot.add("optimiser", &self.optimiser.state())?;
        Ok(snapshot)
    }

    /// Counts the bytes of all state that a step changes: weights, gradients, moving average and optimiser state.
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

    /// Restores the state of a checkpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if the checkpoint belongs to another network.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.load_into("model", &parameter::named(self.model.parameters()))?;
        checkpoint.load_into("ema", &self.ema.state())?;
        checkpoint.load_into("optimiser", &self.optimiser.state())?;
        Ok(())
    }
}

/// Adds the gradient of one of `parts` parts of a step, and returns this part's share of the mean loss.
/// `between` is called after the loss is computed and before its gradient is.
fn gradients(task: &Task, model: &Model, examples: &Examples, parts: u64, between: impl FnOnce()) -> Tensor {
    let loss = task.objective.loss(model, examples, Term::ContinuousTime, Mode::Train);
    let loss = weighted(loss.array(), examples.weights.as_ref()).mean(Kind::Float) / parts as f64;
    between();
    loss.backward();
    loss.detach()
}

/// Multiplies the losses `[B, D]` of examples by their weights, if they have any.
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
