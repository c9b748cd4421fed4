//! The axes of a plot.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Equal differences have equal lengths.
    Linear,
    /// Equal ratios have equal lengths.
    Logarithmic,
}

/// An axis of a plot.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// The label.
    pub(super) label: String,
    /// The scale.
    pub(super) scale: Scale,
    /// The numbers at its ends.
    pub(super) range: [f64; 2],
}

impl Axis {
    /// Creates an axis around the given numbers, with some room; numbers that are not finite are left out.
    pub(super) fn around(label: impl Into<String>, scale: Scale, numbers: impl Iterator<Item = f64>) -> Self {
        let fits = |number: &f64| number.is_finite() && (scale == Scale::Linear || *number > 0.0);
        let ends = numbers.filter(fits).fold(None, |ends: Option<[f64; 2]>, number| {
            let [low, high] = ends.unwrap_or([number; 2]);
            Some([low.min(number), high.max(number)])
        });
        let mut axis = Self { label: label.into(), scale, range: ends.unwrap_or([1.0, 2.0]) };
        let [low, high] = axis.range.map(|end| axis.place(end));
        let room = if high > low { 0.05 * (high - low) } else { 0.1 * high.abs().max(0.1) };
        axis.range = [low - room, high + room].map(|place| axis.number(place));
        axis
    }

    fn place(&self, number: f64) -> f64 {
        match self.scale {
            Scale::Linear => number,
            Scale::Logarithmic => number.log10(),
        }
    }

    fn number(&self, place: f64) -> f64 {
        match self.scale {
            Scale::Linear => place,
            Scale::Logarithmic => 10_f64.powf(place),
        }
    }

    /// Returns whether a number lies on the axis.
    pub(super) fn holds(&self, number: f64) -> bool {
        let [low, high] = self.range;
        number.is_finite() && (low..=high).contains(&number)
    }

    /// Returns round numbers for the ticks, about as many as fit.
    fn ticks(&self, most: usize) -> Vec<f64> {
        let [low, high] = self.range;
        let of_decades = |digits: &[f64]| -> Vec<f64> {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let ticks = decades.flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)));
            ticks.filter(|tick| self.holds(*tick)).collect()
        };
        let linear = || {
            let decade = 10_f64.powf(((high - low) / most as f64).log10().floor());
            let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade);
            let step = steps.into_iter().find(|step| (high - low) / step <= most as f64).unwrap_or(10.0 * decade);
            let numbers = (low / step).ceil() as i64..=(high / step).floor() as i64;
            numbers.map(|number| number as f64 * step).collect()
        };
        match self.scale {
            Scale::Linear => linear(),
            Scale::Logarithmic => {
                let choices = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(of_decades);
                let choice = choices.iter().find(|ticks| ticks.len() <= most).unwrap_or(&choices[2]);
                let every = choice.len().div_ceil(most).max(1);
                if choice.len() < 2 { linear() } else { choice.iter().copied().step_by(every).collect() }
            }
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, number: &f64, (first, last): (i32, i32)) -> i32 {
        let [low, high] = self.range.map(|end| self.place(end));
        first + (f64::from(last - first) * (self.place(*number) - low) / (high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.ticks(hint.bold_points())
    }

    fn range(&self) -> Range<f64> {
        self.range[0]..self.range[1]
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, number: &f64) -> String {
        short(*number)
    }
}

/// Formats a number with as many digits as it needs; large numbers are in thousands or millions.
fn short(number: f64) -> String {
    let digits = |number: f64| {
        let text = format!("{number:.6}");
        text.trim_end_matches('0').trim_end_matches('.').replace('-', "−")
    };
    match number.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e6 => format!("{}M", digits(number / 1e6)),
        size if size >= 1e4 => format!("{}k", digits(number / 1e3)),
        size if size < 1e-4 => format!("{number:.0e}").replace('-', "−"),
        _ => digits(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale, range: [f64; 2]) -> Axis {
        Axis { label: "x".to_owned(), scale, range }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let shown = |axis: Axis, most| axis.ticks(most).into_iter().map(short).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(axis(Scale::Linear, [0.0, 1.0]), 6), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(shown(axis(Scale::Linear, [-1.3, 2600.0]), 7), "0 500 1000 1500 2000 2500");
        assert_eq!(shown(axis(Scale::Linear, [-0.021, 0.009]), 4), "−0.02 −0.01 0");
        assert_eq!(shown(axis(Scale::Logarithmic, [8.0, 1200.0]), 7), "10 20 50 100 200 500 1000");
        assert_eq!(shown(axis(Scale::Logarithmic, [9e-6, 1.1]), 4), "1e−5 0.001 0.1");
        assert_eq!(shown(axis(Scale::Logarithmic, [0.31, 0.385]), 4), "0.32 0.34 0.36 0.38");
    }

    #[test]
    fn numbers_that_are_none_have_no_place() {
        let numbers = [f64::NAN, 1.0, f64::INFINITY, -3.0];
        assert_eq!(Axis::around("y", Scale::Linear, numbers.into_iter()).range, [-3.2, 1.2]);
        let logarithmic = Axis::around("y", Scale::Logarithmic, numbers.into_iter());
        assert!(logarithmic.range[0] < 1.0 && logarithmic.range[1] > 1.0 && logarithmic.range[0] > 0.0);
        let nothing = Axis::around("y", Scale::Linear, std::iter::empty());
        assert!(nothing.range[0] < nothing.range[1]);
    }
}
