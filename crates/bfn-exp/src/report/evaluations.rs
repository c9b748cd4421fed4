//! The evaluations that a run keeps.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer};

use crate::evaluate::Steps;

/// What `bfn evaluate` found, as far as a report shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Evaluation {
    /// The name of its file, without the ending.
    #[serde(skip)]
    pub(super) name: String,
    /// The part of the data.
    pub(super) split: String,
    /// Examples evaluated.
    pub(super) examples: usize,
    /// Variables in an example.
    pub(super) dimensions: usize,
    /// How the times of n steps are spread.
    pub(super) grid: String,
    /// Draws per example.
    #[serde(default)]
    pub(super) repeats: Option<u32>,
    /// Optimiser steps of the network.
    #[serde(default)]
    pub(super) checkpoint_step: Option<u64>,
    /// Which of its weights.
    #[serde(default)]
    pub(super) weights: Option<String>,
    /// What is computed as published and not exactly.
    #[serde(default)]
    pub(super) as_published: Vec<String>,
    /// A bound for each number of steps.
    pub(super) results: Vec<Bound>,
}

/// The bound for one number of steps.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Bound {
    /// n, or continuous time.
    #[serde(deserialize_with = "steps")]
    pub(super) steps: Steps,
    /// L^n or L^∞, in nats per variable.
    #[serde(deserialize_with = "number")]
    pub(super) loss_nats_per_dim: f64,
    /// L^r, in nats per variable.
    #[serde(deserialize_with = "number")]
    pub(super) reconstruction_nats_per_dim: f64,
    /// Their sum, in nats per example.
    #[serde(deserialize_with = "number")]
    pub(super) total_nats_per_example: f64,
    /// The same in bits per variable.
    #[serde(deserialize_with = "number")]
    pub(super) total_bits_per_dim: f64,
    /// The standard error of the total, in bits per variable.
    #[serde(deserialize_with = "number")]
    pub(super) standard_error_bits_per_dim: f64,
    /// The loss in bins of time.
    #[serde(default)]
    pub(super) by_time: Vec<Bin>,
}

/// The mean loss of the draws within some time.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Bin {
    /// Where the bin begins.
    pub(super) from: f64,
    /// Where it ends.
    pub(super) to: f64,
    /// The mean, in nats per variable.
    #[serde(deserialize_with = "number")]
    pub(super) nats_per_dim: f64,
    /// Its standard error.
    #[serde(deserialize_with = "number")]
    pub(super) standard_error_nats_per_dim: f64,
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
        let evaluation: Self = serde_json::from_str(&text)
            .with_context(|| format!("{shown} is not what `bfn evaluate` stores; remove it and evaluate again"))?;
        Ok(Self { name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), ..evaluation })
    }

    /// The bound in continuous time.
    pub(super) fn in_continuous_time(&self) -> Option<&Bound> {
        self.results.iter().find(|bound| bound.steps == Steps::Infinite)
    }
}

impl Bound {
    /// The standard error of the total in nats per example of so many variables.
    pub(super) fn error_nats_per_example(&self, dimensions: usize) -> f64 {
        self.standard_error_bits_per_dim * std::f64::consts::LN_2 * dimensions as f64
    }
}

fn steps<'de, D: Deserializer<'de>>(from: D) -> Result<Steps, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(serde::de::Error::custom)
}

/// JSON knows no number that is not finite and has null for it.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}
