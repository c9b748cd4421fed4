//! Samples as files, in the forms that other programs read.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bfn_data::Alphabet;
use bfn_nets::{NamedTensor, Snapshot};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::NpzWriter;
use tch::Kind;

use crate::form::{Arrangement, Form};
use crate::picture::{Format, Picture, shades};
use crate::run::write_file;

/// Where samples go, checked before anything is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: PathBuf,
    kind: Kinds,
}

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// A grid of images.
    Png,
    /// A line for each text.
    Txt,
    /// Bins or classes.
    Safetensors,
    /// Bytes from 0 to 255 as `arr_0` for images, and bins or classes as `values`.
    Npz,
    /// A folder with a PNG file for each image.
    Folder,
}

impl Target {
    /// The place that a path names by its ending; without one it is a folder of images.
    ///
    /// # Errors
    ///
    /// An ending that does not fit the data, a folder that holds something already.
    pub fn new(path: &Path, arrangement: &Arrangement) -> Result<Self> {
        let shown = path.display();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let kind = match (ending.as_deref(), arrangement) {
            (Some("safetensors"), _) => Kinds::Safetensors,
            (Some("npz"), _) => Kinds::Npz,
            (Some("png"), Arrangement::Image { .. }) => Kinds::Png,
            (None, Arrangement::Image { .. }) => Kinds::Folder,
            (Some("txt"), Arrangement::Text { .. }) => Kinds::Txt,
            (Some("png") | None, _) => bail!("{shown}: these samples are text; use .txt, .npz or .safetensors"),
            (Some("txt"), _) => {
                bail!("{shown}: these samples are images; use .png, .npz, .safetensors or a folder")
            }
            _ => bail!(
                "{shown}: samples go to .png or a folder without an ending (images), .txt (text), .npz or .safetensors"
            ),
        };
        if kind == Kinds::Folder {
            let is_empty = |entries: fs::ReadDir| entries.count() == 0;
            let free = !path.exists() || fs::read_dir(path).is_ok_and(is_empty);
            ensure!(free, "{shown} exists already and is not empty; name another folder for the images");
        }
        Ok(Self { path: path.to_owned(), kind })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes samples, one after the other in `values`; whole or not at all.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self, values: &[usize], form: &Form) -> Result<()> {
        match (self.kind, &form.arrangement) {
            (Kinds::Txt, Arrangement::Text { .. }) => {
                let lines = texts(values, form)?;
                write_file(&self.path, (lines.join("\n") + "\n").as_bytes())
            }
            (Kinds::Npz, _) => write_file(&self.path, &npz(values, form).context("cannot write the arrays")?),
            (Kinds::Png, _) => {
                let format = image_format(form)?;
                Picture::square(&shades(values, form.values()), format).write(&self.path)
            }
            (Kinds::Folder, _) => self.write_folder(values, form),
            (Kinds::Safetensors | Kinds::Txt, _) => {
                let shape: Vec<i64> = shape(values, form).into_iter().map(|length| length as i64).collect();
                let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
                let tensor = tch::Tensor::from_slice(&bytes).reshape(shape).to_kind(Kind::Uint8);
                let mut snapshot = Snapshot::new();
                snapshot.add("", &[NamedTensor::new("samples", &tensor)])?;
                Ok(snapshot.write(&self.path)?)
            }
        }
    }

    /// Fills a neighbour, which then takes the name.
    fn write_folder(&self, values: &[usize], form: &Form) -> Result<()> {
        let format = image_format(form)?;
        let shown = self.path.display();
        let mut partial = self.path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        fs::create_dir_all(&partial).with_context(|| format!("cannot make the folder {}", partial.display()))?;
        let shades = shades(values, form.values());
        for (number, image) in shades.chunks_exact(format.size()).enumerate() {
            Picture::new(image, format).write(&partial.join(format!("{number:06}.png")))?;
        }
        fs::rename(&partial, &self.path).with_context(|| format!("cannot make the folder {shown}"))
    }
}

/// The texts of samples.
///
/// # Errors
///
/// Samples that are not text.
pub fn texts(values: &[usize], form: &Form) -> Result<Vec<String>> {
    let Arrangement::Text { length, alphabet } = &form.arrangement else { bail!("these samples are not text") };
    let alphabet = Alphabet::new(alphabet)?;
    let text = |sample: &[usize]| {
        let classes: Vec<u8> = sample.iter().map(|class| *class as u8).collect();
        alphabet.decode(&classes)
    };
    Ok(values.chunks_exact(*length).map(text).collect())
}

/// The size of an image of these data.
///
/// # Errors
///
/// Data that are not images, or of a number of channels that is no picture.
pub fn image_format(form: &Form) -> Result<Format> {
    let Arrangement::Image { height, width, channels } = form.arrangement else { bail!("these samples are no images") };
    let format = Format { height, width, channels };
    format.check()?;
    Ok(format)
}

fn shape(values: &[usize], form: &Form) -> Vec<usize> {
    let count = values.len() / form.dimensions();
    match form.arrangement {
        Arrangement::Image { height, width, channels } => vec![count, height, width, channels],
        Arrangement::Text { length, .. } => vec![count, length],
    }
}

/// `arr_0` with bytes from 0 to 255, where the samples are images, and `values` with their bins or classes.
fn npz(values: &[usize], form: &Form) -> Result<Vec<u8>> {
    let shape = IxDyn(&shape(values, form));
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = NpzWriter::new_compressed(&mut bytes);
    if let Arrangement::Image { .. } = form.arrangement {
        writer.add_array("arr_0", &ArrayD::from_shape_vec(shape.clone(), shades(values, form.values()))?)?;
    }
    let stored = values.iter().map(|value| *value as u8).collect();
    writer.add_array("values", &ArrayD::from_shape_vec(shape, stored)?)?;
    writer.finish()?.flush()?;
    Ok(bytes.into_inner())
}
