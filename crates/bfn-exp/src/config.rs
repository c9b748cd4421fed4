//! Experiment files: configuration as data.
//!
//! Every key is documented here; unknown keys are rejected with their line.

mod data;
pub mod duration;
mod nearest;
mod own_data;
mod training;

pub use data::{
    Cifar10Config, DataConfig, DigitsConfig, FlipConfig, MnistConfig, Paths, PixelsConfig, SymbolsConfig, Text8Config,
    TextConfig,
};
pub use own_data::{
    ArrayConfig, ColourConfig, ColumnKindConfig, ColumnsConfig, HeldOutConfig, ImagesConfig, RealMapConfig,
    TableConfig, usual_marks,
};
pub use training::{Decay, NotFinite, Times, TrainingConfig};

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bfn_nets::networks::NetworkConfig;
use bfn_nets::{EmaConfig, OptimiserConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml_edit::DocumentMut;

use crate::overrides::Override;

/// An experiment: what to model, how, and for how long to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The data.
    pub data: DataConfig,
    /// The Bayesian flow.
    pub flow: FlowConfig,
    /// The network.
    pub network: NetworkConfig,
    /// AdamW, alone or together with Muon.
    pub optimiser: OptimiserConfig,
    /// The exponential moving average of the weights.
    pub ema: EmaConfig,
    /// The training loop.
    pub training: TrainingConfig,
    /// When to validate; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationConfig>,
    /// When to write checkpoints.
    pub checkpoint: CheckpointConfig,
}

/// The Bayesian flow and its schedule.
/// One of `[flow.continuous]`, `[flow.discretised]`, `[flow.discrete]` or, for tables, `[flow.mixed]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FlowConfig {
    /// Real numbers, or bins treated as real numbers, predicted by a point.
    Continuous {
        /// σ₁, the standard deviation of the input distribution at t = 1.
        sigma_1: f64,
        /// The standard deviation of the reconstruction; absent for σ₁.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconstruction_deviation: Option<f64>,
    },
    /// Bins treated as real numbers, predicted by a discretised normal distribution.
    Discretised {
        /// σ₁, the standard deviation of the input distribution at t = 1.
        sigma_1: f64,
    },
    /// Classes.
    Discrete {
        /// β(1), the accuracy at t = 1.
        beta_1: f64,
        /// How the network's output becomes the output distribution.
        #[serde(default)]
        readout: ReadoutConfig,
    },
    /// Each column of a table by its kind. A kind that the table does not have needs no setting.
    Mixed {
        /// σ₁ of real numbers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sigma_1: Option<f64>,
        /// σ₁ of bins, in bin widths, so that one setting fits few and many bins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sigma_1_in_bins: Option<f64>,
        /// β(1) of classes times their number, so that one setting fits few and many classes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta_1_times_classes: Option<f64>,
        /// How the network's output becomes the output distribution of classes.
        #[serde(default)]
        readout: ReadoutConfig,
    },
}

/// How the network's output becomes the output distribution of discrete data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadoutConfig {
    /// The output is the logits, as published.
    #[default]
    Direct,
    /// The output is added to the logits of θ, according to Bayes' rule.
    Posterior,
}

/// `[validation]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between two validations.
    pub every: u64,
    /// Examples of the validation split to use; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
    /// Samples to draw and keep in the run at each validation; 0 for none.
    #[serde(default = "samples")]
    pub samples: u32,
    /// The number of sampling steps n of these samples.
    #[serde(default = "sample_steps")]
    pub sample_steps: u32,
}

/// `[checkpoint]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints; a run always writes one at its end.
    pub every: u64,
    /// How many of the last checkpoints are kept; the best one by validation is kept as well.
    #[serde(default = "two")]
    pub keep: usize,
    /// Checkpoints at multiples of this number of steps are kept permanently; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
}

fn two() -> usize {
    2
}

fn samples() -> u32 {
    ValidationConfig::SAMPLES
}

fn sample_steps() -> u32 {
    ValidationConfig::SAMPLE_STEPS
}

impl ValidationConfig {
    /// The default number of samples.
    pub const SAMPLES: u32 = 16;
    /// The default number of sampling steps.
    pub const SAMPLE_STEPS: u32 = 50;
}

/// Parses a configuration from TOML.
///
/// # Errors
///
/// Returns an error with the line that is wrong and, for an unknown key, the nearest known one.
pub fn deserialise<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", nearest::explain(&error)))
}

impl Experiment {
    /// Reads an experiment file and applies the changes of `--set`.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file with the line and key that are wrong, or the wrong `--set`.
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the experiment file {}", path.display()))?;
        let in_file = || format!("in {}", path.display());
        let mut experiment: Self = deserialise(&text).with_context(in_file)?;
        if overrides.is_empty() {
            experiment.check().with_context(in_file)?;
            return Ok(experiment);
        }
        let mut document: DocumentMut = text.parse().with_context(in_file)?;
        for change in overrides {
            change.apply(&mut document)?;
            experiment = deserialise(&document.to_string()).with_context(|| format!("in --set {}", change.key()))?;
        }
        // Only the result of all changes has to be consistent.
        experiment.check().with_context(|| format!("in {} with the changes of --set", path.display()))?;
        Ok(experiment)
    }

    /// Parses and checks the text of an experiment file.
    ///
    /// # Errors
    ///
    /// Returns an error with the line and key that are wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let experiment: Self = deserialise(text)?;
        experiment.check()?;
        Ok(experiment)
    }

    /// Formats the experiment as an experiment file.
    ///
    /// # Errors
    ///
    /// Returns an error if TOML cannot hold a value.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("the experiment cannot be written as TOML")
    }

    /// Computes the learning rate of a step, counted from 0: it rises over the warm-up, then follows `training.decay`.
    pub fn learning_rate(&self, step: u64) -> f64 {
        let TrainingConfig { warm_up, decay, steps, .. } = self.training;
        let highest = self.optimiser.learning_rate;
        if step < warm_up {
            return highest * (step + 1) as f64 / (warm_up + 1) as f64;
        }
        match decay {
            Decay::Constant => highest,
            Decay::Cosine => {
                let done = (step - warm_up) as f64 / (steps - warm_up).max(1) as f64;
                highest * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("checkpoint.every", self.checkpoint.every),
            ("checkpoint.keep", self.checkpoint.keep as u64),
            ("checkpoint.keep_every", self.checkpoint.keep_every.unwrap_or(1)),
            ("validation.every", self.validation.as_ref().map_or(1, |validation| validation.every)),
            ("validation.examples", self.validation.as_ref().and_then(|v| v.examples).unwrap_or(1)),
            ("validation.sample_steps", self.validation.as_ref().map_or(1, |v| v.sample_steps.into())),
        ];
        for (key, value) in positive {
            ensure!(value > 0, "{key} is 0; it must be at least 1");
        }
        self.training.check()?;
        let dropout = self.training.condition_dropout;
        ensure!((0.0..=1.0).contains(&dropout), "training.condition_dropout is {dropout}; it must be from 0 to 1");
        ensure!(
            dropout == 0.0 || self.network.classes().is_some() || self.network.low_resolution().is_some(),
            "training.condition_dropout is {dropout}, but the network is given no labels; give it `classes`, or \
             `low_resolution`"
        );
        self.optimiser.validate().context("in [optimiser]")?;
        self.ema.validate().context("in [ema]")?;
        self.data.check()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn digits() -> Experiment {
        Experiment::parse(include_str!("../../../experiments/digits.toml")).expect("the experiment is sound")
    }

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let mut experiment = digits();
        experiment.training.steps = 110;
        experiment.training.warm_up = 10;
        experiment.training.decay = Decay::Cosine;
        let highest = experiment.optimiser.learning_rate;
        let rates: Vec<f64> = (0..110).map(|step| experiment.learning_rate(step)).collect();
        assert!(rates[..10].windows(2).all(|pair| pair[0] < pair[1]) && rates[9] < highest);
        assert_eq!(rates[10], highest);
        assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!((rates[60] - highest / 2.0).abs() < 1e-12 && rates[109] < 0.001 * highest);
        experiment.training.decay = Decay::Constant;
        assert_eq!(experiment.learning_rate(109), highest);
    }

    #[test]
    fn durations_are_read_and_written() {
        let mut experiment = digits();
        experiment.training.max_time = Some(Duration::from_secs(3 * 3600 + 30 * 60));
        let text = experiment.to_toml().expect("it can be written");
        assert_eq!(Experiment::parse(&text).expect("it can be read"), experiment);
    }
}
