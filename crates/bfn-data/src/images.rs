//! Images in memory, with labels.

use std::path::Path;

use bfn_core::VariableKind;
use rand::RngCore;

use crate::binarise::binarise;
use crate::dataset::{Dataset, Draw, Layout};
use crate::error::DataError;
use crate::idx::Idx;
use crate::random::Purpose;
use crate::values::{Row, Storage};

/// One split of a set of images, held entirely in memory.
#[derive(Debug, Clone)]
pub struct Images {
    layout: Layout,
    kind: VariableKind,
    reading: Reading,
    flip: Flip,
    values: Vec<u8>,
    labels: Vec<u32>,
    label_names: Vec<String>,
}

/// Whether images are mirrored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Flip {
    /// Never.
    #[default]
    Never,
    /// Left and right are exchanged with probability 1/2, drawn afresh for each epoch.
    Horizontal,
}

/// How a stored byte becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The byte is the value.
    Stored,
    /// The byte is an intensity, 0 to 255, and becomes 0 or 1 afresh with each draw.
    Binarised,
}

impl Dataset for Images {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, _variable: usize) -> VariableKind {
        self.kind
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        let size = self.layout.variables();
        let out = out.bytes();
        assert_eq!(out.len(), size, "expected room for {size} variables, found {}", out.len());
        let stored = &self.values[index * size..(index + 1) * size];
        match self.reading {
            Reading::Stored => out.copy_from_slice(stored),
            Reading::Binarised => {
                let mut stream = draw.seed.stream(Purpose::Binarise, draw.epoch, index as u64);
                binarise(stored, &mut stream, out);
            }
        }
        self.flip.apply(&self.layout, index, draw, out);
        Ok(())
    }

    fn storage(&self) -> Storage {
        Storage::Bytes
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn label_names(&self) -> &[String] {
        &self.label_names
    }
}

impl Images {
    /// Creates images whose bytes are their values, not just their intensities.
    pub(crate) fn stored(raw: RawImages, kind: VariableKind) -> Self {
        Self::from_raw(raw, kind, Reading::Stored)
    }

    /// Creates images of intensities, 0 to 255, that become 0 or 1 afresh with each draw.
    pub(crate) fn binarised(raw: RawImages) -> Self {
        let kind = VariableKind::Discrete { classes: 2 };
        Self::from_raw(raw, kind, Reading::Binarised)
    }

    /// Sets how the images are flipped as they are read.
    pub(crate) fn flipped(self, flip: Flip) -> Self {
        Self { flip, ..self }
    }

    fn from_raw(raw: RawImages, kind: VariableKind, reading: Reading) -> Self {
        Self {
            layout: raw.layout(),
            kind,
            reading,
            flip: Flip::Never,
            values: raw.pixels,
            labels: raw.labels,
            label_names: raw.label_names,
        }
    }
}

impl Flip {
    /// Mirrors the image `out`, which is example `index`, if the draw says so.
    pub(crate) fn apply(self, layout: &Layout, index: usize, draw: Draw, out: &mut [u8]) {
        let (Self::Horizontal, Layout::Image { width, channels, .. }) = (self, layout) else { return };
        if draw.seed.stream(Purpose::Augment, draw.epoch, index as u64).next_u64() & 1 == 0 {
            return;
        }
        for row in out.chunks_exact_mut(width * channels) {
            match channels {
                1 => row.reverse(),
                3 => row.as_chunks_mut::<3>().0.reverse(),
                _ => {
                    row.reverse();
                    row.chunks_exact_mut(*channels).for_each(<[u8]>::reverse);
                }
            }
        }
    }
}

/// Returns the bin ⌊v · bins / 256⌋ of every intensity v of 0..=255.
///
/// # Errors
///
/// Returns [`DataError::Invalid`] if there are fewer than 2 or more than 256 bins.
pub(crate) fn bins_of_intensities(bins: usize) -> Result<[u8; 256], DataError> {
    if !(2..=256).contains(&bins) {
        return Err(DataError::invalid("bins", "2 to 256", bins));
    }
    Ok(std::array::from_fn(|intensity| (intensity * bins / 256) as u8))
}

/// Images of bytes and their labels, as stored in a file.
#[derive(Debug, Clone)]
pub(crate) struct RawImages {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// `[images, height, width, channels]`
    pub(crate) pixels: Vec<u8>,
    /// `[images]`
    pub(crate) labels: Vec<u32>,
    pub(crate) label_names: Vec<String>,
}

/// One IDX file and its path.
pub(crate) struct Part<'a> {
    pub(crate) path: &'a Path,
    pub(crate) idx: Idx,
}

impl RawImages {
    /// Combines a file of grey images and a file of as many labels from 0 to 9.
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
        Ok(Self {
            height,
            width,
            channels: 1,
            pixels: images.idx.data,
            labels: labels.idx.data.into_iter().map(u32::from).collect(),
            label_names: (0..10).map(|digit| digit.to_string()).collect(),
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.labels.len() as u64
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::Image { height: self.height, width: self.width, channels: self.channels }
    }

    /// Replaces every intensity by its bin.
    pub(crate) fn binned(mut self, bins: usize) -> Result<Self, DataError> {
        let bins = bins_of_intensities(bins)?;
        for pixel in &mut self.pixels {
            *pixel = bins[usize::from(*pixel)];
        }
        Ok(self)
    }

    /// Returns the images of these indices, in this order.
    pub(crate) fn picked(&self, indices: impl Iterator<Item = u64>) -> Self {
        let size = self.layout().variables();
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for index in indices.map(|index| index as usize) {
            pixels.extend_from_slice(&self.pixels[index * size..(index + 1) * size]);
            labels.push(self.labels[index]);
        }
        Self { pixels, labels, label_names: self.label_names.clone(), ..*self }
    }

    /// Checks that no pixel is above `most`; the error names the first one that is.
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
