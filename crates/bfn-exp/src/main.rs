//! The `bfn` program: train, evaluate and sample Bayesian Flow Networks.

use std::process::ExitCode;

use clap::Parser;

use bfn_exp::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
