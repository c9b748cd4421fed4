//! What a run shows of itself at each validation: samples, and the flow on its way to them.
//!
//! The noise follows from the seed of the run and is the same each time, so that pictures of different steps differ by
//! the network alone. It is none of the noise of training, which is drawn as if nothing had been shown.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bfn_core::Grid;
use bfn_core::sampler::{Sampler, Solver};
use bfn_data::Seed;

use crate::config::ValidationConfig;
use crate::form::{Arrangement, Form};
use crate::model::Model;
use crate::run::Run;
use crate::sample::Draws;
use crate::target::{Target, image_format};
use crate::task::Task;
use crate::told::{Telling, rounded_up};
use crate::trajectory::Trajectory;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gallery {
    /// The samples: a picture, texts, rows, or arrays.
    pub samples: PathBuf,
    /// The flow as a strip and, of text, in words; nothing where it cannot be seen.
    pub flow: Vec<PathBuf>,
}

impl Gallery {
    /// Draws samples as `telling` says, and writes them to the run, `samples/step-N.…` and `flow/step-N….png`.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written to, a full disk.
    pub fn draw(
        run: &Run,
        model: &Model,
        task: &Task,
        config: &ValidationConfig,
        telling: &Telling,
        seed: Seed,
        step: u64,
    ) -> Result<Self> {
        let grid = Grid::uniform(config.sample_steps as usize).context("in validation.sample_steps")?;
        let sampler = Sampler::new(Solver::Ancestral, grid).context("in validation.sample_steps")?;
        let file = |folder: &str, ending: &str| -> Result<PathBuf> {
            let folder = run.path(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
            Ok(folder.join(format!("step-{step:010}.{ending}")))
        };
        let samples = file("samples", ending(&task.form))?;
        let target = Target::new(&samples, &task.form.arrangement)?;
        let moving = Trajectory::can_show(&task.form).then(|| Trajectory::new(&file("flow", "png")?, &task.form));
        let mut moving = moving.transpose()?;
        // In one batch, so that the flow of all is shown together.
        let count = rounded_up(config.samples as usize, telling.images());
        let draws = Draws { task, model, telling, sampler: &sampler, seed, batch: count as u32 };
        let drawn = draws.draw(count, &mut |_, view| match &mut moving {
            Some(trajectory) => trajectory.record(view),
            None => Ok(()),
        })?;
        target.write_told(&drawn.values, &task.form, telling.images())?;
        let mut flow = moving.map(|trajectory| trajectory.write()).transpose()?.unwrap_or_default();
        // The moving picture comes first, and is for browsers.
        flow.drain(..flow.len().min(1));
        Ok(Self { samples, flow })
    }

    /// The files that are pictures, each with what it shows.
    pub fn pictures(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let all = std::iter::once(("samples", &self.samples)).chain(self.flow.iter().map(|path| ("flow", path)));
        all.map(|(what, path)| (what, path.as_path())).filter(|(_, path)| has_ending(path, "png"))
    }

    /// The file of texts, if the samples are texts.
    pub fn texts(&self) -> Option<&Path> {
        Some(self.samples.as_path()).filter(|path| has_ending(path, "txt"))
    }
}

fn ending(form: &Form) -> &'static str {
    match form.arrangement {
        Arrangement::Image { .. } if image_format(form).is_ok() => "png",
        Arrangement::Text { .. } | Arrangement::Bytes { .. } | Arrangement::Tokens { .. } => "txt",
        Arrangement::Table { .. } => "csv",
        Arrangement::Image { .. } | Arrangement::Sequence { .. } => "npz",
    }
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}
