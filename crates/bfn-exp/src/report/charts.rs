//! The curves of a report; all runs share the same axes.

use anyhow::Result;
use maud::{Markup, PreEscaped, html};

use super::axis::{Axis, Scale};
use super::material::Material;
use super::plot::{Curve, Point, Stroke, draw, sample};
use crate::evaluate::Steps;
use crate::metrics::TrainingLine;
use crate::table::{Report, Setting};

/// The number of stretches by whose means a longer curve is drawn.
const STRETCHES: usize = 400;

/// The share of a curve over which it is smoothed.
const WINDOW: f64 = 0.04;

/// The initial share of training in which a loss may be too high to be shown.
const BEGINNING: f64 = 0.05;

/// A plot with its title and caption.
struct Chart {
    title: &'static str,
    caption: PreEscaped<String>,
    x: Axis,
    y: Axis,
    curves: Vec<Curve>,
}

/// Builds the section with all curves that have data.
pub(super) fn section(runs: &[Material]) -> Result<Markup> {
    let charts = [loss(runs), by_time(runs), by_steps(runs), learning_rate(runs), gradient_norm(runs)];
    let drawn = charts.into_iter().flatten().map(figure).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        @if !drawn.is_empty() {
            section {
                h2 { "Curves" }
                @if runs.len() > 1 { p.legend { @for run in 0..runs.len() { span { (chip(run)) (runs[run].name) } " " } } }
                div.charts { @for figure in &drawn { (figure) } }
            }
        }
    })
}

/// Draws a spot in the colour of a run.
pub(super) fn chip(run: usize) -> Markup {
    html! { i.chip style=(format!("--colour:var(--run-{})", run % super::plot::COLOURS)) {} }
}

fn figure(chart: Chart) -> Result<Markup> {
    let plot = draw(&chart.x, &chart.y, &chart.curves)?;
    Ok(html! {
        figure.chart {
            h3 { (chart.title) }
            div role="img" aria-label=(format!("{}: {} over {}", chart.title, chart.y.label, chart.x.label)) { (plot) }
            figcaption { (chart.caption) }
        }
    })
}

fn loss(runs: &[Material]) -> Option<Chart> {
    let mut curves = Vec::new();
    let mut shown = Vec::new();
    for (run, material) in runs.iter().enumerate() {
        let log = &material.log;
        let last = log.training.last().map_or(0, |line| line.step) as f64;
        let after = |point: &&Point| point.x >= BEGINNING * last;
        let training = thinned(&training(material, |line| line.loss_bits_per_dim));
        let smooth = smoothed(&training);
        let point = |line: &crate::metrics::ValidationLine| Point {
            x: line.step as f64,
            y: line.validation_bits_per_dim,
            error: line.validation_standard_error_bits_per_dim,
        };
        let validation: Vec<Point> = log.validation.iter().map(point).collect();
        shown.extend(smooth.iter().filter(after).map(|point| point.y));
        // Error bars are included: one that is cut off looks shorter than it is.
        shown.extend(validation.iter().filter(after).flat_map(Point::heights));
        // The noise of the second half is typical of most of the picture.
        shown.extend(training.iter().filter(|point| point.x >= 0.5 * last).map(|point| point.y));
        curves.push(Curve { run, stroke: Stroke::Faint, points: training });
        let stroke = if validation.is_empty() { Stroke::Solid } else { Stroke::Dashed };
        curves.push(Curve { run, stroke, points: smooth });
        curves.push(Curve { run, stroke: Stroke::Dotted(0), points: validation });
    }
    curves.sort_by_key(|curve| curve.stroke != Stroke::Faint);
    let validated = runs.iter().any(|run| !run.log.validation.is_empty());
    let caption = html! {
        "Pale: the training loss L" sup { "∞" } ", and its running mean. "
        @if validated {
            "Dots: the bound on the validation split, L" sup { "∞" } " + L" sup { "r" } ", of the averaged weights, "
            "with standard errors. "
        }
        "The first steps may lie above the plot."
    };
    Some(Chart {
        title: "Loss",
        caption,
        x: steps_axis(&curves)?,
        y: Axis::around(unit(runs), Scale::Linear, shown.into_iter()),
        curves,
    })
}

fn by_time(runs: &[Material]) -> Option<Chart> {
    let mut curves = Vec::new();
    for (run, material) in runs.iter().enumerate() {
        let points = material.loss_by_time().iter().map(|bin| Point {
            x: (bin.from + bin.to) / 2.0,
            y: bin.nats_per_dim,
            error: if bin.standard_error_nats_per_dim.is_finite() { bin.standard_error_nats_per_dim } else { 0.0 },
        });
        curves.push(Curve { run, stroke: Stroke::Dotted(0), points: points.collect() });
    }
    let caption =
        html! { "The integrand of L" sup { "∞" } " in bins of time, with standard errors: where the nats are lost." };
    let heights = || curves.iter().flat_map(|curve| &curve.points).flat_map(Point::heights);
    heights().next()?;
    let y = Axis::around("nats per variable", Scale::Linear, heights().chain([0.0]));
    Some(Chart {
        title: "Loss by time",
        caption,
        x: Axis { label: "t".to_owned(), scale: Scale::Linear, range: [0.0, 1.0] },
        y,
        curves,
    })
}

fn by_steps(runs: &[Material]) -> Option<Chart> {
    let mut curves = Vec::new();
    let mut settings: Vec<Vec<String>> = Vec::new();
    for (run, material) in runs.iter().enumerate() {
        for evaluation in material.evaluations.values() {
            let mut points = Vec::new();
            for bound in &evaluation.results {
                if let Steps::Finite(n) = bound.steps {
                    let (y, error) = (bound.total_bits_per_dim, bound.standard_error_bits_per_dim);
                    points.push(Point { x: f64::from(n), y, error });
                }
            }
            if points.len() < 2 {
                continue;
            }
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            let mut setting = told_apart(&evaluation.setting);
            let differs = |of: fn(&Setting) -> u64| {
                material.evaluations.values().any(|other| of(&other.setting) != of(&evaluation.setting))
            };
            let Setting { examples, checkpoint_step, .. } = &evaluation.setting;
            setting.extend(differs(|setting| setting.examples as u64).then(|| format!("{examples} examples")));
            setting
                .extend(differs(|setting| setting.checkpoint_step).then(|| format!("after {checkpoint_step} steps")));
            let pattern = settings.iter().position(|known| *known == setting).unwrap_or(settings.len());
            if pattern == settings.len() {
                settings.push(setting);
            }
            // The grid does not affect continuous time, so any evaluation of the same network on the same examples
            // will do.
            let same = |other: &&Report| {
                let of = |setting: &Setting| (setting.checkpoint_step, setting.examples);
                of(&other.setting) == of(&evaluation.setting)
                    && told_apart(&other.setting)[1..] == told_apart(&evaluation.setting)[1..]
            };
            let elsewhere = || material.evaluations.values().filter(same).find_map(Report::in_continuous_time);
            if let Some(limit) = evaluation.in_continuous_time().or_else(elsewhere) {
                let ends = [points[0].x, points[points.len() - 1].x];
                let points = ends.map(|x| Point { x, y: limit.total_bits_per_dim, error: 0.0 }).to_vec();
                curves.push(Curve { run, stroke: Stroke::Dashed, points });
            }
            curves.push(Curve { run, stroke: Stroke::Dotted(pattern as u8), points });
        }
    }
    let caption = html! {
        "The bound L" sup { "n" } " + L" sup { "r" } " for n transmission steps, with standard errors; thin dashes: n → ∞. "
        @if settings.len() > 1 {
            @for (pattern, setting) in settings.iter().enumerate() {
                span.setting { (sample(pattern as u8)) (words_of_its_own(setting, &settings)) } " "
            }
        }
    };
    let points = || curves.iter().flat_map(|curve| &curve.points);
    points().next()?;
    Some(Chart {
        title: "Loss by number of steps",
        caption,
        x: Axis::around("n", Scale::Logarithmic, points().map(|point| point.x)),
        y: Axis::around(unit(runs), Scale::Linear, points().flat_map(Point::heights)),
        curves,
    })
}

/// Returns the settings that distinguish the evaluations of a run, the grid first.
fn told_apart(setting: &Setting) -> Vec<String> {
    let mut words = vec![format!("{} grid", setting.grid), format!("{} split", setting.split)];
    words.extend(setting.unusual());
    words
}

/// Returns the words of a setting that not all settings share.
fn words_of_its_own(setting: &[String], all: &[Vec<String>]) -> String {
    let own = setting.iter().filter(|word| !all.iter().all(|other| other.contains(word)));
    own.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn learning_rate(runs: &[Material]) -> Option<Chart> {
    let curves = of_training(runs, |line| line.learning_rate, Stroke::Solid);
    let rates = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.y);
    Some(Chart {
        title: "Learning rate",
        caption: html! { "Of the last step before each line of the log." },
        x: steps_axis(&curves)?,
        y: Axis::around("learning rate", Scale::Linear, rates().chain([0.0])),
        curves,
    })
}

fn gradient_norm(runs: &[Material]) -> Option<Chart> {
    let mut curves = of_training(runs, |line| line.gradient_norm, Stroke::Faint);
    let smooth: Vec<Curve> = curves
        .iter()
        .map(|curve| Curve { stroke: Stroke::Solid, points: smoothed(&curve.points), ..curve.clone() })
        .collect();
    curves.extend(smooth);
    let norms = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.y);
    Some(Chart {
        title: "Gradient norm",
        caption: html! { "Before clipping; pale, with its running mean." },
        x: steps_axis(&curves)?,
        y: Axis::around("norm", Scale::Logarithmic, norms()),
        curves,
    })
}

/// Returns one curve of the log for each run.
fn of_training(runs: &[Material], number: fn(&TrainingLine) -> f64, stroke: Stroke) -> Vec<Curve> {
    let curve = |(run, material)| Curve { run, stroke, points: thinned(&training(material, number)) };
    runs.iter().enumerate().map(curve).collect()
}

fn training(material: &Material, number: fn(&TrainingLine) -> f64) -> Vec<Point> {
    let lines = material.log.training.iter();
    let points = lines.map(|line| Point { x: line.step as f64, y: number(line), error: 0.0 });
    points.filter(|point| point.y.is_finite()).collect()
}

/// Returns the axis from the start to the last step, or `None` if no step was logged.
fn steps_axis(curves: &[Curve]) -> Option<Axis> {
    let last = curves.iter().flat_map(|curve| &curve.points).map(|point| point.x).fold(0.0, f64::max);
    (last > 0.0).then(|| Axis { label: "steps".to_owned(), scale: Scale::Linear, range: [0.0, last] })
}

/// Returns the unit that all runs share, or a general one if they differ.
fn unit(runs: &[Material]) -> &'static str {
    match runs.split_first() {
        Some((first, rest)) if rest.iter().all(|run| run.unit() == first.unit()) => first.unit(),
        _ => "bits per variable",
    }
}

/// Returns the means of stretches of equally many points, if there are many points.
fn thinned(points: &[Point]) -> Vec<Point> {
    points.chunks(points.len().div_ceil(STRETCHES).max(1)).map(mean).collect()
}

/// Returns the mean of the points around each point.
fn smoothed(points: &[Point]) -> Vec<Point> {
    // Short curves use two neighbours on each side; with fewer, the smoothing would not be visible.
    let reach = (points.len() as f64 * WINDOW / 2.0).round().max(2.0) as usize;
    let around = |place: usize| {
        // Near an end, fewer neighbours are used on both sides, so that a slope causes no error.
        let reach = reach.min(place).min(points.len() - 1 - place);
        mean(&points[place - reach..=place + reach])
    };
    (0..points.len()).map(around).collect()
}

fn mean(points: &[Point]) -> Point {
    let of = |number: fn(&Point) -> f64| points.iter().map(number).sum::<f64>() / points.len() as f64;
    Point { x: of(|point| point.x), y: of(|point| point.y), error: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(count: usize) -> Vec<Point> {
        (0..count).map(|place| Point { x: place as f64, y: 3.0 * place as f64 + 1.0, error: 0.0 }).collect()
    }

    #[test]
    fn a_straight_line_stays_one() {
        for count in [0, 1, 2, 399, 400, 401, 1000, 12345] {
            let (line, thin) = (line(count), thinned(&line(count)));
            assert!(thin.len() <= STRETCHES && (count > STRETCHES || thin == line), "{count}");
            for point in smoothed(&thin) {
                assert!((point.y - 3.0 * point.x - 1.0).abs() < 1e-6, "{count}: {point:?}");
            }
        }
    }

    #[test]
    fn noise_is_smoothed() {
        let noisy: Vec<Point> = line(200)
            .into_iter()
            .map(|point| Point { y: if point.x % 2.0 == 0.0 { 1.0 } else { -1.0 }, ..point })
            .collect();
        assert!(smoothed(&noisy)[20..180].iter().all(|point| point.y.abs() < 0.2));
    }
}
