//! The folder that a run leaves behind: everything that evaluating, sampling and resuming need, except the data.
//! docs/RUNS.md describes its contents.

use std::fmt;
use std::fs::{self, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bfn_data::{Split, Windows};
use bfn_nets::{DeviceChoice, Snapshot, parameter};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::checkpoints::{Checkpoints, Choice, Standing};
use crate::config::Experiment;
use crate::form::Form;
use crate::model::Model;
use crate::task::{Arithmetic, Source, Task};

/// The choice of a checkpoint's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Weights {
    /// The exponential moving average.
    Ema,
    /// The weights of the last step.
    Last,
}

impl fmt::Display for Weights {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Ema => "ema",
            Self::Last => "last",
        })
    }
}

/// The choice of a run's network: a checkpoint, and which of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Which {
    /// Which checkpoint to use: last, best (on the validation split), or a number of steps.
    #[arg(long, default_value = "last", value_name = "last|best|STEPS")]
    pub checkpoint: Choice,
    /// Which weights of the checkpoint to use.
    #[arg(long, value_enum, default_value_t = Weights::Ema)]
    pub weights: Weights,
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct Run {
    folder: PathBuf,
}

/// The contents of `run.json`: the program, the machine and the data with which a run was made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of this program.
    pub version: String,
    /// The version of libtorch.
    pub libtorch: String,
    /// The device.
    pub device: String,
    /// The number of CPU threads per operation.
    pub threads: usize,
    /// The title of the data.
    pub data: String,
    /// Examples in the training split.
    pub examples: usize,
    /// The form of an example.
    pub form: Form,
    /// The number of learned parameters.
    pub parameters: usize,
    /// The origin of the first weights, if they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// The origin of the first weights of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A checkpoint of the published code.
    Imported {
        /// The file of the weights.
        weights: String,
        /// Its SHA-256.
        sha256: String,
        /// The configuration file.
        config: String,
    },
    /// The folder of another run.
    Run(String),
}

impl Run {
    /// Creates the folder of a new run and writes the experiment into it.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder already contains something or cannot be created.
    pub fn create(folder: &Path, experiment: &Experiment) -> Result<(Self, Lock)> {
        let shown = folder.display();
        ensure!(
            has_not_begun(folder),
            "{shown} exists already and is not overwritten; choose another --out, or continue it with --resume"
        );
        fs::create_dir_all(folder.join("checkpoints")).with_context(|| format!("cannot make the folder {shown}"))?;
        let run = Self { folder: folder.to_owned() };
        let lock = run.lock()?;
        run.write_experiment(experiment)?;
        Ok((run, lock))
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder does not exist or is not that of a run.
    pub fn open(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        ensure!(!folder.is_file(), "{shown} is a file; name the folder of a run, which `bfn train … --out RUN` makes");
        ensure!(folder.is_dir(), "there is no run in {shown}: no such folder; `bfn train … --out {shown}` makes one");
        let run = Self { folder: folder.to_owned() };
        ensure!(run.path("experiment.toml").is_file(), "{shown} is not the folder of a run: it has no experiment.toml");
        Ok(run)
    }

    /// Removes the log lines after `step` steps, since a resumed run logs these steps again.
    ///
    /// # Errors
    ///
    /// Returns an error if the log cannot be written.
    pub fn rewind_log(&self, step: u64) -> Result<()> {
        let path = self.path("metrics.jsonl");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        // A line that was cut short by a crash is not valid JSON and is removed as well.
        let stays = |line: &&str| {
            let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
            value.and_then(|value| value.get("step")?.as_u64()).is_some_and(|logged| logged <= step)
        };
        let kept: String = text.lines().filter(stays).flat_map(|line| [line, "\n"]).collect();
        if kept == text { Ok(()) } else { write_file(&path, kept.as_bytes()) }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Reads the experiment of the run.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or is not an experiment.
    pub fn experiment(&self) -> Result<Experiment> {
        Experiment::read(&self.path("experiment.toml"), &[])
    }

    /// Writes the resolved experiment.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to.
    pub fn write_experiment(&self, experiment: &Experiment) -> Result<()> {
        write_file(&self.path("experiment.toml"), experiment.to_toml()?.as_bytes())
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        write_file(&self.path("run.json"), serde_json::to_string_pretty(record)?.as_bytes())
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or is not such a record.
    pub fn record(&self) -> Result<Record> {
        let path = self.path("run.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not the record of a run", path.display()))
    }

    /// Appends a line to `metrics.jsonl`, whole or not at all.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to.
    pub fn log(&self, line: &impl Serialize) -> Result<()> {
        let path = self.path("metrics.jsonl");
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let append = || {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
            let before = file.metadata()?.len();
            // The next line must not follow an incomplete one.
            file.write_all(text.as_bytes()).inspect_err(|_| drop(file.set_len(before)))
        };
        append().with_context(|| format!("cannot write to {}", path.display()))
    }

    /// Returns the checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path("checkpoints"))
    }

    /// Writes a checkpoint of weights alone, which also serve as their moving average: an import has nothing else.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to or the disk is full.
    pub fn save_weights(&self, model: &Model) -> Result<()> {
        let weights = parameter::named(model.parameters());
        let standing = Standing::default();
        let mut snapshot = Snapshot::new();
        snapshot.add("model", &weights)?;
        snapshot.add("ema", &weights)?;
        snapshot.set_metadata("standing", &standing);
        Ok(snapshot.write(&self.checkpoints().path(standing.step))?)
    }

    /// Loads the weights of a checkpoint into a model, and returns how far the run had come there.
    ///
    /// # Errors
    ///
    /// Returns an error if the run has no such checkpoint, or if it is that of another network.
    pub fn load_weights(&self, which: Which, model: &Model) -> Result<Standing> {
        let Some(checkpoint) = self.checkpoints().choose(which.checkpoint)? else {
            let cure = match self.record().ok().and_then(|record| record.origin) {
                Some(Origin::Imported { weights, config, .. }) => format!("import {weights} again (--config {config})"),
                _ => "let it train until the first one (checkpoint.every), or continue with --resume".to_owned(),
            };
            bail!("{} has no complete checkpoint; {cure}", self.folder.display());
        };
        let group = if which.weights == Weights::Ema { "ema" } else { "model" };
        checkpoint.load_into(group, &parameter::named(model.parameters()))?;
        Ok(checkpoint.metadata("standing")?)
    }

    /// Returns whether another process is training in the folder.
    pub fn is_locked(&self) -> bool {
        let file = fs::File::open(self.path("lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Locks the folder for this process while the lock lives, since two processes must not train the same run.
    ///
    /// # Errors
    ///
    /// Returns an error if another process is training in the folder, or if it cannot be written to.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.path("lock");
        let shown = self.folder.display();
        let open = fs::OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let file = open.with_context(|| format!("cannot write to the folder {shown}"))?;
        let mut locked = file.try_lock();
        if matches!(locked, Err(TryLockError::WouldBlock)) {
            // `bfn list` briefly holds a lock to test whether it is free.
            std::thread::sleep(Duration::from_millis(50));
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                bail!("another process is training in {shown}; wait for its end or train into another --out")
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

/// A lock that prevents other processes from training in the folder. It ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

/// Checks whether a folder holds nothing but the remains of a run that ended before it wrote its experiment.
pub fn has_not_begun(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return !folder.exists() };
    entries.flatten().all(|entry| match entry.file_name().to_string_lossy().as_ref() {
        "lock" | "experiment.toml.bfn-partial" => true,
        "checkpoints" => fs::read_dir(entry.path()).is_ok_and(|mut files| files.next().is_none()),
        _ => false,
    })
}

/// Writes a file whole or not at all.
///
/// # Errors
///
/// Returns an error if the file cannot be written; an existing file is then unchanged.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(bfn_nets::write_whole(path, |file| file.write_all(bytes))?)
}

/// A trained run, ready to be evaluated or sampled.
#[derive(Debug)]
pub struct Trained {
    /// The folder of the run.
    pub folder: PathBuf,
    /// The experiment.
    pub experiment: Experiment,
    /// Its flow and the form of the data.
    pub task: Task,
    /// The network with its trained weights.
    pub model: Model,
    /// Which weights of the checkpoint were loaded.
    pub weights: Weights,
    /// How far the training had come.
    pub standing: Standing,
    /// The origin of the first weights, if they were not drawn.
    pub origin: Option<Origin>,
}

impl Trained {
    /// Loads a checkpoint of the run in `folder`.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder is not a run or has no complete checkpoint, or if the device is not available or
    /// not set up for a deterministic run.
    pub fn load(folder: &Path, which: Which, device: DeviceChoice, arithmetic: Arithmetic) -> Result<Self> {
        let run = Run::open(folder)?;
        let experiment = run.experiment()?;
        let device = device.resolve()?;
        // What a deterministic run is asked for can be repeated too.
        experiment.training.deterministic.then(|| experiment.training.choose_kernels(device)).transpose()?;
        let Record { form, origin, .. } = run.record()?;
        let task = Task::new(&experiment, form, arithmetic)?;
        let model = Model::of(&experiment, &task.variables, device)?;
        let standing = run.load_weights(which, &model)?;
        Ok(Self { folder: folder.to_owned(), experiment, task, model, weights: which.weights, standing, origin })
    }

    /// Reads one split of the run's data.
    ///
    /// # Errors
    ///
    /// Returns an error if files are missing or invalid, or if the form of the data differs from that in training.
    pub fn open(&self, split: Split, windows: Windows) -> Result<Source> {
        let source = self.experiment.data.open(split, windows)?;
        ensure!(
            Form::of(source.dataset.as_ref())? == self.task.form,
            "the data are not of the form that {} was trained on: its alphabet or size differs",
            self.folder.display()
        );
        Ok(source)
    }

    /// Describes the history of the weights.
    pub fn history(&self) -> String {
        let last = if self.weights == Weights::Last { ", last weights" } else { "" };
        let trained = format!("after {} steps of training{last}", self.standing.step);
        match &self.origin {
            None => trained,
            Some(Origin::Imported { weights, .. }) => format!("imported from {weights}"),
            Some(Origin::Run(run)) => format!("{trained} from the weights of {run}"),
        }
    }
}

impl Record {
    /// Creates the record of a run that is made on this machine.
    pub fn new(model: &Model, task: &Task, source: &Source) -> Self {
        Self { data: source.title.clone(), examples: source.dataset.len(), ..Self::without_data(model, task) }
    }

    /// Creates the record of a run that is imported on this machine; its data are not looked for.
    pub fn imported(model: &Model, task: &Task, origin: Origin) -> Self {
        Self { origin: Some(origin), ..Self::without_data(model, task) }
    }

    fn without_data(model: &Model, task: &Task) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: bfn_nets::device::libtorch_version(),
            device: bfn_nets::device::describe(model.device()),
            threads: bfn_nets::device::threads(),
            data: String::new(),
            examples: 0,
            form: task.form.clone(),
            parameters: model.parameter_count(),
            origin: None,
        }
    }
}
