//! The condition of a network during sampling: a class or a small image for each sample, and its guidance.

mod images;

pub use images::{Images, Like, rounded_up};

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use bfn_core::sampler::{Guided, guided};
use bfn_nets::Tensor;
use bfn_nets::networks::{Condition, Mode};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::model::Model;
use crate::run::Trained;
use crate::side::{Side, condition};
use crate::task::Source;

/// Options that condition samples.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ConditionArgs {
    /// Draw samples of this class, counted from 0; `each` for each class in turn; `none` for no particular class.
    #[arg(long, value_name = "NUMBER|each|none")]
    pub class: Option<ClassName>,
    /// Draw images of which these are small versions; sample s uses the small image s modulo their number.
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with = "like")]
    pub low_resolution: Vec<PathBuf>,
    /// Reduce examples of the data instead of reading small images from files: `test:3` is one example, `test:0-7`
    /// are eight, and `test` are as many as there are samples.
    #[arg(long, value_name = "SPLIT[:NUMBER[-NUMBER]]")]
    pub like: Option<Like>,
    /// The guidance weight: how far to go beyond the prediction for the class or small image, away from the
    /// prediction without it. 0 turns guidance off.
    #[arg(long, default_value_t = 0.0, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub guidance: f64,
    /// What guidance extrapolates: the network's output, or the parameters of the output distribution (means, or
    /// probabilities of classes).
    #[arg(long, value_enum, default_value_t = Guide::Output)]
    pub guide: Guide,
}

/// The condition that follows from the arguments, for a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionRecord {
    /// A number, `each`, `of_image` or `none`.
    pub class: String,
    /// The small images, as examples of a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// The small images, as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub low_resolution: Vec<PathBuf>,
    /// The weight of guidance.
    pub guidance: f64,
    /// The quantity that guidance extrapolates.
    pub guide: Guide,
}

impl ConditionRecord {
    /// Returns the condition that follows from these arguments.
    pub fn of(args: &ConditionArgs, conditions: &Conditions) -> Self {
        Self {
            class: conditions.class.to_string(),
            like: args.like.map(|like| like.to_string()),
            low_resolution: args.low_resolution.clone(),
            guidance: args.guidance,
            guide: args.guide,
        }
    }
}

/// A class as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassName {
    /// This class.
    Number(u32),
    /// Sample s is of class s modulo the number of classes.
    Each,
    /// The class of the example from which the sample's small image was made.
    OfImage,
    /// No class.
    None,
}

/// The quantity that guidance extrapolates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guide {
    /// The network's output.
    Output,
    /// The parameters of the output distribution.
    Parameters,
}

/// The weight of guidance, and the quantity that it extrapolates.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Guidance {
    weight: f64,
    guide: Guide,
}

/// The conditions of a run's network for all samples, and their guidance.
#[derive(Debug, Clone)]
pub struct Conditions {
    classes: Option<usize>,
    class: ClassName,
    images: Option<Images>,
    guidance: Guidance,
}

/// The condition of a batch, and its guidance.
#[derive(Debug)]
pub struct Conditioning {
    condition: Condition,
    guidance: Guidance,
}

impl std::str::FromStr for ClassName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "each" => Ok(Self::Each),
            "none" => Ok(Self::None),
            number => {
                number.parse().map(Self::Number).map_err(|_| "it must be a number from 0, each or none".to_owned())
            }
        }
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(to),
            Self::Each => to.write_str("each"),
            Self::OfImage => to.write_str("of_image"),
            Self::None => to.write_str("none"),
        }
    }
}

impl Conditions {
    /// Conditions samples on each class in turn or, if the network receives small images, on examples.
    ///
    /// These are the first `count` examples of a split. A network that receives no condition is given none.
    ///
    /// # Errors
    ///
    /// Returns the error that the data set reports about its files.
    pub fn of_examples(side: Side, source: &Source, count: usize) -> Result<Self> {
        let images = side.reduction.map(|reduction| Images::of_examples(reduction, source, 0..count)).transpose()?;
        let class = match side.classes {
            None => ClassName::None,
            Some(_) if images.is_some() => ClassName::OfImage,
            Some(_) => ClassName::Each,
        };
        Ok(Self { classes: side.classes, class, images, guidance: Guidance::NONE })
    }

    /// Checks the arguments against the conditions with which the run's network was trained.
    ///
    /// If a whole split is named, at most `count` small images are read, which is the number of samples.
    ///
    /// # Errors
    ///
    /// Returns an error if the network does not know the class, if images have another size, or if `none` or guidance
    /// is requested of a network that was always trained with its condition.
    pub fn new(args: &ConditionArgs, trained: &Trained, count: usize) -> Result<Self> {
        let run = trained.folder.display();
        let Side { classes, reduction } = trained.task.side;
        let ConditionArgs { guidance: weight, guide, .. } = *args;
        ensure!(
            classes.is_some() || args.class.is_none(),
            "{run} was trained without labels; --class needs `classes` in its network"
        );
        ensure!(
            reduction.is_some() || (args.low_resolution.is_empty() && args.like.is_none()),
            "{run} was trained without small images; --low-resolution and --like need `low_resolution` in its network"
        );
        ensure!(
            trained.task.side.is_some() || weight == 0.0,
            "{run} was trained without labels or small images; --guidance needs `classes` or `low_resolution` in its \
             network"
        );
        let knows_none = trained.experiment.training.condition_dropout > 0.0;
        let untrained = format!(
            "was trained with the {} of every example (training.condition_dropout is 0)",
            match (classes, reduction) {
                (_, None) => "label",
                (None, Some(_)) => "reduced image",
                (Some(_), Some(_)) => "label and the reduced image",
            }
        );
        let images = reduction.map(|reduction| Images::new(reduction, args, trained, count)).transpose()?.flatten();
        let class = match (classes, args.class) {
            (None, _) => ClassName::None,
            (Some(classes), Some(ClassName::Number(number))) if number as usize >= classes => {
                bail!("--class {number}: {run} was trained on {classes} classes, 0 to {}", classes - 1)
            }
            (_, Some(ClassName::None)) if !knows_none => {
                bail!("--class none: {run} {untrained}; name a class, or each")
            }
            (_, Some(class)) => class,
            (Some(_), None) if images.as_ref().is_some_and(Images::have_labels) => ClassName::OfImage,
            (Some(_), None) if knows_none => ClassName::None,
            (Some(_), None) => bail!("which class? {run} {untrained}; give --class NUMBER, or --class each"),
        };
        let conditions = Self { classes, class, images, guidance: Guidance { weight, guide } };
        if reduction.is_some() && conditions.images.is_none() {
            ensure!(
                knows_none,
                "of which small image? {run} {untrained}; give --low-resolution FILE, or --like test:0"
            );
        }
        let (has_class, has_image) = (conditions.class_of(0).is_some(), conditions.images.is_some());
        ensure!(
            classes.is_none() || reduction.is_none() || has_class == has_image,
            "{run} was trained with labels and reduced images together, or with neither; give --class and \
             --low-resolution both, or --like alone, which brings both"
        );
        ensure!(weight.is_finite() && weight > -1.0, "--guidance is {weight}; it must be a number above −1");
        ensure!(
            weight == 0.0 || knows_none,
            "--guidance {weight}: {run} {untrained}, so that there is no prediction without one to go away from"
        );
        ensure!(
            weight == 0.0 || has_class || has_image,
            "--guidance {weight} needs something to go towards; give {}",
            if reduction.is_some() { "--low-resolution or --like" } else { "--class NUMBER, or --class each" }
        );
        Ok(conditions)
    }

    /// Returns the class of a sample, if it has one.
    pub fn class_of(&self, sample: u64) -> Option<u32> {
        match self.class {
            ClassName::Number(number) => Some(number),
            ClassName::Each => self.classes.map(|classes| (sample % classes as u64) as u32),
            ClassName::OfImage => self.images.as_ref().and_then(|images| images.label_of(sample)),
            ClassName::None => None,
        }
    }

    /// Returns the small images of the condition, if there are any.
    pub fn images(&self) -> Option<&Images> {
        self.images.as_ref()
    }

    /// Returns the condition of the given samples.
    pub fn of(&self, samples: &[u64], device: Device) -> Option<Conditioning> {
        let labels: Option<Vec<i64>> = samples.iter().map(|sample| self.class_of(*sample).map(i64::from)).collect();
        let images = self.images.as_ref().map(|images| images.of(samples));
        let condition = condition(labels, images)?.on(device);
        Some(Conditioning { condition, guidance: self.guidance })
    }

    /// Returns the number of calls of the network for one prediction.
    pub fn calls(&self) -> usize {
        if self.guidance.weight == 0.0 { 1 } else { 2 }
    }
}

impl Guidance {
    const NONE: Self = Self { weight: 0.0, guide: Guide::Output };
}

impl Conditioning {
    /// Computes the output distribution that `output` makes of Ψ(θ, t, c), with guidance if it is requested.
    ///
    /// Guidance acts either on Ψ(θ, t, c) and Ψ(θ, t, ∅), which [`guided`] combines before `output` is applied, or on
    /// the output distributions of both, which are combined by [`Guided`].
    pub fn predict<O: Guided>(
        conditioning: Option<&Self>,
        model: &Model,
        input: &Tensor,
        t: &Tensor,
        output: impl Fn(&Tensor) -> O,
    ) -> O {
        let with = model.predict(input, t, conditioning.map(|one| &one.condition), Mode::Evaluate);
        let Some(Guidance { weight, guide }) = conditioning.map(|one| one.guidance).filter(|one| one.weight != 0.0)
        else {
            return output(&with);
        };
        let without = model.predict(input, t, None, Mode::Evaluate);
        match guide {
            Guide::Output => output(&guided(&with, &without, weight)),
            Guide::Parameters => output(&with).guided(&output(&without), weight),
        }
    }
}
