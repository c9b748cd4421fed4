//! `bfn evaluate`: estimates the variational bound of a trained network.

mod baselines;
mod hidden;
mod steps;
mod stored;

pub use baselines::Baseline;
pub use hidden::HiddenPart;
pub use steps::{PAPER, Steps, StepsChoice};
pub use stored::Stored;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Result, ensure};
use bfn_core::Grid;
use bfn_core::discrete::Receiver;
use bfn_core::distribution::Probability;
use bfn_data::{Draw, Histogram, Seed, Split, Windows};
use bfn_nets::device;

use crate::bound::{Estimate, Estimator, Sample, TimeBin};
use crate::cli::EvaluateArgs;
use crate::config::Times;
use crate::fitted;
use crate::form::{Arrangement, Variable};
use crate::objective::Term;
use crate::outputs::check_file;
use crate::progress::{Progress, say, tell};
use crate::run::{Trained, write_file};
use crate::solver::GridName;
use crate::stop::{Stop, Stopped};
use crate::table::{Report, Row, Setting, Terms};
use crate::task::{Arithmetic, Source};

/// The default number of time bins of a continuous-time result.
pub const TIME_BINS: usize = 20;

/// Evaluates a run and prints the results to stdout, progress to stderr.
///
/// # Errors
///
/// Returns an error in the same cases as [`report`], and if a file cannot be written.
pub fn command(args: &EvaluateArgs) -> Result<()> {
    args.json.as_deref().map_or(Ok(()), check_file)?;
    let evaluated = Evaluated::of(args)?;
    let report = evaluated.stored.report();
    // Printed first, so that results that took long to compute are not lost if the file cannot be written.
    let printed = print(report, args, &evaluated.trained, &evaluated.source);
    if let Some(path) = &args.json {
        write_file(path, serde_json::to_string_pretty(report)?.as_bytes())?;
    }
    printed
}

/// Evaluates a run and returns the results.
///
/// Each row is stored in the run when it is done, so that an interrupted evaluation continues after it.
///
/// # Errors
///
/// Returns an error if the run does not exist or is not complete, or if data are missing; returns [`Stopped`] if a
/// signal or `--max-time` stopped the evaluation.
pub fn report(args: &EvaluateArgs) -> Result<Report> {
    Ok(Evaluated::of(args)?.stored.into_report())
}

/// A network that has been evaluated.
struct Evaluated {
    trained: Trained,
    source: Source,
    stored: Stored,
}

impl Evaluated {
    fn of(args: &EvaluateArgs) -> Result<Self> {
        let stop = Stop::listen(Instant::now(), args.max_time)?;
        let (trained, source) = load(args)?;
        let task = &trained.task;
        let steps = StepsChoice::all(&args.steps);
        ensure!(
            args.by_time.is_none() || steps.contains(&Steps::Infinite),
            "--by-time shows the loss of continuous time: add inf to --steps"
        );
        let hidden = HiddenPart::new(&args.mask, &trained)?;
        let dimensions = hidden.as_ref().map_or(task.form.dimensions(), |hidden| hidden.variables.len());
        let estimator = Estimator {
            objective: task.objective.as_ref(),
            model: &trained.model,
            dataset: source.dataset.clone(),
            limit: args.limit.map_or(usize::MAX, |limit| limit as usize),
            batch: trained.experiment.training.batch,
            seed: Seed(args.seed),
            repeats: args.repeats,
            times: if args.independent_times { Times::Independent } else { Times::LowDiscrepancy },
            side: task.side,
            counted: hidden.as_ref().map(|hidden| hidden.counted(&trained.model)),
        };
        let time_bins = args.by_time.map_or(TIME_BINS, |bins| bins as usize);
        let path = Stored::path_of(args, &steps, trained.standing.step, hidden.as_ref());
        let setting = setting(args, steps, &trained, &source, &estimator, hidden.as_ref())?;
        let mut stored = Stored::open(path, &args.run, setting, time_bins);
        if args.again {
            stored.begin_again();
        }
        let left = stored.left().iter().map(|steps| Ok((*steps, grid_of(args.grid, *steps, &trained)?)));
        let left = left.collect::<Result<Vec<_>>>()?;
        let (done, asked) = (stored.report().results.len(), stored.report().setting.steps.len());
        if done > 0 {
            let shown = stored.path().display();
            say(format_args!("{done} of {asked} results are stored in {shown} already (--again evaluates again)"));
        }
        let rows = Rows { estimator: &estimator, dimensions, time_bins, stop: &|| stop.reason().is_some() };
        let mut is_kept = true;
        let ended = rows.each(&left, &mut |row, progress| {
            let added = stored.add(row);
            // Each write contains everything that is done.
            is_kept = added.is_ok();
            if let Err(error) = added {
                progress.warn(&format!("{error:#}; the results are not stored in the run"));
            }
        })?;
        if let (ControlFlow::Break(()), Some(reason)) = (ended, stop.reason()) {
            let done = stored.report().results.len();
            let kept = match (is_kept, args.again) {
                (true, false) => "stored; the same command continues after them",
                (true, true) => "stored; the same command without --again continues after them",
                (false, _) => "lost",
            };
            return Err(Stopped::new(reason, format!("{done} of {asked} results are done and {kept}")).into());
        }
        if let Some(hidden) = hidden.as_ref().filter(|_| stored.report().baselines.is_empty()) {
            let baselines = baselines::baselines(args, &trained, &source, estimator.examples(), hidden)?;
            if let Err(error) = stored.compare_with(baselines) {
                tell(format_args!("warning: {error:#}; the results are not stored in the run"));
                is_kept = false;
            }
        }
        if is_kept && !left.is_empty() {
            say(format_args!("stored in {}", stored.path().display()));
        }
        Ok(Self { trained, source, stored })
    }
}

/// Loads the network and the data.
fn load(args: &EvaluateArgs) -> Result<(Trained, Source)> {
    let arithmetic = Arithmetic {
        receiver: if args.factorised_receiver { Receiver::Factorised } else { Receiver::Joint },
        probability: if args.probability_floor { Probability::Floor } else { Probability::Exact },
    };
    let trained = Trained::load(&args.run, args.which, args.device, arithmetic)?;
    let form = &trained.task.form;
    ensure!(
        !args.overlapping_windows || form.arrangement.is_text(),
        "--overlapping-windows is for text; the run was trained on other data"
    );
    if args.factorised_receiver && !matches!(form.variable, Variable::Discrete(_) | Variable::Mixed) {
        tell("note: --factorised-receiver changes nothing: only classes have such a receiver");
    }
    if args.probability_floor && matches!(form.variable, Variable::Discrete(_)) {
        tell("note: --probability-floor changes nothing: only bins have such a floor");
    }
    let windows = if args.overlapping_windows { Windows::Overlapping } else { Windows::InOrder };
    let source = trained.open(args.split.into(), windows)?;
    source.check_labels(trained.experiment.network.classes())?;
    Ok((trained, source))
}

/// Collects everything that the results depend on.
fn setting(
    args: &EvaluateArgs,
    steps: Vec<Steps>,
    trained: &Trained,
    source: &Source,
    estimator: &Estimator<'_>,
    hidden: Option<&HiddenPart>,
) -> Result<Setting> {
    let as_published =
        [(args.factorised_receiver, "factorised receiver"), (args.probability_floor, "probability floor")];
    let fitted = args.grid == GridName::Fitted && steps.iter().any(|steps| *steps != Steps::Infinite);
    let windows = if args.overlapping_windows { ", overlapping windows" } else { "" };
    Ok(Setting {
        split: args.split.to_string(),
        data: format!("{}{windows}", source.title),
        examples: estimator.examples(),
        dimensions: hidden.map_or(trained.task.form.dimensions(), |hidden| hidden.variables.len()),
        given: given(trained, hidden),
        hidden: hidden.map(|hidden| hidden.name.clone()),
        unit: trained.task.form.bits_per_variable().to_owned(),
        steps,
        grid: args.grid.to_string(),
        grid_sha256: fitted.then(|| fitted::digest(&args.run)).transpose()?,
        seed: args.seed,
        repeats: args.repeats,
        times: estimator.times,
        checkpoint_step: trained.standing.step,
        trained_seconds: trained.standing.seconds,
        weights: args.which.weights.to_string(),
        as_published: as_published.iter().filter(|(given, _)| *given).map(|(_, name)| (*name).to_owned()).collect(),
        program: format!(
            "bfn {}, libtorch {}, {}",
            env!("CARGO_PKG_VERSION"),
            device::libtorch_version(),
            device::describe(trained.model.device())
        ),
    })
}

/// Describes what the bound is conditioned on, in words.
fn given(trained: &Trained, hidden: Option<&HiddenPart>) -> Option<String> {
    let known = hidden.map(|hidden| format!("{} known variables ({})", hidden.known.len(), hidden.name));
    let all: Vec<String> = trained.task.side.words().into_iter().chain(known).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

/// Returns the grid of a number of steps; `None` if the steps are equal or time is continuous.
fn grid_of(grid: GridName, steps: Steps, trained: &Trained) -> Result<Option<Grid>> {
    match (grid, steps) {
        (GridName::Uniform, _) | (_, Steps::Infinite) => Ok(None),
        (grid, Steps::Finite(n)) => grid.of(trained, 0.0, n as usize).map(Some),
    }
}

/// An estimator of the bound for several numbers of steps, one after the other.
#[allow(missing_debug_implementations, reason = "a data set need not have one")]
pub struct Rows<'a> {
    /// The estimator that makes the draws.
    pub estimator: &'a Estimator<'a>,
    /// The number of variables of an example.
    pub dimensions: usize,
    /// The number of time bins of a continuous-time result.
    pub time_bins: usize,
    /// Called after each batch; evaluation stops if it returns true.
    pub stop: &'a dyn Fn() -> bool,
}

impl Rows<'_> {
    /// Estimates the bound in continuous time alone; returns `None` if it was stopped.
    ///
    /// # Errors
    ///
    /// Returns an error if the split has no examples.
    pub fn continuous_time(&self) -> Result<Option<Row>> {
        let mut result = None;
        let _ = self.each(&[(Steps::Infinite, None)], &mut |row, _| result = Some(row))?;
        Ok(result)
    }

    /// Passes a row for each number of steps to `keep` as soon as it is done; breaks off if `stop` asks for it.
    ///
    /// Each number of steps comes with its grid; without a grid, the steps are equal.
    ///
    /// # Errors
    ///
    /// Returns an error if the split has no examples.
    pub fn each(
        &self,
        steps: &[(Steps, Option<Grid>)],
        keep: &mut dyn FnMut(Row, &Progress),
    ) -> Result<ControlFlow<()>> {
        if steps.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let Self { estimator, dimensions, .. } = *self;
        let progress = RefCell::new(Progress::new("evaluating", 0, estimator.calls() * (steps.len() as u64 + 1)));
        let mut done = 0;
        let mut observe = || {
            done += 1;
            progress.borrow_mut().message(done, "batches");
            if (self.stop)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended = (|| {
            let Some(reconstruction) = estimator.draw(Term::Reconstruction, &mut observe)? else {
                return Ok(ControlFlow::Break(()));
            };
            for (steps, grid) in steps {
                let loss = match grid {
                    Some(grid) => estimator.draw_on(grid, &mut observe)?,
                    None => estimator.draw(steps.term(), &mut observe)?,
                };
                let Some(loss) = loss else { return Ok(ControlFlow::Break(())) };
                let estimate = |terms: &[&[Sample]]| Estimate::of_sum(terms, estimator.times);
                let terms = Terms {
                    loss: estimate(&[&loss]),
                    reconstruction: estimate(&[&reconstruction]),
                    total: estimate(&[&loss, &reconstruction]),
                };
                let mut row = Row::new(*steps, terms, dimensions);
                if *steps == Steps::Infinite {
                    row.by_time = TimeBin::of(&loss, self.time_bins, dimensions);
                }
                keep(row, &progress.borrow());
            }
            Ok(ControlFlow::Continue(()))
        })();
        progress.borrow().finish();
        ended
    }
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print(report: &Report, args: &EvaluateArgs, trained: &Trained, source: &Source) -> Result<()> {
    let form = &trained.task.form;
    let Setting { split, data, examples, dimensions, unit, grid, .. } = &report.setting;
    println!(
        "{}: {split} of {data}, {examples} examples of {dimensions} variables{}, {grid} grid, {}",
        report.run,
        report.setting.given.as_ref().map_or_else(String::new, |given| format!(" given {given}")),
        trained.history()
    );
    println!("{}", report.table().trim_end());
    if let Some(by_time) = args.by_time.and_then(|_| report.by_time()) {
        println!("\nthe integrand of the loss in continuous time\n{}", by_time.trim_end());
    }
    if let Some(baselines) = report.baselines() {
        println!("\n{}", baselines.trim_end());
    } else if matches!(form.arrangement, Arrangement::Image { .. } | Arrangement::Table { .. }) && !form.has_reals() {
        let train = trained.experiment.data.open(Split::Train, Windows::Random)?;
        let histogram = Histogram::fit(train.dataset.as_ref(), Draw { seed: Seed(0), epoch: 0 })?;
        // The same examples as for the bound; pixels that are drawn at random are those of its first repeat.
        let draw = Draw { seed: Seed(args.seed), epoch: 0 };
        let nats = histogram.mean_nats(source.dataset.as_ref(), *examples, draw)?;
        let bits = nats / (*dimensions as f64 * std::f64::consts::LN_2);
        println!("for comparison, a histogram of each variable on its own: {nats:.3} nats/example, {bits:.5} {unit}");
    }
    Ok(())
}
