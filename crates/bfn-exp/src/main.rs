//! The `bfn` program: train, evaluate and sample Bayesian Flow Networks.

use std::process::ExitCode;

use clap::Parser;

use bfn_exp::cli::Cli;
use bfn_exp::stop::{self, Stopped};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Stopped>() => {
            eprintln!("{error}");
            ExitCode::from(stop::EXIT_CODE)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
