//! `bfn completions` and `bfn man`: shell completions and manual pages, generated from the argument parser.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::progress::say;

/// Arguments of `bfn completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell. For bash: bfn completions bash > ~/.local/share/bash-completion/completions/bfn
    pub shell: Shell,
}

/// Arguments of `bfn man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder for the pages of the program and of each command; by default the program's page is written to
    /// stdout.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Writes completions to stdout.
pub fn completions(args: &CompletionsArgs) {
    clap_complete::generate(args.shell, &mut Cli::command(), "bfn", &mut io::stdout());
}

/// Writes manual pages.
///
/// # Errors
///
/// Returns an error if the folder cannot be written to.
pub fn man(args: &ManArgs) -> Result<()> {
    let Some(folder) = &args.out else {
        return clap_mangen::Man::new(Cli::command()).render(&mut io::stdout()).context("cannot write to stdout");
    };
    let shown = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(|| format!("cannot write to {shown}"))?;
    say(format_args!("the pages are in {shown}; read one with: man {shown}/bfn.1"));
    Ok(())
}
