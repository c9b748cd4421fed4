//! One column: how cells become values, and values become cells.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use bfn_core::VariableKind;
use serde::{Deserialize, Serialize};

use crate::error::DataError;

use super::{Cell, ColumnKind, RawTable, RealMap};

/// One modelled column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// The map from its cells to values.
    pub transform: Transform,
    /// Whether it has cells without a value.
    pub missing: Missing,
}

/// The map from cells to values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// v ↦ (v − mean) / (clip · deviation), clipped to [−1, 1].
    Standardised {
        /// The mean of the training rows.
        mean: f64,
        /// Their standard deviation, or 1 if they are all the same.
        deviation: f64,
        /// The number of standard deviations between the mean and 1.
        clip: f64,
    },
    /// v ↦ 2u − 1, where u is the share of the training rows below v, interpolated linearly between the knots.
    Quantiles {
        /// The quantiles of the training rows at equal distances, from the least value to the greatest.
        knots: Vec<f64>,
    },
    /// v ↦ bin v − lowest.
    Integer {
        /// The least value.
        lowest: i64,
        /// The greatest value.
        highest: i64,
    },
    /// v ↦ its index in this list.
    Categorical {
        /// The classes.
        classes: Vec<String>,
    },
}

/// Whether a column has cells without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// None.
    Never,
    /// Some: they are an extra class of a categorical column; in others, an extra variable of two classes marks them.
    Marked,
}

/// The maximum number of knots in a quantile map.
const KNOTS: usize = 1001;

/// The maximum number of values in a column of integers; more are better treated as real numbers.
const MOST_INTEGERS: i64 = 65_536;

/// The maximum number of classes in a column. One with more, such as a unique number in each row, tells nothing about
/// other rows.
const MOST_CLASSES: usize = 65_536;

impl Column {
    /// Learns from the cells of a column what its rule leaves open.
    pub(super) fn fit(raw: &RawTable, column: usize, kind: &ColumnKind, training: &[usize]) -> Result<Self, DataError> {
        let cells = &raw.columns[column];
        let name = raw.names[column].clone();
        let has_missing = cells.contains(&Cell::Missing);
        let missing = if has_missing { Missing::Marked } else { Missing::Never };
        let poor = |expected: &str, found: String| {
            let place = format!("in column {name:?} of {}", raw.path.display());
            Err(DataError::invalid("column", format!("{expected} {place}"), found))
        };
        let transform = match kind {
            ColumnKind::Continuous(map) => {
                let mut reals = Vec::new();
                for (row, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Missing) {
                    let value = cell.number().filter(|value| value.is_finite());
                    reals.push((row, value.ok_or_else(|| raw.wrong(column, row, "a finite number"))?));
                }
                let training: HashSet<usize> = training.iter().copied().collect();
                let reals = reals.into_iter().filter(|(row, _)| training.contains(row)).map(|(_, value)| value);
                let reals: Vec<f64> = reals.collect();
                if reals.is_empty() {
                    return poor("a number in at least one training row", "none".to_owned());
                }
                if let RealMap::Standardised { clip } = map
                    && !(*clip > 0.0 && clip.is_finite())
                {
                    return poor("a positive clip", clip.to_string());
                }
                let transform = match *map {
                    RealMap::Standardised { clip } => standardised(&reals, clip),
                    RealMap::Quantiles => quantiles(reals),
                };
                // Calculations with every number of the range must be possible.
                if !transform.range().is_none_or(|(low, high)| (high - low).is_finite()) {
                    let expected = "training rows whose mean, deviation and range are finite numbers";
                    return poor(expected, "numbers so large that they are not".to_owned());
                }
                transform
            }
            ColumnKind::Integer { lowest, highest } => {
                let mut range = (i64::MAX, i64::MIN);
                for (row, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Missing) {
                    let value = cell.integer().ok_or_else(|| raw.wrong(column, row, "an integer"))?;
                    let (low, high) = (lowest.unwrap_or(i64::MIN), highest.unwrap_or(i64::MAX));
                    if !(low..=high).contains(&value) {
                        return Err(raw.wrong(column, row, format!("an integer from {low} to {high}")));
                    }
                    range = (range.0.min(value), range.1.max(value));
                }
                if range.0 > range.1 && (lowest.is_none() || highest.is_none()) {
                    return poor("at least one integer", "none".to_owned());
                }
                let lowest = lowest.unwrap_or(range.0);
                // At least two bins, even if all values are the same.
                let highest = highest.unwrap_or(range.1).max(lowest.saturating_add(1));
                match highest.checked_sub(lowest) {
                    Some(span) if span < MOST_INTEGERS => Transform::Integer { lowest, highest },
                    _ => {
                        let expected =
                            format!("at most {MOST_INTEGERS} different integers (or real numbers, \"continuous\")");
                        return poor(&expected, format!("{lowest} to {highest}"));
                    }
                }
            }
            ColumnKind::Categorical { classes } => {
                let found = || cells.iter().filter(|cell| **cell != Cell::Missing).map(Cell::to_string);
                let classes = match classes {
                    Some(classes) => classes.clone(),
                    None => found().collect::<BTreeSet<String>>().into_iter().collect(),
                };
                if classes.len() + usize::from(has_missing) < 2 {
                    return poor("at least two classes", format!("{}; leave such a column out", classes.len()));
                }
                if classes.len() > MOST_CLASSES {
                    return poor(&format!("at most {MOST_CLASSES} classes"), classes.len().to_string());
                }
                let known: HashSet<&str> = classes.iter().map(String::as_str).collect();
                if let Some(row) =
                    cells.iter().position(|cell| *cell != Cell::Missing && !known.contains(cell.to_string().as_str()))
                {
                    return Err(raw.wrong(column, row, Transform::Categorical { classes }.to_string()));
                }
                Transform::Categorical { classes }
            }
        };
        Ok(Self { name, transform, missing })
    }

    /// Returns what the column's value can be.
    #[must_use]
    pub fn kind(&self) -> VariableKind {
        match &self.transform {
            Transform::Standardised { .. } | Transform::Quantiles { .. } => VariableKind::Continuous,
            Transform::Integer { lowest, highest } => {
                VariableKind::Discretised { bins: (highest - lowest + 1) as usize }
            }
            Transform::Categorical { classes } => {
                VariableKind::Discrete { classes: classes.len() + usize::from(self.missing == Missing::Marked) }
            }
        }
    }

    /// Returns whether a separate variable marks missing values.
    pub(super) fn has_mark(&self) -> bool {
        self.missing == Missing::Marked && !matches!(self.transform, Transform::Categorical { .. })
    }

    /// Returns the value of a cell, or the stand-in for a missing one.
    ///
    /// `places` are those of [`Self::places`]. Returns `None` if the cell is not what the column holds.
    pub(super) fn encode(&self, cell: &Cell, places: &HashMap<&str, usize>) -> Option<f64> {
        let number = || cell.number().filter(|value| value.is_finite());
        let is_missing = *cell == Cell::Missing;
        if is_missing && self.missing == Missing::Never {
            return None;
        }
        Some(match &self.transform {
            _ if is_missing && self.kind() == VariableKind::Continuous => 0.0,
            Transform::Standardised { mean, deviation, clip } => {
                ((number()? - mean) / (clip * deviation)).clamp(-1.0, 1.0)
            }
            Transform::Quantiles { knots } => 2.0 * rank(knots, number()?) - 1.0,
            Transform::Integer { lowest, highest } if is_missing => ((highest - lowest) / 2) as f64,
            Transform::Integer { lowest, highest } => {
                let value = cell.integer().filter(|value| (lowest..=highest).contains(&value))?;
                (value - lowest) as f64
            }
            Transform::Categorical { classes } if is_missing => classes.len() as f64,
            Transform::Categorical { .. } => *places.get(cell.to_string().as_str())? as f64,
        })
    }

    /// Returns the index of every class of a categorical column.
    pub(super) fn places(&self) -> HashMap<&str, usize> {
        let classes = match &self.transform {
            Transform::Categorical { classes } => &classes[..],
            _ => &[],
        };
        // From last to first, so that the first counts if a class is in the list twice.
        classes.iter().enumerate().rev().map(|(place, class)| (class.as_str(), place)).collect()
    }

    /// Returns the cell that has this value: the inverse of the map from cells to values, as far as there is one.
    ///
    /// Numbers outside the range are taken as its end; an index beyond the classes is a missing cell.
    #[must_use]
    pub fn decode(&self, value: f64) -> Cell {
        match &self.transform {
            Transform::Standardised { mean, deviation, clip } => {
                Cell::Real(mean + value.clamp(-1.0, 1.0) * clip * deviation)
            }
            Transform::Quantiles { knots } => Cell::Real(at_rank(knots, (value.clamp(-1.0, 1.0) + 1.0) / 2.0)),
            Transform::Integer { lowest, highest } => {
                Cell::Integer(lowest.saturating_add(value as i64).clamp(*lowest, *highest))
            }
            Transform::Categorical { classes } => match classes.get(value as usize) {
                Some(class) => Cell::Text(class.as_str().into()),
                None => Cell::Missing,
            },
        }
    }
}

/// Describes what a cell can be.
impl fmt::Display for Transform {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The maximum number of classes that are listed.
        const SHOWN: usize = 12;
        match self {
            Self::Standardised { .. } | Self::Quantiles { .. } => to.write_str("a finite number"),
            Self::Integer { lowest, highest } => write!(to, "an integer from {lowest} to {highest}"),
            Self::Categorical { classes } => {
                let more = if classes.len() > SHOWN { ", …" } else { "" };
                write!(to, "one of {} classes: {}{more}", classes.len(), classes[..classes.len().min(SHOWN)].join(", "))
            }
        }
    }
}

impl Transform {
    /// Returns the range within which different numbers give different values; `None` if there are no real numbers.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        match self {
            Self::Standardised { mean, deviation, clip } => Some((mean - clip * deviation, mean + clip * deviation)),
            Self::Quantiles { knots } => Some((knots[0], knots[knots.len() - 1])),
            Self::Integer { .. } | Self::Categorical { .. } => None,
        }
    }
}

fn standardised(reals: &[f64], clip: f64) -> Transform {
    let count = reals.len() as f64;
    let mean = reals.iter().sum::<f64>() / count;
    let variance = reals.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    Transform::Standardised { mean, deviation, clip }
}

fn quantiles(mut reals: Vec<f64>) -> Transform {
    reals.sort_by(f64::total_cmp);
    let knots = reals.len().clamp(2, KNOTS);
    let last = (reals.len() - 1) as f64;
    let at = |knot: usize| at_rank(&reals, if last == 0.0 { 0.0 } else { knot as f64 / (knots - 1) as f64 });
    Transform::Quantiles { knots: (0..knots).map(at).collect() }
}

/// Returns the share u of the knots below a value, linear between them; for a value equal to knots, their middle.
fn rank(knots: &[f64], value: f64) -> f64 {
    let last = (knots.len() - 1) as f64;
    let below = knots.partition_point(|knot| *knot < value);
    let through = knots.partition_point(|knot| *knot <= value);
    if through > below {
        return (below + through - 1) as f64 / 2.0 / last;
    }
    match (below.checked_sub(1).map(|place| knots[place]), knots.get(below)) {
        (Some(before), Some(after)) => ((below - 1) as f64 + (value - before) / (after - before)) / last,
        (None, _) => 0.0,
        (_, None) => 1.0,
    }
}

/// Returns the value at share u of the knots, linear between them.
fn at_rank(knots: &[f64], u: f64) -> f64 {
    let place = u * (knots.len() - 1) as f64;
    let before = knots[place as usize];
    let after = knots[(place as usize + 1).min(knots.len() - 1)];
    before + (after - before) * place.fract()
}
