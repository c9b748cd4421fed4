//! The embedded data set: small handwritten digits.

use std::path::Path;

use bfn_core::VariableKind;

use crate::dataset::Split;
use crate::error::DataError;
use crate::idx::Idx;
use crate::images::{Images, Part, RawImages};
use crate::split::HeldOut;

/// The authors of the digits, and the licence under which they may be redistributed.
pub const DIGITS_ATTRIBUTION: &str = "Optical Recognition of Handwritten Digits (test set) by \
     E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, CC BY 4.0";

/// Returns one split of the embedded digits: 1,797 handwritten digits of 8 × 8 pixels, with labels.
///
/// A pixel counts the dark cells of a 4 × 4 square, so there are 17 grey levels, 0..=16: discretised data of 17 bins.
/// The digits come almost sorted by class and writer, so the splits of 1,437, 180 and 180 examples are random; they
/// are the same in every run.
///
/// # Errors
///
/// Returns no error in a program built from intact sources; the embedded files are checked like any others.
pub fn digits(split: Split) -> Result<Images, DataError> {
    let images_path = Path::new("datasets/digits/digits-images-idx3-ubyte.gz");
    let labels_path = Path::new("datasets/digits/digits-labels-idx1-ubyte.gz");
    let raw = RawImages::from_idx(
        Part { path: images_path, idx: Idx::parse(images_path, IMAGES)? },
        Part { path: labels_path, idx: Idx::parse(labels_path, LABELS)? },
    )?;
    raw.check_pixels(images_path, (LEVELS - 1) as u8)?;

    let held_out = HeldOut { validation: HELD_OUT, test: HELD_OUT };
    let members = held_out.members(raw.count(), split);
    let kind = VariableKind::Discretised { bins: LEVELS };
    Ok(Images::stored(raw.picked(members), kind))
}

const IMAGES: &[u8] = include_bytes!("../../../datasets/digits/digits-images-idx3-ubyte.gz");
const LABELS: &[u8] = include_bytes!("../../../datasets/digits/digits-labels-idx1-ubyte.gz");

const LEVELS: usize = 17;

/// The number of examples held out for validation, and again for the test: a tenth each.
const HELD_OUT: u64 = 180;
