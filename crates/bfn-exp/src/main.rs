//! The `bfn` program: train, evaluate and sample Bayesian Flow Networks.

use clap::Parser;

use bfn_exp::cli::Cli;
use bfn_exp::stop::{self, Stopped};

fn main() {
    let code = match Cli::parse().run() {
        Ok(()) => 0,
        Err(error) if error.is::<Stopped>() => {
            eprintln!("{error}");
            stop::EXIT_CODE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    };
    bfn_nets::device::leave(code);
}
