//! `cargo xtask demo|test|setup|install`: the few commands that lead from a fresh clone to a working tree.
//!
//! This program depends only on the standard library, so that it builds before libtorch is there.

mod arguments;
mod checks;
mod demo;
mod failure;
mod install;
mod libtorch;
mod link;
mod machine;
mod process;
mod setup;
#[cfg(test)]
mod testing;
mod wheel;

use std::process::ExitCode;

use arguments::{Command, USAGE};
use failure::Failure;
use machine::Machine;
use process::say;

fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("error: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match perform(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<(), Failure> {
    if command == Command::Help {
        say(USAGE);
        return Ok(());
    }
    let machine = Machine::here()?;
    match command {
        Command::Help => Ok(()),
        Command::Setup => setup::run(&machine).map(|_| ()),
        Command::Test(extent) => checks::run(&machine, extent),
        Command::Demo(duration) => demo::run(&machine, duration),
        Command::Install => install::run(&machine),
    }
}
