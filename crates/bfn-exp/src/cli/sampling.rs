//! Arguments of the commands that sample.

use std::path::PathBuf;

use bfn_nets::device::DeviceChoice;
use clap::Args;

use super::SplitName;
use crate::run::Which;
use crate::solver::SolverArgs;
use crate::told::ConditionArgs;

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
    #[command(flatten)]
    pub condition: ConditionArgs,
    /// How many samples to draw; rounded up so that each small image has as many.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Samples drawn side by side; each has its own noise whatever its batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// The seed of all draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// .png or, without an ending, a folder of PNG files for images, .txt for text, .csv for tables, .npz or
    /// .safetensors for any; with small images, .png is a row for each: itself, its samples, and the example it was
    /// made of. By default samples.png, samples.txt, samples.csv or, of arrays, samples.safetensors in RUN.
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
