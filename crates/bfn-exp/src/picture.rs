//! Samples as a picture.

use std::path::Path;

use crate::run::write_file;
use anyhow::{Context, Result, ensure};

/// Pixels between two images of a grid.
const GAP: usize = 2;

/// Small images are enlarged until a side has about this many pixels.
const SIDE: usize = 56;

/// Images of one size.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// The number of levels of a channel, from black to full.
    pub levels: usize,
}

/// Writes images, one after the other in `pixels`, as a grid in a PNG file; whole or not at all.
///
/// # Errors
///
/// A number of channels that PNG does not know, a file that cannot be written.
pub fn write_grid(path: &Path, pixels: &[usize], format: Format) -> Result<()> {
    let Format { height, width, channels, levels } = format;
    let colour = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => anyhow::bail!("an image of {channels} channels cannot be a picture"),
    };
    let size = height * width * channels;
    ensure!(!pixels.is_empty() && pixels.len().is_multiple_of(size), "no whole images to draw");
    let count = pixels.len() / size;
    let columns = (count as f64).sqrt().ceil() as usize;
    let rows = count.div_ceil(columns);
    let scale = (SIDE / height.max(width)).max(1);
    let (cell_height, cell_width) = (height * scale + GAP, width * scale + GAP);
    let (grid_height, grid_width) = (rows * cell_height + GAP, columns * cell_width + GAP);

    // A grey that is neither end of the scale shows where an image ends.
    let mut grid = vec![96_u8; grid_height * grid_width * channels];
    for (number, image) in pixels.chunks_exact(size).enumerate() {
        let (top, left) = (number / columns * cell_height + GAP, number % columns * cell_width + GAP);
        for y in 0..height * scale {
            for x in 0..width * scale {
                for channel in 0..channels {
                    let level = image[(y / scale * width + x / scale) * channels + channel];
                    grid[((top + y) * grid_width + left + x) * channels + channel] = (level * 255 / (levels - 1)) as u8;
                }
            }
        }
    }

    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, grid_width as u32, grid_height as u32);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&grid))
        .with_context(|| format!("cannot encode {}", path.display()))?;
    write_file(path, &bytes)
}
