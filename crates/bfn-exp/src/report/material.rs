//! The material of a report: everything that the folder of a run contains, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bound::TimeBin;
use crate::evaluate::Stored;
use crate::metrics::Log;
use crate::run::{Record, Run};
use crate::table::{Report, Row, headline};

/// The contents of a run's folder.
#[derive(Debug)]
pub(super) struct Material {
    /// The name in the report: the name of the folder.
    pub(super) name: String,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// The text of its experiment file.
    pub(super) experiment: String,
    /// The record of how it was made.
    pub(super) record: Record,
    /// Its log.
    pub(super) log: Log,
    /// The results stored by `bfn evaluate`, by file name.
    pub(super) evaluations: BTreeMap<String, Report>,
    /// The newest file of samples.
    pub(super) samples: Option<PathBuf>,
    /// The newest animation of the flow.
    pub(super) flow: Option<PathBuf>,
    /// The newest strip of the flow.
    pub(super) strip: Option<PathBuf>,
    /// The plot stored by `bfn quality`.
    pub(super) quality: Option<PathBuf>,
}

impl Material {
    /// Reads the folder of a run.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let run = Run::open(folder)?;
        let path = run.path("experiment.toml");
        let experiment = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let strip = |path: &Path| name_of(path).ends_with("-strip.png");
        // These files come from validations and from `bfn sample`; the one that was written last is used.
        let drawn = |part: &str, fits: &dyn Fn(&Path) -> bool| {
            let in_folder = |path: &Path| fits(path) && name_of(path).starts_with(part);
            let both = [newest(&run.path(part), fits), newest(folder, in_folder)].into_iter().flatten();
            both.max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        };
        let quality = Some(run.path("quality.svg")).filter(|path| path.is_file());
        Ok(Self {
            name: name_of(&name),
            folder: folder.to_owned(),
            experiment,
            record: run.record()?,
            log: Log::read(&run.path("metrics.jsonl"))?,
            evaluations: Stored::all(folder)?,
            samples: drawn("samples", &|path| has_ending(path, &["png", "txt", "csv"])),
            flow: drawn("flow", &|path| has_ending(path, &["png", "gif"]) && !strip(path)),
            strip: drawn("flow", &strip),
            quality,
        })
    }

    /// Returns the name of the unit of bits per variable.
    pub(super) fn unit(&self) -> &'static str {
        self.record.form.bits_per_variable()
    }

    /// Returns the continuous-time bound to quote first.
    pub(super) fn headline(&self) -> Option<(&Report, &Row)> {
        let all = self.evaluations.values();
        headline(all.filter_map(|each| Some((&each.setting, (each, each.in_continuous_time()?)))))
    }

    /// Returns the loss in time bins, from the evaluation to quote first or else from the last validation.
    pub(super) fn loss_by_time(&self) -> &[TimeBin] {
        let evaluated = self.headline().map(|(_, bound)| bound.by_time.as_slice()).filter(|bins| !bins.is_empty());
        let validated = || self.log.validation.last().map(|line| line.loss_by_time.as_slice());
        evaluated.or_else(validated).unwrap_or_default()
    }
}

/// Replaces the names of runs that share a name by their whole paths.
pub(super) fn tell_apart(runs: &mut [Material]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for run in runs {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = run.folder.display().to_string();
        }
    }
}

/// Returns the last matching file by name; the step numbers in the names have leading zeros.
fn newest(folder: &Path, fits: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    files(folder).filter(|path| fits(path)).max()
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file())
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
