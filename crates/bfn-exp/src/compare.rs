//! `bfn compare`: shows the differences between two runs, in settings and in results.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::evaluate::Stored;
use crate::resume;
use crate::run::Run;
use crate::table::{Report, Row};

/// Arguments of `bfn compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The folder of the run that the other run is compared with; A in the output.
    pub run: PathBuf,
    /// The folder of the other run; B in the output.
    pub other: PathBuf,
}

/// Compares two runs and prints the differences to stdout.
///
/// # Errors
///
/// Returns an error if a folder is not that of a run.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
pub fn command(args: &CompareArgs) -> Result<()> {
    let runs = [Run::open(&args.run)?, Run::open(&args.other)?];
    println!("A  {}\nB  {}", args.run.display(), args.other.display());
    println!("\nsettings");
    let [one, other] = [runs[0].experiment()?, runs[1].experiment()?];
    let keys = resume::differing_keys(&one, &other)?;
    if keys.is_empty() {
        println!("  the same");
    }
    let tables: [toml::Table; 2] = [one.to_toml()?.parse()?, other.to_toml()?.parse()?];
    for key in &keys {
        differ(key, &tables.each_ref().map(|table| value_of(table, key)));
    }
    println!("\nhow they were trained");
    for (what, values) in circumstances(&runs)? {
        if values[0] == values[1] { println!("  {what}: {}", values[0]) } else { differ(what, &values) }
    }
    println!("\nresults");
    let [ours, theirs] = [Stored::all(&args.run)?, Stored::all(&args.other)?];
    let mut common = 0;
    for one in ours.values() {
        for other in theirs.values() {
            // The rows of the same draws of the same examples, whatever the network.
            let rows = one.rows_beside(other);
            if !rows.is_empty() {
                common += 1;
                print!("{}", differences(one, other, &rows));
            }
        }
    }
    if common == 0 {
        println!(
            "  no evaluation of both with the same split, steps, grid, seed and repeats; \
             bfn evaluate {}    bfn evaluate {}",
            args.run.display(),
            args.other.display()
        );
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn differ(what: &str, values: &[String; 2]) {
    println!("  {what}\n    A  {}\n    B  {}", values[0], values[1]);
}

/// Returns the value of a dotted key as TOML.
fn value_of(table: &toml::Table, key: &str) -> String {
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| table.get(part));
    let value = parts.try_fold(first, |value, part| Some(value?.as_table()?.get(part))).flatten();
    value.map_or_else(|| "absent".to_owned(), ToString::to_string)
}

/// Returns what the experiments do not state: how far the runs were trained, and on what.
fn circumstances(runs: &[Run; 2]) -> Result<Vec<(&'static str, [String; 2])>> {
    let mut steps = Vec::new();
    let mut records = Vec::new();
    for run in runs {
        let standing = run.checkpoints().newest_standing()?;
        steps.push(standing.map_or_else(
            || "no checkpoint".to_owned(),
            |standing| format!("{} in {:.0} s", standing.step, standing.seconds),
        ));
        records.push(run.record().with_context(|| format!("in {}", run.folder().display()))?);
    }
    let of = |value: &dyn Fn(usize) -> String| [value(0), value(1)];
    Ok(vec![
        ("steps", of(&|i| steps[i].clone())),
        ("parameters", of(&|i| records[i].parameters.to_string())),
        ("data", of(&|i| records[i].data.clone())),
        ("version", of(&|i| format!("bfn {}, libtorch {}", records[i].version, records[i].libtorch))),
        ("device", of(&|i| records[i].device.clone())),
    ])
}

/// Formats a table of two evaluations side by side.
fn differences(one: &Report, other: &Report, rows: &[(&Row, &Row)]) -> String {
    let setting = &one.setting;
    let unit = &setting.unit;
    let mut text = format!(
        "  {} split, {} examples, {} grid, seed {}, {}; A after {} steps ({}), B after {} ({})\n",
        setting.split,
        setting.examples,
        setting.grid,
        setting.seed,
        setting.draws(),
        setting.checkpoint_step,
        setting.weights,
        other.setting.checkpoint_step,
        other.setting.weights
    );
    text += &format!("  {:>6} {:>22} {:>22} {:>24}\n", "n", format!("A, {unit}"), format!("B, {unit}"), "B − A");
    for (row, partner) in rows {
        let bits = |row: &Row| format!("{:.5} ± {:.5}", row.total_bits_per_dim, row.standard_error_bits_per_dim);
        let difference = partner.total_bits_per_dim - row.total_bits_per_dim;
        let error = row.standard_error_bits_per_dim.hypot(partner.standard_error_bits_per_dim);
        let difference = format!("{difference:+.5} ± {error:.5}");
        text += &format!("  {:>6} {:>22} {:>22} {difference:>24}\n", row.steps.to_string(), bits(row), bits(partner));
    }
    text + "  (the error of B − A takes the two as independent; on the same examples it is smaller)\n"
}
