//! Arguments of the commands that sample.

use std::path::PathBuf;

use bfn_nets::device::DeviceChoice;
use clap::Args;

use super::SplitName;
use crate::conditioning::ConditionArgs;
use crate::run::Which;
use crate::solver::SolverArgs;

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
    /// Number of samples to draw; rounded up so that each small image gets the same number of samples.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Number of samples to draw in one batch; each sample has its own noise, whatever its batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// The seed of all random draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The file to write: .png for images (or a folder of PNG files, without an ending), .txt for text, .csv for
    /// tables, .npz or .safetensors for any data. With small images, a .png has a row for each: the small image, its
    /// samples, and the example it was made from, if known. By default samples.png, samples.txt, samples.csv or, for
    /// arrays, samples.safetensors in RUN.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the flow of the first samples through time as an animation, .gif or .png, with a strip beside it.
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
    /// The folder of the run, where the measured costs are stored.
    pub run: PathBuf,
    /// Number of steps of the fine grid; costs are measured between all of its times. Use several times the number of
    /// steps of the grids to be fitted.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub fine: u32,
    /// Number of examples to measure on, starting with the first.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    pub examples: u64,
    /// The part of the data to measure on; this should not be the part that results are reported on.
    #[arg(long, value_enum, default_value_t = SplitName::Validation)]
    pub split: SplitName,
    /// Numbers of steps whose fitted grids are shown; any other number can be requested later.
    #[arg(long, value_delimiter = ',', default_value = "10,25", value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Vec<u32>,
    /// The seed of all random draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}
