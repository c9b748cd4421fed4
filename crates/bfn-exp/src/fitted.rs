//! `bfn grid`: fits the grid of n steps with the lowest cost to a trained network.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bfn_core::{FittedGrid, Grid, StepCosts};
use bfn_data::{Seed, Split, Windows};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bound::Estimator;
use crate::cli::GridArgs;
use crate::config::Times;
use crate::form::Form;
use crate::outputs::check_file;
use crate::progress::{Progress, say};
use crate::run::{Trained, write_file};
use crate::task::Arithmetic;

/// The name of the file in the folder of a run.
const FILE: &str = "grid.json";

/// A table of measured costs, as stored in the folder of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredCosts {
    /// Training steps of the measured network.
    pub step: u64,
    /// Which of its weights: `ema` or `last`.
    pub weights: String,
    /// The part of the data.
    pub split: String,
    /// The number of examples measured.
    pub examples: usize,
    /// The seed of all draws.
    pub seed: u64,
    /// The fine grid.
    pub times: Vec<f64>,
    /// The costs of steps in nats per example: from the first fine time to each later one, from the second, and so on.
    pub costs: Vec<f64>,
}

/// Measures costs, stores them in the run, and prints the fitted grids.
///
/// # Errors
///
/// Returns an error if the run does not exist or is not complete, data are missing, or a file cannot be written.
pub fn command(args: &GridArgs) -> Result<()> {
    let fine = Grid::uniform(args.fine as usize).context("in --fine")?;
    let (longest, fine_steps) = (args.steps.iter().copied().max().unwrap_or(1), args.fine);
    ensure!(longest <= fine_steps, "--steps {longest} is more than the {fine_steps} steps of --fine");
    let trained = Trained::load(&args.run, args.which, args.device, Arithmetic::default())?;
    let path = args.run.join(FILE);
    check_file(&path)?;
    let split = Split::from(args.split);
    let source = trained.open(split, Windows::InOrder)?;
    source.check_labels(trained.experiment.network.classes())?;
    let task = &trained.task;
    let estimator = Estimator {
        objective: task.objective.as_ref(),
        model: &trained.model,
        dataset: source.dataset.clone(),
        limit: args.examples as usize,
        batch: trained.experiment.training.batch,
        seed: Seed(args.seed),
        repeats: 1,
        times: Times::LowDiscrepancy,
        side: task.side,
        counted: None,
    };
    let mut progress = Progress::new("measuring", 0, estimator.calls() * fine.count() as u64);
    let mut done = 0;
    let costs = estimator.step_costs(&fine, || {
        done += 1;
        progress.message(done, "evaluations of the network");
    })?;
    progress.finish();
    let measured = MeasuredCosts {
        step: trained.standing.step,
        weights: trained.weights.to_string(),
        split: split.to_string(),
        examples: estimator.examples(),
        seed: args.seed,
        times: fine.times().to_vec(),
        costs: costs.costs().to_vec(),
    };
    write_file(&path, serde_json::to_string(&measured)?.as_bytes())?;
    say(format_args!(
        "the costs of steps between {} times, from {} examples of {}: {}",
        fine.times().len(),
        measured.examples,
        source.title,
        path.display()
    ));
    print(&costs, &args.steps, &task.form)
}

impl MeasuredCosts {
    /// Reads the costs of a network from the folder of its run.
    ///
    /// # Errors
    ///
    /// Returns an error if the run has no measured costs, or only those of another checkpoint or of other weights.
    pub fn read(trained: &Trained) -> Result<StepCosts> {
        let (run, step, weights) = (&trained.folder, trained.standing.step, trained.weights.to_string());
        let path = run.join(FILE);
        let shown = path.display();
        let text = text_of(run)?;
        let measured: Self = serde_json::from_str(&text)
            .with_context(|| format!("{shown} does not hold measured costs; `bfn grid` measures it again"))?;
        ensure!(
            (measured.step, &measured.weights) == (step, &weights),
            "{shown} was measured after {} steps of training with the weights {}, the network has {step} and {weights}; \
             `bfn grid {} --checkpoint {step} --weights {weights}` measures it again",
            measured.step,
            measured.weights,
            run.display()
        );
        let costs = Grid::new(measured.times).and_then(|fine| StepCosts::new(fine, measured.costs));
        costs.with_context(|| format!("{shown} does not hold measured costs; `bfn grid` measures it again"))
    }
}

/// Computes the SHA-256 of the costs in the folder of a run, which determine all its fitted grids.
///
/// # Errors
///
/// Returns an error if the run has no measured costs.
pub fn digest(run: &Path) -> Result<String> {
    Ok(format!("{:x}", Sha256::digest(text_of(run)?)))
}

fn text_of(run: &Path) -> Result<String> {
    let path = run.join(FILE);
    if !path.exists() {
        bail!("{} has no fitted grid yet; `bfn grid {}` measures it", run.display(), run.display());
    }
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Finds the cheapest grid of `steps` steps from the fine time nearest to `start` to 1.
///
/// # Errors
///
/// Returns an error if the fine grid has fewer steps from there on.
pub fn fitted_grid(costs: &StepCosts, start: f64, steps: usize) -> Result<FittedGrid> {
    let times = costs.fine().times();
    let last = times.len() - 1;
    // A start above 0 stays above 0.
    let first = usize::from(start > 0.0);
    let nearest = (first..last).min_by(|a, b| (times[*a] - start).abs().total_cmp(&(times[*b] - start).abs()));
    let nearest = nearest.context("the fine grid has no step")?;
    costs.best_from(nearest, steps).with_context(|| {
        let left = last - nearest;
        format!("the fine grid has {left} steps from {} on; `bfn grid --fine` makes a finer one", times[nearest])
    })
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print(costs: &StepCosts, steps: &[u32], form: &Form) -> Result<()> {
    let per_dim = |nats: f64| nats / (form.dimensions() as f64 * std::f64::consts::LN_2);
    let unit = form.bits_per_variable();
    println!("{:>6} {:>14} {:>14} {:>14} {:>14}", "n", "uniform", "fitted", "uniform", "fitted");
    println!("{:>6} {:>14} {:>14} {:>14} {:>14}", "", "nats/example", "nats/example", unit, unit);
    println!("{}", "-".repeat(66));
    for steps in steps {
        let fitted = costs.best(*steps as usize)?;
        // If n divides the number of fine steps, the uniform grid of n steps is measured as well.
        let (stride, fits) =
            (costs.fine().count() / *steps as usize, costs.fine().count().is_multiple_of(*steps as usize));
        let uniform: f64 = (0..*steps as usize).map(|i| costs.cost(i * stride, (i + 1) * stride)).sum();
        let shown = |value: f64, digits: usize| if fits { format!("{value:.digits$}") } else { "-".to_owned() };
        println!(
            "{steps:>6} {:>14} {:>14.4} {:>14} {:>14.5}",
            shown(uniform, 4),
            fitted.cost,
            shown(per_dim(uniform), 5),
            per_dim(fitted.cost)
        );
        let times: Vec<String> = fitted.grid.times().iter().map(|t| format!("{t:.4}")).collect();
        println!("       {}", times.join(" "));
    }
    Ok(())
}
