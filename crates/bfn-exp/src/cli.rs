//! The command line, as data.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use bfn_data::Split;
use bfn_nets::device::DeviceChoice;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::data::DataCommand;
use crate::evaluate::Steps;
use crate::hub::HubFile;
use crate::overrides::Override;
use crate::progress::be_quiet;
use crate::run::{Weights, Which};
use crate::solver::{GridName, SolverArgs};
use crate::{bench, data, evaluate, export, fitted, import, sample, train};

/// Bayesian Flow Networks: train, evaluate, sample.
#[derive(Debug, Parser)]
#[command(name = "bfn", version, about, propagate_version = true)]
pub struct Cli {
    /// Print results, warnings and errors only.
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network as an experiment file says.
    Train(TrainArgs),
    /// Print the variational bound of a trained network, in nats and bits.
    Evaluate(EvaluateArgs),
    /// Draw samples from a trained network.
    Sample(SampleArgs),
    /// Measure what steps between any two times cost a trained network, for --grid fitted.
    Grid(GridArgs),
    /// Make a run of a checkpoint of the published PyTorch code.
    Import(ImportArgs),
    /// Write the weights of a run for PyTorch, under the names of the published code.
    Export(ExportArgs),
    /// Measure how fast an experiment trains or samples on this machine.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// List, fetch, verify and show data.
    #[command(subcommand)]
    Data(DataCommand),
}

/// What `bfn bench` measures.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Training steps, with fresh weights; no run is made.
    Train(BenchArgs),
    /// Steps of the ancestral sampler, with fresh weights.
    Sample {
        #[command(flatten)]
        common: BenchArgs,
        /// Samples drawn side by side.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
}

/// Arguments of `bfn bench train` and `bfn bench sample`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The experiment file.
    pub experiment: PathBuf,
    /// Change a key of the experiment file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,
    /// Steps that are measured.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    /// Steps before them, which are not.
    #[arg(long, default_value_t = 5)]
    pub warm_up: u32,
    /// Write the figures to this file as JSON as well.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Arguments of `bfn train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The experiment file, such as experiments/digits.toml; not needed with --resume RUN.
    pub experiment: Option<PathBuf>,
    /// The folder for the run; by default under runs/, named after the experiment and the time.
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Change a key of the experiment file, such as training.steps=1000; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,
    /// Continue the run in RUN (or in that of --out) from its last checkpoint; begin it where there is none.
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    #[allow(clippy::option_option, reason = "absent, without a value, with one")]
    pub resume: Option<Option<PathBuf>>,
    /// Begin with the weights of another run, such as an imported one, instead of fresh ones.
    #[arg(long, value_name = "RUN")]
    pub from: Option<PathBuf>,
    /// Which weights of that run to begin with.
    #[arg(long, value_enum, default_value_t = Weights::Ema, requires = "from")]
    pub from_weights: Weights,
    /// Stop after this time, such as 3h30m, with a checkpoint and exit code 75: for batch queues.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub max_time: Option<Duration>,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Arguments of `bfn evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// Numbers of transmission steps n, and `inf` for continuous time.
    #[arg(long, value_delimiter = ',', default_value = "inf")]
    pub steps: Vec<Steps>,
    /// How the times of n steps are spread; continuous time has no grid.
    #[arg(long, value_enum, default_value_t = GridName::Uniform)]
    pub grid: GridName,
    /// How often each example is evaluated, each time at another time and with other noise.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// The seed of all draws of the evaluation.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The part of the data to evaluate on.
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    pub split: SplitName,
    /// Evaluate only this many examples, from the first on.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Write the results to this file as JSON as well.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Discrete data: for finite n the published receiver, a product of marginal mixtures over the
    /// classes, to compare with published figures; by default the joint mixture.
    #[arg(long)]
    pub factorised_receiver: bool,
    /// Discretised data: the published floor of 1e-5 under a bin's probability, to compare with
    /// published figures; by default exact.
    #[arg(long)]
    pub probability_floor: bool,
    /// Text: windows at every symbol, as published for text8, to compare with published figures; costs as many
    /// times more as a window is long. By default windows follow one another without overlap.
    #[arg(long)]
    pub overlapping_windows: bool,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Arguments of `bfn sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// The number of sampling steps n.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    #[command(flatten)]
    pub solver: SolverArgs,
    /// How many samples to draw.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Samples drawn side by side; each has its own noise whatever its batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// The seed of all draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// .png or, without an ending, a folder of PNG files for images, .txt for text, .csv for tables, .npz or
    /// .safetensors for any; by default samples.png, samples.txt or samples.csv in RUN.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the flow of the first samples through time as an animation, .gif or .png, and a strip beside it.
    #[arg(long, value_name = "FILE")]
    pub trajectory: Option<PathBuf>,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Arguments of `bfn grid`.
#[derive(Debug, Args)]
pub struct GridArgs {
    /// The folder of the run, which keeps what is measured.
    pub run: PathBuf,
    /// Steps of the fine grid between whose times costs are measured; several times those of the
    /// grids that will be fitted.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub fine: u32,
    /// Examples to measure on, from the first on.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    pub examples: u64,
    /// The part of the data to measure on; not the one that results are reported on.
    #[arg(long, value_enum, default_value_t = SplitName::Validation)]
    pub split: SplitName,
    /// Numbers of steps whose fitted grids are shown; any other number can be asked for later.
    #[arg(long, value_delimiter = ',', default_value = "10,25", value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Vec<u32>,
    /// The seed of all draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Arguments of `bfn import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The configuration file of the published code, YAML.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The weights: a state dict made by torch.save (.pt), or .safetensors with the same names.
    #[arg(long, value_name = "FILE", required_unless_present = "hub", conflicts_with = "hub")]
    pub weights: Option<PathBuf>,
    /// Download the weights from the Hugging Face hub first.
    #[arg(long, value_name = "OWNER/REPO/FILE")]
    pub hub: Option<HubFile>,
    /// The folder for the run.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
}

/// Arguments of `bfn export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// The file to write: .pt for torch.load, or .safetensors.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which network to write.
    #[command(flatten)]
    pub which: Which,
}

/// A part of a data set, as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// What the network learnt from.
    Train,
    /// What choices are made on.
    Validation,
    /// What results are reported on.
    Test,
}

impl From<SplitName> for Split {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Validation => Self::Validation,
            SplitName::Test => Self::Test,
        }
    }
}

impl Cli {
    /// Carries out the command.
    ///
    /// # Errors
    ///
    /// Whatever went wrong, with its context; nothing is printed here about it.
    pub fn run(self) -> Result<()> {
        if self.quiet {
            be_quiet();
        }
        match self.command {
            Command::Train(args) => train::command(&args),
            Command::Evaluate(args) => evaluate::command(&args),
            Command::Sample(args) => sample::command(&args),
            Command::Grid(args) => fitted::command(&args),
            Command::Import(args) => import::command(&args),
            Command::Export(args) => export::command(&args),
            Command::Bench(command) => bench::command(&command),
            Command::Data(command) => data::command(&command),
        }
    }
}
