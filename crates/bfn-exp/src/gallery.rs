//! The samples that a run shows at each validation, and the flow that leads to them.
//!
//! The noise follows from the seed of the run and is the same each time, so that pictures of different steps differ
//! only by the network. It is separate from the noise of training, which is the same whether samples are shown or not.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bfn_core::Grid;
use bfn_core::sampler::{Sampler, Solver};
use bfn_data::Seed;

use crate::conditioning::{Conditions, rounded_up};
use crate::config::ValidationConfig;
use crate::form::{Arrangement, Form};
use crate::model::Model;
use crate::run::Run;
use crate::sample::Draws;
use crate::target::{Target, image_format};
use crate::task::Task;
use crate::trajectory::Trajectory;

/// The files that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gallery {
    /// The samples: a picture, texts, rows, or arrays.
    pub samples: PathBuf,
    /// The flow as a strip and, for text, in words; empty if it cannot be shown.
    pub flow: Vec<PathBuf>,
}

impl Gallery {
    /// Draws samples as `conditions` specifies, and writes them to `samples/step-N.…` and `flow/step-N….png` in the run.
    ///
    /// # Errors
    ///
    /// Returns an error if a folder cannot be written to or the disk is full.
    pub fn draw(
        run: &Run,
        model: &Model,
        task: &Task,
        config: &ValidationConfig,
        conditions: &Conditions,
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
        // All samples are in one batch, so that their flow is shown together.
        let count = rounded_up(config.samples as usize, conditions.images());
        let draws = Draws { task, model, conditions, sampler: &sampler, seed, batch: count as u32 };
        let drawn = draws.draw(count, &mut |_, view| match &mut moving {
            Some(trajectory) => trajectory.record(view),
            None => Ok(()),
        })?;
        target.write_conditioned(&drawn.values, &task.form, conditions.images())?;
        let mut flow = moving.map(|trajectory| trajectory.write()).transpose()?.unwrap_or_default();
        // The animation, which comes first, is meant for browsers and is left out.
        flow.drain(..flow.len().min(1));
        Ok(Self { samples, flow })
    }

    /// Returns the files that are pictures, each with what it shows.
    pub fn pictures(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let all = std::iter::once(("samples", &self.samples)).chain(self.flow.iter().map(|path| ("flow", path)));
        all.map(|(what, path)| (what, path.as_path())).filter(|(_, path)| has_ending(path, "png"))
    }

    /// Returns the file of texts, if the samples are texts.
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
