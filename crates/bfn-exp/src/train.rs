//! `bfn train`: the training loop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bfn_data::{Batches, Prefetch, Purpose, Seed, Split, Windows};
use bfn_nets::networks::Mode;
use bfn_nets::{AdamW, Ema, seed_dropout};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::bound::Estimator;
use crate::cli::TrainArgs;
use crate::clock::Clock;
use crate::config::{Experiment, TrainingConfig};
use crate::draws;
use crate::evaluate::{self, Steps};
use crate::form::Form;
use crate::model::Model;
use crate::objective::{Examples, Term};
use crate::progress::{Progress, short};
use crate::resume;
use crate::run::{Record, Run, Standing};
use crate::task::{Arithmetic, Source, Task};

/// Batches prepared ahead of the loop, and the threads that prepare them.
const AHEAD: usize = 4;
const THREADS: usize = 1;

/// A run in memory.
struct Session {
    experiment: Experiment,
    run: Run,
    task: Task,
    train: Source,
    /// Present where the experiment validates.
    validation: Option<Source>,
    model: Model,
    ema: Ema,
    optimiser: AdamW,
    standing: Standing,
}

/// A line of `metrics.jsonl` about training.
#[derive(Debug, Serialize)]
struct TrainingLine {
    step: u64,
    loss_nats_per_dim: f64,
    loss_bits_per_dim: f64,
    gradient_norm: f64,
    learning_rate: f64,
    examples_per_second: f64,
    waiting_for_data: f64,
    seconds: f64,
}

/// A line of `metrics.jsonl` about a validation.
#[derive(Debug, Serialize)]
struct ValidationLine {
    step: u64,
    validation_nats_per_example: f64,
    validation_bits_per_dim: f64,
    validation_standard_error_bits_per_dim: f64,
    seconds: f64,
}

/// Trains as the arguments say, from the beginning or from the last checkpoint.
///
/// # Errors
///
/// Whatever is wrong with the experiment, the data, the device or the folder of the run; a loss
/// that is not finite.
pub fn command(args: &TrainArgs) -> Result<()> {
    let experiment = Experiment::read(&args.experiment, &args.overrides)?;
    let device = args.device.resolve()?;
    let train = experiment.data.open(Split::Train, Windows::Random)?;
    let validates = experiment.validation.is_some();
    let validation = validates.then(|| experiment.data.open(Split::Validation, Windows::InOrder)).transpose()?;
    let task = Task::new(&experiment, Form::of(train.dataset.as_ref())?, Arithmetic::default())?;
    let seed = Seed(experiment.training.seed);
    let model = Model::new(&experiment.network, &task.variables, device, experiment.training.precision, seed)?;
    let optimiser = AdamW::new(model.parameters(), experiment.optimiser)?;
    let ema = Ema::new(model.parameters(), experiment.ema)?;

    let folder = args.out.clone().unwrap_or_else(|| default_folder(&args.experiment));
    let run = if args.resume { resume::resumed(&folder, &experiment)? } else { Run::create(&folder, &experiment)? };
    run.write_record(&Record::new(&model, &task, &train))?;
    let mut session =
        Session { experiment, run, task, train, validation, model, ema, optimiser, standing: Standing::default() };
    if args.resume {
        session.restore()?;
    }
    session.announce();
    session.train()?;
    session.farewell();
    Ok(())
}

impl Session {
    /// The training loop.
    fn train(&mut self) -> Result<()> {
        let TrainingConfig { steps, max_time, batch, clip, log_every, .. } = self.experiment.training;
        let (seed, device) = (Seed(self.experiment.training.seed), self.model.device());
        let micro = u64::from(self.experiment.training.accumulation);
        let mut batches = self.prepare(self.standing.step * micro, steps * micro)?;
        let mut progress = Progress::new("training", self.standing.step, steps);
        let mut clock = Clock::new(self.standing.seconds);
        let mut tally = Tally::new(self.standing.step, device);

        while self.standing.step < steps && max_time.is_none_or(|limit| clock.training() < limit) {
            let step = self.standing.step;
            let rate = self.experiment.learning_rate(step);
            for part in 0..micro {
                let examples = batches.next().context("the batches ended before the steps")?.on(device);
                seed_dropout(seed.0, step * micro + part);
                let loss = self.task.objective.loss(&self.model, &examples, Term::ContinuousTime, Mode::Train);
                let loss = loss.array().mean(Kind::Float) / micro as f64;
                loss.backward();
                tally.add(&loss);
            }
            tally.gradient_norm = self.optimiser.clip_gradients(clip)?;
            self.optimiser.step(rate)?;
            self.optimiser.zero_grad()?;
            self.ema.update(step + 1)?;
            self.standing = Standing { step: step + 1, seconds: clock.training().as_secs_f64() };
            progress.set(step + 1);

            // What follows waits for the device; a step without it does not.
            let every = |interval: u64| (step + 1).is_multiple_of(interval);
            if every(log_every) || step + 1 == steps {
                let line = tally.line(self.standing, rate, micro * batch as u64, batches.waited())?;
                self.run.log(&line)?;
                let left = clock.left(steps - step - 1, progress.rate(step + 1), max_time);
                progress.message(step + 1, &line.message(left));
                tally = Tally::new(step + 1, device);
            }
            if every(self.experiment.checkpoint.every) && step + 1 < steps {
                tally.check(step + 1)?;
                self.save()?;
            }
            if self.experiment.validation.as_ref().is_some_and(|validation| every(validation.every)) {
                let paused = Instant::now();
                self.validate(&progress)?;
                clock.pause(paused.elapsed());
                tally.pause(paused.elapsed());
            }
        }
        progress.finish();
        tally.check(self.standing.step)?;
        self.save()
    }

    /// The batches of the loop with everything random about them, prepared ahead on another thread.
    fn prepare(&self, from: u64, to: u64) -> Result<Prefetch<Examples>> {
        let TrainingConfig { batch, times, seed, accumulation, .. } = self.experiment.training;
        let seed = Seed(seed);
        let batches = Batches::new(self.train.dataset.clone(), seed, batch)?;
        let width = self.task.objective.message_width(self.task.form.dimensions());
        let micro = u64::from(accumulation);
        Ok(Prefetch::new(from..to, THREADS, AHEAD, move |number| {
            let drawn = batches.batch(number);
            // The parts of one step share one set of times.
            let part = (number % micro) as usize;
            let t = draws::times(seed, number / micro, batch * micro as usize, times);
            Examples {
                x: draws::stored(&drawn.values),
                t: t.into_iter().skip(part).step_by(micro as usize).collect(),
                noise: draws::normal(seed, Purpose::Noise, 0, &drawn.positions, width),
                sender_noise: None,
            }
        }))
    }

    fn validate(&mut self, progress: &Progress) -> Result<()> {
        let (Some(validation), Some(source)) = (&self.experiment.validation, &self.validation) else { return Ok(()) };
        let _averaged = self.ema.averaged()?;
        let estimator = Estimator {
            objective: self.task.objective.as_ref(),
            model: &self.model,
            dataset: source.dataset.clone(),
            limit: validation.examples.map_or(usize::MAX, |examples| examples as usize),
            batch: self.experiment.training.batch,
            seed: Seed(self.experiment.training.seed),
            repeats: 1,
        };
        let rows = evaluate::rows(&estimator, &[Steps::Infinite], self.task.form.dimensions())?;
        let Some(row) = rows.first() else { return Ok(()) };
        progress.line(&format!(
            "validation after {} steps: {:.3} nats/example, {:.4} ± {:.4} {}",
            self.standing.step,
            row.total_nats_per_example,
            row.total_bits_per_dim,
            row.standard_error_bits_per_dim,
            self.task.form.bits_per_variable()
        ));
        self.run.log(&ValidationLine {
            step: self.standing.step,
            validation_nats_per_example: row.total_nats_per_example,
            validation_bits_per_dim: row.total_bits_per_dim,
            validation_standard_error_bits_per_dim: row.standard_error_bits_per_dim,
            seconds: self.standing.seconds,
        })
    }

    fn save(&self) -> Result<()> {
        let keep = self.experiment.checkpoint.keep;
        self.run.save(self.standing, &self.model, &self.ema, &self.optimiser, keep)
    }

    /// Goes back to the last whole checkpoint; a run without one starts at step 0.
    fn restore(&mut self) -> Result<()> {
        let Some(checkpoint) = self.run.last_checkpoint()? else {
            eprintln!("{} has no complete checkpoint; training starts at step 0", self.run.folder().display());
            return Ok(());
        };
        checkpoint.load_into("model", &bfn_nets::parameter::named(self.model.parameters()))?;
        checkpoint.load_into("ema", &self.ema.state())?;
        checkpoint.load_into("optimiser", &self.optimiser.state())?;
        self.standing = checkpoint.metadata("standing")?;
        Ok(())
    }

    fn announce(&self) {
        let training = &self.experiment.training;
        eprintln!(
            "{}: {} examples of {} variables; {} parameters; {} steps of {}{} on {}",
            self.train.title,
            self.train.dataset.len(),
            self.task.form.dimensions(),
            self.model.parameter_count(),
            training.steps,
            training.batch,
            training.max_time.map(|limit| format!(", at most {}", short(limit))).unwrap_or_default(),
            bfn_nets::device::describe(self.model.device())
        );
        if self.standing.step > 0 {
            eprintln!("continuing at step {}", self.standing.step);
        }
    }

    fn farewell(&self) {
        let folder = self.run.folder().display();
        let time = short(Duration::from_secs_f64(self.standing.seconds));
        eprintln!("trained {} steps in {time}; the run is in {folder}", self.standing.step);
        eprintln!("next: bfn evaluate {folder}    bfn sample {folder}");
    }
}

/// What has happened since the last line of the log, on the device.
struct Tally {
    loss: Tensor,
    gradient_norm: Tensor,
    since: u64,
    started: Instant,
}

impl Tally {
    fn new(step: u64, device: Device) -> Self {
        let zero = || Tensor::zeros([], (Kind::Float, device));
        Self { loss: zero(), gradient_norm: zero(), since: step, started: Instant::now() }
    }

    fn add(&mut self, loss: &Tensor) {
        self.loss += loss.detach();
    }

    fn pause(&mut self, time: Duration) {
        self.started += time;
    }

    /// Refuses to go on from numbers that are none.
    fn check(&self, step: u64) -> Result<()> {
        let (loss, norm) = (self.loss.double_value(&[]), self.gradient_norm.double_value(&[]));
        ensure!(
            loss.is_finite() && norm.is_finite(),
            "after step {step} the loss is {loss} and the norm of the gradient {norm}: training stops, and the last \
             checkpoint is kept; a lower optimiser.learning_rate or training.clip may help"
        );
        Ok(())
    }

    fn line(&self, standing: Standing, rate: f64, examples: u64, waited: Duration) -> Result<TrainingLine> {
        self.check(standing.step)?;
        let steps = standing.step - self.since;
        let loss = self.loss.double_value(&[]) / steps as f64;
        Ok(TrainingLine {
            step: standing.step,
            loss_nats_per_dim: loss,
            loss_bits_per_dim: loss / std::f64::consts::LN_2,
            gradient_norm: self.gradient_norm.double_value(&[]),
            learning_rate: rate,
            examples_per_second: (steps * examples) as f64 / self.started.elapsed().as_secs_f64(),
            waiting_for_data: waited.as_secs_f64(),
            seconds: standing.seconds,
        })
    }
}

impl Examples {
    /// The same examples on a device.
    fn on(self, device: Device) -> Self {
        Self { x: self.x.to_device(device), noise: self.noise.to_device(device), ..self }
    }
}

impl TrainingLine {
    fn message(&self, left: Duration) -> String {
        format!(
            "loss {:.4} nats/dim ({:.4} bits/dim), {:.0} examples/s, {} left",
            self.loss_nats_per_dim,
            self.loss_bits_per_dim,
            self.examples_per_second,
            short(left)
        )
    }
}

/// `runs/NAME-TIME`, after the experiment and the present time (UTC).
fn default_folder(experiment: &Path) -> PathBuf {
    let name = experiment.file_stem().unwrap_or_default().to_string_lossy();
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let time = now.trim_end_matches('Z').replace(':', "").replace('T', "-");
    Path::new("runs").join(format!("{name}-{time}"))
}
