//! MNIST from its four IDX files.

use bfn_core::VariableKind;

use crate::binarise::binarise;
use crate::dataset::Split;
use crate::error::DataError;
use crate::idx::Idx;
use crate::images::{Images, Part, RawImages, bins_of_intensities};
use crate::random::{Purpose, Seed};
use crate::root::Root;
use crate::split::HeldOut;

/// The way in which a grey level v of 0..=255 becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pixels {
    /// 1 with probability v/255, else 0, drawn afresh for each epoch: two classes.
    DynamicallyBinarised,
    /// 1 with probability v/255, else 0, drawn once and for all: two classes.
    StaticallyBinarised {
        /// The seed from which the pixels are drawn; it is part of the data set, not of the run.
        seed: Seed,
    },
    /// The bin ⌊v · bins / 256⌋.
    Grey {
        /// The number of bins, from 2 to 256.
        bins: usize,
    },
}

/// Reads one split of MNIST: 28 × 28 handwritten digits, with labels.
///
/// The test split is the file of 10,000 images. Of the 60,000 others, 1 % is held out for validation, chosen at
/// random but the same in every run; the training split is the rest. Other data sets in the same four files, such as
/// Fashion-MNIST, are read in the same way.
///
/// The files are looked for in the sub-folders `mnist`, `MNIST/raw` and `MNIST` of each place of `root`, and in the
/// place itself; they may be plain or gzipped.
///
/// # Errors
///
/// Returns [`DataError::Missing`] if no place has the files; [`DataError::Malformed`] if they are damaged;
/// [`DataError::Invalid`] if `pixels` asks for fewer than 2 or more than 256 bins.
pub fn mnist(root: &Root, split: Split, pixels: Pixels) -> Result<Images, DataError> {
    if let Pixels::Grey { bins } = pixels {
        bins_of_intensities(bins)?;
    }
    let mut raw = match split {
        Split::Test => read(root, "t10k")?,
        Split::Train | Split::Validation => read(root, "train")?,
    };
    let kind = match pixels {
        Pixels::DynamicallyBinarised => return Ok(Images::binarised(members(raw, split))),
        Pixels::StaticallyBinarised { seed } => {
            binarise_once(&mut raw, seed, split);
            VariableKind::Discrete { classes: 2 }
        }
        Pixels::Grey { bins } => {
            raw = raw.binned(bins)?;
            VariableKind::Discretised { bins }
        }
    };
    Ok(Images::stored(members(raw, split), kind))
}

fn read(root: &Root, part: &str) -> Result<RawImages, DataError> {
    let find = |name: String| {
        let packed = format!("{name}.gz");
        root.find("MNIST", &FOLDERS, &[&name, &packed])
    };
    let images_path = find(format!("{part}-images-idx3-ubyte"))?;
    let labels_path = find(format!("{part}-labels-idx1-ubyte"))?;
    let images = Idx::read(&images_path)?;
    if images.shape.get(1..) != Some(&[28, 28]) {
        let found = format!("the shape {:?}", images.shape);
        let expected = "images of 28 rows and 28 columns";
        return Err(DataError::malformed(&images_path, 4, expected, found));
    }
    RawImages::from_idx(
        Part { path: &images_path, idx: images },
        Part { path: &labels_path, idx: Idx::read(&labels_path)? },
    )
}

/// Picks the images of the split from the file that holds it.
fn members(raw: RawImages, split: Split) -> RawImages {
    match split {
        Split::Test => raw,
        Split::Train | Split::Validation => raw.picked(one_percent(raw.count()).members(raw.count(), split)),
    }
}

/// Holds out 1 % of the training images for validation, as in the published runs.
pub(crate) fn one_percent(count: u64) -> HeldOut {
    HeldOut { validation: count.div_ceil(100), test: 0 }
}

/// Binarises the images; the draw depends on an image's place in its file, so it does not depend on the split.
fn binarise_once(raw: &mut RawImages, seed: Seed, split: Split) {
    let file = u64::from(split == Split::Test);
    let mut intensities = vec![0; raw.height * raw.width];
    let images = raw.pixels.chunks_exact_mut(intensities.len());
    for (image, index) in images.zip(0..) {
        intensities.copy_from_slice(image);
        let mut stream = seed.stream(Purpose::Binarise, file, index);
        binarise(&intensities, &mut stream, image);
    }
}

/// The folders to search, plain folders before those of torchvision.
const FOLDERS: [&str; 4] = ["mnist", "MNIST/raw", "MNIST", ""];
