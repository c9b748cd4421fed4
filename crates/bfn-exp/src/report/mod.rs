//! `bfn report`: one page about one or more runs, built from the contents of their folders.
//!
//! The page is a single HTML file without scripts. Pictures and plots are embedded, and nothing is loaded from
//! outside.

mod axis;
mod charts;
mod material;
mod page;
mod pictures;
mod plot;
mod results;
mod settings;

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::outputs::check_file;
use crate::progress::say;
use crate::run::write_file;

use material::Material;

/// Arguments of `bfn report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The folders of the runs.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The HTML file to write; it needs no other file and no internet connection.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
}

/// Reads the runs and writes the page.
///
/// # Errors
///
/// Returns an error if a folder is not a run, if a file in it is invalid, or if the page cannot be written.
pub fn command(args: &ReportArgs) -> Result<()> {
    check_file(&args.out).context("in --out, a file such as report.html")?;
    let is_html = |ending: &OsStr| ["html", "htm"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    ensure!(
        args.out.extension().is_some_and(is_html),
        "--out {}: a report is a page in HTML; name it report.html, say",
        args.out.display()
    );
    let mut runs = args.runs.iter().map(|folder| Material::read(folder)).collect::<Result<Vec<_>>>()?;
    material::tell_apart(&mut runs);
    write_file(&args.out, page::page(&runs)?.into_string().as_bytes())?;
    say(format_args!("the report is in {}", args.out.display()));
    Ok(())
}
