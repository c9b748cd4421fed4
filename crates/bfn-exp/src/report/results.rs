//! The results of a report: a card for each run, and tables with standard errors.

use maud::{Markup, html};

use super::charts::chip;
use super::material::Material;
use crate::evaluate::Steps;
use crate::phases::Shares;
use crate::progress::short;
use crate::table::{Report, Row, Setting};

/// Builds a card for each run, with its best figure, size and training time.
pub(super) fn cards(runs: &[Material]) -> Markup {
    html! {
        section.cards { @for (number, run) in runs.iter().enumerate() { (card(number, run)) } }
    }
}

fn card(number: usize, run: &Material) -> Markup {
    let last = run.log.training.last();
    let best = run.log.validation.iter().min_by(|a, b| a.validation_bits_per_dim.total_cmp(&b.validation_bits_per_dim));
    html! {
        article {
            h2 { (chip(number)) (run.name) }
            @if let Some((evaluation, bound)) = run.headline() {
                p.figure {
                    strong { (format!("{:.3}", bound.total_bits_per_dim)) }
                    small { (format!(" ± {:.3} ", bound.standard_error_bits_per_dim)) (run.unit()) }
                }
                p.muted { (evaluation.setting.split) " split, n → ∞, " (grouped(evaluation.setting.examples as u64)) " examples" @if let Some(given) = &evaluation.setting.given { ", given " (given) } }
            } @else if let Some(best) = best {
                p.figure {
                    strong { (format!("{:.3}", best.validation_bits_per_dim)) }
                    small { (format!(" ± {:.3} ", best.validation_standard_error_bits_per_dim)) (run.unit()) }
                }
                p.muted { "validation split, n → ∞, the best of training" }
            } @else if let Some(last) = last {
                p.figure { strong { (format!("{:.3}", last.loss_bits_per_dim)) } small { " " (run.unit()) } }
                p.muted { "the last training loss; not evaluated yet" }
            } @else {
                p.muted { "not evaluated yet" }
            }
            dl {
                @if !run.record.data.is_empty() { dt { "Data" } dd { (run.record.data) } }
                dt { "Parameters" } dd { (grouped(run.record.parameters as u64)) }
                @if let Some(last) = last {
                    dt { "Steps" } dd { (grouped(last.step)) }
                    dt { "Training time" } dd { (short(std::time::Duration::from_secs_f64(last.seconds.max(0.0)))) }
                }
                @if let (Some(best), true) = (best, run.headline().is_some()) {
                    dt { "Best validation" }
                    dd { (format!("{:.3} {} after {}", best.validation_bits_per_dim, run.unit(), grouped(best.step))) }
                }
            }
            @if let Some(shares) = shares(run) { (bar(&shares)) }
        }
    }
}

/// Builds the tables of all evaluations.
pub(super) fn section(runs: &[Material]) -> Markup {
    let evaluated = runs.iter().any(|run| !run.evaluations.is_empty());
    html! {
        section {
            h2 { "Results" }
            @if runs.len() > 1 && evaluated { (comparison(runs)) }
            @for (number, run) in runs.iter().enumerate() {
                @for (file, evaluation) in &run.evaluations { (table(number, run, file, evaluation)) }
                @if run.evaluations.is_empty() {
                    p.hint {
                        (chip(number)) (run.name) " has not been evaluated yet: "
                        code { "bfn evaluate " (run.folder.display()) }
                    }
                }
            }
            @if evaluated {
                p.note {
                    "The bound is the loss, L" sup { "n" } ", plus the reconstruction, L" sup { "r" } "; ± is the standard "
                    "error of their sum over examples and draws."
                }
            }
        }
    }
}

fn table(number: usize, run: &Material, file: &str, evaluation: &Report) -> Markup {
    let nats = run.unit().replace("bits", "nats");
    html! {
        h3 { (chip(number)) (run.name) ", " (evaluation.setting.split) " split" }
        p.muted { (about(&evaluation.setting)) " (" code { (file) } ")" }
        div.wide {
            table.numbers {
                thead {
                    tr {
                        th scope="col" { "n" }
                        th scope="col" { "Loss" small { (nats) } }
                        th scope="col" { "Reconstruction" small { (nats) } }
                        th scope="col" { "Total" small { "nats/example" } }
                        th scope="col" { "Total" small { (run.unit()) } }
                    }
                }
                tbody {
                    @for bound in &evaluation.results {
                        tr {
                            th scope="row" { (steps(bound.steps)) }
                            td { (format!("{:.4}", bound.loss_nats_per_dim)) }
                            td { (format!("{:.4}", bound.reconstruction_nats_per_dim)) }
                            td {
                                (format!("{:.2}", bound.total_nats_per_example))
                                small { (format!(" ± {:.2}", bound.standard_error_nats_per_example)) }
                            }
                            td { (in_bits(bound)) }
                        }
                    }
                }
            }
        }
    }
}

/// Describes an evaluation in words.
fn about(setting: &Setting) -> String {
    let Setting { dimensions, grid, as_published, .. } = setting;
    let mut about = format!(
        "{} examples of {dimensions} variables, {}, {grid} grid, after {} steps, {} weights",
        grouped(setting.examples as u64),
        setting.draws(),
        grouped(setting.checkpoint_step),
        if setting.weights == "ema" { "averaged" } else { "last" }
    );
    if let Some(given) = &setting.given {
        about += &format!(", given {given}");
    }
    for different in as_published {
        about += &format!(", {different} as published");
    }
    about
}

/// Compares the totals of runs side by side; the lowest of each line and kind of data is bold.
fn comparison(runs: &[Material]) -> Markup {
    let mut keys: Vec<Key> = Vec::new();
    for evaluation in runs.iter().flat_map(|run| run.evaluations.values()) {
        for bound in &evaluation.results {
            let key = Key::of(&evaluation.setting, bound.steps);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys.sort_by_cached_key(|Key { split, words, grid, steps }| {
        (split.clone(), words.clone(), grid.clone(), order(*steps))
    });
    html! {
        h3 { "Totals side by side" }
        p.muted { "The lowest of runs on the same data in bold; those on other data are not comparable." }
        div.wide {
            table.numbers {
                thead {
                    tr {
                        th.words scope="col" { "Split" }
                        th.words scope="col" { "Grid" }
                        th scope="col" { "n" }
                        @for (number, run) in runs.iter().enumerate() {
                            th scope="col" { (chip(number)) (run.name) small { (run.unit()) } }
                        }
                    }
                }
                tbody { @for key in &keys { (line(key, runs)) } }
            }
        }
    }
}

/// The settings that must be equal for totals to be comparable.
#[derive(PartialEq)]
struct Key {
    split: String,
    /// The settings that are not as usual, in words.
    words: Vec<String>,
    grid: String,
    steps: Steps,
}

impl Key {
    fn of(setting: &Setting, steps: Steps) -> Self {
        Self { split: setting.split.clone(), words: setting.unusual(), grid: setting.grid.clone(), steps }
    }
}

fn line(key: &Key, runs: &[Material]) -> Markup {
    let bounds: Vec<Option<&Row>> = runs.iter().map(|run| total(key, run)).collect();
    let is_lowest = |place: usize| {
        let data = |run: &Material| (run.record.data.clone(), run.record.form.dimensions());
        let alike = runs.iter().zip(&bounds).filter(|(run, _)| data(run) == data(&runs[place]));
        let totals: Vec<f64> = alike.filter_map(|(_, bound)| Some((*bound)?.total_bits_per_dim)).collect();
        let own = bounds[place].map_or(f64::NAN, |bound| bound.total_bits_per_dim);
        totals.len() > 1 && totals.iter().all(|total| own <= *total)
    };
    html! {
        tr {
            td.words { (key.split) @for word in &key.words { small { " " (word) } } }
            td.words { (key.grid) }
            th scope="row" { (steps(key.steps)) }
            @for (place, bound) in bounds.iter().enumerate() {
                @match bound {
                    None => td { "–" },
                    Some(bound) if is_lowest(place) => td { strong { (in_bits(bound)) } },
                    Some(bound) => td { (in_bits(bound)) },
                }
            }
        }
    }
}

/// Returns the bound of a run that matches the key; if there are several, the one on the most examples.
fn total<'a>(key: &Key, run: &'a Material) -> Option<&'a Row> {
    let bounds = run.evaluations.values().flat_map(|each| each.results.iter().map(move |row| (each, row)));
    let bounds = bounds.filter(|(each, row)| Key::of(&each.setting, row.steps) == *key);
    bounds.max_by_key(|(each, _)| (each.setting.examples, each.setting.checkpoint_step)).map(|(_, row)| row)
}

fn in_bits(bound: &Row) -> Markup {
    html! {
        (format!("{:.4}", bound.total_bits_per_dim)) small { (format!(" ± {:.4}", bound.standard_error_bits_per_dim)) }
    }
}

fn steps(steps: Steps) -> String {
    match steps {
        Steps::Finite(n) => grouped(n.into()),
        Steps::Infinite => "∞".to_owned(),
    }
}

fn order(steps: Steps) -> u64 {
    match steps {
        Steps::Finite(n) => n.into(),
        Steps::Infinite => u64::MAX,
    }
}

/// Returns the mean shares of the phases of a step over the log.
fn shares(run: &Material) -> Option<Vec<(&'static str, f64)>> {
    let lines = &run.log.training;
    let mean =
        |share: fn(&Shares) -> f64| lines.iter().map(|line| share(&line.shares)).sum::<f64>() / lines.len() as f64;
    (!lines.is_empty()).then(|| {
        vec![
            ("network", mean(|shares| shares.network)),
            ("gradients", mean(|shares| shares.backward)),
            ("optimiser", mean(|shares| shares.optimiser)),
            ("loss", mean(|shares| shares.loss)),
            ("data", mean(|shares| shares.data)),
            ("other", mean(|shares| shares.other)),
        ]
    })
}

fn bar(shares: &[(&'static str, f64)]) -> Markup {
    html! {
        div.shares aria-hidden="true" {
            @for (_, share) in shares { i style=(format!("width:{:.2}%", 100.0 * share)) {} }
        }
        p.shares-of {
            "Time: "
            @for (number, (name, share)) in shares.iter().enumerate() {
                @if number > 0 { ", " }
                span { i.chip.part {} (name) " " (format!("{:.0} %", 100.0 * share)) }
            }
        }
    }
}

/// Formats a whole number with narrow spaces between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or("")).collect();
    if digits.len() > 4 { grouped.join("\u{202f}") } else { digits }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn large_numbers_are_grouped() {
        let shown = [0, 12, 1437, 24_808_961, 100_000].map(grouped);
        assert_eq!(shown, ["0", "12", "1437", "24\u{202f}808\u{202f}961", "100\u{202f}000"]);
    }
}
