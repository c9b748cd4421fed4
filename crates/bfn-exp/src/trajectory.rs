//! The Bayesian flow through time, as a moving picture and as a strip.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bfn_nets::Tensor;
use tch::{Device, Kind};

use crate::export::image_format;
use crate::form::{Arrangement, Form};
use crate::generative::View;
use crate::picture::{Format, Picture, write_animation};

/// At most so many samples are shown, in the animation and in the strip.
const SHOWN: usize = 16;
const SHOWN_IN_STRIP: usize = 6;

/// At most so many moments.
const FRAMES: usize = 60;
const FRAMES_IN_STRIP: usize = 11;

/// How long a frame of the animation stays, and the last of them.
const EACH: Duration = Duration::from_millis(70);
const REST: Duration = Duration::from_millis(2000);

/// What is kept of a sampler's way.
///
/// Of images the pixels are shown: of the input distribution left (in the strip above), of the output distribution
/// right (below). Of text a row for each symbol of the alphabet, a column for each position, white where it is certain.
#[derive(Debug)]
pub struct Trajectory {
    path: PathBuf,
    form: Form,
    format: Format,
    moments: Vec<Moment>,
}

/// What is seen at one time, as bytes.
#[derive(Debug)]
struct Moment {
    belief: Vec<u8>,
    prediction: Vec<u8>,
}

impl Trajectory {
    /// A trajectory that will be written to `path`, .gif or .png, with a strip beside it.
    ///
    /// # Errors
    ///
    /// Another ending, images that cannot be pictures.
    pub fn new(path: &Path, form: &Form) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ensure!(matches!(ending.as_str(), "gif" | "png"), "{}: a trajectory is a .gif or a .png", path.display());
        let format = match form.arrangement {
            Arrangement::Image { .. } => image_format(form)?,
            Arrangement::Text { length, .. } => Format { height: form.values(), width: length, channels: 1 },
        };
        Ok(Self { path: path.to_owned(), form: form.clone(), format, moments: Vec::new() })
    }

    /// Keeps what is seen, if it is one of the moments that will be shown.
    pub fn record(&mut self, view: &View<'_>) {
        if shown(view.step, view.steps, FRAMES) || shown(view.step, view.steps, FRAMES_IN_STRIP) {
            let (belief, prediction) = (self.shades(&view.belief()), self.shades(&view.prediction()));
            self.moments.push(Moment { belief, prediction });
        }
    }

    /// Writes the animation and the strip.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self) -> Result<()> {
        let Some(last) = self.moments.last() else { bail!("no step was recorded") };
        let count = last.belief.len() / self.format.size();
        let columns = match self.form.arrangement {
            Arrangement::Image { .. } => (count as f64).sqrt().ceil() as usize,
            Arrangement::Text { .. } => 1,
        };
        let frame = |moment: &Moment| {
            let grid = |shades: &[u8]| Picture::grid(shades, self.format, columns);
            grid(&moment.belief).beside(&grid(&moment.prediction))
        };
        let frames: Vec<Picture> = self.moments.iter().map(frame).collect();
        write_animation(&self.path, &frames, EACH, REST)?;
        self.strip(count.min(SHOWN_IN_STRIP)).write(&self.strip_path())
    }

    /// The path of the strip.
    pub fn strip_path(&self) -> PathBuf {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{stem}-strip.png"))
    }

    /// A row for each sample, a column for each time; input distributions above, predictions below.
    fn strip(&self, count: usize) -> Picture {
        let last = self.moments.len() - 1;
        let moments: Vec<&Moment> =
            (0..=last).filter(|index| shown(*index, last, FRAMES_IN_STRIP)).map(|index| &self.moments[index]).collect();
        let rows = |shades: fn(&Moment) -> &[u8]| {
            let size = self.format.size();
            let image = |number: usize, moment: &Moment| shades(moment)[number * size..(number + 1) * size].to_vec();
            let all: Vec<u8> =
                (0..count).flat_map(|number| moments.iter().flat_map(move |moment| image(number, moment))).collect();
            Picture::grid(&all, self.format, moments.len())
        };
        rows(|moment| &moment.belief).above(&rows(|moment| &moment.prediction))
    }

    /// The bytes of the first samples.
    fn shades(&self, seen: &Tensor) -> Vec<u8> {
        let seen = seen.array().to_device(Device::Cpu).to_kind(Kind::Float);
        let seen = seen.narrow(0, 0, seen.size()[0].min(SHOWN as i64));
        let levels = self.form.values() as f64;
        let unit = match (&self.form.arrangement, seen.dim()) {
            // The root lets faint beliefs be seen.
            (Arrangement::Text { .. }, 3) => seen.transpose(1, 2).sqrt(),
            // The mean level of classes that are levels of grey.
            (_, 3) => {
                let level = tch::Tensor::arange(levels as i64, (Kind::Float, Device::Cpu)) / (levels - 1.0);
                seen.matmul(&level)
            }
            // The centre of bin k of K is (2k + 1)/K − 1; bin 0 is black and bin K − 1 white.
            _ => ((seen + 1.0) * levels - 1.0) / (2.0 * (levels - 1.0)),
        };
        let bytes = (unit.clamp(0.0, 1.0) * 255.0).round().to_kind(Kind::Uint8).contiguous().view(-1);
        let mut shades = vec![0; bytes.numel()];
        bytes.copy_data(&mut shades, bytes.numel());
        shades
    }
}

/// Whether step number `step` of `steps` is one of about `count` evenly spread ones, the first and the last among them.
fn shown(step: usize, steps: usize, count: usize) -> bool {
    let frame = |step: usize| step * (count - 1) / steps.max(1);
    steps < count || step == 0 || frame(step) > frame(step - 1)
}
