//! Images in memory, with labels.

use std::path::Path;

use bfn_core::VariableKind;

use crate::binarise::binarise;
use crate::dataset::{Dataset, Draw, Layout};
use crate::error::DataError;
use crate::idx::Idx;
use crate::random::Purpose;

/// One split of a set of images, whole in memory.
#[derive(Debug, Clone)]
pub struct Images {
    layout: Layout,
    kind: VariableKind,
    reading: Reading,
    values: Vec<u8>,
    labels: Vec<u8>,
}

/// How a stored byte becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It is the value.
    Stored,
    /// It is an intensity of 255 and becomes 0 or 1 anew with each draw.
    Binarised,
}

impl Dataset for Images {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self) -> VariableKind {
        self.kind
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn read(&self, index: usize, draw: Draw, out: &mut [u8]) {
        let size = self.layout.variables();
        assert_eq!(out.len(), size, "expected room for {size} variables, found {}", out.len());
        let stored = &self.values[index * size..(index + 1) * size];
        match self.reading {
            Reading::Stored => out.copy_from_slice(stored),
            Reading::Binarised => {
                let mut stream = draw.seed.stream(Purpose::Binarise, draw.epoch, index as u64);
                binarise(stored, &mut stream, out);
            }
        }
    }

    fn label(&self, index: usize) -> Option<u8> {
        self.labels.get(index).copied()
    }
}

impl Images {
    /// Images whose bytes are their values, and not their intensities only.
    pub(crate) fn stored(raw: RawImages, kind: VariableKind) -> Self {
        Self::from_raw(raw, kind, Reading::Stored)
    }

    /// Images of intensities of 255 that become 0 or 1 anew with each draw.
    pub(crate) fn binarised(raw: RawImages) -> Self {
        let kind = VariableKind::Discrete { classes: 2 };
        Self::from_raw(raw, kind, Reading::Binarised)
    }

    fn from_raw(raw: RawImages, kind: VariableKind, reading: Reading) -> Self {
        Self {
            layout: Layout::Image { height: raw.height, width: raw.width, channels: 1 },
            kind,
            reading,
            values: raw.pixels,
            labels: raw.labels,
        }
    }
}

/// Grey images and their labels as a pair of IDX files has them.
#[derive(Debug, Clone)]
pub(crate) struct RawImages {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// `[images, height, width]`
    pub(crate) pixels: Vec<u8>,
    /// `[images]`
    pub(crate) labels: Vec<u8>,
}

/// One IDX file and where it came from.
pub(crate) struct Part<'a> {
    pub(crate) path: &'a Path,
    pub(crate) idx: Idx,
}

impl RawImages {
    /// A file of images and a file of as many labels from 0 to 9.
    pub(crate) fn from_idx(images: Part<'_>, labels: Part<'_>) -> Result<Self, DataError> {
        let &[count, height, width] = &images.idx.shape[..] else {
            let found = format!("the shape {:?}", images.idx.shape);
            let expected = "3 dimensions: images, rows, columns";
            return Err(DataError::malformed(images.path, 3, expected, found));
        };
        if count == 0 || height == 0 || width == 0 {
            let found = format!("the shape {:?}", images.idx.shape);
            let expected = "at least one image of at least one pixel";
            return Err(DataError::malformed(images.path, 4, expected, found));
        }
        if labels.idx.shape != [count] {
            let found = format!("the shape {:?}", labels.idx.shape);
            let expected = format!("one label for each of the {count} images in {}", images.path.display());
            return Err(DataError::malformed(labels.path, 3, expected, found));
        }
        if let Some(place) = labels.idx.data.iter().position(|&label| label > 9) {
            let found = labels.idx.data[place].to_string();
            let offset = place as u64 + 8;
            let expected = "a label from 0 to 9";
            return Err(DataError::malformed(labels.path, offset, expected, found));
        }
        Ok(Self { height, width, pixels: images.idx.data, labels: labels.idx.data })
    }

    pub(crate) fn count(&self) -> u64 {
        self.labels.len() as u64
    }

    /// These images, in this order.
    pub(crate) fn picked(&self, indices: impl Iterator<Item = u64>) -> Self {
        let size = self.height * self.width;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for index in indices.map(|index| index as usize) {
            pixels.extend_from_slice(&self.pixels[index * size..(index + 1) * size]);
            labels.push(self.labels[index]);
        }
        Self { pixels, labels, ..*self }
    }

    /// The first pixel that is above `most`, as an error.
    pub(crate) fn check_pixels(&self, path: &Path, most: u8) -> Result<(), DataError> {
        match self.pixels.iter().position(|&pixel| pixel > most) {
            None => Ok(()),
            Some(place) => {
                let expected = format!("a grey level from 0 to {most}");
                let found = self.pixels[place].to_string();
                let offset = place as u64 + 16;
                Err(DataError::malformed(path, offset, expected, found))
            }
        }
    }
}
