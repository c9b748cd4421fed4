//! Arguments of the commands that train.

use std::path::PathBuf;
use std::time::Duration;

use bfn_nets::device::DeviceChoice;
use clap::{Args, Subcommand};

use crate::config::duration;
use crate::overrides::Override;
use crate::run::Weights;

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
    /// Continue the run in RUN (or in the folder of --out) from its last checkpoint; start it if there is none.
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    #[allow(clippy::option_option, reason = "absent, without a value, with one")]
    pub resume: Option<Option<PathBuf>>,
    /// Start with the weights of another run, such as an imported one, instead of fresh ones.
    #[arg(long, value_name = "RUN")]
    pub from: Option<PathBuf>,
    /// Which weights of that run to start with.
    #[arg(long, value_enum, default_value_t = Weights::Ema, requires = "from")]
    pub from_weights: Weights,
    /// Stop after this time, such as 3h30m, with a checkpoint and exit code 75; meant for batch queues.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// The benchmarks of `bfn bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure training steps, with fresh weights; no run is made.
    Train(BenchArgs),
    /// Measure steps of the ancestral sampler, with fresh weights.
    Sample {
        #[command(flatten)]
        common: BenchArgs,
        /// Number of samples to draw in one batch.
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
    /// Number of steps to measure.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    /// Number of steps before the measured ones, which are not measured.
    #[arg(long, default_value_t = 5)]
    pub warm_up: u32,
    /// Also write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}
