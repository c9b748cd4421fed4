//! `bfn bench`: measures how fast an experiment trains and samples on this machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bfn_core::Grid;
use bfn_core::sampler::{Sampler, Solver};
use bfn_data::{Seed, Split, Windows};
use bfn_nets::networks::count_operations;
use bfn_nets::{Precision, device};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::cli::{BenchArgs, BenchCommand};
use crate::config::Experiment;
use crate::draws::SampleNoise;
use crate::engine::Trainer;
use crate::form::Form;
use crate::generative::View;
use crate::memory;
use crate::model::Model;
use crate::outputs::check_file;
use crate::phases::{Phases, Shares};
use crate::progress::Progress;
use crate::run::write_file;
use crate::task::{Arithmetic, Source, Task};

/// The figures of a benchmark, with the settings and the machine they were measured with.
#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    experiment: PathBuf,
    device: String,
    libtorch: String,
    precision: String,
    parameters: usize,
    /// Examples in a training step, or samples in a batch.
    examples: usize,
    /// Training steps, or sampling steps.
    steps: usize,
    steps_per_second: f64,
    /// Examples trained on per second, or complete samples of `steps` steps drawn per second.
    examples_per_second: f64,
    seconds_per_step: Spread,
    peak_memory_bytes: u64,
    /// The floating-point operations of a step, counting the network's matrix products and convolutions.
    /// A training step counts three times those of the forward pass. Absent for a custom network, whose operations are
    /// not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    operations_per_step: Option<u64>,
    /// The floating-point operations per second of one large matrix product in the same precision.
    matrix_operations_per_second: f64,
    /// Whether the passes of a step are recorded as one piece of work; its share is then that of the backward pass.
    recorded: bool,
    /// The shares of a training step's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<Shares>,
    /// The network's share of the sampler's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_share: Option<f64>,
}

/// The minimum, median and maximum of some times, in seconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    minimum: f64,
    median: f64,
    maximum: f64,
}

/// Runs a benchmark and prints its figures to stdout.
///
/// # Errors
///
/// Returns an error if the experiment, the data, the device or the file for the results is not usable.
pub fn command(command: &BenchCommand) -> Result<()> {
    let (args, report) = match command {
        BenchCommand::Train(args) => (args, train(args)?),
        BenchCommand::Sample { common, count } => (common, sample(common, *count as usize)?),
    };
    // Printed first, so that figures that took long to measure are not lost if the file cannot be written.
    report.print();
    match &args.json {
        Some(path) => write_file(path, serde_json::to_string_pretty(&report)?.as_bytes()),
        None => Ok(()),
    }
}

/// The most steps that measure the shares of a step's phases on a GPU.
const MOST_SHARED: u64 = 10;

/// An experiment that is ready to be measured.
struct Bench {
    experiment: Experiment,
    task: Task,
    train: Source,
    model: Model,
}

impl Bench {
    fn new(args: &BenchArgs) -> Result<Self> {
        args.json.as_deref().map_or(Ok(()), check_file)?;
        let experiment = Experiment::read(&args.experiment, &args.overrides)?;
        let device = args.device.resolve()?;
        experiment.training.choose_kernels(device)?;
        let train = experiment.data.open(Split::Train, Windows::Random)?;
        train.check_labels(experiment.network.classes())?;
        let task = Task::new(&experiment, Form::of(train.dataset.as_ref())?, Arithmetic::default())?;
        let model = Model::of(&experiment, &task.variables, device)?;
        Ok(Self { experiment, task, train, model })
    }
}

fn train(args: &BenchArgs) -> Result<Report> {
    let Bench { experiment, task, train, model } = Bench::new(args)?;
    let device = model.device();
    let (warm_up, steps) = (u64::from(args.warm_up), u64::from(args.steps));
    // A step that waits for a GPU after each phase takes longer, so other steps measure the shares there.
    let measured = warm_up..warm_up + steps;
    let shared = if device.is_cuda() { measured.end..measured.end + steps.min(MOST_SHARED) } else { measured.clone() };
    let examples = experiment.training.batch * experiment.training.accumulation as usize;
    let mut trainer = Trainer::new(&experiment, task, train.dataset, model)?;
    let mut batches = trainer.prefetch(0..shared.end);
    let mut progress = Progress::new("training", 0, shared.end);
    let mut phases = Phases::new();
    let mut times = Vec::new();
    for step in 0..shared.end {
        if step == shared.start {
            phases = Phases::waiting_for(device);
            // A recorded step is one piece of work, so the model cannot wait for the device within it.
            trainer.model().wait_for_device(!experiment.training.cuda_graphs);
        }
        let started = Instant::now();
        trainer.step(step, &mut batches, &mut phases)?;
        device::synchronise(device);
        if measured.contains(&step) {
            times.push(started.elapsed());
        }
        progress.message(step + 1, "steps");
    }
    progress.finish();
    let shares = Some(phases.take_shares());
    let operations = 3 * examples as u64 * trainer.operations()?;
    let report = report("train", args, &experiment, trainer.model(), examples, &times)?;
    Ok(Report { shares, operations_per_step: known(operations), recorded: experiment.training.cuda_graphs, ..report })
}

fn sample(args: &BenchArgs, count: usize) -> Result<Report> {
    let Bench { experiment, task, model, .. } = Bench::new(args)?;
    model.wait_for_device(true);
    let _no_gradient = tch::no_grad_guard();
    let draw = |steps: usize| {
        let mut progress = Progress::new("sampling", 0, steps as u64);
        let mut noise = SampleNoise::new(Seed(0), (0..count as u64).collect());
        let mut times = Vec::new();
        let mut last = Instant::now();
        let sampler = Sampler::new(Solver::Ancestral, Grid::uniform(steps)?)?;
        let mut observe = |view: View<'_>| {
            device::synchronise(model.device());
            times.push(last.elapsed());
            last = Instant::now();
            progress.message(view.step as u64, "steps");
            Ok(())
        };
        let shape = [count, task.form.dimensions()];
        task.objective.sample(&model, None, &sampler, shape, &mut noise, &mut observe)?;
        progress.finish();
        anyhow::Ok(times)
    };
    if args.warm_up > 0 {
        draw(args.warm_up as usize)?;
    }
    // The operations of one step: a sampler of two steps evaluates the network three times.
    let operations = count_operations(|| draw(2)).1 / 3;
    let _ = model.take_time();
    let started = Instant::now();
    let times = draw(args.steps as usize)?;
    let drawing = started.elapsed().as_secs_f64();
    let (share, rate) = (model.take_time().as_secs_f64() / drawing, count as f64 / drawing);
    let report = report("sample", args, &experiment, &model, count, &times)?;
    Ok(Report {
        steps: args.steps as usize,
        examples_per_second: rate,
        operations_per_step: known(operations),
        network_share: Some(share),
        ..report
    })
}

fn report(
    benchmark: &'static str,
    args: &BenchArgs,
    experiment: &Experiment,
    model: &Model,
    examples: usize,
    times: &[Duration],
) -> Result<Report> {
    let seconds_per_step = Spread::of(times).context("nothing was measured")?;
    Ok(Report {
        benchmark,
        experiment: args.experiment.clone(),
        device: device::describe(model.device()),
        libtorch: device::libtorch_version(),
        precision: format!("{:?}", experiment.training.precision).to_lowercase(),
        parameters: model.parameter_count(),
        examples,
        steps: times.len(),
        steps_per_second: 1.0 / seconds_per_step.median,
        examples_per_second: examples as f64 / seconds_per_step.median,
        seconds_per_step,
        peak_memory_bytes: memory::peak(model.device()),
        operations_per_step: None,
        matrix_operations_per_second: matrix_rate(model.device(), experiment.training.precision),
        recorded: false,
        shares: None,
        network_share: None,
    })
}

fn known(operations: u64) -> Option<u64> {
    (operations > 0).then_some(operations)
}

/// Measures the floating-point operations per second of a product of two square matrices, the fastest of a few.
fn matrix_rate(device: Device, precision: Precision) -> f64 {
    // Large enough to keep the device busy.
    let side = if device.is_cuda() { 8192 } else { 1024 };
    let _no_gradient = tch::no_grad_guard();
    let _precision = precision.guard(device);
    let kind = if precision == Precision::Bf16 { Kind::BFloat16 } else { Kind::Float };
    let matrix = Tensor::randn([side, side], (kind, device));
    let multiply = || {
        let started = Instant::now();
        let _ = matrix.matmul(&matrix);
        device::synchronise(device);
        started.elapsed()
    };
    multiply();
    let times: Vec<Duration> = (0..5).map(|_| multiply()).collect();
    let seconds = Spread::of(&times).map_or(f64::NAN, |spread| spread.minimum);
    2.0 * (side as f64).powi(3) / seconds
}

impl Spread {
    /// Computes the minimum, median and maximum of some times, or returns `None` if there are none.
    fn of(times: &[Duration]) -> Option<Self> {
        let mut seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        seconds.sort_by(f64::total_cmp);
        let (low, high) = (seconds.get((seconds.len().max(1) - 1) / 2)?, seconds.get(seconds.len() / 2)?);
        Some(Self { minimum: *seconds.first()?, median: 0.5 * (low + high), maximum: *seconds.last()? })
    }
}

impl Report {
    #[allow(clippy::print_stdout, reason = "results are what this command is for")]
    fn print(&self) {
        let Spread { minimum, median, maximum } = self.seconds_per_step;
        println!(
            "{}, {}: {} parameters, {} examples at once, {}",
            self.experiment.display(),
            self.benchmark,
            self.parameters,
            self.examples,
            self.precision
        );
        println!("{}, libtorch {}", self.device, self.libtorch);
        let rate = if self.shares.is_some() {
            format!("{:.1} examples/s (medians)", self.examples_per_second)
        } else {
            format!("{:.2} samples of {} steps/s", self.examples_per_second, self.steps)
        };
        println!("{:.2} steps/s, {rate}", self.steps_per_second);
        println!(
            "{:.2} ms a step ({:.2} to {:.2}, {} steps); at most {:.2} GB of memory",
            1e3 * median,
            1e3 * minimum,
            1e3 * maximum,
            self.steps,
            self.peak_memory_bytes as f64 / 1e9
        );
        let matrix_rate = self.matrix_operations_per_second;
        match self.operations_per_step {
            Some(operations) => {
                let rate = operations as f64 * self.steps_per_second;
                println!(
                    "{:.3} GFLOP a step, {:.1} GFLOP/s: {:.0} % of the {:.1} of one large product of matrices",
                    operations as f64 / 1e9,
                    rate / 1e9,
                    100.0 * rate / matrix_rate,
                    matrix_rate / 1e9
                );
            }
            None => println!("one large product of matrices: {:.1} GFLOP/s", matrix_rate / 1e9),
        }
        if let Some(Shares { data, network, loss, backward, optimiser, other }) = self.shares {
            let passes = if self.recorded {
                vec![("network, flow, loss and backward", network + loss + backward)]
            } else {
                vec![("network", network), ("flow and loss", loss), ("backward", backward)]
            };
            let parts = [vec![("data", data)], passes, vec![("optimiser", optimiser), ("other", other)]].concat();
            let shown: Vec<String> =
                parts.iter().map(|(name, share)| format!("{name} {:.1} %", 100.0 * share)).collect();
            println!("time: {}", shown.join(", "));
        }
        if let Some(share) = self.network_share {
            println!("time: network {:.1} %", 100.0 * share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_two() {
        let times = |seconds: &[u64]| seconds.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>();
        let odd = Spread::of(&times(&[9, 1, 2])).expect("times");
        assert_eq!((odd.minimum, odd.median, odd.maximum), (1.0, 2.0, 9.0));
        assert_eq!(Spread::of(&times(&[4, 1, 2, 9])).expect("times").median, 3.0);
        assert!(Spread::of(&[]).is_none());
    }
}
