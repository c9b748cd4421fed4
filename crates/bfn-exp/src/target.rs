//! Samples as files, in formats that other programs read.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bfn_data::table::RawTable;
use bfn_nets::{NamedTensor, Snapshot};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzWriter, WritableElement};
use tch::Kind;

use crate::conditioning::Images;
use crate::form::{Arrangement, Form, Variable};
use crate::outputs::{check_file, check_folder, write_whole_folder};
use crate::picture::{Format, Picture, shades};
use crate::run::write_file;

/// The destination of samples, checked before anything is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: PathBuf,
    kind: Kinds,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// A grid of images.
    Png,
    /// A line for each text.
    Txt,
    /// A line for each table row.
    Csv,
    /// Bins, classes or real numbers.
    Safetensors,
    /// Bytes from 0 to 255 as `arr_0` for images, and bins, classes or real numbers as `values`.
    Npz,
    /// A folder with a PNG file for each image.
    Folder,
}

impl Target {
    /// Returns the file in a run's folder to which samples are written by default.
    pub fn default_path(run: &Path, stem: &str, arrangement: &Arrangement) -> PathBuf {
        run.join(stem).with_extension(match arrangement {
            Arrangement::Image { .. } => "png",
            Arrangement::Table { .. } => "csv",
            Arrangement::Sequence { .. } => "safetensors",
            Arrangement::Text { .. } | Arrangement::Bytes { .. } | Arrangement::Tokens { .. } => "txt",
        })
    }

    /// Creates the target of a path by its extension; a path without one is a folder of images.
    ///
    /// # Errors
    ///
    /// Returns an error if the extension does not fit the data, if the folder is not empty, or if the path cannot be
    /// written.
    pub fn new(path: &Path, arrangement: &Arrangement) -> Result<Self> {
        let shown = path.display();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let kind = match (ending.as_deref(), arrangement) {
            (Some("safetensors"), _) => Kinds::Safetensors,
            (Some("npz"), _) => Kinds::Npz,
            (Some("png"), Arrangement::Image { .. }) => Kinds::Png,
            (None, Arrangement::Image { .. }) => Kinds::Folder,
            (Some("txt"), arrangement) if arrangement.is_text() => Kinds::Txt,
            (Some("csv"), Arrangement::Table { .. }) => Kinds::Csv,
            _ => {
                let (what, endings) = match arrangement {
                    Arrangement::Image { .. } => ("images", ".png, .npz, .safetensors or a folder without an ending"),
                    Arrangement::Table { .. } => ("rows of a table", ".csv, .npz or .safetensors"),
                    Arrangement::Sequence { .. } => ("sequences", ".npz or .safetensors"),
                    _ => ("text", ".txt, .npz or .safetensors"),
                };
                bail!("{shown}: these samples are {what}; use {endings}")
            }
        };
        if kind == Kinds::Folder {
            check_folder(path)?;
            let is_empty = |entries: fs::ReadDir| entries.count() == 0;
            let free = !path.exists() || fs::read_dir(path).is_ok_and(is_empty);
            ensure!(free, "{shown} exists already and is not empty; name another folder for the images");
        } else {
            check_file(path)?;
        }
        Ok(Self { path: path.to_owned(), kind })
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes samples that are conditioned on small images.
    ///
    /// A picture shows, in rows, the small images, the samples, and the images from which the small ones were made.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`write`](Self::write).
    pub fn write_conditioned(&self, values: &[f64], form: &Form, images: Option<&Images>) -> Result<()> {
        match images.filter(|_| self.kind == Kinds::Png) {
            Some(images) => images.picture(values, form)?.write(&self.path),
            None => self.write(values, form),
        }
    }

    /// Writes completions; a table is given with the number of completions per row.
    ///
    /// In a CSV file of a table, the cells that were given are unchanged.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`write`](Self::write).
    pub fn write_filled(&self, values: &[f64], form: &Form, table: Option<(&RawTable, usize)>) -> Result<()> {
        match (table, &form.arrangement) {
            (Some((raw, times)), Arrangement::Table { columns }) if self.kind == Kinds::Csv => {
                let rows = (0..raw.rows()).flat_map(|row| std::iter::repeat_n(row, times));
                let filled = columns.filled_csv(raw, rows.zip(values.chunks_exact(form.dimensions())))?;
                write_file(&self.path, &filled)
            }
            _ => self.write(values, form),
        }
    }

    /// Writes samples, stored one after the other in `values`, whole or not at all.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn write(&self, values: &[f64], form: &Form) -> Result<()> {
        match (self.kind, &form.arrangement) {
            (Kinds::Txt, _) => {
                let lines = texts(values, form)?;
                write_file(&self.path, &(lines.join(&b'\n')).into_iter().chain([b'\n']).collect::<Vec<u8>>())
            }
            (Kinds::Csv, Arrangement::Table { columns }) => {
                write_file(&self.path, &columns.to_csv(values.chunks_exact(form.dimensions()))?)
            }
            (Kinds::Npz, _) => write_file(&self.path, &npz(values, form).context("cannot write the arrays")?),
            (Kinds::Png, _) => {
                let format = image_format(form)?;
                Picture::square(&bytes(values, form), format).write(&self.path)
            }
            (Kinds::Folder, _) => self.write_folder(values, form),
            (Kinds::Safetensors | Kinds::Csv, _) => {
                let shape: Vec<i64> = shape(values, form).into_iter().map(|length| length as i64).collect();
                let kind = match Numbers::of(form) {
                    Numbers::Bytes => Kind::Uint8,
                    Numbers::Integers => Kind::Int,
                    Numbers::Reals => Kind::Float,
                };
                let tensor = tch::Tensor::from_slice(values).reshape(shape).to_kind(kind);
                let mut snapshot = Snapshot::new();
                snapshot.add("", &[NamedTensor::new("samples", &tensor)])?;
                Ok(snapshot.write(&self.path)?)
            }
        }
    }

    fn write_folder(&self, values: &[f64], form: &Form) -> Result<()> {
        let format = image_format(form)?;
        write_whole_folder(&self.path, |folder| {
            let bytes = bytes(values, form);
            let mut images = bytes.chunks_exact(format.size()).enumerate();
            images.try_for_each(|(number, image)| {
                Picture::new(image, format).write(&folder.join(format!("{number:06}.png")))
            })
        })
    }
}

/// The type of numbers in which samples are stored.
#[derive(Debug, Clone, Copy)]
enum Numbers {
    Bytes,
    Integers,
    Reals,
}

impl Numbers {
    fn of(form: &Form) -> Self {
        match form.variable {
            Variable::Discretised(values) | Variable::Discrete(values) if values <= 256 => Self::Bytes,
            Variable::Discretised(_) | Variable::Discrete(_) => Self::Integers,
            Variable::Continuous | Variable::Mixed => Self::Reals,
        }
    }
}

/// Returns the texts of samples, as bytes: UTF-8, unless the data are bytes.
///
/// # Errors
///
/// Returns an error if the samples are not text.
pub fn texts(values: &[f64], form: &Form) -> Result<Vec<Vec<u8>>> {
    let vocabulary = form.vocabulary()?.context("these samples are not text")?;
    let text = |sample: &[f64]| {
        let classes: Vec<usize> = sample.iter().map(|class| *class as usize).collect();
        vocabulary.decode(&classes)
    };
    Ok(values.chunks_exact(form.dimensions()).map(text).collect())
}

/// Converts the pixels of images to bytes: bins from black to full, real numbers from −1 (black) to 1.
pub fn bytes(values: &[f64], form: &Form) -> Vec<u8> {
    match form.variable {
        Variable::Continuous | Variable::Mixed => {
            values.iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect()
        }
        Variable::Discretised(levels) | Variable::Discrete(levels) => shades(values, levels),
    }
}

/// Returns the size of an image of these data.
///
/// # Errors
///
/// Returns an error if the data are not images, or if their number of channels cannot be shown as a picture.
pub fn image_format(form: &Form) -> Result<Format> {
    let Arrangement::Image { height, width, channels } = form.arrangement else { bail!("these samples are no images") };
    let format = Format { height, width, channels };
    format.check()?;
    Ok(format)
}

fn shape(values: &[f64], form: &Form) -> Vec<usize> {
    let count = values.len() / form.dimensions();
    match form.arrangement {
        Arrangement::Image { height, width, channels } => vec![count, height, width, channels],
        _ => vec![count, form.dimensions()],
    }
}

/// Encodes samples as `values` and, if they are images, also as `arr_0` with bytes from 0 to 255.
fn npz(values: &[f64], form: &Form) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let mut writer = NpzWriter::new_compressed(&mut file);
    let shape = shape(values, form);
    if let Arrangement::Image { .. } = form.arrangement {
        add(&mut writer, "arr_0", &shape, bytes(values, form))?;
    }
    match Numbers::of(form) {
        Numbers::Bytes => add(&mut writer, "values", &shape, values.iter().map(|value| *value as u8).collect())?,
        Numbers::Integers => add(&mut writer, "values", &shape, values.iter().map(|value| *value as i32).collect())?,
        Numbers::Reals => add(&mut writer, "values", &shape, values.to_vec())?,
    }
    writer.finish()?.flush()?;
    Ok(file.into_inner())
}

fn add<T: WritableElement>(
    writer: &mut NpzWriter<&mut Cursor<Vec<u8>>>,
    name: &str,
    shape: &[usize],
    values: Vec<T>,
) -> Result<()> {
    Ok(writer.add_array(name, &ArrayD::from_shape_vec(IxDyn(shape), values)?)?)
}
