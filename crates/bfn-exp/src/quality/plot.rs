//! A plot of quality against evaluations of the network.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Measure, Quality};

/// The size of one measure's panel, in pixels.
const PANEL: (u32, u32) = (480, 320);

/// One colour for each solver, distinguishable by the colour-blind (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(148, 148, 0),
];

/// Draws a panel for each measure, with a line for each solver and a grey line for the training data.
pub(super) fn svg(quality: &Quality) -> Result<String> {
    let columns = quality.measures.len().min(3);
    let rows = quality.measures.len().div_ceil(columns);
    let mut text = String::new();
    {
        let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
        for (number, (measure, area)) in quality.measures.iter().zip(area.split_evenly((rows, columns))).enumerate() {
            panel(quality, number, *measure, &area).map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
        }
        area.present().map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn panel(
    quality: &Quality,
    number: usize,
    measure: Measure,
    area: &Area<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let all = quality.rows.iter().map(|row| row.values[number]).chain([quality.data[number]]);
    let highest = all.filter(|value| value.is_finite()).fold(0.0, f64::max) * 1.05 + 1e-9;
    let evaluations = quality.rows.iter().map(|row| row.evaluations as f64);
    let (first, last) = (evaluations.clone().fold(f64::INFINITY, f64::min), evaluations.fold(1.0, f64::max));
    let mut chart = ChartBuilder::on(area)
        .caption(measure.long(), ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d((first * 0.9..last * 1.1).log_scale().with_key_points(marked(quality)), 0.0..highest)?;
    chart
        .configure_mesh()
        .x_desc("evaluations of the network")
        .x_label_formatter(&|count| format!("{count:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    let data = quality.data[number];
    let grey = RGBColor(128, 128, 128);
    let data_line = LineSeries::new([(first * 0.9, data), (last * 1.1, data)], grey.stroke_width(1));
    chart
        .draw_series(data_line)?
        .label("training data")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], grey));
    let mut solvers: Vec<&str> = Vec::new();
    for row in &quality.rows {
        if !solvers.contains(&row.solver.as_str()) {
            solvers.push(&row.solver);
        }
    }
    for (solver, colour) in solvers.into_iter().zip(COLOURS.into_iter().cycle()) {
        let mut points: Vec<(f64, f64)> = quality
            .rows
            .iter()
            .filter(|row| row.solver == solver)
            .map(|row| (row.evaluations as f64, row.values[number]))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)).point_size(3))?
            .label(solver)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if number == 0 {
        let ends = quality.rows.iter().map(|row| row.values[number]).next_back().unwrap_or(0.0);
        let free = if ends > 0.5 * highest { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight };
        chart.configure_series_labels().position(free).background_style(WHITE.mix(0.8)).border_style(grey).draw()?;
    }
    Ok(())
}

/// Returns the numbers of evaluations that have room for a label, starting from the smallest.
fn marked(quality: &Quality) -> Vec<f64> {
    let mut counts: Vec<f64> = quality.rows.iter().map(|row| row.evaluations as f64).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup_by(|next, kept| *next < 1.25 * *kept);
    counts
}
