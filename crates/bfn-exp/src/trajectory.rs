//! The Bayesian flow through time, as an animation and as a strip.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bfn_nets::Tensor;
use tch::{Device, Kind};

use crate::form::{Arrangement, Form, Variable};
use crate::generative::View;
use crate::outputs::check_file;
use crate::picture::{Format, Picture, write_animation};
use crate::run::write_file;
use crate::target::{image_format, texts};

/// The maximum numbers of samples in the animation and in the strip, and of texts, which take more room.
const SHOWN: usize = 16;
const SHOWN_IN_STRIP: usize = 6;
const TEXTS_SHOWN: usize = 2;

/// The maximum numbers of moments in the animation and in the strips.
const FRAMES: usize = 60;
const FRAMES_IN_STRIP: usize = 11;
const FRAMES_IN_STRIP_OF_TEXT: usize = 6;

/// The maximum number of symbols: with more, the pictures of texts would be too high.
const MOST_SYMBOLS: usize = 256;

/// The side of a square that shows one symbol at one position of a text.
const SYMBOL: usize = 4;

/// How long each frame of the animation is shown, and how long the last one.
const EACH: Duration = Duration::from_millis(70);
const REST: Duration = Duration::from_millis(2000);

/// The recorded moments of a sampler.
///
/// For images, the pixels are shown: those of the input distribution on the left (in the strip, above), those of the
/// output distribution on the right (below). For text, there is a row for each symbol of the alphabet and a column
/// for each position, white where the symbol is certain; the most probable text is also given in words.
#[derive(Debug)]
pub struct Trajectory {
    path: PathBuf,
    form: Form,
    format: Format,
    moments: Vec<Moment>,
}

/// The view at one time, as bytes.
#[derive(Debug)]
struct Moment {
    t: f64,
    belief: Vec<u8>,
    prediction: Vec<u8>,
    /// The most probable text of each sample.
    texts: Vec<String>,
}

impl Trajectory {
    /// Creates a trajectory that will be written to `path`, .gif or .png, with a strip beside it.
    ///
    /// # Errors
    ///
    /// Returns an error if the extension is another one, if the folder does not exist, or if the data cannot be
    /// pictures.
    pub fn new(path: &Path, form: &Form) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ensure!(matches!(ending.as_str(), "gif" | "png"), "{}: a trajectory is a .gif or a .png", path.display());
        check_file(path)?;
        let format = match form.arrangement {
            Arrangement::Image { .. } => image_format(form)?,
            _ if form.arrangement.is_text() && form.values() <= MOST_SYMBOLS => {
                Format { height: form.values(), width: form.dimensions(), channels: 1 }
            }
            _ => bail!(
                "{}: a trajectory shows images, and text of at most {MOST_SYMBOLS} symbols; these data are neither",
                path.display()
            ),
        };
        Ok(Self { path: path.to_owned(), form: form.clone(), format, moments: Vec::new() })
    }

    /// Returns whether data of this form can be shown: images, and text with few enough symbols.
    pub fn can_show(form: &Form) -> bool {
        match form.arrangement {
            Arrangement::Image { .. } => image_format(form).is_ok(),
            _ => form.arrangement.is_text() && form.values() <= MOST_SYMBOLS,
        }
    }

    /// Records the view, if it is one of the moments that will be shown.
    ///
    /// # Errors
    ///
    /// Returns an error if the alphabet is invalid.
    pub fn record(&mut self, view: &View<'_>) -> Result<()> {
        if shown(view.step, view.steps, FRAMES) {
            let prediction = view.prediction();
            let texts = match self.form.arrangement {
                Arrangement::Image { .. } => Vec::new(),
                _ => {
                    let classes: Vec<f64> = prediction.argmax_last().to_vec().into_iter().map(|k| k as f64).collect();
                    let text = |text: Vec<u8>| String::from_utf8_lossy(&text).into_owned();
                    texts(&classes, &self.form)?.into_iter().map(text).collect()
                }
            };
            let (belief, prediction) = (self.shades(&view.belief()), self.shades(&prediction));
            self.moments.push(Moment { t: view.t, belief, prediction, texts });
        }
        Ok(())
    }

    /// Writes the animation, the strip and, for text, the words, and returns the paths of the files.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written.
    pub fn write(&self) -> Result<Vec<PathBuf>> {
        let Some(last) = self.moments.last() else { bail!("no step was recorded") };
        let count = last.belief.len() / self.format.size();
        let frame = |moment: &Moment| {
            let grid = |shades: &[u8]| match self.form.arrangement {
                Arrangement::Image { .. } => Picture::square(shades, self.format),
                _ => Picture::enlarged(shades, self.format, 1, SYMBOL),
            };
            grid(&moment.belief).beside(&grid(&moment.prediction))
        };
        let frames: Vec<Picture> = self.moments.iter().map(frame).collect();
        write_animation(&self.path, &frames, EACH, REST)?;
        let strip = self.beside("-strip.png");
        self.strip(count).write(&strip)?;
        let mut paths = vec![self.path.clone(), strip];
        if self.form.arrangement.is_text() {
            let words = self.beside("-strip.txt");
            write_file(&words, self.words(count).as_bytes())?;
            paths.push(words);
        }
        Ok(paths)
    }

    /// Returns a path beside that of the animation.
    fn beside(&self, ending: &str) -> PathBuf {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{stem}{ending}"))
    }

    /// Returns the moments that a strip shows.
    fn strip_moments(&self, count: usize) -> Vec<&Moment> {
        let last = self.moments.len() - 1;
        (0..=last).filter(|index| shown(*index, last, count)).map(|index| &self.moments[index]).collect()
    }

    /// Draws a row for each sample and a column for each time, with input distributions above and predictions below.
    fn strip(&self, count: usize) -> Picture {
        let (moments, count, scale) = match self.form.arrangement {
            Arrangement::Image { .. } => (self.strip_moments(FRAMES_IN_STRIP), count.min(SHOWN_IN_STRIP), None),
            _ => (self.strip_moments(FRAMES_IN_STRIP_OF_TEXT), count.min(TEXTS_SHOWN), Some(SYMBOL)),
        };
        let size = self.format.size();
        let rows = |shades: fn(&Moment) -> &[u8]| {
            let image = |number: usize, moment: &Moment| shades(moment)[number * size..(number + 1) * size].to_vec();
            let all: Vec<u8> =
                (0..count).flat_map(|number| moments.iter().flat_map(move |moment| image(number, moment))).collect();
            match scale {
                None => Picture::grid(&all, self.format, moments.len()),
                Some(scale) => Picture::enlarged(&all, self.format, moments.len(), scale),
            }
        };
        rows(|moment| &moment.belief).above(&rows(|moment| &moment.prediction))
    }

    /// Returns the most probable text of each sample, with a line for each time.
    fn words(&self, count: usize) -> String {
        let moments = self.strip_moments(FRAMES_IN_STRIP);
        let line = |number: usize, moment: &Moment| format!("{:.3}  {}\n", moment.t, moment.texts[number]);
        let of_sample = |number: usize| moments.iter().map(|moment| line(number, moment)).collect::<String>();
        (0..count).map(of_sample).collect::<Vec<_>>().join("\n")
    }

    /// Converts the view of the first samples to bytes.
    fn shades(&self, seen: &Tensor) -> Vec<u8> {
        let seen = seen.array().to_device(Device::Cpu).to_kind(Kind::Float);
        let most = match self.form.arrangement {
            Arrangement::Image { .. } => SHOWN,
            _ => TEXTS_SHOWN,
        };
        let seen = seen.narrow(0, 0, seen.size()[0].min(most as i64));
        let levels = self.form.values() as f64;
        let unit = match (&self.form.arrangement, seen.dim()) {
            // The square root makes faint beliefs visible.
            (arrangement, 3) if arrangement.is_text() => seen.transpose(1, 2).sqrt(),
            // The mean level, for classes that are levels of grey.
            (_, 3) => {
                let level = tch::Tensor::arange(levels as i64, (Kind::Float, Device::Cpu)) / (levels - 1.0);
                seen.matmul(&level)
            }
            // From −1 (black) to 1.
            _ if self.form.variable == Variable::Continuous => (seen + 1.0) / 2.0,
            // The centre of bin k of K is (2k + 1)/K − 1; bin 0 is black and bin K − 1 white.
            _ => ((seen + 1.0) * levels - 1.0) / (2.0 * (levels - 1.0)),
        };
        let bytes = (unit.clamp(0.0, 1.0) * 255.0).round().to_kind(Kind::Uint8).contiguous().view(-1);
        let mut shades = vec![0; bytes.numel()];
        bytes.copy_data(&mut shades, bytes.numel());
        shades
    }
}

/// Returns whether `step` of `steps` is one of about `count` evenly spaced steps, including the first and the last.
fn shown(step: usize, steps: usize, count: usize) -> bool {
    let frame = |step: usize| step * (count - 1) / steps.max(1);
    steps < count || step == 0 || frame(step) > frame(step - 1)
}
