//! `bfn train`: the training loop.

mod plan;

use std::mem;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bfn_data::{Seed, Split, Windows};
use serde::Serialize;

use crate::bound::Estimator;
use crate::checkpoints::{Best, Choice, Standing, Writer};
use crate::cli::TrainArgs;
use crate::clock::Clock;
use crate::conditioning::Conditions;
use crate::config::{Experiment, Times, TrainingConfig, ValidationConfig};
use crate::engine::Trainer;
use crate::evaluate::{Rows, TIME_BINS};
use crate::form::Form;
use crate::gallery::Gallery;
use crate::memory;
use crate::metrics::{TrainingLine, ValidationLine};
use crate::model::Model;
use crate::not_finite;
use crate::phases::{Phases, Shares};
use crate::progress::{Progress, say, short};
use crate::resume;
use crate::run::{Lock, Origin, Record, Run, Which};
use crate::stop::{Reason, Stop, Stopped};
use crate::tally::{Readings, Tally};
use crate::task::{Arithmetic, Source, Task};
use crate::tensorboard::Board;
use plan::Plan;

/// The entry of a checkpoint that holds [`Readings`].
const UNLOGGED: &str = "unlogged";

/// A run in training.
struct Session {
    run: Run,
    _lock: Lock,
    experiment: Experiment,
    trainer: Trainer,
    /// The validation split, if the experiment validates.
    validation: Option<Source>,
    standing: Standing,
    /// The measurements of the steps since the last log line, if the run is resumed.
    unlogged: Readings,
    writer: Writer,
    /// The event file, if the experiment requests one.
    board: Option<Board>,
    stop: Stop,
}

/// Trains as the arguments specify, from the beginning or from the last checkpoint.
///
/// # Errors
///
/// Returns an error if there is a problem with the experiment, the data, the device or the run's folder, or if a loss
/// is not finite. Returns [`Stopped`] if a signal or `--max-time` stopped the training.
pub fn command(args: &TrainArgs) -> Result<()> {
    let stop = Stop::listen(Instant::now(), args.max_time)?;
    let Plan { experiment, folder, resume } = Plan::of(args)?;
    let device = args.device.resolve()?;
    experiment.training.choose_kernels(device)?;
    let train = experiment.data.open(Split::Train, Windows::Random)?;
    let validates = experiment.validation.is_some();
    let validation = validates.then(|| experiment.data.open(Split::Validation, Windows::InOrder)).transpose()?;
    for source in std::iter::once(&train).chain(&validation) {
        source.check_labels(experiment.network.classes())?;
    }
    if let Some(validation) = &validation {
        validation.check_examples().context("[validation] needs a validation split")?;
    }
    let task = Task::new(&experiment, Form::of(train.dataset.as_ref())?, Arithmetic::default())?;
    let model = Model::of(&experiment, &task.variables, device)?;
    // A run that resumes from a checkpoint keeps its origin.
    let goes_on = || anyhow::Ok(resume && Run::open(&folder)?.checkpoints().last()?.is_some());
    let from = match &args.from {
        Some(from) if !goes_on()? => Some(from),
        _ => None,
    };
    let origin = match from {
        Some(from) => {
            Run::open(from)?.load_weights(Which { checkpoint: Choice::Last, weights: args.from_weights }, &model)?;
            Some(Origin::Run(from.display().to_string()))
        }
        None if resume => Run::open(&folder)?.record().ok().and_then(|record| record.origin),
        None => None,
    };
    let is_given = from.is_some();
    let record = Record { origin, ..Record::new(&model, &task, &train) };
    let trainer = Trainer::new(&experiment, task, train.dataset.clone(), model)?;

    let (run, lock) = if resume { resume::resumed(&folder, &experiment)? } else { Run::create(&folder, &experiment)? };
    if resume {
        resume::compare_machines(&run, device);
    }
    let writer = Writer::new(run.checkpoints(), experiment.checkpoint);
    let (standing, unlogged) = (Standing::default(), Readings::default());
    let mut session =
        Session { run, _lock: lock, experiment, trainer, validation, standing, unlogged, writer, board: None, stop };
    let restored = resume && session.restore(is_given, record.origin.as_ref())?;
    if resume {
        session.run.write_experiment(&session.experiment)?;
    }
    session.run.write_record(&record)?;
    if is_given && !restored {
        // Without it, a run that is resumed before its first checkpoint would continue from drawn weights.
        session.writer.begin(session.trainer.snapshot()?, standing)?;
        session.writer.finish()?;
    }
    session.announce(&train);
    if session.experiment.training.tensorboard {
        session.board = Some(Board::begin(&session.run.path("tensorboard"), session.standing.step)?);
    }
    session.train()
}

impl Session {
    /// Runs the training loop.
    fn train(&mut self) -> Result<()> {
        let TrainingConfig { steps, max_time, log_every, .. } = self.experiment.training;
        let mut batches = self.trainer.prefetch(self.standing.step..steps);
        let mut progress = Progress::new("training", self.standing.step, steps);
        let mut clock = Clock::new(self.standing.seconds);
        let mut tally = Tally::after(mem::take(&mut self.unlogged), log_every, self.trainer.model().device());
        let mut phases = Phases::new();

        // A run that was stopped during a validation repeats it now.
        if self.validate_if_due(&mut progress, &mut clock)? {
            phases.skip();
        }
        while !self.standing.is_at_end(&self.experiment.training) {
            if let Some(reason) = self.stop.reason() {
                return self.leave(reason, &progress, &tally);
            }
            let measured = self.trainer.step(self.standing.step, &mut batches, &mut phases)?;
            tally.add(&measured);
            self.standing.step += 1;
            self.standing.seconds = clock.training().as_secs_f64();
            let step = self.standing.step;
            progress.set(step);

            // Reading the losses waits for the device; a step without it does not.
            let is_last = self.standing.is_at_end(&self.experiment.training);
            if step.is_multiple_of(log_every) || is_last {
                let readings = self.sound(&tally)?;
                tally.restart(&readings);
                let line = self.line(&readings, progress.interval(), phases.take_shares());
                self.log(&line, &progress);
                self.show(|board| board.training(&line), &progress);
                let left = clock.left(steps - step, progress.rate(step), max_time);
                progress.message(step, &line.message(left));
            }
            let validated = self.validate_if_due(&mut progress, &mut clock)?;
            if validated {
                phases.skip();
            }
            let is_best = validated && self.standing.best.is_some_and(|best| best.step == step);
            if (step.is_multiple_of(self.experiment.checkpoint.every) || is_best) && !is_last {
                self.save(&tally, &progress)?;
            }
            warn(self.writer.check(), &progress);
        }
        if let (true, Some(reason)) = (self.must_validate(), self.stop.reason()) {
            // The last validation was interrupted.
            return self.leave(reason, &progress, &tally);
        }
        progress.finish();
        self.save(&tally, &progress)?;
        self.writer.finish()?;
        self.farewell();
        Ok(())
    }

    /// Reads the tally, and ends the run at numbers that are not finite, unless the experiment skips them.
    fn sound(&self, tally: &Tally) -> Result<Readings> {
        let readings = tally.read()?;
        let policy = self.experiment.training.not_finite;
        if not_finite::must_stop(&readings, policy) {
            return Err(not_finite::report(&self.run, &self.trainer, &readings, policy));
        }
        Ok(readings)
    }

    /// Returns whether a validation is due and has not been done.
    fn must_validate(&self) -> bool {
        let step = self.standing.step;
        let is_due = |config: &ValidationConfig| step > 0 && step.is_multiple_of(config.every);
        self.experiment.validation.as_ref().is_some_and(is_due) && self.standing.validated != step
    }

    /// Validates if it is due, and returns whether it did.
    fn validate_if_due(&mut self, progress: &mut Progress, clock: &mut Clock) -> Result<bool> {
        let step = self.standing.step;
        let (true, Some(config), Some(source)) = (self.must_validate(), &self.experiment.validation, &self.validation)
        else {
            return Ok(false);
        };
        let paused = Instant::now();
        let training = &self.experiment.training;
        let limit = config.examples.map_or(usize::MAX, |examples| examples as usize);
        let stop = &self.stop;
        let row = self.trainer.with_average(|model, task| {
            let estimator = Estimator {
                objective: task.objective.as_ref(),
                model,
                dataset: source.dataset.clone(),
                limit,
                batch: training.batch,
                seed: Seed(training.seed),
                repeats: 1,
                times: Times::LowDiscrepancy,
                side: task.side,
                counted: None,
            };
            let dimensions = task.form.dimensions();
            let stop = || stop.reason().is_some();
            Rows { estimator: &estimator, dimensions, time_bins: TIME_BINS, stop: &stop }.continuous_time()
        })?;
        // The validation was interrupted: the loop saves, and the resumed run validates.
        let Some(row) = row else { return Ok(false) };
        let nats_per_example = row.total_nats_per_example;
        self.standing.validated = step;
        let is_best = self.standing.is_best(nats_per_example);
        if is_best {
            self.standing.best = Some(Best { step, nats_per_example });
        }
        progress.line(&format!(
            "validation after {step} steps: {nats_per_example:.3} nats/example, {:.4} ± {:.4} {}{}",
            row.total_bits_per_dim,
            row.standard_error_bits_per_dim,
            self.trainer.task().form.bits_per_variable(),
            if is_best { ", the best so far" } else { "" }
        ));
        let line = ValidationLine {
            step,
            validation_nats_per_example: nats_per_example,
            validation_bits_per_dim: row.total_bits_per_dim,
            validation_standard_error_bits_per_dim: row.standard_error_bits_per_dim,
            loss_by_time: row.by_time.clone(),
            seconds: self.standing.seconds,
        };
        self.log(&line, progress);
        self.show(|board| board.validation(&line), progress);
        warn(self.draw(progress), progress);
        // The network's time so far is not that of a training step.
        self.trainer.model().take_time();
        clock.pause(paused.elapsed());
        progress.pause(paused.elapsed());
        Ok(true)
    }

    /// Draws the samples that are shown with a validation.
    fn draw(&mut self, progress: &Progress) -> Result<()> {
        let Some(config) = self.experiment.validation.as_ref().filter(|config| config.samples > 0) else {
            return Ok(());
        };
        let Some(source) = &self.validation else { return Ok(()) };
        let (run, step, seed) = (&self.run, self.standing.step, Seed(self.experiment.training.seed));
        let conditions = Conditions::of_examples(self.trainer.task().side, source, config.samples as usize)?;
        let draw = |model: &Model, task: &Task| Gallery::draw(run, model, task, config, &conditions, seed, step);
        let gallery = self.trainer.with_average(draw)?;
        self.show(|board| board.gallery(step, &gallery), progress);
        Ok(())
    }

    /// Starts to write a checkpoint, if all numbers are sound; a failure of the previous one causes only a warning.
    fn save(&mut self, tally: &Tally, progress: &Progress) -> Result<()> {
        let unlogged = self.sound(tally)?;
        let mut snapshot = self.trainer.snapshot()?;
        snapshot.set_metadata(UNLOGGED, &unlogged);
        let before = self.writer.begin(snapshot, self.standing);
        warn(before, progress);
        Ok(())
    }

    /// Appends to the log; a failure, such as a full disk, causes only a warning.
    fn log(&self, line: &impl Serialize, progress: &Progress) {
        warn(self.run.log(line), progress);
    }

    /// Adds to the event file, if there is one; a failure causes only a warning.
    fn show(&mut self, add: impl FnOnce(&mut Board) -> Result<()>, progress: &Progress) {
        if let Some(board) = &mut self.board {
            warn(add(board), progress);
        }
    }

    /// Leaves the run so that it can be resumed.
    fn leave(&mut self, reason: Reason, progress: &Progress, tally: &Tally) -> Result<()> {
        progress.finish();
        self.save(tally, progress)?;
        self.writer.finish()?;
        let folder = self.run.folder().display();
        let done = format!("{} of {} steps are done", self.standing.step, self.experiment.training.steps);
        Err(Stopped::new(reason, format!("{done}; continue with: bfn train --resume {folder}")).into())
    }

    /// Restores the last complete checkpoint, and returns whether there is one. A run without one starts at step 0;
    /// if its first weights were not drawn, they must be given again.
    fn restore(&mut self, is_given: bool, origin: Option<&Origin>) -> Result<bool> {
        let checkpoints = self.run.checkpoints();
        let last = checkpoints.last()?;
        let is_whole = last.is_some();
        match last {
            Some(checkpoint) => {
                ensure!(
                    checkpoint.has_group("optimiser"),
                    "{0} holds weights alone, as an imported run does, and cannot be resumed; begin a new run with \
                     them: --from {0} and another --out",
                    self.run.folder().display()
                );
                self.trainer.restore(&checkpoint)?;
                self.standing = checkpoint.metadata("standing")?;
                // Checkpoints of earlier versions do not contain this entry.
                self.unlogged = checkpoint.metadata(UNLOGGED).unwrap_or(Readings::after(self.standing.step));
            }
            None => {
                let folder = self.run.folder().display();
                if let (Some(Origin::Run(from)), false) = (origin, is_given) {
                    bail!(
                        "{folder} began with the weights of {from} and has no complete checkpoint; add --from {from}"
                    );
                }
                say(format_args!("{folder} has no complete checkpoint; training starts at step 0"));
            }
        }
        checkpoints.set_aside_after(self.standing.step)?;
        self.run.rewind_log(self.standing.step)?;
        Ok(is_whole)
    }

    fn line(&self, readings: &Readings, time: Duration, shares: Shares) -> TrainingLine {
        let training = &self.experiment.training;
        let examples = readings.losses.len() as u64 * training.batch as u64 * u64::from(training.accumulation);
        let loss = readings.mean_loss();
        TrainingLine {
            step: self.standing.step,
            loss_nats_per_dim: loss,
            loss_bits_per_dim: loss / std::f64::consts::LN_2,
            gradient_norm: readings.norms.last().copied().unwrap_or(f64::NAN),
            skipped_steps: readings.broken().len(),
            learning_rate: self.experiment.learning_rate(self.standing.step - 1),
            examples_per_second: examples as f64 / time.as_secs_f64().max(1e-9),
            shares,
            peak_memory_bytes: memory::peak(self.trainer.model().device()),
            seconds: self.standing.seconds,
        }
    }

    fn announce(&self, train: &Source) {
        let training = &self.experiment.training;
        say(format_args!(
            "{}: {} examples of {} variables; {} parameters; {} steps of {}{} on {}",
            train.title,
            train.dataset.len(),
            self.trainer.task().form.dimensions(),
            self.trainer.model().parameter_count(),
            training.steps,
            training.batch as u64 * u64::from(training.accumulation),
            training.max_time.map(|limit| format!(", at most {}", short(limit))).unwrap_or_default(),
            bfn_nets::device::describe(self.trainer.model().device())
        ));
        if self.standing.step > 0 {
            say(format_args!("continuing at step {}", self.standing.step));
        }
    }

    fn farewell(&self) {
        let folder = self.run.folder().display();
        let time = short(Duration::from_secs_f64(self.standing.seconds));
        say(format_args!("trained {} steps in {time}; the run is in {folder}", self.standing.step));
        say(format_args!("next: bfn evaluate {folder}    bfn sample {folder}"));
    }
}

impl TrainingLine {
    fn message(&self, left: Duration) -> String {
        format!(
            "loss {:.4} nats/dim ({:.4} bits/dim), {:.0} examples/s, {:.1} GB, {} left",
            self.loss_nats_per_dim,
            self.loss_bits_per_dim,
            self.examples_per_second,
            self.peak_memory_bytes as f64 / 1e9,
            short(left)
        )
    }
}

fn warn(result: Result<()>, progress: &Progress) {
    if let Err(error) = result {
        progress.warn(&format!("{error:#}; training continues, and the next one may succeed"));
    }
}
