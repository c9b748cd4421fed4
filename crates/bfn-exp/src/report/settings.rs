//! The settings of the runs of a report: their differences, all settings, and the environment.

use anyhow::{Context, Result};
use maud::{Markup, html};

use super::charts::chip;
use super::material::Material;
use super::results::grouped;
use crate::run::Origin;

/// Builds the table of the keys whose values are not the same in all runs.
pub(super) fn differences(runs: &[Material]) -> Result<Markup> {
    if runs.len() < 2 {
        return Ok(html! {});
    }
    let parsed = |run: &Material| -> Result<toml::Table> {
        run.experiment.parse().with_context(|| format!("in {}", run.folder.join("experiment.toml").display()))
    };
    let tables = runs.iter().map(|run| Ok(keys("", &parsed(run)?))).collect::<Result<Vec<_>>>()?;
    let mut all: Vec<&String> = tables.iter().flatten().map(|(key, _)| key).collect();
    all.sort();
    all.dedup();
    let values = |key: &str| -> Vec<Option<&String>> {
        tables.iter().map(|table| table.iter().find(|(known, _)| known == key).map(|(_, value)| value)).collect()
    };
    let differ = |key: &&&String| values(key).windows(2).any(|pair| pair[0] != pair[1]);
    let different: Vec<&String> = all.iter().filter(differ).copied().collect();
    Ok(html! {
        section {
            h2 { "What differs" }
            @if different.is_empty() {
                p.muted { "The settings of these runs are the same." }
            } @else {
                div.wide {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Key" }
                                @for (number, run) in runs.iter().enumerate() { th scope="col" { (chip(number)) (run.name) } }
                            }
                        }
                        tbody {
                            @for key in &different {
                                tr {
                                    th scope="row" { code { (key) } }
                                    @for value in values(key) {
                                        td { @if let Some(value) = value { code { (value) } } @else { span.muted { "–" } } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}

/// Returns all keys of a table with their values; keys of nested tables are written with dots.
fn keys(prefix: &str, table: &toml::Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            toml::Value::Table(table) if !table.is_empty() => found.extend(keys(&format!("{key}."), table)),
            value => found.push((key, value.to_string())),
        }
    }
    found
}

/// Builds a collapsible list of all settings of each run.
pub(super) fn experiments(runs: &[Material]) -> Markup {
    html! {
        section {
            h2 { "Settings" }
            @for (number, run) in runs.iter().enumerate() {
                details open[runs.len() == 1] {
                    summary { (chip(number)) (run.name) ", " code { "experiment.toml" } }
                    pre { (run.experiment.trim()) }
                }
            }
        }
    }
}

/// Builds the table of the environments in which the runs were made.
pub(super) fn environment(runs: &[Material]) -> Markup {
    let row = |name: &'static str, value: &dyn Fn(&Material) -> String| {
        html! { tr { th scope="row" { (name) } @for run in runs { td { (value(run)) } } } }
    };
    html! {
        section {
            h2 { "Environment" }
            div.wide {
                table {
                    thead {
                        tr {
                            td {}
                            @for (number, run) in runs.iter().enumerate() { th scope="col" { (chip(number)) (run.name) } }
                        }
                    }
                    tbody {
                        (row("bfn", &|run| run.record.version.clone()))
                        (row("libtorch", &|run| run.record.libtorch.clone()))
                        (row("Device", &|run| run.record.device.clone()))
                        (row("Threads", &|run| run.record.threads.to_string()))
                        (row("Data", &|run| run.record.data.clone()))
                        (row("Training examples", &|run| grouped(run.record.examples as u64)))
                        (row("Parameters", &|run| grouped(run.record.parameters as u64)))
                        (row("Weights from", &|run| origin(run.record.origin.as_ref())))
                        (row("Peak memory", &memory))
                        (row("Examples per second", &speed))
                    }
                }
            }
        }
    }
}

fn origin(origin: Option<&Origin>) -> String {
    match origin {
        None => "drawn".to_owned(),
        Some(Origin::Run(run)) => format!("the run {run}"),
        Some(Origin::Imported { weights, .. }) => format!("{weights}, of the published code"),
    }
}

fn memory(run: &Material) -> String {
    let peak = run.log.training.iter().map(|line| line.peak_memory_bytes).max();
    peak.map_or_else(|| "–".to_owned(), |bytes| format!("{:.1} GB", bytes as f64 / 1e9))
}

/// Returns the median speed, which is not affected by pauses.
fn speed(run: &Material) -> String {
    let mut speeds: Vec<f64> = run.log.training.iter().map(|line| line.examples_per_second).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).map_or_else(|| "–".to_owned(), |speed| format!("{speed:.0}"))
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn keys_are_spelt_with_dots() {
        let table = "a = 1\n[b]\nc = \"x\"\n[b.d]\ne = [1, 2]\n[f]\n".parse().expect("TOML");
        let found = keys("", &table);
        let expected = [("a", "1"), ("b.c", "\"x\""), ("b.d.e", "[1, 2]"), ("f", "{}")];
        let found: Vec<(&str, &str)> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }
}
