//! The definition of the command line.

mod evaluation;
mod exchange;
mod sampling;
mod training;

pub use evaluation::{EvaluateArgs, SplitName};
pub use exchange::{ExportArgs, ImportArgs};
pub use sampling::{GridArgs, SampleArgs};
pub use training::{BenchArgs, BenchCommand, TrainArgs};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use clap::{Parser, Subcommand};
use signal_hook::consts::SIGPIPE;
use signal_hook::flag::register_conditional_default;

use crate::check::CheckArgs;
use crate::compare::CompareArgs;
use crate::data::DataCommand;
use crate::init::InitArgs;
use crate::inpaint::InpaintArgs;
use crate::list::ListArgs;
use crate::progress::{be_quiet, tell};
use crate::quality::QualityArgs;
use crate::report::ReportArgs;
use crate::shell::{CompletionsArgs, ManArgs};
use crate::stop::{self, Stopped};
use crate::sweep::SweepArgs;
use crate::{
    bench, check, compare, data, evaluate, export, fitted, import, init, inpaint, list, quality, report, sample, shell,
    sweep, train,
};

/// The exit codes of the program, shown after the help and listed in docs/RUNS.md.
const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    an error, described on stderr
  2    arguments that cannot be parsed
  75   stopped by SIGINT, SIGTERM, SIGHUP or --max-time; completed work is kept and can be continued
  129  a second SIGHUP: terminated at once
  130  a second SIGINT, likewise; runs and evaluations keep what was last written
  143  a second SIGTERM, likewise";

/// Bayesian Flow Networks: train, evaluate, sample.
#[derive(Debug, Parser)]
#[command(name = "bfn", version, about, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Print results, warnings and errors only.
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network as described in an experiment file.
    Train(TrainArgs),
    /// Print the variational bound of a trained network, in nats and bits.
    Evaluate(EvaluateArgs),
    /// Draw samples from a trained network.
    Sample(SampleArgs),
    /// Fill in the missing parts of an image, a text or rows of a table.
    Inpaint(InpaintArgs),
    /// Measure the quality of samples for several numbers of network evaluations.
    Quality(QualityArgs),
    /// Measure the costs of steps between any two times for a trained network, for --grid fitted.
    Grid(GridArgs),
    /// Make a run from a checkpoint of the published PyTorch code.
    Import(ImportArgs),
    /// Write the weights of a run for PyTorch, under the names of the published code.
    Export(ExportArgs),
    /// Report what an experiment would train, without training: data, parameters, memory, steps per epoch.
    Check(CheckArgs),
    /// Write a commented experiment file for a kind of data.
    Init(InitArgs),
    /// Train and evaluate many runs with some keys changed: a grid or a random search.
    Sweep(SweepArgs),
    /// List the runs in a folder.
    List(ListArgs),
    /// Show the differences between two runs, in settings and in results.
    Compare(CompareArgs),
    /// Make a page about one or more runs: results, curves, samples, settings.
    Report(ReportArgs),
    /// Measure how fast an experiment trains or samples on this machine.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// List, fetch, verify and show data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Write completions for a shell to stdout.
    Completions(CompletionsArgs),
    /// Write the manual page to stdout, or the pages of all commands into a folder.
    Man(ManArgs),
}

/// Runs the whole program: parses the arguments, carries out the command and reports an error, if any.
/// The process then ends with the matching exit code.
pub fn main() -> ! {
    let code = match Cli::parse().run() {
        Ok(()) => 0,
        Err(error) if error.is::<Stopped>() => {
            tell(error);
            stop::EXIT_CODE
        }
        Err(error) => {
            tell(format_args!("error: {error:#}"));
            1
        }
    };
    bfn_nets::device::leave(code)
}

impl Cli {
    /// Carries out the command.
    ///
    /// # Errors
    ///
    /// Returns the error of the command with its context; the error is not printed here.
    pub fn run(self) -> Result<()> {
        if self.quiet {
            be_quiet();
        }
        if !matches!(self.command, Command::Train(_) | Command::Sweep(_)) {
            // Commands that print end quietly when their output is no longer read, as in `bfn list | head`.
            register_conditional_default(SIGPIPE, Arc::new(AtomicBool::new(true)))?;
        }
        match self.command {
            Command::Train(args) => train::command(&args),
            Command::Evaluate(args) => evaluate::command(&args),
            Command::Sample(args) => sample::command(&args),
            Command::Inpaint(args) => inpaint::command(&args),
            Command::Quality(args) => quality::command(&args),
            Command::Grid(args) => fitted::command(&args),
            Command::Import(args) => import::command(&args),
            Command::Export(args) => export::command(&args),
            Command::Check(args) => check::command(&args),
            Command::Init(args) => init::command(&args),
            Command::Sweep(args) => sweep::command(&args),
            Command::List(args) => list::command(&args),
            Command::Compare(args) => compare::command(&args),
            Command::Report(args) => report::command(&args),
            Command::Bench(command) => bench::command(&command),
            Command::Data(command) => data::command(&command),
            Command::Completions(args) => {
                shell::completions(&args);
                Ok(())
            }
            Command::Man(args) => shell::man(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::stop;

    #[test]
    fn the_arguments_are_consistent_and_the_help_names_every_exit_code() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        let help = command.render_help().to_string();
        for code in [0, 1, 2, stop::EXIT_CODE, 129, 130, 143] {
            assert!(help.contains(&format!("\n  {code:<3}  ")), "no {code} in {help}");
        }
    }
}
