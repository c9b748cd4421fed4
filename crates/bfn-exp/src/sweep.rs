//! `bfn sweep`: many runs of one experiment with some keys changed, and a table of their results.

mod plan;

pub use plan::{Draw, EvaluateConfig, Plan, Random, Trial};

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bfn_nets::DeviceChoice;
use clap::Args;
use serde::Serialize;

use crate::checkpoints::{Choice, Standing};
use crate::cli::{EvaluateArgs, TrainArgs};
use crate::config::{Experiment, duration};
use crate::evaluate::{self, Steps, StepsChoice};
use crate::mask::MaskArgs;
use crate::progress::{say, tell};
use crate::resume::differing_keys;
use crate::run::{Run, Weights, Which, write_file};
use crate::solver::GridName;
use crate::stop::{Stop, Stopped};
use crate::table::{Report, Row};
use crate::train;

/// Arguments of `bfn sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The sweep file: `base`, `[grid]`, `[random]`, `[evaluate]`; see docs/RUNS.md.
    pub sweep: PathBuf,
    /// The folder for the runs; by default under runs/, named after the sweep file. Existing runs are continued.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// List the runs without training any.
    #[arg(long)]
    pub dry_run: bool,
    /// Stop after this time, such as 3h30m, with a checkpoint and exit code 75; the same command then continues.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// The outcome of a trial.
#[derive(Debug, Serialize)]
struct Outcome {
    run: String,
    tried: std::collections::BTreeMap<String, toml::Value>,
    /// The result; absent if the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Row>,
    /// The reason for a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Trains and evaluates all runs that are not complete, and prints a table, the best run first.
///
/// A run that fails, for example because its loss is not finite, does not stop the others.
///
/// # Errors
///
/// Returns an error if the sweep file or an experiment is invalid, before any training, and if runs failed, at the
/// end. Returns [`Stopped`] if a signal or `--max-time` stopped the sweep.
pub fn command(args: &SweepArgs) -> Result<()> {
    let start = Instant::now();
    let stop = Stop::listen(start, args.max_time)?;
    let plan = Plan::read(&args.sweep)?;
    let trials = plan.trials();
    plan.check(&trials)?;
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs").join(args.sweep.file_stem().unwrap_or_default()));
    if args.dry_run {
        return plan.list(&trials, &folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut outcomes = Vec::new();
    let mut unit = String::new();
    for (number, trial) in trials.iter().enumerate() {
        let stopped = |reason| {
            let done = format!("{number} of {} runs are done; the same command continues", trials.len());
            Stopped::new(reason, done)
        };
        if let Some(reason) = stop.reason() {
            return Err(stopped(reason).into());
        }
        let left = || args.max_time.map(|time| time.saturating_sub(start.elapsed()));
        say(format_args!("run {} of {}: {}", number + 1, trials.len(), trial.name));
        let ended = plan.carry_out(trial, &folder.join(&trial.name), args.device, &left);
        let (result, failure) = match ended {
            Ok(report) => {
                unit.clone_from(&report.setting.unit);
                (report.results.into_iter().next(), None)
            }
            Err(error) if error.is::<Stopped>() => {
                return Err(stop.reason().map_or(error, |reason| stopped(reason).into()));
            }
            Err(error) => {
                tell(format_args!("warning: run {} failed: {error:#}", trial.name));
                (None, Some(format!("{error:#}")))
            }
        };
        outcomes.push(Outcome { run: trial.name.clone(), tried: trial.tried.clone(), result, failure });
    }
    let total = |outcome: &Outcome| outcome.result.as_ref().map_or(f64::INFINITY, |row| row.total_nats_per_example);
    outcomes.sort_by(|a, b| total(a).total_cmp(&total(b)));
    let path = folder.join("sweep.json");
    write_file(&path, serde_json::to_string_pretty(&outcomes)?.as_bytes())?;
    print(&outcomes, &unit);
    say(format_args!("the table is in {}", path.display()));
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_none()).count();
    if failed > 0 {
        bail!("{failed} of {} runs failed; the same command tries them again", trials.len());
    }
    Ok(())
}

impl Plan {
    /// Trains a trial to its end, unless it is complete, and evaluates it, unless the result is stored.
    ///
    /// Each of the two stops after the time that is `left` when it begins.
    fn carry_out(
        &self,
        trial: &Trial,
        run: &Path,
        device: DeviceChoice,
        left: &dyn Fn() -> Option<Duration>,
    ) -> Result<Report> {
        if !self.is_complete(trial, run)? {
            train::command(&TrainArgs {
                experiment: Some(self.base.clone()),
                out: Some(run.to_owned()),
                overrides: self.overrides(trial)?,
                resume: Some(None),
                from: None,
                from_weights: Weights::Ema,
                max_time: left(),
                device,
            })?;
        }
        evaluate::report(&EvaluateArgs {
            run: run.to_owned(),
            steps: vec![StepsChoice::One(Steps::Infinite)],
            grid: GridName::Uniform,
            repeats: self.evaluate.repeats,
            seed: 0,
            split: self.evaluate.split,
            limit: self.evaluate.examples,
            mask: MaskArgs::default(),
            by_time: None,
            independent_times: false,
            again: false,
            max_time: left(),
            json: None,
            factorised_receiver: false,
            probability_floor: false,
            overlapping_windows: false,
            which: Which { checkpoint: Choice::Last, weights: Weights::Ema },
            device,
        })
    }

    /// Returns whether a run has been trained to the end of the trial's experiment.
    ///
    /// # Errors
    ///
    /// Returns an error if the run is complete but has other settings, since its folder is named after the tried keys
    /// alone. The settings of an incomplete run are compared when it is resumed.
    fn is_complete(&self, trial: &Trial, run: &Path) -> Result<bool> {
        let experiment = Experiment::read(&self.base, &self.overrides(trial)?)?;
        let read = || -> Result<_> {
            let run = Run::open(run)?;
            // The checkpoint is read in full: a damaged last one does not complete a run.
            let last = run.checkpoints().last()?.map(|last| last.metadata::<Standing>("standing")).transpose()?;
            Ok((last, run.experiment()?))
        };
        let Ok((Some(standing), trained)) = read() else { return Ok(false) };
        if !standing.is_at_end(&experiment.training) {
            return Ok(false);
        }
        let changed = differing_keys(&trained, &experiment)?;
        ensure!(
            changed.is_empty(),
            "{} differs from the complete run in {}, which is no result of the sweep as it is now; sweep into another \
             --out, or remove that run",
            changed[0],
            run.display()
        );
        Ok(true)
    }

    #[allow(clippy::print_stdout, reason = "results are what this command is for")]
    fn list(&self, trials: &[Trial], folder: &Path) -> Result<()> {
        for trial in trials {
            let run = folder.join(&trial.name);
            let state = match self.is_complete(trial, &run) {
                Ok(true) => "complete",
                Ok(false) if run.exists() => "begun",
                Ok(false) => "to do",
                Err(_) => "differs",
            };
            println!("{state:<9} {}", run.display());
        }
        Ok(())
    }
}

/// Prints the table: the best run first, a column for each key that varies.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print(outcomes: &[Outcome], unit: &str) {
    let keys: Vec<&String> = outcomes.first().map_or_else(Vec::new, |outcome| outcome.tried.keys().collect());
    let width = |key: &str| {
        let values = outcomes.iter().filter_map(|outcome| outcome.tried.get(key));
        values.map(|value| value.to_string().chars().count()).max().unwrap_or(0).max(key.chars().count())
    };
    let widths: Vec<usize> = keys.iter().map(|key| width(key)).collect();
    let mut titles = String::new();
    for (key, width) in keys.iter().zip(&widths) {
        titles += &format!("{key:>width$}  ");
    }
    println!("{titles}{:>24}  {:>22}", "nats/example", unit);
    for Outcome { tried, result, .. } in outcomes {
        let mut line = String::new();
        for (key, width) in keys.iter().zip(&widths) {
            let value = tried.get(*key).map_or_else(String::new, ToString::to_string);
            line += &format!("{value:>width$}  ");
        }
        match result {
            Some(row) => {
                let nats = format!("{:.3} ± {:.3}", row.total_nats_per_example, row.standard_error_nats_per_example);
                let bits = format!("{:.5} ± {:.5}", row.total_bits_per_dim, row.standard_error_bits_per_dim);
                println!("{line}{nats:>24}  {bits:>22}");
            }
            None => println!("{line}{:>24}", "failed"),
        }
    }
}
