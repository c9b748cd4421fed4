//! Curves as SVG in the colours of the page.
//!
//! The library writes colours into the picture. A colour here is only a name: the page's style sheet, which has a
//! light and a dark version, assigns each one its meaning. See [`style`].

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use super::axis::Axis;

/// The size of a plot in its own units, which are fine because the library rounds to whole ones.
const SIZE: (u32, u32) = (2000, 1240);
const TEXT: u32 = 60;

/// The colour names of things that are not curves.
const INK: RGBColor = RGBColor(9, 0, 0);
const RULE: RGBColor = RGBColor(9, 0, 1);

/// The number of curve colours in the style sheet; if there are more runs, they share them.
pub(super) const COLOURS: usize = 8;

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stroke {
    /// A line.
    Solid,
    /// A dashed line.
    Dashed,
    /// A thin, pale line behind the others.
    Faint,
    /// A line with a dot and a bar for the standard error at each point; the number selects the dash pattern.
    Dotted(u8),
}

/// The lengths of dashes and gaps in each pattern of [`Stroke::Dotted`]; larger numbers reuse these.
const PATTERNS: [&str; 4] = ["none", "60 22", "12 18", "60 20 12 20"];

/// A curve of a run.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// The number of the run, which determines the colour.
    pub(super) run: usize,
    /// How it is drawn.
    pub(super) stroke: Stroke,
    /// The points of the curve.
    pub(super) points: Vec<Point>,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// The horizontal position.
    pub(super) x: f64,
    /// The vertical position.
    pub(super) y: f64,
    /// The standard error of `y`, 0 for none.
    pub(super) error: f64,
}

impl Point {
    /// Returns the ends of the error bar.
    pub(super) fn heights(&self) -> [f64; 2] {
        [self.y - self.error, self.y + self.error]
    }
}

impl Stroke {
    fn all() -> impl Iterator<Item = Self> {
        [Self::Solid, Self::Dashed, Self::Faint].into_iter().chain((0..PATTERNS.len() as u8).map(Self::Dotted))
    }

    fn colour(self, run: usize) -> RGBColor {
        let stroke = match self {
            Self::Solid => 0,
            Self::Dashed => 1,
            Self::Faint => 2,
            Self::Dotted(pattern) => 3 + pattern % PATTERNS.len() as u8,
        };
        RGBColor(8, stroke, (run % COLOURS) as u8)
    }

    fn width(self) -> u32 {
        match self {
            Self::Solid | Self::Dotted(_) => 8,
            Self::Dashed => 6,
            Self::Faint => 3,
        }
    }
}

/// Draws a short piece of [`Stroke::Dotted`] in the text colour, for a legend.
pub(super) fn sample(pattern: u8) -> Markup {
    html! {
        svg.sample viewBox="0 0 240 24" aria-hidden="true" {
            line x1="0" y1="12" x2="240" y2="12" stroke-dasharray=(PATTERNS[usize::from(pattern) % PATTERNS.len()]) {}
        }
    }
}

/// Draws curves.
///
/// # Errors
///
/// Returns an error if the library reports one; no such case is known.
pub(super) fn draw(x: &Axis, y: &Axis, curves: &[Curve]) -> Result<PreEscaped<String>> {
    let mut svg = String::new();
    draw_into(&mut svg, x, y, curves).map_err(|error| anyhow!("a curve cannot be drawn: {error}"))?;
    Ok(PreEscaped(svg))
}

fn draw_into(svg: &mut String, x: &Axis, y: &Axis, curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin_top(30)
        .margin_right(60)
        .x_label_area_size(160)
        .y_label_area_size(260)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let text = ("sans-serif", TEXT).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RULE.stroke_width(3))
        .axis_style(RULE.stroke_width(3))
        .set_all_tick_mark_size(14)
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(x.label.as_str())
        .y_desc(y.label.as_str())
        .x_labels(7)
        .y_labels(6)
        .draw()?;
    for curve in curves {
        let style = curve.stroke.colour(curve.run).stroke_width(curve.stroke.width());
        let on_axes = curve.points.iter().filter(|point| x.holds(point.x) && y.holds(point.y));
        let places = on_axes.clone().map(|point| (point.x, point.y));
        // A single point makes no line.
        let dots = if on_axes.clone().count() == 1 { 10 } else { 0 };
        chart.draw_series(LineSeries::new(places, style.filled()).point_size(dots))?;
        if matches!(curve.stroke, Stroke::Dotted(_)) {
            let bar = |point: &Point| {
                let [low, high] = y.range;
                let ends = point.heights().map(|end| end.clamp(low, high));
                ErrorBar::new_vertical(point.x, ends[0], point.y, ends[1], style.filled(), 26)
            };
            chart.draw_series(on_axes.clone().map(bar))?;
        }
    }
    area.present()?;
    Ok(())
}

/// Returns the style sheet's rules that give the colours of plots their meaning.
pub(super) fn style() -> String {
    let mut rules = String::new();
    let named = |colour: RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    let mut rule = |colour: RGBColor, value: &str, more: &str| {
        let name = named(colour);
        let _ =
            writeln!(rules, "svg [stroke=\"{name}\"]{{stroke:{value};{more}}}svg [fill=\"{name}\"]{{fill:{value}}}");
    };
    rule(INK, "var(--muted)", "");
    rule(RULE, "var(--rule)", "");
    for stroke in Stroke::all() {
        let more = match stroke {
            Stroke::Solid => "stroke-linejoin:round".to_owned(),
            Stroke::Dotted(pattern) => format!("stroke-dasharray:{}", PATTERNS[usize::from(pattern)]),
            Stroke::Dashed => "stroke-dasharray:26 16".to_owned(),
            Stroke::Faint => "opacity:.35".to_owned(),
        };
        for run in 0..COLOURS {
            rule(stroke.colour(run), &format!("var(--run-{run})"), &more);
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::super::axis::Scale;
    use super::*;

    #[test]
    fn every_colour_of_a_plot_has_its_meaning() {
        let point = |x: f64, y: f64| Point { x, y, error: 0.1 };
        let points = vec![point(0.0, 1.0), point(0.5, f64::NAN), point(1.0, 2.0), point(f64::INFINITY, 1.0)];
        let curves: Vec<Curve> = Stroke::all().map(|stroke| Curve { run: 9, stroke, points: points.clone() }).collect();
        let axis = |range| Axis { label: "x".to_owned(), scale: Scale::Linear, range };
        let (x, y) = (axis([0.0, 1.0]), axis([0.0, 3.0]));
        let svg = draw(&x, &y, &curves).expect("a plot").into_string();
        let rules = style();
        let mut colours: Vec<&str> = svg.split('"').filter(|part| part.starts_with('#')).collect();
        colours.sort_unstable();
        colours.dedup();
        assert!(colours.len() >= 6, "{colours:?}");
        for colour in colours {
            assert!(rules.contains(colour), "{colour} is not in the style sheet");
        }
    }
}
