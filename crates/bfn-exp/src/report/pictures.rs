//! The samples and the flow of a run, embedded in the page.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bfn_data::table::RawTable;
use maud::{Markup, html};

use super::charts::chip;
use super::material::Material;
use crate::form::Arrangement;

/// The maximum number of lines shown from texts or tables.
const LINES: usize = 24;

/// Builds the section with the samples of all runs.
pub(super) fn samples(runs: &[Material]) -> Result<Markup> {
    let shown = runs.iter().enumerate().map(|(number, run)| samples_of(number, run)).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        section {
            h2 { "Samples" }
            div.pictures { @for each in &shown { (each) } }
        }
    })
}

fn samples_of(number: usize, run: &Material) -> Result<Markup> {
    let Some(path) = &run.samples else {
        return Ok(html! {
            p.hint { (chip(number)) (run.name) " has no samples yet: " code { "bfn sample " (run.folder.display()) } }
        });
    };
    Ok(html! {
        figure {
            @if is_picture(path) {
                img src=(inside(path)?) alt=(format!("Samples of {}", run.name));
            } @else if has_ending(path, "csv") {
                @let table = RawTable::read(path, &[])?;
                (rows(&table))
                @if table.rows() > LINES { p.muted { "and " (table.rows() - LINES) " more" } }
            } @else {
                @let (lines, left) = lines(path)?;
                ol.texts { @for line in &lines { li { (line) } } }
                @if left > 0 { p.muted { "and " (left) " more" } }
            }
            figcaption { (chip(number)) (run.name) ", " code { (file_name(path)) } }
        }
    })
}

/// Builds a table of the first rows.
fn rows(table: &RawTable) -> Markup {
    let columns = 0..table.names().len();
    html! {
        div.wide {
            table.numbers {
                thead { tr { @for name in table.names() { th scope="col" { (name) } } } }
                tbody {
                    @for row in 0..table.rows().min(LINES) {
                        tr { @for column in columns.clone() { td { (table.column(column)[row]) } } }
                    }
                }
            }
        }
    }
}

/// Builds the section with the results of `bfn quality`, for the runs that have them.
pub(super) fn quality(runs: &[Material]) -> Result<Markup> {
    let measured = runs.iter().enumerate().filter_map(|(number, run)| Some((number, run, run.quality.as_ref()?)));
    let plots = measured.map(|(number, run, path)| Ok((number, run, inside(path)?))).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        @if !plots.is_empty() {
            section {
                h2 { "Quality of samples" }
                @for (number, run, plot) in &plots {
                    figure {
                        img src=(plot) alt=(format!("Measures of samples of {} over evaluations of the network", run.name));
                        figcaption {
                            (chip(*number)) (run.name) ", measured by " code { "bfn quality " (run.folder.display()) }
                        }
                    }
                }
            }
        }
    })
}

/// Builds the section with the flow of all runs that have pictures of it.
pub(super) fn flow(runs: &[Material]) -> Result<Markup> {
    let shown = runs.iter().enumerate().map(|(number, run)| flow_of(number, run)).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        section {
            h2 { "The Bayesian flow" }
            p.lead {
                "From the prior at t = 0 to a sample at t = 1. The input distribution, with parameters θ, sums up all messages "
                "so far; the output distribution is what the network predicts from it."
            }
            @for each in &shown { (each) }
        }
    })
}

fn flow_of(number: usize, run: &Material) -> Result<Markup> {
    if matches!(run.record.form.arrangement, Arrangement::Table { .. } | Arrangement::Sequence { .. }) {
        return Ok(
            html! { p.hint { (chip(number)) (run.name) ": only images and texts have pictures of their flow." } },
        );
    }
    if run.flow.is_none() && run.strip.is_none() {
        return Ok(html! {
            p.hint {
                (chip(number)) (run.name) " has no picture of its flow yet: "
                code { "bfn sample " (run.folder.display()) " --trajectory " (run.folder.join("flow.png").display()) }
            }
        });
    }
    let images = matches!(run.record.form.arrangement, Arrangement::Image { .. });
    let what = if images {
        "Above, in each column of a time, the means of the input distribution; below, of the output distribution."
    } else {
        "A row for each symbol and a column for each position, white where it is certain: above the input distribution, \
         below the output distribution."
    };
    Ok(html! {
        h3 { (chip(number)) (run.name) }
        div.flow {
            @if let Some(path) = &run.flow {
                figure.moving {
                    img src=(inside(path)?) alt=(format!("The flow of {} through time, moving", run.name));
                    figcaption { "Moving: the input distribution on the left, the output distribution on the right." }
                }
            }
            @if let Some(path) = &run.strip {
                figure {
                    div.wide { img.strip src=(inside(path)?) alt=(format!("The flow of {} through time", run.name)); }
                    figcaption { "Time goes from left, t = 0, to right, t = 1. " (what) }
                }
            }
        }
    })
}

/// Returns a data URL that contains the whole picture.
fn inside(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let kind = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gif") => "gif",
        Some("svg") => "svg+xml",
        _ => "png",
    };
    Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)))
}

/// Returns the first lines of a text file, and the number of lines after them.
fn lines(path: &Path) -> Result<(Vec<String>, usize)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = || text.lines();
    Ok((lines().take(LINES).map(str::to_owned).collect(), lines().skip(LINES).count()))
}

fn is_picture(path: &Path) -> bool {
    has_ending(path, "png")
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
