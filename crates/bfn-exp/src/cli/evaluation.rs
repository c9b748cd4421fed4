//! Arguments of the commands that evaluate.

use std::path::PathBuf;

use bfn_data::Split;
use bfn_nets::device::DeviceChoice;
use clap::{Args, ValueEnum};

use crate::evaluate::Steps;
use crate::run::Which;
use crate::solver::GridName;

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
