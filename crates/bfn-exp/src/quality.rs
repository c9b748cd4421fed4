//! `bfn quality`: the quality of samples against the number of network evaluations.

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
use crate::conditioning::{ConditionArgs, ConditionRecord, Conditions};
use crate::form::Arrangement;
use crate::outputs::check_file;
use crate::progress::say;
use crate::run::{Trained, Which, write_file};
use crate::sample::Draws;
use crate::solver::{GridName, LastName, SolverArgs, SolverName};
use crate::stop::{Stop, Stopped};
use crate::task::Arithmetic;

/// Arguments of `bfn quality`.
#[derive(Debug, Args)]
pub struct QualityArgs {
    /// The folder of the run, in which the results are stored.
    pub run: PathBuf,
    /// The solvers to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ancestral,sde2,ode2")]
    pub solver: Vec<SolverName>,
    /// The numbers of sampling steps to compare.
    #[arg(long, value_delimiter = ',', default_value = "5,10,20,50,100",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Vec<u32>,
    /// How many samples to draw for each solver and number of steps. Distances decrease as this number grows, so
    /// compare only results for the same number.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(8..))]
    pub count: u32,
    /// How many examples of the test split to compare with, starting from the first.
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
    /// For images: the number of training steps of the classifier whose features are compared.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub classifier_steps: u32,
    /// How many samples to draw in one batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// The seed of all draws and of the classifier.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// The contents of `quality.json`: the results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quality {
    /// Optimiser steps of the measured network.
    pub step: u64,
    /// Which weights of the checkpoint were measured: `ema` or `last`.
    pub weights: String,
    /// The condition of the samples.
    #[serde(flatten)]
    #[serde(alias = "told")]
    pub condition: ConditionRecord,
    /// The time of the first step; absent for the default of `bfn sample` for each solver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<f64>,
    /// How sampling ended.
    pub last: LastName,
    /// Samples drawn for each row.
    pub count: usize,
    /// Examples of the test split that were compared with.
    pub reference: usize,
    /// The seed of all draws.
    pub seed: u64,
    /// How the times of the steps are spread.
    pub grid: String,
    /// The basis of the measures, in words.
    pub basis: Vec<String>,
    /// The measures, in order.
    pub measures: Vec<Measure>,
    /// The measures of as many training examples in place of samples: the values that a perfect model would reach.
    pub data: Vec<f64>,
    /// One row for each solver and number of steps.
    pub rows: Vec<Row>,
}

/// A measure of the quality of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The Fréchet distance in the features of the run's classifier.
    ClassifierFrechet,
    /// The share of samples that lie among the data, in the features of the run's classifier.
    ClassifierPrecision,
    /// The share of data that lie among the samples, in the features of the run's classifier.
    ClassifierRecall,
    /// The share of samples that the run's classifier assigns to the requested class.
    ClassifierAgreement,
    /// The root mean squared difference of the pixels' means.
    PixelMeans,
    /// The root mean squared difference of the pixels' standard deviations.
    PixelDeviations,
    /// The share of whole words that occur in the training text.
    Spelling,
    /// The total variation between the symbol frequencies of samples and data.
    Symbols,
    /// The total variation between the frequencies of pairs of symbols.
    Pairs,
    /// The total variation between the frequencies of triples of symbols.
    Triples,
    /// The mean total variation of single columns.
    Columns,
    /// The total variation of the worst column.
    WorstColumn,
    /// The mean total variation of pairs of columns.
    ColumnPairs,
}

/// The measured quality of one sampler.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The solver.
    pub solver: String,
    /// Sampling steps.
    pub steps: u32,
    /// Evaluations of the network for each sample.
    pub evaluations: usize,
    /// The values of the measures, in order.
    pub values: Vec<f64>,
}

/// A judge of samples of one kind of data.
trait Judge {
    /// Returns the measures, in order.
    fn measures(&self) -> Vec<Measure>;
    /// Returns the basis of the measures, in words.
    fn basis(&self) -> Vec<String>;
    /// Measures samples, `[count, D]` in row-major order; `wanted` holds the class requested for each.
    fn judge(&self, samples: &[f64], wanted: &[Option<u32>]) -> Result<Vec<f64>>;
}

/// Measures the quality, prints a table, and stores the results in the run as JSON and as a plot.
///
/// # Errors
///
/// Returns an error if the run is missing or incomplete, if data are missing, or if a solver cannot start at the
/// requested time. Returns [`Stopped`] if a signal stopped the command; the rows so far are kept.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
pub fn command(args: &QualityArgs) -> Result<()> {
    let trained = Trained::load(&args.run, args.which, args.device, Arithmetic::default())?;
    let (json, picture) = (args.run.join("quality.json"), args.run.join("quality.svg"));
    check_file(&json)?;
    let conditions = Conditions::new(&args.condition, &trained, args.count as usize)?;
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
            Box::new(Images::new(args, &trained, &train, &test, &reference, conditions.class_of(0).is_some())?)
        }
        Arrangement::Table { columns } => Box::new(Tables::new(columns, &reference)),
        Arrangement::Sequence { .. } => anyhow::bail!("bfn quality judges images, texts and tables, not sequences"),
        _ => Box::new(Texts::new(form, &train, &reference)?),
    };
    let count = args.count as usize;
    let labels: Vec<Option<u32>> =
        (0..count.min(train.dataset.len())).map(|index| train.dataset.label(index)).collect();
    let wanted: Vec<Option<u32>> = (0..count).map(|sample| conditions.class_of(sample as u64)).collect();
    let mut quality = Quality {
        step: trained.standing.step,
        weights: trained.weights.to_string(),
        condition: ConditionRecord::of(&args.condition, &conditions),
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
        let draws = Draws { task, model, conditions: &conditions, sampler, seed, batch: args.batch };
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
    /// Returns the heading of the measure's column.
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

    /// Returns the title of the measure's plot.
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
