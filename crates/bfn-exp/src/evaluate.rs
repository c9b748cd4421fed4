//! `bfn evaluate`: the variational bound of a trained network.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use anyhow::{Result, ensure};
use bfn_core::Grid;
use bfn_core::discrete::Receiver;
use bfn_core::distribution::Probability;
use bfn_data::{Draw, Histogram, Seed, Split, Windows};
use serde::{Serialize, Serializer};

use crate::bound::{Estimate, Estimator};
use crate::cli::EvaluateArgs;
use crate::form::{Arrangement, Form};
use crate::objective::Term;
use crate::progress::Progress;
use crate::run::{Trained, write_file};
use crate::solver::GridName;
use crate::table::{Report, Row};
use crate::task::{Arithmetic, Source};

/// A number of transmission steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// n steps.
    Finite(u32),
    /// Continuous time, n → ∞.
    Infinite,
}

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "inf" => Ok(Self::Infinite),
            _ => match text.parse() {
                Ok(n) if n > 0 => Ok(Self::Finite(n)),
                _ => Err("expected a number of steps from 1 on, or inf".to_owned()),
            },
        }
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(n) => write!(to, "{n}"),
            Self::Infinite => to.write_str("inf"),
        }
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Finite(n) => to.serialize_u32(*n),
            Self::Infinite => to.serialize_str("inf"),
        }
    }
}

impl Steps {
    fn term(self) -> Term {
        match self {
            Self::Finite(n) => Term::Step { n },
            Self::Infinite => Term::ContinuousTime,
        }
    }
}

/// Evaluates and prints; the results go to stdout, progress to stderr.
///
/// # Errors
///
/// A run that is not there or not complete, data that are missing, a file that cannot be written.
pub fn command(args: &EvaluateArgs) -> Result<()> {
    let split = Split::from(args.split);
    let arithmetic = Arithmetic {
        receiver: if args.factorised_receiver { Receiver::Factorised } else { Receiver::Joint },
        probability: if args.probability_floor { Probability::Floor } else { Probability::Exact },
    };
    let trained = Trained::load(&args.run, args.which, args.device, arithmetic)?;
    let windows = if args.overlapping_windows { Windows::Overlapping } else { Windows::InOrder };
    let source = trained.experiment.data.open(split, windows)?;
    source.check_labels(trained.experiment.network.classes())?;
    let task = &trained.task;
    ensure!(
        Form::of(source.dataset.as_ref())? == task.form,
        "the data are not of the form that {} was trained on: its alphabet or size differs",
        args.run.display()
    );
    let limit = args.limit.map_or(usize::MAX, |limit| limit as usize);
    let estimator = Estimator {
        objective: task.objective.as_ref(),
        model: &trained.model,
        dataset: source.dataset.clone(),
        limit,
        batch: trained.experiment.training.batch,
        seed: Seed(args.seed),
        repeats: args.repeats,
        classes: trained.experiment.network.classes(),
    };
    let grid = |n: u32| match args.grid {
        GridName::Uniform => Ok(None),
        grid => grid.of(&trained, 0.0, n as usize).map(Some),
    };
    let results = rows_on(&grid, &estimator, &args.steps, task.form.dimensions(), &|| false)?;
    let report = Report {
        run: args.run.display().to_string(),
        split: split.to_string(),
        examples: estimator.examples(),
        dimensions: task.form.dimensions(),
        grid: args.grid.to_string(),
        results,
    };
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)?;
        write_file(path, json.as_bytes())?;
    }
    print(&report, &trained, &source)
}

/// Estimates the bound for each number of steps, one after the other until it is told to stop: then without the rest.
///
/// # Errors
///
/// A split without examples.
pub fn rows(
    estimator: &Estimator<'_>,
    steps: &[Steps],
    dimensions: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Row>> {
    rows_on(&|_| Ok(None), estimator, steps, dimensions, stop)
}

/// The same on grids of n steps; without one the steps are equal.
///
/// # Errors
///
/// A split without examples, a grid that is not there.
pub fn rows_on(
    grid: &dyn Fn(u32) -> Result<Option<Grid>>,
    estimator: &Estimator<'_>,
    steps: &[Steps],
    dimensions: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Row>> {
    let grids = steps.iter().map(|steps| match steps {
        Steps::Finite(n) => grid(*n),
        Steps::Infinite => Ok(None),
    });
    let grids = grids.collect::<Result<Vec<_>>>()?;
    let mut progress = Progress::new("evaluating", 0, estimator.calls() * (steps.len() as u64 + 1));
    let mut done = 0;
    let mut observe = || {
        done += 1;
        progress.message(done, "batches");
        if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut rows = Vec::new();
    let Some(reconstruction) = estimator.draw(Term::Reconstruction, &mut observe)? else { return Ok(rows) };
    for (steps, grid) in steps.iter().zip(&grids) {
        let loss = match grid {
            Some(grid) => estimator.draw_on(grid, &mut observe)?,
            None => estimator.draw(steps.term(), &mut observe)?,
        };
        let Some(loss) = loss else { break };
        let total = Estimate::of_total(&loss, &reconstruction);
        let per_dim = |nats: f64| nats / dimensions as f64;
        let bits = |nats: f64| per_dim(nats) / std::f64::consts::LN_2;
        rows.push(Row {
            steps: *steps,
            loss_nats_per_dim: per_dim(Estimate::mean(&loss)),
            reconstruction_nats_per_dim: per_dim(Estimate::mean(&reconstruction)),
            total_nats_per_dim: per_dim(total.mean),
            total_nats_per_example: total.mean,
            total_bits_per_dim: bits(total.mean),
            standard_error_bits_per_dim: bits(total.standard_error),
        });
    }
    progress.finish();
    Ok(rows)
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print(report: &Report, trained: &Trained, source: &Source) -> Result<()> {
    let form = &trained.task.form;
    let unit = form.bits_per_variable();
    println!(
        "{}: {} of {}, {} examples of {} variables, {} grid, {}",
        report.run,
        report.split,
        source.title,
        report.examples,
        report.dimensions,
        report.grid,
        trained.history()
    );
    println!("{}", report.table(unit).trim_end());
    if matches!(form.arrangement, Arrangement::Image { .. } | Arrangement::Table { .. }) && !form.has_reals() {
        let draw = Draw { seed: Seed(0), epoch: 0 };
        let train = trained.experiment.data.open(Split::Train, Windows::Random)?;
        let nats = Histogram::fit(train.dataset.as_ref(), draw)?.mean_nats(source.dataset.as_ref(), draw)?;
        let bits = nats / (report.dimensions as f64 * std::f64::consts::LN_2);
        println!("for comparison, a histogram of each variable on its own: {nats:.3} nats/example, {bits:.5} {unit}");
    }
    Ok(())
}
