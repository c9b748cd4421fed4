//! A folder of custom images.

mod listing;

use std::io::Cursor;
use std::path::Path;

use bfn_core::VariableKind;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use self::listing::{HEADER, Listing};
use crate::bytes::DEFLATE_RATIO;
use crate::cache_file::MappedFile;
use crate::dataset::{Dataset, Draw, Layout, Split};
use crate::error::DataError;
use crate::images::{Flip, bins_of_intensities};
use crate::split::Shares;
use crate::values::{Row, Storage};

/// The options for turning the files of a folder into images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FolderOptions {
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Grey, or red, green and blue.
    pub colour: Colour,
    /// The number of equal bins of the intensities, 2 to 256.
    pub bins: usize,
    /// Whether training images are mirrored.
    pub flip: Flip,
    /// The shares that are held out, chosen at random but the same in every run.
    pub shares: Shares,
}

/// The channels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// One.
    Grey,
    /// Red, green and blue.
    Rgb,
}

/// One split of a folder of images, mapped into memory.
#[derive(Debug)]
pub struct ImageFolder {
    layout: Layout,
    bins: [u8; 256],
    number_of_bins: usize,
    flip: Flip,
    cache: MappedFile,
    /// The index in the cache of each example's image.
    members: Vec<u64>,
    /// The label of every image in the cache; empty if the folder has no sub-folders.
    labels: Vec<u32>,
    label_names: Vec<String>,
}

impl ImageFolder {
    /// Opens one split of the PNG, JPEG and WebP files in `folder`.
    ///
    /// Files in a sub-folder, at any depth, have its name as label; a folder without sub-folders gives no labels.
    ///
    /// Each image is scaled until it covers the requested size, and the excess is cropped evenly on both sides. This
    /// is done once, on all cores, and kept in one file in the folder `cache`, which is rebuilt when a file of the
    /// folder is added, removed or changed. The cache file is mapped into memory. It is replaced, never modified, so
    /// that a running program continues with the content that it opened; if the file is truncated all the same, the
    /// next read returns an error.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if options are out of range, or if the folder holds no images, or images both
    /// directly and in sub-folders; [`DataError::Malformed`] if a file is not an image or changes while it is read;
    /// [`DataError::Unreadable`] if a file cannot be read.
    pub fn open(folder: &Path, options: &FolderOptions, split: Split, cache: &Path) -> Result<Self, DataError> {
        let bins = bins_of_intensities(options.bins)?;
        for (key, side) in [("height", options.height), ("width", options.width)] {
            if !(1..=MOST_SIDE).contains(&side) {
                return Err(DataError::invalid(key, format!("1 to {MOST_SIDE} pixels"), side));
            }
        }
        let listing = Listing::of(folder)?;
        let cache = listing.cached(folder, options, cache)?;
        let count = listing.files.len() as u64;
        Ok(Self {
            layout: options.layout(),
            bins,
            number_of_bins: options.bins,
            flip: if split == Split::Train { options.flip } else { Flip::Never },
            cache,
            members: options.shares.of(count)?.members(count, split).collect(),
            labels: listing.labels,
            label_names: listing.label_names,
        })
    }
}

impl Dataset for ImageFolder {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, _variable: usize) -> VariableKind {
        VariableKind::Discretised { bins: self.number_of_bins }
    }

    fn len(&self) -> usize {
        self.members.len()
    }

    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        let size = self.layout.variables();
        let out = out.bytes();
        assert_eq!(out.len(), size, "expected room for {size} variables, found {}", out.len());
        let start = HEADER + self.members[index] as usize * size;
        let stored = &self.cache.bytes()?[start..start + size];
        if self.number_of_bins == 256 {
            out.copy_from_slice(stored);
        } else {
            out.iter_mut().zip(stored).for_each(|(out, intensity)| *out = self.bins[usize::from(*intensity)]);
        }
        self.flip.apply(&self.layout, index, draw, out);
        Ok(())
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(*self.members.get(index)? as usize).copied()
    }

    fn label_names(&self) -> &[String] {
        &self.label_names
    }

    fn storage(&self) -> Storage {
        Storage::Bytes
    }
}

/// Decodes one image of a folder into the form that is kept: `[height, width, channels]`.
///
/// `path` is used only in messages.
///
/// # Errors
///
/// Returns [`DataError::Malformed`] if the bytes are not a PNG, JPEG or WebP image, or claim more pixels than such a
/// file can hold.
pub fn decode_image(path: &Path, bytes: &[u8], options: &FolderOptions) -> Result<Vec<u8>, DataError> {
    let broken = |error: image::ImageError| {
        DataError::malformed(path, 0, "an image in PNG, JPEG or WebP", format!("an error ({error})"))
    };
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader = reader.with_guessed_format().map_err(|error| broken(error.into()))?;
    // PNG compresses by deflate, JPEG spends bits on every block; WebP encodes an area of one colour in a few bytes.
    let floor = match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg) => 1 << 20,
        Some(ImageFormat::WebP) => MOST_WEBP,
        other => {
            let found = other.map_or_else(|| "another format".to_owned(), |format| format!("{format:?}"));
            return Err(DataError::malformed(path, 0, "an image in PNG, JPEG or WebP", found));
        }
    };
    // Never more than half a gigabyte.
    let mut limits = Limits::default();
    limits.max_alloc = Some((bytes.len() as u64 * DEFLATE_RATIO).max(floor).min(1 << 29));
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(broken)?;
    limits.reserve(decoder.total_bytes()).map_err(broken)?;
    let orientation = decoder.orientation().map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    let (width, height) = (options.width as u32, options.height as u32);
    let fit = |image: DynamicImage| match (image.width(), image.height()) {
        (0, _) | (_, 0) => Err(DataError::malformed(path, 0, "an image of at least one pixel", "none")),
        size if size == (width, height) => Ok(image),
        _ => Ok(shortened(image, width, height).resize_to_fill(width, height, FilterType::Triangle)),
    };
    Ok(match options.colour {
        Colour::Grey => fit(image.to_luma8().into())?.into_luma8().into_raw(),
        Colour::Rgb => fit(image.to_rgb8().into())?.into_rgb8().into_raw(),
    })
}

/// The number of bytes that a WebP file of any size may unpack to: 4,096 pixels squared of four bytes.
const MOST_WEBP: u64 = 64 << 20;

/// Returns the middle of an image that is much longer than needed to cover the requested size.
///
/// [`DynamicImage::resize_to_fill`] scales the whole image before it crops: a single row of a million pixels would
/// grow to a million times the height in columns. The part that is kept here is at least four times as long as
/// needed, so the result is the same up to rounding. Other images are returned unchanged.
fn shortened(image: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (image_width, image_height) = (image.width(), image.height());
    // The kept length of a side: four times what the other side requires, of the same parity, to keep the centre.
    let least = |side: u32, other: u32, wanted: u32, of_other: u32| {
        let needed = (u64::from(other) * u64::from(wanted)).div_ceil(u64::from(of_other));
        let kept = LONGEST * needed + 1;
        let kept = kept + (kept + u64::from(side)) % 2;
        u32::try_from(kept).map_or(side, |kept| kept.min(side))
    };
    let kept_width = least(image_width, image_height, width, height);
    let kept_height = least(image_height, image_width, height, width);
    if (kept_width, kept_height) == (image_width, image_height) {
        return image;
    }
    image.crop_imm((image_width - kept_width) / 2, (image_height - kept_height) / 2, kept_width, kept_height)
}

/// The factor by which an image may be too long before it is shortened.
const LONGEST: u64 = 4;

impl FolderOptions {
    fn layout(&self) -> Layout {
        let channels = match self.colour {
            Colour::Grey => 1,
            Colour::Rgb => 3,
        };
        Layout::Image { height: self.height, width: self.width, channels }
    }
}

/// The maximum side of an image, beyond what is ever modelled pixel by pixel.
const MOST_SIDE: usize = 4096;
