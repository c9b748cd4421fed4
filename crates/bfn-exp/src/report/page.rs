//! The page of a report.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::material::Material;
use super::{charts, pictures, plot, results, settings};

const STYLE: &str = include_str!("page.css");

/// Builds the page about the given runs.
///
/// # Errors
///
/// Returns an error if a picture cannot be read.
pub(super) fn page(runs: &[Material]) -> Result<Markup> {
    let title = match runs {
        [run] => run.name.clone(),
        runs => format!("{} runs compared", runs.len()),
    };
    let mut data: Vec<&str> = runs.iter().map(|run| run.record.data.as_str()).filter(|data| !data.is_empty()).collect();
    data.dedup();
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without its own icon, a page from a server would request one.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(plot::style())) }
            }
            body {
                header {
                    p.eyebrow { "Bayesian Flow Networks" }
                    h1 { (title) }
                    @if !data.is_empty() { p.lead { (data.join("; ")) } }
                }
                main {
                    (results::cards(runs))
                    (results::section(runs))
                    (charts::section(runs)?)
                    (pictures::samples(runs)?)
                    (pictures::quality(runs)?)
                    (pictures::flow(runs)?)
                    (settings::differences(runs)?)
                    (settings::environment(runs))
                    (settings::experiments(runs))
                }
                footer {
                    p {
                        "Made by bfn " (env!("CARGO_PKG_VERSION")) ": "
                        code { "bfn report" @for run in runs { " " (run.folder.display()) } }
                    }
                }
            }
        }
    })
}
