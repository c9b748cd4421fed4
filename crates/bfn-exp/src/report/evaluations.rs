//! The evaluations that a run keeps.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::evaluate::Steps;
use crate::table::{Report, Row, Setting};

/// What `bfn evaluate` has left in a run.
#[derive(Debug, Clone)]
pub(super) struct Evaluation {
    /// The name of its file.
    pub(super) file: String,
    /// What was evaluated, and how.
    pub(super) setting: Setting,
    /// A bound for each number of steps.
    pub(super) results: Vec<Row>,
}

impl Evaluation {
    /// All evaluations in a folder, by name; none where there is no folder.
    pub(super) fn read_all(folder: &Path) -> Result<Vec<Self>> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_json = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
        let mut paths: Vec<PathBuf> = entries.filter(is_json).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let Report { setting, results, .. } = serde_json::from_str(&text)
            .with_context(|| format!("{shown} is not what `bfn evaluate` stores; remove it and evaluate again"))?;
        Ok(Self { file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), setting, results })
    }

    /// The bound in continuous time.
    pub(super) fn in_continuous_time(&self) -> Option<&Row> {
        self.results.iter().find(|row| row.steps == Steps::Infinite)
    }
}
