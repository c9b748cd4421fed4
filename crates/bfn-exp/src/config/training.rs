//! `[training]`: the length of training, its batches and its precision.

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
    /// Training steps.
    pub steps: u64,
    /// Training ends after this time, such as "2m" or "3h 30m", even if not all steps are done.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Duration>,
    /// The seed of every random draw of the run.
    #[serde(default)]
    pub seed: u64,
    /// Examples per batch.
    pub batch: usize,
    /// The number of batches whose gradients are averaged into one step.
    #[serde(default = "one")]
    pub accumulation: u32,
    /// The largest norm of the gradient; longer gradients are scaled down to it.
    pub clip: f64,
    /// Steps over which the learning rate rises from 0.
    #[serde(default)]
    pub warm_up: u64,
    /// How the learning rate continues after the warm-up.
    #[serde(default)]
    pub decay: Decay,
    /// The precision of the network's arithmetic.
    #[serde(default)]
    pub precision: Precision,
    /// Whether a GPU may only use kernels that reproduce the same bits; slower.
    /// A resumed run then ends like one that was never interrupted. On a CPU, all kernels are of this kind.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deterministic: bool,
    /// Whether a GPU replays the passes of a step, and predictions for samples and bounds, as recorded CUDA graphs.
    /// Faster for a small network whose steps mostly consist of kernel launches. On a CPU, nothing is recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cuda_graphs: bool,
    /// How the times of a batch are drawn.
    #[serde(default)]
    pub times: Times,
    /// The relative density of times in equal intervals of [0, 1); uniform if empty. The loss is weighted by the
    /// inverse density and keeps its mean; its noise is least if the density follows the size of the loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub time_density: Vec<f64>,
    /// The share of examples whose label and low-resolution image are withheld from a conditioned network.
    /// The network thereby learns to predict without them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub condition_dropout: f64,
    /// How to handle a loss or gradient that is NaN or infinite; the optimiser never takes such a step.
    #[serde(default)]
    pub not_finite: NotFinite,
    /// Steps between two lines of metrics, at most a million; until then, their losses stay on the device.
    #[serde(default = "fifty")]
    pub log_every: u64,
    /// Whether metrics and pictures are also written to TensorBoard event files.
    #[serde(default = "yes")]
    pub tensorboard: bool,
}

/// The handling of a loss or gradient that is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotFinite {
    /// Stop, and keep the batch in the folder of the run.
    #[default]
    Stop,
    /// Skip the step and count it in the log; after twenty such steps in a row, stop at the next line of the log.
    Skip,
}

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays constant.
    #[default]
    Constant,
    /// It falls along half a cosine to 0 at the end of training.
    Cosine,
}

/// The rule by which the times of a batch are drawn.
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
    /// Chooses the GPU kernels of the whole process; to be called before any computation and other threads start.
    ///
    /// # Errors
    ///
    /// Returns an error if libtorch cannot provide these kernels.
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
