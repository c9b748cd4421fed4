//! Which network, of what size, for which variables; and the checks of the settings.

use serde::{Deserialize, Serialize};
use tch::nn;

use crate::Error;

use super::own::OwnConfig;
use super::{Mlp, MlpConfig, Network, Transformer, TransformerConfig, UNet, UNetConfig, VdmUNet, VdmUNetConfig};

/// Which network, and its settings.
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
    /// A network of the user's own.
    Own(OwnConfig),
}

impl NetworkConfig {
    /// Builds the network with fresh parameters under `path`, drawn from libtorch's generator.
    ///
    /// # Errors
    ///
    /// The first setting that does not fit the others or the variables.
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
    /// As [`build`](Self::build).
    pub fn check(&self, variables: &Variables) -> Result<(), Error> {
        match self {
            Self::Unet(config) => config.check(variables),
            Self::Transformer(config) => config.check(variables),
            Self::VdmUnet(config) => config.check(variables),
            Self::Mlp(config) => config.check(variables),
            Self::Own(config) => config.check(variables),
        }
    }

    /// The factor by which images are smaller that the network can be told, small versions of those it models.
    pub fn low_resolution(&self) -> Option<usize> {
        match self {
            Self::Unet(config) => config.low_resolution,
            Self::VdmUnet(config) => config.low_resolution,
            Self::Transformer(_) | Self::Mlp(_) => None,
            Self::Own(config) => config.number("low_resolution"),
        }
    }

    /// The number of classes whose labels the network can be told.
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

/// What a network models: how its variables lie and how many numbers go in and out for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// How the D variables of one example lie.
    pub shape: Shape,
    /// Numbers that go in for each variable: 1 for an input \[B, D\], K for class probabilities \[B, D, K\].
    pub inputs_per_variable: usize,
    /// Output parameters P of each variable.
    pub outputs_per_variable: usize,
}

/// How the variables of one example lie.
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
    /// A row of a table, whose variables may take different numbers of inputs and outputs each.
    Row {
        /// Columns.
        variables: usize,
        /// Numbers that go in, for all variables together.
        inputs: usize,
        /// Numbers that come out, for all variables together.
        outputs: usize,
    },
}

impl Shape {
    /// The number of variables D.
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

/// The default number of groups of a group normalisation.
pub(super) fn norm_groups() -> usize {
    32
}

/// The default of `patch`: pixels stay pixels.
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

    /// An error at a key given in full.
    pub(super) fn error_at(
        self,
        key: impl Into<String>,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Error {
        Error::Configuration { key: key.into(), expected: expected.into(), found: found.to_string() }
    }

    pub(super) fn at_least_one(self, key: &str, value: usize) -> Result<(), Error> {
        // Channels are a product of two such numbers, a kernel has nine times the square of them: its bytes still are
        // a number.
        if (1..=1 << 14).contains(&value) {
            return Ok(());
        }
        Err(self.error(key, value, "a number from 1 to 16384"))
    }

    /// `value` (of `key`) must be a multiple of `divisor` (of `divisor_key`).
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
