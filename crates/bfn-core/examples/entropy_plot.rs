//! How the expected entropy of the input distribution falls along schedules for text, as a PNG.
//!
//! `cargo run -p bfn-core --example entropy_plot [FILE]`
//!
//! The horizontal axis is the time t, the vertical one the share of ln K that is left, for K = 27 and β(1) = 0.75.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

use bfn_core::{LogarithmicSchedule, QuadraticSchedule, Schedule, entropy};

const CLASSES: usize = 27;
const BETA_1: f64 = 0.75;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "entropy.png".to_owned());
    let categorical = entropy::Categorical::new(CLASSES)?;
    let entropy = |beta: f64| categorical.at(beta);

    let quadratic = QuadraticSchedule::new(BETA_1)?;
    let logarithmic = LogarithmicSchedule::new(CLASSES, BETA_1)?;
    let linear = entropy::linear_schedule(entropy, BETA_1, 100)?;
    let curves: [Curve<'_>; 3] = [
        Curve { name: "quadratic (the paper's)", colour_name: "blue", colour: [31, 119, 180], schedule: &quadratic },
        Curve { name: "logarithmic", colour_name: "orange", colour: [230, 110, 0], schedule: &logarithmic },
        Curve { name: "linear entropy, tabulated", colour_name: "green", colour: [30, 140, 50], schedule: &linear },
    ];

    let mut plot = Plot::new();
    for Curve { name, colour_name, colour, schedule } in curves {
        let left = |t: f64| entropy(schedule.beta(&t)) / entropy(0.0);
        let points: Vec<Point> =
            (0..=100).map(|i| f64::from(i) / 100.0).map(|t| Plot::place(Point { x: t, y: left(t) })).collect();
        plot.line(&points, colour, 1.2);
        println!("{colour_name:<8}{name:<28}half of the time leaves {:.1} % of ln K", 100.0 * left(0.5));
    }
    plot.save(&file)?;
    println!("{file}");
    Ok(())
}

struct Curve<'a> {
    name: &'static str,
    colour_name: &'static str,
    colour: [u8; 3],
    schedule: &'a dyn Schedule<f64>,
}

/// In shares of the axes, or in pixels from the upper left corner.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
}

struct Plot {
    pixels: Vec<[u8; 3]>,
}

impl Plot {
    const WIDTH: usize = 640;
    const HEIGHT: usize = 480;
    const MARGIN: f64 = 48.0;

    /// White, with a frame and ticks at every quarter.
    fn new() -> Self {
        let mut plot = Self { pixels: vec![[255; 3]; Self::WIDTH * Self::HEIGHT] };
        for tick in 0..=4 {
            let at = f64::from(tick) / 4.0;
            let (grid, width) = if tick % 4 == 0 { ([90; 3], 0.7) } else { ([215; 3], 0.5) };
            for (from, to) in [((at, 0.0), (at, 1.0)), ((0.0, at), (1.0, at))] {
                let ends = [from, to].map(|(x, y)| Self::place(Point { x, y }));
                plot.line(&ends, grid, width);
            }
            let text = format!("{at}");
            let (below, left) = (Self::place(Point { x: at, y: 0.0 }), Self::place(Point { x: 0.0, y: at }));
            let length = 8.0 * text.len() as f64;
            plot.text(&text, Point { x: below.x - length / 2.0, y: below.y + 10.0 });
            plot.text(&text, Point { x: left.x - length - 6.0, y: left.y - 5.0 });
        }
        plot
    }

    /// The pixel of a point given in shares of the axes.
    fn place(Point { x, y }: Point) -> Point {
        let (width, height) = (Self::WIDTH as f64 - 2.0 * Self::MARGIN, Self::HEIGHT as f64 - 2.0 * Self::MARGIN);
        Point { x: Self::MARGIN + x * width, y: Self::MARGIN + (1.0 - y) * height }
    }

    /// Straight lines through points, `half` as wide on either side, with smooth edges.
    fn line(&mut self, points: &[Point], colour: [u8; 3], half: f64) {
        // Coverage is collected first, so that segments that touch do not darken each other.
        let mut coverage = vec![0.0_f64; self.pixels.len()];
        for ends in points.windows(2) {
            let (a, b) = (ends[0], ends[1]);
            let reach = half + 1.0;
            let span = |a: f64, b: f64| (a.min(b) - reach).max(0.0) as usize..=(a.max(b) + reach) as usize;
            let (dx, dy) = (b.x - a.x, b.y - a.y);
            for row in span(a.y, b.y).filter(|row| *row < Self::HEIGHT) {
                for column in span(a.x, b.x).filter(|column| *column < Self::WIDTH) {
                    let (x, y) = (column as f64 - a.x, row as f64 - a.y);
                    let along = ((x * dx + y * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
                    let distance = (x - along * dx).hypot(y - along * dy);
                    let pixel = &mut coverage[row * Self::WIDTH + column];
                    *pixel = pixel.max((half + 0.5 - distance).clamp(0.0, 1.0));
                }
            }
        }
        for (pixel, share) in self.pixels.iter_mut().zip(coverage) {
            for (channel, ink) in pixel.iter_mut().zip(colour) {
                *channel = (f64::from(*channel) + share * (f64::from(ink) - f64::from(*channel))).round() as u8;
            }
        }
    }

    /// Numbers, in digits of 3 × 5 dots of two pixels.
    fn text(&mut self, text: &str, at: Point) {
        for (position, character) in text.chars().enumerate() {
            let rows: [u8; 5] = match character {
                '0' => [0b111, 0b101, 0b101, 0b101, 0b111],
                '1' => [0b010, 0b110, 0b010, 0b010, 0b111],
                '2' => [0b111, 0b001, 0b111, 0b100, 0b111],
                '5' => [0b111, 0b100, 0b111, 0b001, 0b111],
                '7' => [0b111, 0b001, 0b010, 0b010, 0b010],
                _ => [0, 0, 0, 0, 0b010],
            };
            let (left, top) = (at.x as usize + 8 * position, at.y as usize);
            for dot in (0..60).filter(|dot| rows[dot / 12] >> (2 - dot % 6 / 2) & 1 == 1) {
                self.pixels[(top + dot / 6) * Self::WIDTH + left + dot % 6] = [60; 3];
            }
        }
    }

    fn save(&self, file: &str) -> Result<(), Box<dyn Error>> {
        let writer = BufWriter::new(File::create(file).map_err(|e| format!("{file} cannot be written: {e}"))?);
        let mut encoder = png::Encoder::new(writer, Self::WIDTH as u32, Self::HEIGHT as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut image = encoder.write_header()?;
        image.write_image_data(self.pixels.as_flattened())?;
        Ok(image.finish()?)
    }
}
