//! `bfn check`: reports what an experiment would train, without training it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use bfn_data::table::{Column, Columns, Missing, Transform};
use bfn_data::{Split, Windows};
use bfn_nets::DeviceChoice;
use bfn_nets::networks::Mode;
use clap::Args;

use crate::config::{Experiment, TrainingConfig};
use crate::engine::Trainer;
use crate::form::{Arrangement, Form};
use crate::memory;
use crate::model::Model;
use crate::objective::Term;
use crate::overrides::Override;
use crate::progress::short;
use crate::task::{Arithmetic, Source, Task};

/// The numbers of examples whose activations are measured: their difference excludes the memory that both need.
const FEW: usize = 1;
const MANY: usize = 5;

/// Arguments of `bfn check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The experiment file.
    pub experiment: PathBuf,
    /// Change a key of the experiment file, such as training.steps=1000; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,
    /// Where training would compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Checks an experiment and prints the findings to stdout.
///
/// # Errors
///
/// Returns an error for anything that `bfn train` would refuse: a wrong key, missing data, a network that does not fit.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
pub fn command(args: &CheckArgs) -> Result<()> {
    let experiment = Experiment::read(&args.experiment, &args.overrides)?;
    let device = args.device.resolve()?;
    let train = experiment.data.open(Split::Train, Windows::Random)?;
    train.check_labels(experiment.network.classes())?;
    let form = Form::of(train.dataset.as_ref())?;
    let examples = train.dataset.len();
    println!("{}", args.experiment.display());
    println!("  data        {}", train.title);
    println!("              {}", splits(&experiment, &train)?);
    println!("              {} variables, {}", form.dimensions(), form.variable);
    if let Arrangement::Table { columns } = &form.arrangement {
        print_columns(columns, examples);
    }

    let task = Task::new(&experiment, form, Arithmetic::default())?;
    let model = Model::of(&experiment, &task.variables, device)?;
    let precision = format!("{:?}", experiment.training.precision).to_lowercase();
    println!("  network     {} parameters, {precision}", model.parameter_count());
    let mut measured = experiment.clone();
    measured.training.batch = MANY.min(examples);
    measured.training.accumulation = 1;
    let trainer = Trainer::new(&measured, task, train.dataset.clone(), model)?;
    let footprint = Footprint::measure(&trainer)?;
    let TrainingConfig { batch, accumulation, steps, max_time, .. } = experiment.training;
    println!(
        "  memory      {} for weights, gradients, optimiser and average; about {} for the activations of {batch} \
         examples",
        size(footprint.state),
        size(footprint.of_an_example * batch as u64)
    );
    println!(
        "              {} for a checkpoint; on {}",
        size(footprint.checkpoint),
        bfn_nets::device::describe(device)
    );

    let per_step = batch as u64 * u64::from(accumulation);
    let epoch = examples as f64 / per_step as f64;
    let limit = max_time.map_or_else(String::new, |time| format!(", at most {}", short(time)));
    println!("  training    {steps} steps of {per_step} examples{limit}");
    println!("              {epoch:.1} steps per epoch, {:.1} epochs", steps as f64 / epoch);
    let checkpoint = experiment.checkpoint.every;
    match &experiment.validation {
        Some(validation) => {
            println!("              a checkpoint every {checkpoint} steps, a validation every {}", validation.every)
        }
        None => println!("              a checkpoint every {checkpoint} steps, no validation"),
    }
    let settings: String = args.overrides.iter().map(|setting| format!(" --set {setting}")).collect();
    println!("it can be trained: bfn train {}{settings}", args.experiment.display());
    Ok(())
}

/// Prints how the first columns of a table are interpreted.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print_columns(columns: &Columns, examples: usize) {
    const SHOWN: usize = 40;
    for Column { name, transform, missing } in columns.columns().iter().take(SHOWN) {
        let or_missing = if *missing == Missing::Marked { ", or missing" } else { "" };
        let doubt = match transform {
            Transform::Categorical { classes } if 2 * classes.len() > examples => {
                " (more than half as many as examples: a number, or no rule for it, may be meant)"
            }
            _ => "",
        };
        println!("              {name}: {transform}{or_missing}{doubt}");
    }
    let more = columns.columns().len().saturating_sub(SHOWN);
    if more > 0 {
        println!("              and {more} more columns");
    }
}

/// Counts the examples of each split, and checks the validation split if it is used.
/// That split must have examples, and labels if the network is conditioned on them.
fn splits(experiment: &Experiment, train: &Source) -> Result<String> {
    let mut parts = vec![format!("{} train", train.dataset.len())];
    for split in [Split::Validation, Split::Test] {
        let in_split = || format!("in the {split} split");
        let source = experiment.data.open(split, Windows::InOrder).with_context(in_split)?;
        if split == Split::Validation && experiment.validation.is_some() {
            source.check_labels(experiment.network.classes()).with_context(in_split)?;
            source.check_examples().context("[validation] needs a validation split")?;
        }
        parts.push(format!("{} {split}", source.dataset.len()));
    }
    Ok(format!("{} examples", parts.join(", ")))
}

/// The memory that training takes, in bytes.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    /// Weights, gradients, optimiser state and moving average.
    state: u64,
    /// The activations that one example keeps for the backward pass.
    of_an_example: u64,
    /// A checkpoint file.
    checkpoint: u64,
}

impl Footprint {
    /// Counts the lasting state, and measures the memory that examples hold after a forward pass.
    fn measure(trainer: &Trainer) -> Result<Self> {
        let device = trainer.model().device();
        let examples = trainer.examples(0)?.remove(0).on(device);
        let count = examples.t.exact().len();
        let held = |count: usize| {
            let examples = examples.first(count);
            let loss = trainer.task().objective.loss(trainer.model(), &examples, Term::ContinuousTime, Mode::Train);
            let bytes = if device.is_cuda() { memory::peak(device) } else { memory::resident() };
            drop(loss);
            bytes
        };
        let (few, many) = (FEW.min(count), MANY.min(count));
        let (with_few, with_many) = (held(few), held(many));
        let of_an_example = with_many.saturating_sub(with_few) / (many - few).max(1) as u64;
        let state = trainer.state_bytes();
        // A checkpoint has no gradients, which are as large as the weights.
        let checkpoint = state - 4 * trainer.model().parameter_count() as u64;
        Ok(Self { state, of_an_example, checkpoint })
    }
}

/// Formats a number of bytes in a suitable unit.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
