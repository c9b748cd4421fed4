//! The stored results of evaluations in the folder of a run, `evaluations/NAME.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{Baseline, HiddenPart, PAPER, Steps};
use crate::cli::EvaluateArgs;
use crate::run::write_file;
use crate::table::{Report, Row, Setting};

/// The name of the folder within the folder of a run.
const FOLDER: &str = "evaluations";

/// The largest length of a list of steps that is spelt out in a name.
const LONGEST: usize = 60;

/// An evaluation that is stored row by row, so that it can continue after an interruption.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    report: Report,
}

impl Stored {
    /// Returns the path of the evaluation of the checkpoint after `step` steps.
    pub fn path_of(args: &EvaluateArgs, steps: &[Steps], step: u64, hidden: Option<&HiddenPart>) -> PathBuf {
        let part = hidden.map_or_else(String::new, |hidden| format!("{}-", hidden.name));
        args.run.join(FOLDER).join(format!("{part}{}.json", name(args, steps, step)))
    }

    /// Reads all evaluations of a run, by file name; there are none if there is no folder.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read or is of another kind.
    pub fn all(run: &Path) -> Result<BTreeMap<String, Report>> {
        let files = fs::read_dir(run.join(FOLDER)).into_iter().flatten().flatten().map(|file| file.path());
        let is_json = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
        let read = |path: PathBuf| {
            let shown = path.display();
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
            let report = serde_json::from_str(&text)
                .with_context(|| format!("{shown} is not what `bfn evaluate` stores; remove it and evaluate again"))?;
            Ok((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), report))
        };
        files.filter(is_json).map(read).collect()
    }

    /// Opens an evaluation with the results that are stored for the same setting, if there are any.
    pub fn open(path: PathBuf, run: &Path, setting: Setting, time_bins: usize) -> Self {
        let read = || -> Option<Report> { serde_json::from_str(&fs::read_to_string(&path).ok()?).ok() };
        let stored = read().filter(|stored| stored.setting == setting);
        let (mut results, baselines) =
            stored.map_or_else(Default::default, |stored| (stored.results, stored.baselines));
        let of_bins = |row: &Row| row.steps != Steps::Infinite || row.by_time.len() == time_bins;
        let in_order = results.iter().zip(&setting.steps);
        let sound = in_order.take_while(|(row, steps)| row.steps == **steps && row.is_finite() && of_bins(row)).count();
        results.truncate(sound);
        Self { path, report: Report { run: run.display().to_string(), setting, results, baselines } }
    }

    /// Returns the results so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns the results so far by value.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Returns the numbers of steps that are not evaluated yet.
    pub fn left(&self) -> &[Steps] {
        &self.report.setting.steps[self.report.results.len()..]
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Discards all results.
    pub fn begin_again(&mut self) {
        self.report.results.clear();
        self.report.baselines.clear();
    }

    /// Adds a row and writes the file, completely or not at all.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written to; the row counts as done nevertheless.
    pub fn add(&mut self, row: Row) -> Result<()> {
        self.report.results.push(row);
        self.write()
    }

    /// Adds the results of simple models and writes the file.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`add`](Self::add).
    pub fn compare_with(&mut self, baselines: Vec<Baseline>) -> Result<()> {
        self.report.baselines = baselines;
        self.write()
    }

    fn write(&self) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        write_file(&self.path, serde_json::to_string_pretty(&self.report)?.as_bytes())
    }
}

/// Encodes the arguments in a short name.
fn name(args: &EvaluateArgs, steps: &[Steps], step: u64) -> String {
    let EvaluateArgs { repeats, seed, .. } = args;
    let mut name = format!("{}-{}-{}-seed{seed}-x{repeats}", args.split, args.grid, steps_in_name(steps));
    if let Some(limit) = args.limit {
        name += &format!("-first{limit}");
    }
    let flags = [
        (args.independent_times, "-independent-times"),
        (args.factorised_receiver, "-factorised-receiver"),
        (args.probability_floor, "-probability-floor"),
        (args.overlapping_windows, "-overlapping-windows"),
    ];
    name.extend(flags.iter().filter(|(given, _)| *given).map(|(_, part)| *part));
    format!("{name}-step{step}-{}", args.which.weights)
}

fn steps_in_name(steps: &[Steps]) -> String {
    if steps == PAPER {
        return "paper".to_owned();
    }
    let all = steps.iter().map(Steps::to_string).collect::<Vec<_>>().join("_");
    if all.len() <= LONGEST {
        return format!("n{all}");
    }
    let digest = format!("{:x}", Sha256::digest(all.as_bytes()));
    format!("{}-numbers-{}", steps.len(), &digest[..12])
}
