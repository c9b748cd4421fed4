//! Results as a table and as JSON.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize};

use crate::bound::{Estimate, TimeBin};
use crate::config::Times;
use crate::evaluate::{Baseline, Steps};

/// The results of an evaluation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The folder of the run.
    pub run: String,
    /// The settings of the evaluation.
    #[serde(flatten)]
    pub setting: Setting,
    /// One result for each number of steps that is done, in the order of `setting.steps`.
    pub results: Vec<Row>,
    /// The results of simple models on the same hidden variables, if a part of images is hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Baseline>,
}

/// The settings that determine the results: evaluations with equal settings have equal results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The split of the data.
    pub split: String,
    /// The data.
    pub data: String,
    /// The number of examples evaluated.
    pub examples: usize,
    /// D, the number of variables in an example; if a part is hidden, the number of variables in that part.
    pub dimensions: usize,
    /// The condition, in words, if the bound is that of a conditional likelihood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    /// The hidden part of images, if the bound is for the likelihood of this part given the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<String>,
    /// The unit of bits per variable, such as `bits/dim`.
    pub unit: String,
    /// The requested numbers of steps.
    pub steps: Vec<Steps>,
    /// How the times of n steps are spread.
    pub grid: String,
    /// The SHA-256 of the measured costs from which a fitted grid is derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid_sha256: Option<String>,
    /// The seed of all draws.
    pub seed: u64,
    /// Draws per example.
    pub repeats: u32,
    /// How times are spread over the examples.
    pub times: Times,
    /// Optimiser steps of the evaluated network.
    pub checkpoint_step: u64,
    /// Seconds for which the network had been trained.
    pub trained_seconds: f64,
    /// Which weights of the checkpoint were evaluated: `ema` or `last`.
    pub weights: String,
    /// The parts, the n-step loss or a probability, that are computed as published instead of exactly.
    pub as_published: Vec<String>,
    /// The version of the program, the version of libtorch, and the device.
    pub program: String,
}

impl Setting {
    /// Returns whether both evaluations use the same draws of the same examples.
    fn draws_as(&self, other: &Self) -> bool {
        let of = |setting: &Self| {
            let Self { split, data, examples, dimensions, given, seed, repeats, times, as_published, .. } =
                setting.clone();
            (split, data, examples, dimensions, given, seed, repeats, times, as_published)
        };
        of(self) == of(other)
    }

    /// Describes the draws of an example in words.
    pub fn draws(&self) -> String {
        format!("{} {} each", self.repeats, if self.repeats == 1 { "draw" } else { "draws" })
    }

    /// Describes what is not as usual, in words: the condition, the weights, and the parts computed as published.
    pub fn unusual(&self) -> Vec<String> {
        let Self { given, weights, as_published, .. } = self;
        let mut words: Vec<String> = given.iter().map(|given| format!("given {given}")).collect();
        words.extend((weights != "ema").then(|| format!("{weights} weights")));
        words.extend(as_published.iter().map(|different| format!("{different} as published")));
        words
    }
}

/// Returns the evaluation to quote first.
///
/// It is one of whole examples that was computed exactly. Averaged weights come before last ones, the test split
/// before the validation split; then the most examples and the latest checkpoint decide.
pub fn headline<'a, T>(all: impl Iterator<Item = (&'a Setting, T)>) -> Option<T> {
    let plain = all.filter(|(setting, _)| setting.hidden.is_none() && setting.as_published.is_empty());
    let first = plain.max_by_key(|(Setting { weights, split, examples, checkpoint_step, .. }, _)| {
        (weights == "ema", split == "test", split == "validation", *examples, *checkpoint_step)
    });
    first.map(|(_, evaluation)| evaluation)
}

/// The bound for one number of steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// n, or `inf`.
    pub steps: Steps,
    /// L^n or L^∞, in nats per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss_nats_per_dim: f64,
    /// L^r, in nats per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub reconstruction_nats_per_dim: f64,
    /// Their sum, in nats per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub total_nats_per_dim: f64,
    /// The total in nats per example.
    #[serde(deserialize_with = "number_or_nan")]
    pub total_nats_per_example: f64,
    /// The total in bits per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub total_bits_per_dim: f64,
    /// The standard error of the total over examples and draws, in bits per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub standard_error_bits_per_dim: f64,
    /// The same in nats per example.
    #[serde(deserialize_with = "number_or_nan")]
    pub standard_error_nats_per_example: f64,
    /// The standard error of the loss, in nats per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss_standard_error_nats_per_dim: f64,
    /// The standard error of the reconstruction, in nats per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub reconstruction_standard_error_nats_per_dim: f64,
    /// The loss in equal time bins, in continuous time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_time: Vec<TimeBin>,
}

/// Reads a number, with `null` as NaN: JSON has no numbers that are not finite, so they are written as `null`.
pub(crate) fn number_or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}

/// Reads several numbers, with `null` as NaN.
pub(crate) fn numbers_or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    Ok(Vec::<Option<f64>>::deserialize(from)?.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

/// The estimates in a row, in nats per example.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// L^n or L^∞.
    pub loss: Estimate,
    /// L^r.
    pub reconstruction: Estimate,
    /// Their sum.
    pub total: Estimate,
}

impl Row {
    /// Creates the row for one number of steps, from estimates for examples of `dimensions` variables.
    pub fn new(steps: Steps, terms: Terms, dimensions: usize) -> Self {
        let Terms { loss, reconstruction, total } = terms;
        let per_dim = |nats: f64| nats / dimensions as f64;
        let bits = |nats: f64| per_dim(nats) / std::f64::consts::LN_2;
        Self {
            steps,
            loss_nats_per_dim: per_dim(loss.mean),
            reconstruction_nats_per_dim: per_dim(reconstruction.mean),
            total_nats_per_dim: per_dim(total.mean),
            total_nats_per_example: total.mean,
            total_bits_per_dim: bits(total.mean),
            standard_error_bits_per_dim: bits(total.standard_error),
            standard_error_nats_per_example: total.standard_error,
            loss_standard_error_nats_per_dim: per_dim(loss.standard_error),
            reconstruction_standard_error_nats_per_dim: per_dim(reconstruction.standard_error),
            by_time: Vec::new(),
        }
    }

    /// Returns whether the bound is a number that can be written and read back.
    pub fn is_finite(&self) -> bool {
        self.total_nats_per_example.is_finite()
    }
}

/// A unit of the table: its name, its number per nat per variable, and the digits after the point.
struct Unit {
    name: String,
    of_a_nat: f64,
    digits: usize,
}

impl Report {
    /// Pairs the rows of both reports that use the same draws of the same examples, whatever the network.
    ///
    /// Their grids must be equal, except in continuous time, which has no grid.
    pub fn rows_beside<'a>(&'a self, other: &'a Self) -> Vec<(&'a Row, &'a Row)> {
        if !self.setting.draws_as(&other.setting) {
            return Vec::new();
        }
        let same_grid = self.setting.grid == other.setting.grid;
        let rows = self.results.iter().filter(|row| same_grid || row.steps == Steps::Infinite);
        rows.filter_map(|row| Some((row, other.results.iter().find(|beside| beside.steps == row.steps)?))).collect()
    }

    /// Returns the bound in continuous time, if it was evaluated.
    pub fn in_continuous_time(&self) -> Option<&Row> {
        self.results.iter().find(|row| row.steps == Steps::Infinite)
    }

    /// Formats the tables per variable and per example, in nats and in bits; errors are standard errors of the total.
    pub fn table(&self) -> String {
        let Setting { dimensions, unit, .. } = &self.setting;
        let (bits, all) = (1.0 / std::f64::consts::LN_2, *dimensions as f64);
        let per_variable = [
            Unit { name: unit.replace("bits", "nats"), of_a_nat: 1.0, digits: 5 },
            Unit { name: unit.clone(), of_a_nat: bits, digits: 5 },
        ];
        let per_example = [
            Unit { name: "nats/example".to_owned(), of_a_nat: all, digits: 3 },
            Unit { name: "bits/example".to_owned(), of_a_nat: all * bits, digits: 3 },
        ];
        format!("{}\n{}", self.block(&per_variable), self.block(&per_example))
    }

    fn block(&self, units: &[Unit; 2]) -> String {
        let mut text = String::from("     n");
        for Unit { name, .. } in units {
            let _ = write!(text, "  {:>11} {:>10} {:>21}", "loss", "recon.", format!("total, {name}"));
        }
        let _ = writeln!(text, "\n{}", "-".repeat(6 + 2 * 46));
        for row in &self.results {
            let _ = write!(text, "{:>6}", row.steps.to_string());
            let error = row.standard_error_nats_per_example / self.setting.dimensions as f64;
            for Unit { of_a_nat, digits, .. } in units {
                let in_unit = |nats: f64| nats * of_a_nat;
                let total = format!("{:.digits$} ± {:.digits$}", in_unit(row.total_nats_per_dim), in_unit(error));
                let _ = write!(
                    text,
                    "  {:>11.digits$} {:>10.digits$} {total:>21}",
                    in_unit(row.loss_nats_per_dim),
                    in_unit(row.reconstruction_nats_per_dim)
                );
            }
            text.push('\n');
        }
        text
    }

    /// Formats the results of simple models on the same hidden variables, if there are any.
    pub fn baselines(&self) -> Option<String> {
        (!self.baselines.is_empty()).then_some(())?;
        let mut text =
            format!("{:<72} {:>20} {:>10}\n", "for comparison, on the same variables", "nats/example", "bits/dim");
        let _ = writeln!(text, "{}", "-".repeat(104));
        for baseline in &self.baselines {
            let name = match (baseline.neighbours, baseline.histogram_weight) {
                (Some(k), Some(weight)) => {
                    format!("{k} nearest neighbours on what is known, and the histogram with weight {weight}")
                }
                _ => "a histogram of each variable on its own".to_owned(),
            };
            let nats = (baseline.nats_per_example, baseline.standard_error_nats_per_example);
            let nats = format!("{:.3} ± {:.3}", nats.0, nats.1);
            let _ = writeln!(text, "{name:<72} {nats:>20} {:>10.5}", baseline.bits_per_dim);
        }
        Some(text)
    }

    /// Formats the continuous-time loss in time bins, if there are any.
    pub fn by_time(&self) -> Option<String> {
        let row = self.results.iter().find(|row| !row.by_time.is_empty())?;
        let nats = self.setting.unit.replace("bits", "nats");
        let mut text = format!("{:>15} {:>9}  {:>21}  {:>21}\n", "t", "draws", nats, self.setting.unit);
        let _ = writeln!(text, "{}", "-".repeat(71));
        for bin in &row.by_time {
            let (mean, error) = (bin.nats_per_dim, bin.standard_error_nats_per_dim);
            let shown = |of_a_nat: f64| format!("{:.5} ± {:.5}", mean * of_a_nat, error * of_a_nat);
            let (nats, bits) = (shown(1.0), shown(1.0 / std::f64::consts::LN_2));
            let times = format!("{:.3} to {:.3}", bin.from, bin.to);
            let _ = writeln!(text, "{times:>15} {:>9}  {nats:>21}  {bits:>21}", bin.draws);
        }
        Some(text)
    }
}
