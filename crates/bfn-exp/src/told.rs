//! What a network is told while it draws: a class for each sample, and how much to make of it.

use anyhow::{Result, bail, ensure};
use bfn_core::sampler::guided;
use bfn_nets::Tensor;
use bfn_nets::networks::{Condition, Mode};
use clap::Args;
use tch::Device;

use crate::model::Model;
use crate::run::Trained;

/// Which classes to draw.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct ClassArgs {
    /// Draw samples of this class, counted from 0; of `each` class in turn; or of `none` in particular.
    #[arg(long, value_name = "NUMBER|each|none")]
    pub class: Option<ClassName>,
    /// How far to go beyond what the class alone says, away from what is predicted without it: 0 for not at all.
    #[arg(long, default_value_t = 0.0, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub guidance: f64,
}

/// A class as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassName {
    /// This one.
    Number(u32),
    /// Sample s is of class s modulo the number of classes.
    Each,
    /// Nothing is said.
    None,
}

/// How a run's network is told classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Telling {
    classes: Option<usize>,
    class: ClassName,
    guidance: f64,
}

/// What is told of a batch.
#[derive(Debug)]
pub struct Told {
    condition: Condition,
    guidance: f64,
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

impl Telling {
    /// Nothing is told: for networks without classes.
    pub const NOTHING: Self = Self { classes: None, class: ClassName::None, guidance: 0.0 };

    /// Each class in turn, where the network is told classes.
    pub fn each(classes: Option<usize>) -> Self {
        Self { classes, class: if classes.is_some() { ClassName::Each } else { ClassName::None }, guidance: 0.0 }
    }

    /// Checks what is asked for against what the run's network was trained to be told.
    ///
    /// # Errors
    ///
    /// A class that it does not know, or `none` and guidance where it never had to do without.
    pub fn new(args: &ClassArgs, trained: &Trained) -> Result<Self> {
        let run = trained.folder.display();
        let Some(classes) = trained.experiment.network.classes() else {
            ensure!(
                args.class.is_none() && args.guidance == 0.0,
                "{run} was trained without labels; --class and --guidance need `classes` in its network"
            );
            return Ok(Self::NOTHING);
        };
        let knows_none = trained.experiment.training.condition_dropout > 0.0;
        let untrained = "was trained with the label of every example (training.condition_dropout is 0)";
        let class = match args.class {
            Some(ClassName::Number(number)) if number as usize >= classes => {
                bail!("--class {number}: {run} was trained on {classes} classes, 0 to {}", classes - 1)
            }
            Some(ClassName::None) if !knows_none => bail!("--class none: {run} {untrained}; name a class, or each"),
            Some(class) => class,
            None if knows_none => ClassName::None,
            None => bail!("which class? {run} {untrained}; give --class NUMBER, or --class each"),
        };
        let guidance = args.guidance;
        ensure!(guidance.is_finite() && guidance > -1.0, "--guidance is {guidance}; it must be a number above −1");
        ensure!(
            guidance == 0.0 || knows_none,
            "--guidance {guidance}: {run} {untrained}, so that there is no prediction without one to go away from"
        );
        ensure!(
            guidance == 0.0 || class != ClassName::None,
            "--guidance {guidance} needs a class to go towards; give --class NUMBER, or --class each"
        );
        Ok(Self { classes: Some(classes), class, guidance })
    }

    /// The class of a sample, if it has one.
    pub fn class_of(&self, sample: u64) -> Option<u32> {
        match self.class {
            ClassName::Number(number) => Some(number),
            ClassName::Each => self.classes.map(|classes| (sample % classes as u64) as u32),
            ClassName::None => None,
        }
    }

    /// What to tell of these samples.
    pub fn of(&self, samples: &[u64], device: Device) -> Option<Told> {
        self.classes?;
        let labels: Option<Vec<i64>> = samples.iter().map(|sample| self.class_of(*sample).map(i64::from)).collect();
        let condition = Condition::of_labels(tch::Tensor::from_slice(&labels?)).on(device);
        Some(Told { condition, guidance: self.guidance })
    }

    /// How often the network is called for one prediction.
    pub fn calls(&self) -> usize {
        if self.guidance == 0.0 { 1 } else { 2 }
    }
}

impl Told {
    /// Ψ(θ, t, c), or with guidance what [`guided`] makes of it and of Ψ(θ, t, ∅).
    pub fn predict(told: Option<&Self>, model: &Model, input: &Tensor, t: &Tensor) -> Tensor {
        let with = model.predict(input, t, told.map(|told| &told.condition), Mode::Evaluate);
        match told.filter(|told| told.guidance != 0.0) {
            Some(Self { guidance, .. }) => guided(&with, &model.predict(input, t, None, Mode::Evaluate), *guidance),
            None => with,
        }
    }
}
