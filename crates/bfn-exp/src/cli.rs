//! The command line, as data.

mod evaluation;
mod exchange;
mod sampling;
mod training;

pub use evaluation::{EvaluateArgs, SplitName};
pub use exchange::{ExportArgs, ImportArgs};
pub use sampling::{GridArgs, SampleArgs};
pub use training::{BenchArgs, BenchCommand, TrainArgs};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::data::DataCommand;
use crate::progress::be_quiet;
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
