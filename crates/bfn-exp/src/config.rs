//! Experiment files: configuration as data.
//!
//! Every key is documented here; unknown keys are refused with their line.

mod duration;
mod own_data;

pub use own_data::{
    ArrayConfig, ColourConfig, ColumnKindConfig, ColumnsConfig, HeldOutConfig, ImagesConfig, MeaningConfig,
    RealMapConfig, TableConfig,
};

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bfn_nets::networks::NetworkConfig;
use bfn_nets::{EmaConfig, OptimiserConfig, Precision};
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
    /// AdamW, or Muon with it.
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

/// `[data]`: where the data lie, and exactly one table that says what they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The folder that data sets are looked for in first; then come the variable BFN_DATA and the cache folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The embedded 8 × 8 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<DigitsConfig>,
    /// MNIST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mnist: Option<MnistConfig>,
    /// CIFAR-10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cifar10: Option<Cifar10Config>,
    /// text8, or the beginning of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text8: Option<Text8Config>,
    /// A folder of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImagesConfig>,
    /// An array of NumPy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayConfig>,
    /// A table in CSV or Parquet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableConfig>,
    /// A text file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
}

/// `[data.digits]`: the embedded digits have no settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigitsConfig {}

/// `[data.mnist]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MnistConfig {
    /// What becomes of the grey levels.
    pub pixels: PixelsConfig,
}

/// What becomes of the grey levels of MNIST.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PixelsConfig {
    /// Each pixel 1 with the probability of its grey level, drawn afresh in each epoch.
    Binarised,
    /// The same, but drawn once from this seed.
    StaticallyBinarised {
        /// The seed.
        seed: u64,
    },
    /// Grey levels in equal bins.
    Grey {
        /// The number of bins, 2 to 256.
        bins: u16,
    },
}

/// `[data.cifar10]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cifar10Config {
    /// Equal bins of the intensities of red, green and blue, 2 to 256.
    pub bins: u16,
    /// Whether images are mirrored while training.
    #[serde(default)]
    pub flip: FlipConfig,
}

/// Whether images are mirrored while training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlipConfig {
    /// Never, as published.
    #[default]
    Never,
    /// Left and right are exchanged in every other image, drawn afresh in each epoch.
    Horizontal,
}

/// `[data.text8]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text8Config {
    /// Characters in a window.
    pub length: usize,
}

/// `[data.text]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The file, or the files in the order in which they make one text; each plain, gzip, or a zip of one file. A path
    /// that is not absolute is looked for from the working folder, then in the places of data.
    pub file: Paths,
    /// Symbols in a window.
    pub length: usize,
    /// The alphabet, in the order of the classes; absent for the characters that occur.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alphabet: Option<String>,
    /// The character of the alphabet that stands for those it lacks; absent where such are an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<char>,
    /// What a symbol is.
    #[serde(default)]
    pub symbols: SymbolsConfig,
    /// The JSON file of a tokenizer, as the library `tokenizers` writes it; only for tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// One.
    One(PathBuf),
    /// Several.
    Several(Vec<PathBuf>),
}

/// What a symbol of a text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolsConfig {
    /// A character of UTF-8.
    #[default]
    Characters,
    /// A byte, whatever it means.
    Bytes,
    /// A token of a tokenizer.
    Tokens,
}

/// `[flow.continuous]`, `[flow.discretised]`, `[flow.discrete]` or, for tables, `[flow.mixed]`: the Bayesian flow and its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FlowConfig {
    /// Bins as real numbers, predicted by a point.
    Continuous {
        /// σ₁, the standard deviation of the input distribution at t = 1.
        sigma_1: f64,
        /// The standard deviation of the reconstruction; absent for σ₁.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconstruction_deviation: Option<f64>,
    },
    /// Bins as real numbers, predicted by a discretised normal.
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
    /// Each column of a table as what it is. What a table has none of needs no setting.
    Mixed {
        /// σ₁ of real numbers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sigma_1: Option<f64>,
        /// σ₁ of bins, in widths of a bin, so that one setting fits few and many bins.
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
    /// It is its logits, as published.
    #[default]
    Direct,
    /// Its logits are added to those of θ, as Bayes' rule has it.
    Posterior,
}

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
    /// How the times of a batch are drawn.
    #[serde(default)]
    pub times: Times,
    /// What to do about a loss or gradient that is NaN or infinite; it never changes a weight.
    #[serde(default)]
    pub not_finite: NotFinite,
    /// Steps between two lines of metrics.
    #[serde(default = "fifty")]
    pub log_every: u64,
}

/// What to do about a loss or gradient that is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotFinite {
    /// Stop, and keep the batch in the folder of the run.
    #[default]
    Stop,
    /// Skip the step, and count it in the log.
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

/// `[validation]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between two validations.
    pub every: u64,
    /// Examples of the validation split to use; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
}

/// `[checkpoint]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints; the end of a run always has one.
    pub every: u64,
    /// How many of the last checkpoints stay; the best one by validation stays as well.
    #[serde(default = "two")]
    pub keep: usize,
    /// Checkpoints at multiples of this number of steps stay for good; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
}

fn one() -> u32 {
    1
}

fn two() -> usize {
    2
}

fn fifty() -> u64 {
    50
}

impl Experiment {
    /// Reads an experiment file and changes it as `--set` says.
    ///
    /// # Errors
    ///
    /// The file, with the line and key that is wrong, or the `--set` that is.
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the experiment file {}", path.display()))?;
        let in_file = || format!("in {}", path.display());
        let mut experiment = Self::deserialise(&text).with_context(in_file)?;
        if overrides.is_empty() {
            experiment.check().with_context(in_file)?;
            return Ok(experiment);
        }
        let mut document: DocumentMut = text.parse().with_context(in_file)?;
        for change in overrides {
            change.apply(&mut document)?;
            experiment =
                Self::deserialise(&document.to_string()).with_context(|| format!("in --set {}", change.key()))?;
        }
        // Only all changes together have to make sense.
        experiment.check().with_context(|| format!("in {} with the changes of --set", path.display()))?;
        Ok(experiment)
    }

    /// Parses and checks the text of an experiment file.
    ///
    /// # Errors
    ///
    /// The line and key that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let experiment = Self::deserialise(text)?;
        experiment.check()?;
        Ok(experiment)
    }

    fn deserialise(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_end()))
    }

    /// The experiment as an experiment file.
    ///
    /// # Errors
    ///
    /// A value that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("the experiment cannot be written as TOML")
    }

    /// The learning rate of a step, counted from 0: it rises over the warm-up and goes on as `training.decay` says.
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
            ("training.steps", self.training.steps),
            ("training.batch", self.training.batch as u64),
            ("training.accumulation", self.training.accumulation.into()),
            ("training.log_every", self.training.log_every),
            ("checkpoint.every", self.checkpoint.every),
            ("checkpoint.keep", self.checkpoint.keep as u64),
            ("checkpoint.keep_every", self.checkpoint.keep_every.unwrap_or(1)),
            ("validation.every", self.validation.as_ref().map_or(1, |validation| validation.every)),
        ];
        for (key, value) in positive {
            ensure!(value > 0, "{key} is 0; it must be at least 1");
        }
        let TrainingConfig { clip, .. } = self.training;
        ensure!(
            self.training.warm_up < self.training.steps,
            "training.warm_up is {}; it must be below training.steps, which is {}",
            self.training.warm_up,
            self.training.steps
        );
        ensure!(clip > 0.0, "training.clip is {clip}; it must be above 0 (inf for no clipping)");
        self.optimiser.validate().context("in [optimiser]")?;
        self.ema.validate().context("in [ema]")?;
        self.data.check()
    }
}

impl DataConfig {
    fn check(&self) -> Result<()> {
        let tables = [
            ("data.digits", self.digits.is_some()),
            ("data.mnist", self.mnist.is_some()),
            ("data.cifar10", self.cifar10.is_some()),
            ("data.text8", self.text8.is_some()),
            ("data.text", self.text.is_some()),
            ("data.images", self.images.is_some()),
            ("data.array", self.array.is_some()),
            ("data.table", self.table.is_some()),
        ];
        let present: Vec<&str> = tables.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        let known = tables.map(|(name, _)| name).join(", ");
        ensure!(
            present.len() == 1,
            "exactly one of the tables {known} is needed, not {}",
            match present[..] {
                [] => "none of them".to_owned(),
                _ => present.join(" and "),
            }
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
