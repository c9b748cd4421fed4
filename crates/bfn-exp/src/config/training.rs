//! `[training]`: how long, with what batches, how exactly.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bfn_nets::device::set_determinism;
use bfn_nets::{Determinism, Precision};
use serde::{Deserialize, Serialize};
use tch::Device;

use super::duration;
use crate::draws;

/// `[training]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Training ends after this time, such as "2m" or "3h 30m", if the steps are not done before.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Duration>,
    /// The seed of every draw of the run.
    #[serde(default)]
    pub seed: u64,
    /// Examples per step.
    pub batch: usize,
    /// Gradients of this many batches are averaged into one step.
    #[serde(default = "one")]
    pub accumulation: u32,
    /// The largest norm of the gradient; longer ones are shortened to it.
    pub clip: f64,
    /// Steps over which the learning rate rises from 0.
    #[serde(default)]
    pub warm_up: u64,
    /// How the learning rate goes on.
    #[serde(default)]
    pub decay: Decay,
    /// The precision of the network's arithmetic.
    #[serde(default)]
    pub precision: Precision,
    /// Whether a GPU may use only kernels that give the same bits again, so that a resumed run ends as one that never
    /// stopped; slower. On a CPU all are such.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deterministic: bool,
    /// Whether a GPU repeats the passes of a step, and the network's predictions for samples and bounds, as recorded
    /// CUDA graphs: faster where a step of a small network is mostly asking for its kernels. On a CPU nothing is recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cuda_graphs: bool,
    /// How the times of a batch are drawn.
    #[serde(default)]
    pub times: Times,
    /// How densely times are drawn in equal stretches of [0, 1), relative to one another; equally where it is empty.
    /// The loss is weighted by the inverse and keeps its mean; its noise is least where this follows its size.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub time_density: Vec<f64>,
    /// The share of examples whose label and low-resolution image are kept from a network that is told them, so that
    /// it can do without.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub condition_dropout: f64,
    /// What to do about a loss or gradient that is NaN or infinite; the optimiser never takes such a step.
    #[serde(default)]
    pub not_finite: NotFinite,
    /// Steps between two lines of metrics, at most a million: their losses wait on the device.
    #[serde(default = "fifty")]
    pub log_every: u64,
    /// Whether metrics and pictures go to TensorBoard event files as well.
    #[serde(default = "yes")]
    pub tensorboard: bool,
}

/// What to do about a loss or gradient that is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotFinite {
    /// Stop, and keep the batch in the folder of the run.
    #[default]
    Stop,
    /// Skip the step, and count it in the log; stop where twenty of them came in a row, at the log's next line.
    Skip,
}

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays.
    #[default]
    Constant,
    /// It falls to 0 along half a cosine, at the last step.
    Cosine,
}

/// How the times of a batch are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// Equally spaced over [0, 1) from a random start: the same mean with less noise.
    #[default]
    LowDiscrepancy,
    /// Independent and uniform on [0, 1), as in the published code.
    Independent,
}

fn one() -> u32 {
    1
}

fn fifty() -> u64 {
    50
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl TrainingConfig {
    /// Chooses the kernels of a GPU for the whole process: before anything is computed and other threads start.
    ///
    /// # Errors
    ///
    /// A libtorch that has none such.
    pub fn choose_kernels(&self, device: Device) -> Result<()> {
        let determinism = if self.deterministic { Determinism::Deterministic } else { Determinism::Fast };
        Ok(set_determinism(determinism, device)?)
    }

    pub(super) fn check(&self) -> Result<()> {
        const MOST_BETWEEN_LINES: u64 = 1_000_000;
        let Self { steps, log_every, warm_up, clip, .. } = *self;
        let counts = [
            ("steps", steps),
            ("batch", self.batch as u64),
            ("accumulation", self.accumulation.into()),
            ("log_every", log_every),
        ];
        for (key, value) in counts {
            ensure!(value > 0, "training.{key} is 0; it must be at least 1");
        }
        ensure!(
            log_every <= MOST_BETWEEN_LINES,
            "training.log_every is {log_every}; it must be at most {MOST_BETWEEN_LINES}"
        );
        ensure!(warm_up < steps, "training.warm_up is {warm_up}; it must be below training.steps, which is {steps}");
        ensure!(clip > 0.0, "training.clip is {clip}; it must be above 0 (inf for no clipping)");
        draws::density(&self.time_density).context("in training.time_density")?;
        Ok(())
    }
}
