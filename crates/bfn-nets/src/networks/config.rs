//! The choice of a network, its size and its variables; and the checks of these settings.

use serde::{Deserialize, Serialize};
use tch::nn;

use crate::Error;

use super::own::OwnConfig;
use super::{Mlp, MlpConfig, Network, Transformer, TransformerConfig, UNet, UNetConfig, VdmUNet, VdmUNetConfig};

/// The choice of a network, with its settings.
///
/// In a file the variant is a table: `[network.unet]`, `[network.vdm_unet]`, `[network.transformer]`,
/// `[network.mlp]`, or `[network.own]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkConfig {
    /// The U-Net with down-sampling, published for binarised MNIST.
    Unet(UNetConfig),
    /// The non-causal transformer, published for text8.
    Transformer(TransformerConfig),
    /// The U-Net without down-sampling, published for CIFAR-10.
    VdmUnet(VdmUNetConfig),
    /// A residual multilayer perceptron, for rows of tables.
    Mlp(MlpConfig),
    /// A custom network.
    Own(OwnConfig),
}

impl NetworkConfig {
    /// Builds the network with fresh parameters under `path`, drawn from libtorch's generator.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit the others or the variables.
    pub fn build(&self, variables: &Variables, path: &nn::Path<'_>) -> Result<Box<dyn Network>, Error> {
        Ok(match self {
            Self::Unet(config) => Box::new(UNet::new(config, variables, path)?),
            Self::Transformer(config) => Box::new(Transformer::new(config, variables, path)?),
            Self::VdmUnet(config) => Box::new(VdmUNet::new(config, variables, path)?),
            Self::Mlp(config) => Box::new(Mlp::new(config, variables, path)?),
            Self::Own(config) => config.build(variables, path)?,
        })
    }

    /// Checks the settings against the variables without building anything.
    ///
    /// # Errors
    ///
    /// Returns an error where [`build`](Self::build) does.
    pub fn check(&self, variables: &Variables) -> Result<(), Error> {
        match self {
            Self::Unet(config) => config.check(variables),
            Self::Transformer(config) => config.check(variables),
            Self::VdmUnet(config) => config.check(variables),
            Self::Mlp(config) => config.check(variables),
            Self::Own(config) => config.check(variables),
        }
    }

    /// Returns the reduction factor of the low-resolution images that the network can be conditioned on, if any.
    ///
    /// These are small versions of the images that it models.
    pub fn low_resolution(&self) -> Option<usize> {
        match self {
            Self::Unet(config) => config.low_resolution,
            Self::VdmUnet(config) => config.low_resolution,
            Self::Transformer(_) | Self::Mlp(_) => None,
            Self::Own(config) => config.number("low_resolution"),
        }
    }

    /// Returns the number of classes whose labels the network can be conditioned on, if any.
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::Unet(config) => config.classes,
            Self::Transformer(config) => config.classes,
            Self::VdmUnet(config) => config.classes,
            Self::Mlp(_) => None,
            Self::Own(config) => config.number("classes"),
        }
    }
}

/// The variables that a network models: their layout, and the numbers of inputs and outputs of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// The layout of the D variables of one example.
    pub shape: Shape,
    /// Input numbers per variable: 1 for an input \[B, D\], K for class probabilities \[B, D, K\].
    pub inputs_per_variable: usize,
    /// Output parameters P per variable.
    pub outputs_per_variable: usize,
}

/// The layout of the variables of one example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// An image, its variables in the order height, width, channels (channels fastest).
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Numbers per pixel.
        channels: usize,
    },
    /// A sequence.
    Sequence {
        /// Positions.
        length: usize,
    },
    /// A row of a table, whose variables may differ in their numbers of inputs and outputs.
    Row {
        /// Columns.
        variables: usize,
        /// Input numbers of all variables together.
        inputs: usize,
        /// Output numbers of all variables together.
        outputs: usize,
    },
}

impl Shape {
    /// Returns the number of variables D.
    pub fn dimensions(self) -> usize {
        match self {
            Self::Image { height, width, channels } => height * width * channels,
            Self::Sequence { length } => length,
            Self::Row { variables, .. } => variables,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image { height, width, channels } => {
                write!(formatter, "an image of {height}×{width} pixels with {channels} channels")
            }
            Self::Sequence { length } => write!(formatter, "a sequence of {length} positions"),
            Self::Row { variables, .. } => write!(formatter, "a row of {variables} variables"),
        }
    }
}

/// Returns the default number of groups of a group normalisation.
pub(super) fn norm_groups() -> usize {
    32
}

/// Returns the default of `patch`, which leaves pixels as they are.
pub(super) fn unfolded() -> usize {
    1
}

/// The checks that the networks share; `table` is the name of the network's table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    pub(super) table: &'static str,
}

impl Checks {
    pub(super) fn error(self, key: &str, found: impl std::fmt::Display, expected: impl Into<String>) -> Error {
        self.error_at(format!("{}.{key}", self.table), found, expected)
    }

    /// Makes an error for a key given in full.
    pub(super) fn error_at(
        self,
        key: impl Into<String>,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Error {
        Error::Configuration { key: key.into(), expected: expected.into(), found: found.to_string() }
    }

    pub(super) fn at_least_one(self, key: &str, value: usize) -> Result<(), Error> {
        // Channels are a product of two such numbers, and a kernel has nine times their square: its bytes can still be
        // counted.
        if (1..=1 << 14).contains(&value) {
            return Ok(());
        }
        Err(self.error(key, value, "a number from 1 to 16384"))
    }

    /// Checks that `value` (of `key`) is a multiple of `divisor` (of `divisor_key`).
    pub(super) fn divides(self, key: &str, value: usize, divisor_key: &str, divisor: usize) -> Result<(), Error> {
        self.at_least_one(divisor_key, divisor)?;
        if value.is_multiple_of(divisor) {
            return Ok(());
        }
        let expected = format!("a multiple of `{divisor_key}`, which is {divisor}");
        Err(self.error(key, value, expected))
    }

    pub(super) fn dropout(self, probability: f64) -> Result<(), Error> {
        if (0.0..1.0).contains(&probability) {
            return Ok(());
        }
        Err(self.error("dropout", probability, "a probability in [0, 1)"))
    }

    pub(super) fn variables(self, variables: &Variables) -> Result<(), Error> {
        for (name, value) in [
            ("dimensions", variables.shape.dimensions()),
            ("inputs_per_variable", variables.inputs_per_variable),
            ("outputs_per_variable", variables.outputs_per_variable),
        ] {
            if value == 0 {
                return Err(self.error_at(name, value, "at least 1"));
            }
        }
        Ok(())
    }
}
