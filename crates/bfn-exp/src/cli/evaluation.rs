//! Arguments of the commands that evaluate.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bfn_data::Split;
use bfn_nets::device::DeviceChoice;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::evaluate::StepsChoice;
use crate::mask::MaskArgs;
use crate::run::Which;
use crate::solver::GridName;

/// Arguments of `bfn evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// Numbers of transmission steps n; `inf` for continuous time, `paper` for all numbers in the paper's tables:
    /// 10,25,50,100,250,500,784,1000,inf.
    #[arg(long, value_delimiter = ',', default_value = "inf")]
    pub steps: Vec<StepsChoice>,
    /// How the times of the n steps are spaced; continuous time has no grid.
    #[arg(long, value_enum, default_value_t = GridName::Uniform)]
    pub grid: GridName,
    /// Number of evaluations per example, each at a different time and with different noise.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// The seed of all random draws of the evaluation.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The part of the data to evaluate on.
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    pub split: SplitName,
    /// Evaluate only this many examples, starting with the first.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// For images: bound the likelihood of this part given the rest, and compare it with simple models of this part.
    #[command(flatten)]
    pub mask: MaskArgs,
    /// Also show the continuous-time loss in this many equal time bins; by default, 20 bins are stored but not shown.
    #[arg(long, value_name = "BINS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub by_time: Option<u32>,
    /// Draw times independently, as the published code does, instead of equally spaced; this increases the errors.
    #[arg(long)]
    pub independent_times: bool,
    /// Evaluate again, even if results are already stored in the run.
    #[arg(long)]
    pub again: bool,
    /// Stop after this time, such as 3h30m, with exit code 75; the same command then continues.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Also write the results to this file as JSON; the run always keeps them, under evaluations/.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Discrete data: for finite n, use the published receiver, a product of marginal mixtures over the classes, to
    /// compare with published figures; by default, use the joint mixture.
    #[arg(long)]
    pub factorised_receiver: bool,
    /// Discretised data: apply the published floor of 1e-5 to the probability of a bin, to compare with published
    /// figures; by default, probabilities are exact.
    #[arg(long)]
    pub probability_floor: bool,
    /// Text: start a window at every symbol, as published for text8, to compare with published figures; this multiplies
    /// the cost by the length of a window. By default, windows follow one another without overlap.
    #[arg(long)]
    pub overlapping_windows: bool,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// A part of a data set, as named on the command line and in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitName {
    /// The examples that the network is trained on.
    Train,
    /// The examples that choices are based on.
    Validation,
    /// The examples that results are reported on.
    Test,
}

impl fmt::Display for SplitName {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        Split::from(*self).fmt(to)
    }
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
