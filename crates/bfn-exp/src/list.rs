//! `bfn list`: the runs in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::config::Experiment;
use crate::evaluate::Stored;
use crate::progress::tell;
use crate::run::{Origin, Record, Run};
use crate::table::{Report, Row, headline};

/// The depth to which nested folders are searched.
const DEPTH: usize = 3;

/// Arguments of `bfn list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The folder to search for runs, including its subfolders.
    #[arg(default_value = "runs")]
    pub folder: PathBuf,
}

/// One row of the list: the summary of a run.
#[derive(Debug)]
struct Line {
    run: String,
    data: String,
    parameters: String,
    steps: String,
    state: &'static str,
    validation: String,
    evaluation: String,
}

/// Lists the runs in a table on stdout.
///
/// # Errors
///
/// Returns an error if the folder does not exist or contains no run.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
pub fn command(args: &ListArgs) -> Result<()> {
    let shown = args.folder.display();
    ensure!(args.folder.is_dir(), "there is no folder {shown}; `bfn train` makes runs under runs/");
    let mut runs = Vec::new();
    find(&args.folder, DEPTH, &mut runs)?;
    ensure!(!runs.is_empty(), "there is no run in {shown}; `bfn train` makes one");
    let lines = runs.iter().map(|run| Line::of(run, &args.folder)).collect::<Result<Vec<_>>>()?;
    print!("{}", table(&lines));
    Ok(())
}

/// Finds the runs in a folder, sorted by name.
fn find(folder: &Path, depth: usize, runs: &mut Vec<Run>) -> Result<()> {
    if let Ok(run) = Run::open(folder) {
        runs.push(run);
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.iter().try_for_each(|inside| find(inside, depth - 1, runs))
}

impl Line {
    fn of(run: &Run, folder: &Path) -> Result<Self> {
        let place = run.folder().strip_prefix(folder).unwrap_or(run.folder());
        let name = if place.as_os_str().is_empty() { run.folder() } else { place }.display().to_string();
        let experiment = match run.experiment() {
            Ok(experiment) => experiment,
            // The run may be from another version: the list shows only that it exists.
            Err(_) => return Ok(Self::unreadable(name)),
        };
        let record = run.record().ok();
        let standing = run.checkpoints().newest_standing()?;
        let step = standing.map_or(0, |standing| standing.step);
        let is_imported =
            matches!(record.as_ref().and_then(|record| record.origin.as_ref()), Some(Origin::Imported { .. }));
        let state = match (&standing, run.is_locked()) {
            (_, true) => "training",
            (None, false) => "not begun",
            (Some(standing), false) if standing.step == 0 && is_imported => "imported",
            (Some(standing), false) if standing.is_at_end(&experiment.training) => "complete",
            _ => "stopped",
        };
        let evaluations = Stored::all(run.folder()).unwrap_or_else(|error| {
            tell(format_args!("warning: {error:#}"));
            BTreeMap::new()
        });
        let of_step = || evaluations.values().filter(|report| report.setting.checkpoint_step == step);
        let infinite = of_step().filter_map(|report| Some((&report.setting, (report, report.in_continuous_time()?))));
        let finite = of_step().filter_map(|report| Some((&report.setting, (report, report.results.last()?))));
        let quoted = headline(infinite).or_else(|| headline(finite));
        let best = standing.and_then(|standing| standing.best);
        Ok(Self {
            run: name,
            data: data_of(&experiment, record.as_ref()),
            parameters: record.as_ref().map_or_else(dash, |record| record.parameters.to_string()),
            steps: format!("{step}/{}", experiment.training.steps),
            state,
            validation: best.map_or_else(dash, |best| format!("{:.3} at {}", best.nats_per_example, best.step)),
            evaluation: quoted.map_or_else(dash, |(report, row)| evaluation_of(report, row)),
        })
    }

    fn unreadable(run: String) -> Self {
        let (data, parameters, steps, validation, evaluation) = (dash(), dash(), dash(), dash(), dash());
        Self { run, data, parameters, steps, state: "unreadable", validation, evaluation }
    }

    fn cells(&self) -> [&str; 7] {
        let Self { run, data, parameters, steps, state, validation, evaluation } = self;
        [run, data, parameters, steps, state, validation, evaluation]
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn data_of(experiment: &Experiment, record: Option<&Record>) -> String {
    let title = record.map(|record| record.data.as_str()).filter(|title| !title.is_empty());
    title.map_or_else(|| experiment.data.name().to_owned(), str::to_owned)
}

fn evaluation_of(report: &Report, row: &Row) -> String {
    let (total, error, unit) = (row.total_bits_per_dim, row.standard_error_bits_per_dim, &report.setting.unit);
    let given = report.setting.given.as_ref().map_or_else(String::new, |given| format!(" given {given}"));
    format!("{total:.4} ± {error:.4} {unit}, {}{given}", report.setting.split)
}

/// Formats the lines with columns as wide as their widest cells; numbers are right-aligned.
fn table(lines: &[Line]) -> String {
    let titles = ["run", "data", "parameters", "steps", "state", "best validation, nats", "evaluation"];
    let rows: Vec<[&str; 7]> = std::iter::once(titles).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cell = |(column, cell): (usize, &&str)| {
            let width = widths[column];
            if matches!(column, 2 | 3 | 5) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        };
        let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
