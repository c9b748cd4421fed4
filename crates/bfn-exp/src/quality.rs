//! `bfn quality`: how good samples are for how many evaluations of the network.

mod images;
mod plot;
mod tables;
mod texts;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use bfn_core::sampler::Sampler;
use bfn_data::{Seed, Split, Windows};
use bfn_nets::device::DeviceChoice;
use clap::Args;
use serde::{Deserialize, Serialize};

use self::images::Images;
use self::tables::Tables;
use self::texts::Texts;
use crate::form::Arrangement;
use crate::outputs::check_file;
use crate::progress::say;
use crate::run::{Trained, Which, write_file};
use crate::sample::Draws;
use crate::solver::{GridName, LastName, SolverArgs, SolverName};
use crate::stop::{Stop, Stopped};
use crate::task::Arithmetic;
use crate::told::{Asked, ConditionArgs, Telling};

/// Arguments of `bfn quality`.
#[derive(Debug, Args)]
pub struct QualityArgs {
    /// The folder of the run, which keeps what is measured.
    pub run: PathBuf,
    /// The solvers to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ancestral,sde2,ode2")]
    pub solver: Vec<SolverName>,
    /// Numbers of sampling steps.
    #[arg(long, value_delimiter = ',', default_value = "5,10,20,50,100",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Vec<u32>,
    /// How many samples to draw for each; distances fall with their number, so compare only equal ones.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(8..))]
    pub count: u32,
    /// How many examples of the test split to compare with, from the first on.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(8..))]
    pub reference: u32,
    /// How the times of the steps are spread.
    #[arg(long, value_enum, default_value_t = GridName::Uniform)]
    pub grid: GridName,
    /// The time of the first step; by default as for `bfn sample`.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub start_time: Option<f64>,
    /// How sampling ends.
    #[arg(long, value_enum, default_value_t = LastName::Evaluate)]
    pub last: LastName,
    #[command(flatten)]
    pub condition: ConditionArgs,
    /// Images: steps of training of the classifier in whose features they are compared.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub classifier_steps: u32,
    /// Samples drawn side by side.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// The seed of all draws, and of the classifier.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// `quality.json`: what was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quality {
    /// Optimiser steps of the network that was measured.
    pub step: u64,
    /// Which of its weights: `ema` or `last`.
    pub weights: String,
    /// What samples were asked for.
    #[serde(flatten)]
    pub told: Asked,
    /// The time of the first step; absent for what `bfn sample` takes for each solver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<f64>,
    /// How sampling ended.
    pub last: LastName,
    /// Samples of each row.
    pub count: usize,
    /// Examples of the test split.
    pub reference: usize,
    /// The seed of all draws.
    pub seed: u64,
    /// How the times of the steps are spread.
    pub grid: String,
    /// What the measures rest on, in words.
    pub basis: Vec<String>,
    /// The measures, in order.
    pub measures: Vec<Measure>,
    /// As many examples of the training split in the place of samples: what a perfect model would reach.
    pub data: Vec<f64>,
    /// One row for each solver and number of steps.
    pub rows: Vec<Row>,
}

/// A number that tells how good samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The Fréchet distance in the features of the run's classifier.
    ClassifierFrechet,
    /// The share of samples among the data, in those features.
    ClassifierPrecision,
    /// The share of data among the samples, in those features.
    ClassifierRecall,
    /// The share of samples that the run's classifier takes for the class that was asked for.
    ClassifierAgreement,
    /// The root of the mean squared difference of the pixels' means.
    PixelMeans,
    /// That of their standard deviations.
    PixelDeviations,
    /// The share of whole words that the training text has.
    Spelling,
    /// The total variation between the symbols of samples and data.
    Symbols,
    /// That of pairs of symbols.
    Pairs,
    /// That of triples of symbols.
    Triples,
    /// The mean total variation of single columns.
    Columns,
    /// That of the worst column.
    WorstColumn,
    /// The mean total variation of pairs of columns.
    ColumnPairs,
}

/// The quality of one sampler.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The solver.
    pub solver: String,
    /// Sampling steps.
    pub steps: u32,
    /// Evaluations of the network for each sample.
    pub evaluations: usize,
    /// Its measures, in order.
    pub values: Vec<f64>,
}

/// What judges samples of one kind of data.
trait Judge {
    /// What is measured, in order.
    fn measures(&self) -> Vec<Measure>;
    /// What the measures rest on, in words.
    fn basis(&self) -> Vec<String>;
    /// The measures of samples, `[count, D]` in row-major order, with the class that each was to be of.
    fn judge(&self, samples: &[f64], wanted: &[Option<u32>]) -> Result<Vec<f64>>;
}

/// Measures, prints a table, and keeps it in the run as JSON and as a plot.
///
/// # Errors
///
/// A run that is not there or not complete, data that are missing, a solver that cannot start where it is told to;
/// [`Stopped`] where a signal stopped it, with the rows so far kept.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
pub fn command(args: &QualityArgs) -> Result<()> {
    let trained = Trained::load(&args.run, args.which, args.device, Arithmetic::default())?;
    let (json, picture) = (args.run.join("quality.json"), args.run.join("quality.svg"));
    check_file(&json)?;
    let telling = Telling::new(&args.condition, &trained, args.count as usize)?;
    let mut samplers = Vec::new();
    for solver in &args.solver {
        for steps in &args.steps {
            let options = SolverArgs {
                solver: *solver,
                start_time: args.start_time,
                grid: args.grid,
                temperature: 1.0,
                choice: None,
                last: args.last,
            };
            samplers.push((*steps, options.sampler(&trained, *steps as usize)?));
        }
    }
    let _no_gradient = tch::no_grad_guard();
    let (train, test) = (trained.open(Split::Train, Windows::InOrder)?, trained.open(Split::Test, Windows::InOrder)?);
    let form = &trained.task.form;
    test.check_examples().context("samples are compared with the test split")?;
    let reference = test.values(0..args.reference as usize)?;
    let judge: Box<dyn Judge> = match &form.arrangement {
        Arrangement::Image { .. } => {
            Box::new(Images::new(args, &trained, &train, &test, &reference, telling.class_of(0).is_some())?)
        }
        Arrangement::Table { columns } => Box::new(Tables::new(columns, &reference)),
        Arrangement::Sequence { .. } => anyhow::bail!("bfn quality judges images, texts and tables, not sequences"),
        _ => Box::new(Texts::new(form, &train, &reference)?),
    };
    let count = args.count as usize;
    let labels: Vec<Option<u32>> =
        (0..count.min(train.dataset.len())).map(|index| train.dataset.label(index)).collect();
    let wanted: Vec<Option<u32>> = (0..count).map(|sample| telling.class_of(sample as u64)).collect();
    let mut quality = Quality {
        step: trained.standing.step,
        weights: trained.weights.to_string(),
        told: Asked::of(&args.condition, &telling),
        start_time: args.start_time,
        last: args.last,
        count,
        reference: reference.len() / form.dimensions(),
        seed: args.seed,
        grid: args.grid.to_string(),
        basis: judge.basis(),
        measures: judge.measures(),
        data: judge.judge(&train.values(0..count)?, &labels)?,
        rows: Vec::new(),
    };
    quality.basis.iter().for_each(|line| println!("{line}"));
    println!("{}", quality.heading());
    println!("{}", line("training data", "", "", &quality.data));
    let stop = Stop::listen(Instant::now(), None)?;
    let mut measure = |steps: u32, sampler: &Sampler| -> Result<()> {
        let model = &trained.model;
        let (task, seed) = (&trained.task, Seed(args.seed));
        let draws = Draws { task, model, telling: &telling, sampler, seed, batch: args.batch };
        let samples = draws.draw(count, &mut |_, _| {
            let how = "the rows so far are kept in the run; the same command measures all";
            stop.reason().map_or(Ok(()), |reason| Err(Stopped::new(reason, how).into()))
        })?;
        let row = Row {
            solver: sampler.solver().to_string(),
            steps,
            evaluations: samples.evaluations,
            values: judge.judge(&samples.values, &wanted)?,
        };
        println!("{}", line(&row.solver, &row.steps.to_string(), &row.evaluations.to_string(), &row.values));
        quality.rows.push(row);
        Ok(())
    };
    let measured = samplers.iter().try_for_each(|(steps, sampler)| measure(*steps, sampler));
    if quality.rows.is_empty() {
        return measured;
    }
    write_file(&json, serde_json::to_string_pretty(&quality)?.as_bytes())?;
    write_file(&picture, plot::svg(&quality)?.as_bytes())?;
    say(format_args!("kept in {} and {}", json.display(), picture.display()));
    measured
}

impl Quality {
    fn heading(&self) -> String {
        let names: Vec<String> = self.measures.iter().map(|measure| format!("{:>14}", measure.short())).collect();
        let heading = format!("{:<14} {:>6} {:>12} {}", "solver", "steps", "evaluations", names.join(" "));
        format!("{heading}\n{}", "-".repeat(heading.chars().count()))
    }
}

fn line(solver: &str, steps: &str, evaluations: &str, values: &[f64]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:>14.4}")).collect();
    format!("{solver:<14} {steps:>6} {evaluations:>12} {}", values.join(" "))
}

impl Measure {
    /// A heading of a column.
    fn short(self) -> &'static str {
        match self {
            Self::ClassifierFrechet => "cls. Fréchet",
            Self::ClassifierPrecision => "cls. precision",
            Self::ClassifierRecall => "cls. recall",
            Self::ClassifierAgreement => "cls. agreement",
            Self::PixelMeans => "pixel means",
            Self::PixelDeviations => "pixel dev.",
            Self::Spelling => "spelling",
            Self::Symbols => "1-grams TV",
            Self::Pairs => "2-grams TV",
            Self::Triples => "3-grams TV",
            Self::Columns => "columns TV",
            Self::WorstColumn => "worst TV",
            Self::ColumnPairs => "pairs TV",
        }
    }

    /// What a plot calls it.
    fn long(self) -> &'static str {
        match self {
            Self::ClassifierFrechet => "Fréchet distance in the classifier's features",
            Self::ClassifierPrecision => "precision in the classifier's features",
            Self::ClassifierRecall => "recall in the classifier's features",
            Self::ClassifierAgreement => "share of samples that the classifier takes for their class",
            Self::PixelMeans => "difference of the pixels' means",
            Self::PixelDeviations => "difference of the pixels' standard deviations",
            Self::Spelling => "share of words that the training text has",
            Self::Symbols => "total variation of symbols",
            Self::Pairs => "total variation of pairs of symbols",
            Self::Triples => "total variation of triples of symbols",
            Self::Columns => "total variation of columns, mean",
            Self::WorstColumn => "total variation of the worst column",
            Self::ColumnPairs => "total variation of pairs of columns, mean",
        }
    }
}
