//! Arrays as data sets.

use std::path::Path;

use bfn_core::VariableKind;
use serde::{Deserialize, Serialize};

use crate::dataset::{Layout, Split};
use crate::error::DataError;
use crate::images::bins_of_intensities;
use crate::npy::{Elements, NpyArray};
use crate::rows::{Kinds, Rows};
use crate::split::Shares;
use crate::values::Values;

/// The meaning of an array's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Meaning {
    /// Indices of the given number of bins of [−1, 1].
    Bins(usize),
    /// Indices of the given number of classes.
    Classes(usize),
    /// Intensities from 0 to 255, to be sorted into the given number of equal bins.
    Intensities(usize),
    /// Real numbers from `lowest` to `highest`, which are mapped to −1 and 1.
    Reals {
        /// The number that is mapped to −1.
        lowest: f64,
        /// The number that is mapped to 1.
        highest: f64,
    },
    /// Real numbers from `lowest` to `highest`, to be sorted into equal bins.
    Binned {
        /// The lower end of the first bin.
        lowest: f64,
        /// The upper end of the last bin.
        highest: f64,
        /// The number of bins.
        bins: usize,
    },
}

/// Returns one split of an array, whose first dimension counts the examples.
///
/// With one more dimension, an example is a sequence; with two, a grey image `[height, width]`; with three, an image
/// `[height, width, channels]` of 1 or 3 channels. `labels`, an array with one integer per example, gives the
/// examples classes. The examples that `shares` holds out are chosen at random but are the same in every run.
///
/// # Errors
///
/// Returns [`DataError::Malformed`] if the shapes do not fit or a number is not what `meaning` states (`path` and
/// `labels_path` are used in the messages); [`DataError::Invalid`] if the meaning or the shares are out of range.
pub fn array(
    path: &Path,
    array: &NpyArray,
    labels: Option<(&Path, &NpyArray)>,
    meaning: Meaning,
    shares: Shares,
    split: Split,
) -> Result<Rows, DataError> {
    let shape_error = |path: &Path, expected: String, shape: &[usize]| {
        DataError::malformed(path, 0, expected, format!("the shape {shape:?}"))
    };
    let layout = match array.shape[..] {
        _ if array.shape.contains(&0) => return Err(shape_error(path, "an element at least".to_owned(), &array.shape)),
        [_, length] => Layout::Sequence { length },
        [_, height, width] => Layout::Image { height, width, channels: 1 },
        [_, height, width, channels @ (1 | 3)] => Layout::Image { height, width, channels },
        _ => {
            let expected = "[examples, length], [examples, height, width] or [examples, height, width, 1 or 3]";
            return Err(shape_error(path, expected.to_owned(), &array.shape));
        }
    };
    let count = array.shape[0];
    let members: Vec<u64> = shares.of(count as u64)?.members(count as u64, split).collect();
    let kind = meaning.kind()?;
    let size = layout.variables();
    let mut values = Values::zeros(Kinds::All(kind).storage(), members.len(), size);
    let reader = meaning.reader(path, &array.elements)?;
    for (row, member) in members.iter().enumerate() {
        let start = *member as usize * size;
        match &reader {
            Reader::Indices(index) => {
                let indices = (start..start + size).map(index).collect::<Result<Vec<_>, _>>()?;
                values.row_mut(row).set(indices);
            }
            Reader::Reals(real) => {
                let out = values.row_mut(row).reals();
                for (out, place) in out.iter_mut().zip(start..) {
                    *out = real(place)?;
                }
            }
        }
    }
    let rows = Rows::new(layout, Kinds::All(kind), values);
    let Some((labels_path, labels)) = labels else { return Ok(rows) };
    if labels.shape != [count] {
        let expected = format!("one label for each of the {count} examples in {}", path.display());
        return Err(shape_error(labels_path, expected, &labels.shape));
    }
    let of_place = |place: usize| index_below(labels_path, &labels.elements, place, MOST_LABELS);
    let all = (0..count).map(of_place).collect::<Result<Vec<u32>, _>>()?;
    let names = (0..=all.iter().copied().max().unwrap_or(0)).map(|label| label.to_string()).collect();
    Ok(rows.labelled(members.iter().map(|member| all[*member as usize]).collect(), names))
}

/// More classes than any data set has; a greater number is not a label.
const MOST_LABELS: usize = 1 << 20;

/// The function that turns the element at an index into a value.
enum Reader<'a> {
    Indices(Box<dyn Fn(usize) -> Result<u32, DataError> + 'a>),
    Reals(Box<dyn Fn(usize) -> Result<f32, DataError> + 'a>),
}

impl Meaning {
    fn kind(self) -> Result<VariableKind, DataError> {
        let checked = |key, count: usize| match count {
            2..=0x100_0000 => Ok(count),
            _ => Err(DataError::invalid(key, "2 to 16,777,216", count)),
        };
        Ok(match self {
            Self::Bins(bins) | Self::Binned { bins, .. } => VariableKind::Discretised { bins: checked("bins", bins)? },
            Self::Classes(classes) => VariableKind::Discrete { classes: checked("classes", classes)? },
            Self::Intensities(bins) => {
                bins_of_intensities(bins)?;
                VariableKind::Discretised { bins }
            }
            Self::Reals { .. } => VariableKind::Continuous,
        })
    }

    fn reader<'a>(self, path: &'a Path, elements: &'a Elements) -> Result<Reader<'a>, DataError> {
        if let Self::Reals { lowest, highest } | Self::Binned { lowest, highest, .. } = self
            && !(lowest < highest && lowest.is_finite() && highest.is_finite())
        {
            return Err(DataError::invalid("lowest", "a number below highest", format!("{lowest} and {highest}")));
        }
        Ok(match self {
            Self::Bins(most) | Self::Classes(most) => {
                Reader::Indices(Box::new(move |place| index_below(path, elements, place, most)))
            }
            Self::Intensities(bins) => {
                let bins = bins_of_intensities(bins)?;
                Reader::Indices(Box::new(move |place| {
                    let intensity = index_below(path, elements, place, 256)?;
                    Ok(bins[intensity as usize].into())
                }))
            }
            Self::Reals { lowest, highest } => Reader::Reals(Box::new(move |place| {
                Ok((2.0 * share(path, elements, place, lowest, highest)? - 1.0) as f32)
            })),
            Self::Binned { lowest, highest, bins } => Reader::Indices(Box::new(move |place| {
                let bin = share(path, elements, place, lowest, highest)? * bins as f64;
                Ok((bin as u32).min(bins as u32 - 1))
            })),
        })
    }
}

/// Returns the element at `place`, which must be an index below `most`.
fn index_below(path: &Path, elements: &Elements, place: usize, most: usize) -> Result<u32, DataError> {
    let found = match elements {
        Elements::Bytes(values) => i64::from(values[place]),
        Elements::Integers(values) => values[place],
        Elements::Reals(values) => {
            let found = format!("the real number {} at element {place}", values[place]);
            return Err(DataError::malformed(path, 0, "an array of integers", found));
        }
    };
    match u32::try_from(found) {
        Ok(index) if (index as usize) < most => Ok(index),
        _ => {
            let found = format!("{found} at element {place}");
            Err(DataError::malformed(path, 0, format!("an integer from 0 to {}", most - 1), found)
                .with_cure("let `values` say what the numbers mean"))
        }
    }
}

/// Returns how far an element is on the way from `lowest` to `highest`, from 0 to 1.
fn share(path: &Path, elements: &Elements, place: usize, lowest: f64, highest: f64) -> Result<f64, DataError> {
    let value = match elements {
        Elements::Bytes(values) => values[place].into(),
        Elements::Integers(values) => values[place] as f64,
        Elements::Reals(values) => values[place],
    };
    if (lowest..=highest).contains(&value) {
        return Ok((value - lowest) / (highest - lowest));
    }
    let found = format!("{value} at element {place}");
    Err(DataError::malformed(path, 0, format!("a number from {lowest} to {highest}"), found)
        .with_cure("let `values` say the range of the numbers, or what else they mean"))
}
