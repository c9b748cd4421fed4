//! The folder that a run leaves behind: all that evaluating, sampling and resuming need.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `experiment.toml` | the resolved experiment |
//! | `run.json` | versions, device, data, number of parameters |
//! | `metrics.jsonl` | one JSON object for each line of the log |
//! | `checkpoints/step-….safetensors` | weights, averaged weights, optimiser, step |

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bfn_nets::{AdamW, Checkpoint, DeviceChoice, Ema, Snapshot, parameter};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::config::Experiment;
use crate::form::Form;
use crate::model::Model;
use crate::task::{Arithmetic, Source, Task};

/// Which weights of a checkpoint to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Weights {
    /// The exponential moving average.
    Ema,
    /// The weights of the last step.
    Last,
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct Run {
    folder: PathBuf,
}

/// `run.json`: what a run was made with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of this program.
    pub version: String,
    /// The version of libtorch.
    pub libtorch: String,
    /// The device.
    pub device: String,
    /// The threads of one operation on the CPU.
    pub threads: usize,
    /// The data.
    pub data: String,
    /// Examples in the training split.
    pub examples: usize,
    /// What an example looks like.
    pub form: Form,
    /// Learned numbers of the network.
    pub parameters: usize,
}

/// How far a run had come at a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Optimiser steps done.
    pub step: u64,
    /// Seconds of training, over all sessions of the run.
    pub seconds: f64,
}

impl Run {
    /// Makes the folder of a new run and writes the experiment into it.
    ///
    /// # Errors
    ///
    /// A folder that exists already, or cannot be made.
    pub fn create(folder: &Path, experiment: &Experiment) -> Result<Self> {
        let shown = folder.display();
        ensure!(
            !folder.exists(),
            "{shown} exists already and is not overwritten; choose another --out, or continue it with --resume"
        );
        fs::create_dir_all(folder.join("checkpoints")).with_context(|| format!("cannot make the folder {shown}"))?;
        let run = Self { folder: folder.to_owned() };
        run.write_experiment(experiment)?;
        Ok(run)
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// A folder that is not there, or is not that of a run.
    pub fn open(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        ensure!(folder.is_dir(), "there is no run in {shown}: no such folder; `bfn train … --out {shown}` makes one");
        let run = Self { folder: folder.to_owned() };
        ensure!(run.path("experiment.toml").is_file(), "{shown} is not the folder of a run: it has no experiment.toml");
        Ok(run)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The experiment of the run.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not an experiment.
    pub fn experiment(&self) -> Result<Experiment> {
        Experiment::read(&self.path("experiment.toml"), &[])
    }

    /// Writes the resolved experiment.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written to.
    pub fn write_experiment(&self, experiment: &Experiment) -> Result<()> {
        write_file(&self.path("experiment.toml"), experiment.to_toml()?.as_bytes())
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written to.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let json = serde_json::to_string_pretty(record)?;
        write_file(&self.path("run.json"), json.as_bytes())
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not such a record.
    pub fn record(&self) -> Result<Record> {
        let path = self.path("run.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not the record of a run", path.display()))
    }

    /// Appends a line to `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written to.
    pub fn log(&self, line: &impl Serialize) -> Result<()> {
        let path = self.path("metrics.jsonl");
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let open = fs::OpenOptions::new().create(true).append(true).open(&path);
        open.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write to {}", path.display()))
    }

    /// Writes a checkpoint whole or not at all, and removes all but the last `keep`.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written to, a full disk.
    pub fn save(&self, standing: Standing, model: &Model, ema: &Ema, optimiser: &AdamW, keep: usize) -> Result<()> {
        let mut snapshot = Snapshot::new();
        snapshot.add("model", &parameter::named(model.parameters()))?;
        snapshot.add("ema", &ema.state())?;
        snapshot.add("optimiser", &optimiser.state())?;
        snapshot.set_metadata("standing", &standing);
        snapshot.write(&self.path(&format!("checkpoints/step-{:010}.safetensors", standing.step)))?;
        let mut checkpoints = self.checkpoints()?;
        checkpoints.truncate(checkpoints.len().saturating_sub(keep.max(1)));
        for old in checkpoints {
            fs::remove_file(&old).with_context(|| format!("cannot remove the old checkpoint {}", old.display()))?;
        }
        Ok(())
    }

    /// The last checkpoint that is whole, if there is any; says on stderr which ones are not.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read.
    pub fn last_checkpoint(&self) -> Result<Option<Checkpoint>> {
        for path in self.checkpoints()?.into_iter().rev() {
            match Checkpoint::read(&path) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) => eprintln!("warning: passing over a checkpoint: {error}"),
            }
        }
        Ok(None)
    }

    /// The files of checkpoints, oldest first.
    fn checkpoints(&self) -> Result<Vec<PathBuf>> {
        let folder = self.path("checkpoints");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("cannot read the folder {}", folder.display()))?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("step-") && name.ends_with(".safetensors") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
///
/// A file that cannot be written; an old one is then as it was.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(bfn_nets::write_whole(path, |file| file.write_all(bytes))?)
}

/// A trained run, ready to be evaluated or sampled.
#[derive(Debug)]
pub struct Trained {
    /// The experiment.
    pub experiment: Experiment,
    /// Its flow and the form of its data.
    pub task: Task,
    /// The network with its trained weights.
    pub model: Model,
    /// How far training had come.
    pub standing: Standing,
}

impl Trained {
    /// Loads the last checkpoint of the run in `folder`.
    ///
    /// # Errors
    ///
    /// A folder that is not a run or has no whole checkpoint, a device that is not there.
    pub fn load(folder: &Path, weights: Weights, device: DeviceChoice, arithmetic: Arithmetic) -> Result<Self> {
        let run = Run::open(folder)?;
        let experiment = run.experiment()?;
        let device = device.resolve()?;
        let Some(checkpoint) = run.last_checkpoint()? else {
            bail!(
                "{} has no complete checkpoint yet; let it train until the first one (checkpoint.every), \
                 or go on with --resume",
                folder.display()
            );
        };
        let task = Task::new(&experiment, run.record()?.form, arithmetic)?;
        let seed = bfn_data::Seed(experiment.training.seed);
        let model = Model::new(&experiment.network, &task.variables, device, experiment.training.precision, seed)?;
        let group = match weights {
            Weights::Ema => "ema",
            Weights::Last => "model",
        };
        checkpoint.load_into(group, &parameter::named(model.parameters()))?;
        let standing = checkpoint.metadata("standing")?;
        Ok(Self { experiment, task, model, standing })
    }
}

impl Record {
    /// What a run on this machine is made with.
    pub fn new(model: &Model, task: &Task, source: &Source) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: bfn_nets::device::libtorch_version().to_owned(),
            device: bfn_nets::device::describe(model.device()),
            threads: bfn_nets::device::threads(),
            data: source.title.clone(),
            examples: source.dataset.len(),
            form: task.form.clone(),
            parameters: model.parameter_count(),
        }
    }
}
