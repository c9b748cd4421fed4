//! The hidden part of an image, as selected on the command line.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use crate::picture::{Format, pixels};

/// Options that select the hidden part of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct MaskArgs {
    /// A mask image of the size of the data: white where images are hidden, black where they are known.
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// The part of each image to hide, instead of a mask.
    #[arg(long, value_enum, conflicts_with = "mask")]
    pub hide: Option<Hidden>,
}

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hidden {
    /// The left half.
    Left,
    /// The right half.
    Right,
    /// The upper half.
    Top,
    /// The lower half.
    Bottom,
    /// A box in the middle, of half the height and half the width.
    Centre,
}

impl MaskArgs {
    /// Returns whether each pixel is hidden, row by row, or `None` if no part is selected.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is not an image of this size, or if the mask hides nothing or everything.
    pub fn hidden(&self, format: Format) -> Result<Option<Vec<bool>>> {
        let hidden: Vec<bool> = match (&self.mask, self.hide) {
            (None, None) => return Ok(None),
            (Some(path), _) => {
                let hint = format!("the run was trained on {}×{}: scale or cut it first", format.width, format.height);
                let levels = pixels(path, Format { channels: 1, ..format }, &hint)?;
                levels.iter().map(|byte| *byte >= 128).collect()
            }
            (None, Some(part)) => part.pixels(format),
        };
        let count = hidden.iter().filter(|hidden| **hidden).count();
        let named = self.mask.as_ref().map_or_else(|| "--hide".to_owned(), |path| path.display().to_string());
        ensure!(count > 0, "{named}: no pixel is white, so nothing is hidden");
        ensure!(count < hidden.len(), "{named}: every pixel is white, so nothing is known");
        Ok(Some(hidden))
    }

    /// Returns a name for the hidden part: `hide-right`, say, or `mask-` and the start of the mask file's SHA-256.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn name(&self) -> Result<Option<String>> {
        let Some(path) = &self.mask else { return Ok(self.hide.map(|hide| format!("hide-{hide}"))) };
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let digest = format!("{:x}", Sha256::digest(bytes));
        Ok(Some(format!("mask-{}", &digest[..12])))
    }
}

impl std::fmt::Display for Hidden {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Top => "top",
            Self::Bottom => "bottom",
            Self::Centre => "centre",
        })
    }
}

impl Hidden {
    fn pixels(self, format: Format) -> Vec<bool> {
        let Format { height, width, .. } = format;
        let is_hidden = |y: usize, x: usize| match self {
            Self::Left => 2 * x < width,
            Self::Right => 2 * x >= width,
            Self::Top => 2 * y < height,
            Self::Bottom => 2 * y >= height,
            Self::Centre => {
                let inside = |at: usize, side: usize| at >= side / 4 && at < side - side / 4;
                inside(y, height) && inside(x, width)
            }
        };
        (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| is_hidden(y, x)).collect()
    }
}
