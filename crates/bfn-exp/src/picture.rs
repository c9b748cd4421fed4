//! Images as pictures: in grids, side by side, and as animations.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame};

use crate::run::write_file;

/// The gap between two images of a grid, in pixels.
const GAP: usize = 2;

/// The approximate side, in pixels, to which small images are enlarged.
const SIDE: usize = 56;

/// The grey background, neither black nor white, which shows the edges of images and their unknown parts.
pub const GROUND: u8 = 96;

/// The size of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
}

/// A picture: rows from top to bottom, pixels from left to right, a byte for each channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    format: Format,
    pixels: Vec<u8>,
}

/// Converts the levels of a channel, of which there are `levels`, to bytes from black to full.
pub fn shades(values: &[f64], levels: usize) -> Vec<u8> {
    values.iter().map(|level| (level * 255.0 / (levels as f64 - 1.0)).floor() as u8).collect()
}

/// Reads the pixels of an image file; `hint` ends the error message about a wrong size.
///
/// # Errors
///
/// Returns an error if the file cannot be read or is not an image, or if its size differs from `format`.
pub fn pixels(path: &Path, format: Format, hint: &str) -> Result<Vec<u8>> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let image = image::load_from_memory(&bytes).with_context(|| format!("{shown} is not an image"))?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    ensure!(
        (height, width) == (format.height, format.width),
        "{shown} is {width}×{height} pixels wide and high, not {}×{}; {hint}",
        format.width,
        format.height
    );
    format.check()?;
    Ok(if format.channels == 1 { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() })
}

impl Format {
    /// Returns the number of bytes in an image.
    pub fn size(self) -> usize {
        self.height * self.width * self.channels
    }

    /// Checks that images of this format can be pictures.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of channels is neither 1 nor 3.
    pub fn check(self) -> Result<()> {
        ensure!(matches!(self.channels, 1 | 3), "an image of {} channels cannot be a picture", self.channels);
        Ok(())
    }
}

impl Picture {
    /// Creates a picture of one image at its own size.
    ///
    /// # Panics
    ///
    /// Panics if the pixels do not fit the format.
    pub fn new(pixels: &[u8], format: Format) -> Self {
        assert_eq!(pixels.len(), format.size(), "{format:?} holds another number of bytes");
        Self { format, pixels: pixels.to_vec() }
    }

    /// Arranges the images in `shades` in a grid of `columns` columns, and enlarges small ones.
    pub fn grid(shades: &[u8], format: Format, columns: usize) -> Self {
        Self::enlarged(shades, format, columns, (SIDE / format.height.max(format.width)).max(1))
    }

    /// Arranges images in a grid of `columns` columns; each pixel becomes a square with a side of `scale` pixels.
    pub fn enlarged(shades: &[u8], format: Format, columns: usize, scale: usize) -> Self {
        let Format { height, width, channels } = format;
        let rows = (shades.len() / format.size()).div_ceil(columns);
        let (cell_height, cell_width) = (height * scale + GAP, width * scale + GAP);
        let mut grid = Self::ground(rows * cell_height + GAP, columns * cell_width + GAP, channels);
        for (number, image) in shades.chunks_exact(format.size()).enumerate() {
            let (top, left) = (number / columns * cell_height + GAP, number % columns * cell_width + GAP);
            for y in 0..height * scale {
                for x in 0..width * scale {
                    let from = (y / scale * width + x / scale) * channels;
                    let to = ((top + y) * grid.format.width + left + x) * channels;
                    grid.pixels[to..to + channels].copy_from_slice(&image[from..from + channels]);
                }
            }
        }
        grid
    }

    /// Arranges images in a grid that is about as wide as it is high.
    pub fn square(shades: &[u8], format: Format) -> Self {
        let count = shades.len() / format.size();
        Self::grid(shades, format, (count as f64).sqrt().ceil() as usize)
    }

    /// Returns this picture with another below it.
    ///
    /// # Panics
    ///
    /// Panics if they differ in width or channels.
    #[must_use]
    pub fn above(mut self, other: &Self) -> Self {
        let same = |format: Format| (format.width, format.channels);
        assert_eq!(same(self.format), same(other.format), "pictures of different widths");
        self.format.height += other.format.height;
        self.pixels.extend(&other.pixels);
        self
    }

    /// Returns this picture with another to its right.
    ///
    /// # Panics
    ///
    /// Panics if they differ in height or channels.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        let same = |format: Format| (format.height, format.channels);
        assert_eq!(same(self.format), same(other.format), "pictures of different heights");
        let row = |format: Format| format.width * format.channels;
        let rows = self.pixels.chunks_exact(row(self.format)).zip(other.pixels.chunks_exact(row(other.format)));
        let pixels = rows.flat_map(|(left, right)| left.iter().chain(right)).copied().collect();
        Self { format: Format { width: self.format.width + other.format.width, ..self.format }, pixels }
    }

    /// Writes the picture as a PNG file, whole or not at all.
    ///
    /// # Errors
    ///
    /// Returns an error if PNG does not support the number of channels, or if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_file(path, &encode_png(std::slice::from_ref(self), None, path)?)
    }

    fn ground(height: usize, width: usize, channels: usize) -> Self {
        Self { format: Format { height, width, channels }, pixels: vec![GROUND; height * width * channels] }
    }

    fn to_image(&self) -> Option<DynamicImage> {
        let (width, height) = (self.format.width as u32, self.format.height as u32);
        let pixels = self.pixels.clone();
        match self.format.channels {
            1 => image::GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
            _ => image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
        }
    }
}

/// Writes pictures of one size as an endless animation, a GIF or an animated PNG, which rests on its last picture.
///
/// # Errors
///
/// Returns an error if the extension is neither .gif nor .png, or if the file cannot be written.
pub fn write_animation(path: &Path, pictures: &[Picture], each: Duration, rest: Duration) -> Result<()> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let delays: Vec<Duration> = (1..=pictures.len()).map(|n| if n == pictures.len() { rest } else { each }).collect();
    let bytes = match ending.as_str() {
        "png" => encode_png(pictures, Some(&delays), path)?,
        "gif" => encode_gif(pictures, &delays).with_context(|| format!("cannot encode {}", path.display()))?,
        _ => anyhow::bail!("{}: an animation is a .gif or a .png", path.display()),
    };
    write_file(path, &bytes)
}

fn encode_png(pictures: &[Picture], delays: Option<&[Duration]>, path: &Path) -> Result<Vec<u8>> {
    let first = pictures.first().context("no picture to write")?;
    first.format.check()?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, first.format.width as u32, first.format.height as u32);
    encoder.set_color(if first.format.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    let encode = || {
        if delays.is_some() && pictures.len() > 1 {
            encoder.set_animated(pictures.len() as u32, 0)?;
        }
        let mut writer = encoder.write_header()?;
        for (number, picture) in pictures.iter().enumerate() {
            if let Some(delays) = delays.filter(|_| pictures.len() > 1) {
                writer.set_frame_delay(delays[number].as_millis() as u16, 1000)?;
            }
            writer.write_image_data(&picture.pixels)?;
        }
        writer.finish()
    };
    encode().with_context(|| format!("cannot encode {}", path.display()))?;
    Ok(bytes)
}

fn encode_gif(pictures: &[Picture], delays: &[Duration]) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    {
        // Speed 1 gives the finest palette: grey pictures keep every level.
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, 1);
        encoder.set_repeat(Repeat::Infinite)?;
        for (picture, delay) in pictures.iter().zip(delays) {
            picture.format.check()?;
            let image = picture.to_image().context("a picture of another size than it says")?;
            encoder.encode_frame(Frame::from_parts(image.to_rgba8(), 0, 0, Delay::from_saturating_duration(*delay)))?;
        }
    }
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { height: 2, width: 3, channels: 1 };

    #[test]
    fn a_grid_holds_its_images_enlarged() {
        let picture = Picture::grid(&[0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15], FORMAT, 2);
        let scale = SIDE / 3;
        assert_eq!((picture.format.height, picture.format.width), (2 * scale + 2 * GAP, 6 * scale + 3 * GAP));
        let at = |y: usize, x: usize| picture.pixels[y * picture.format.width + x];
        assert_eq!((at(0, 0), at(GAP, GAP), at(GAP + 2 * scale - 1, GAP + 3 * scale - 1)), (GROUND, 0, 5));
        assert_eq!((at(GAP, GAP + 3 * scale), at(GAP, 2 * GAP + 3 * scale)), (GROUND, 10));
    }

    #[test]
    fn pictures_join() {
        let (left, right) = (Picture::new(&[0, 1, 2, 3, 4, 5], FORMAT), Picture::new(&[6, 7, 8, 9, 10, 11], FORMAT));
        assert_eq!(left.beside(&right).pixels, [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]);
        assert_eq!(left.above(&right).pixels, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn animations_keep_every_frame_and_level() {
        use image::AnimationDecoder;
        use image::codecs::{gif::GifDecoder, png::PngDecoder};
        let every: Vec<u8> = (0..=255).collect();
        let format = Format { height: 16, width: 16, channels: 1 };
        let pictures = [every.clone(), every.iter().rev().copied().collect()].map(|p| Picture::new(&p, format));
        let folder = tempfile::tempdir().expect("a folder");
        let (each, rest) = (Duration::from_millis(60), Duration::from_millis(900));
        let grey = |frame: &Frame| frame.buffer().pixels().map(|pixel| pixel.0[0]).collect::<Vec<u8>>();
        for name in ["flow.gif", "flow.png"] {
            let path = folder.path().join(name);
            write_animation(&path, &pictures, each, rest).expect("an animation");
            let bytes = Cursor::new(std::fs::read(&path).expect("a file"));
            let frames = match name {
                "flow.gif" => GifDecoder::new(bytes).expect("a GIF").into_frames().collect_frames(),
                _ => PngDecoder::new(bytes).expect("a PNG").apng().expect("animated").into_frames().collect_frames(),
            };
            let frames = frames.expect("frames");
            assert_eq!(frames.len(), 2, "{name}");
            for (frame, picture) in frames.iter().zip(&pictures) {
                assert_eq!(grey(frame), picture.pixels, "{name}");
            }
            let delays: Vec<Duration> = frames.iter().map(|frame| frame.delay().into()).collect();
            assert_eq!(delays, [each, rest], "{name}");
        }
        assert!(write_animation(&folder.path().join("flow.mp4"), &pictures, each, rest).is_err());
    }
}
