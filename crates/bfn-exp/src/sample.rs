//! `bfn sample`: draws from a trained network.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bfn_core::sampler::uniform_grid;
use bfn_data::Seed;
use bfn_nets::{NamedTensor, Snapshot};
use tch::Kind;

use crate::cli::SampleArgs;
use crate::draws::SampleNoise;
use crate::form::{Arrangement, Form, Variable};
use crate::model::Model;
use crate::picture::{self, Format};
use crate::progress::Progress;
use crate::run::{Trained, write_file};
use crate::task::{Arithmetic, Task};

/// Samples in one batch of the sampler.
const BATCH: usize = 64;

/// What kind of file samples go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Png,
    Txt,
    Csv,
    Safetensors,
}

/// Draws samples and writes them to a file.
///
/// # Errors
///
/// A run that is not there or not complete, a file whose ending does not fit the data.
pub fn command(args: &SampleArgs) -> Result<()> {
    let trained = Trained::load(&args.run, args.which, args.device, Arithmetic::default())?;
    ensure!(
        trained.experiment.network.classes().is_none(),
        "{} was trained with labels, and samples of a class cannot be drawn yet",
        args.run.display()
    );
    let task = &trained.task;
    let path = args.out.clone().unwrap_or_else(|| default_path(&args.run, &task.form.arrangement));
    let kind = kind(&path, &task.form.arrangement)?;
    let samples = draw(task, &trained.model, args.count as usize, args.steps as usize, Seed(args.seed))?;
    write(&path, kind, &samples, &task.form)?;
    eprintln!("{} samples in {} steps: {}", args.count, args.steps, path.display());
    Ok(())
}

/// Draws samples in batches, as bins, classes or real numbers, `[count, D]` in row-major order.
///
/// # Errors
///
/// None at present.
pub fn draw(task: &Task, model: &Model, count: usize, steps: usize, seed: Seed) -> Result<Vec<f64>> {
    let _no_gradient = tch::no_grad_guard();
    let grid = uniform_grid(steps);
    let batches = count.div_ceil(BATCH);
    let mut progress = Progress::new("sampling", 0, (batches * steps) as u64);
    let mut samples = Vec::with_capacity(count * task.form.dimensions());
    for batch in 0..batches {
        let numbers: Vec<u64> = (batch * BATCH..count.min((batch + 1) * BATCH)).map(|number| number as u64).collect();
        let shape = [numbers.len(), task.form.dimensions()];
        let mut noise = SampleNoise::new(seed, numbers);
        let mut observe = |step: usize, _| progress.message((batch * steps + step) as u64, "steps");
        samples.extend(task.objective.sample(model, shape, &grid, &mut noise, &mut observe));
    }
    progress.finish();
    Ok(samples)
}

fn default_path(run: &Path, arrangement: &Arrangement) -> PathBuf {
    run.join(match arrangement {
        Arrangement::Text { .. } | Arrangement::Bytes { .. } | Arrangement::Tokens { .. } => "samples.txt",
        Arrangement::Table { .. } => "samples.csv",
        Arrangement::Sequence { .. } => "samples.safetensors",
        Arrangement::Image { .. } => "samples.png",
    })
}

/// The kind of file that the path asks for, checked before anything is drawn.
fn kind(path: &Path, arrangement: &Arrangement) -> Result<Kinds> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match (ending.as_str(), arrangement) {
        ("safetensors", _) => Ok(Kinds::Safetensors),
        ("png", Arrangement::Image { .. }) => Ok(Kinds::Png),
        ("txt", Arrangement::Text { .. } | Arrangement::Bytes { .. } | Arrangement::Tokens { .. }) => Ok(Kinds::Txt),
        ("csv", Arrangement::Table { .. }) => Ok(Kinds::Csv),
        _ => {
            let (what, ending) = match arrangement {
                Arrangement::Image { .. } => ("images", ".png or .safetensors"),
                Arrangement::Table { .. } => ("rows of a table", ".csv or .safetensors"),
                Arrangement::Sequence { .. } => ("sequences", ".safetensors"),
                _ => ("text", ".txt or .safetensors"),
            };
            bail!("{}: these samples are {what}; use {ending}", path.display())
        }
    }
}

fn write(path: &Path, kind: Kinds, samples: &[f64], form: &Form) -> Result<()> {
    match (kind, &form.arrangement) {
        (Kinds::Png, Arrangement::Image { height, width, channels }) => {
            let (levels, pixels): (usize, Vec<usize>) = match form.variable {
                // From −1, black, to 1.
                Variable::Continuous => {
                    (256, samples.iter().map(|value| ((value + 1.0) * 127.5).round() as usize).collect())
                }
                _ => (form.values(), samples.iter().map(|level| *level as usize).collect()),
            };
            let format = Format { height: *height, width: *width, channels: *channels, levels };
            picture::write_grid(path, &pixels, format)
        }
        (Kinds::Txt, _) => {
            let vocabulary = form.vocabulary()?.context("samples that are no text cannot go to .txt")?;
            let mut text = Vec::new();
            for sample in samples.chunks_exact(form.dimensions()) {
                let classes: Vec<usize> = sample.iter().map(|class| *class as usize).collect();
                text.extend(vocabulary.decode(&classes));
                text.push(b'\n');
            }
            write_file(path, &text)
        }
        (Kinds::Csv, Arrangement::Table { columns }) => {
            write_file(path, &columns.to_csv(samples.chunks_exact(form.dimensions()))?)
        }
        _ => {
            let count = samples.len() / form.dimensions();
            let shape = match form.arrangement {
                Arrangement::Image { height, width, channels } => vec![count, height, width, channels],
                _ => vec![count, form.dimensions()],
            };
            let shape: Vec<i64> = shape.into_iter().map(|length| length as i64).collect();
            let kind = match form.variable {
                Variable::Discretised(values) | Variable::Discrete(values) if values <= 256 => Kind::Uint8,
                Variable::Discretised(_) | Variable::Discrete(_) => Kind::Int,
                Variable::Continuous | Variable::Mixed => Kind::Float,
            };
            let tensor = tch::Tensor::from_slice(samples).reshape(shape).to_kind(kind);
            let mut snapshot = Snapshot::new();
            snapshot.add("", &[NamedTensor::new("samples", &tensor)])?;
            Ok(snapshot.write(path)?)
        }
    }
}
