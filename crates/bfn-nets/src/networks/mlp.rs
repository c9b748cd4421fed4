//! A residual multilayer perceptron, for rows of tables.

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::Path;

use crate::Error;

use super::config::{Checks, Shape, Variables};
use super::image::expect_shape;
use super::layers::{LayerNorm, Linear, Start, dropout};
use super::time::TimeFeatures;
use super::{Condition, Mode, Network};

/// Settings of an [`Mlp`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Features of a row in every block; an even number.
    pub width: usize,
    /// Number of residual blocks.
    pub blocks: usize,
    /// Probability of dropout inside the blocks.
    pub dropout: f64,
}

const CHECKS: Checks = Checks { table: "network.mlp" };

impl MlpConfig {
    /// Checks the settings against the variables.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit.
    pub fn check(&self, variables: &Variables) -> Result<(), Error> {
        self.widths(variables).map(drop)
    }

    fn widths(&self, variables: &Variables) -> Result<Widths, Error> {
        CHECKS.at_least_one("width", self.width)?;
        CHECKS.at_least_one("blocks", self.blocks)?;
        if !self.width.is_multiple_of(2) {
            return Err(CHECKS.error("width", self.width, "an even number"));
        }
        CHECKS.dropout(self.dropout)?;
        CHECKS.variables(variables)?;
        Ok(match variables.shape {
            Shape::Row { inputs, outputs, .. } => Widths { inputs, outputs },
            other => Widths {
                inputs: other.dimensions() * variables.inputs_per_variable,
                outputs: other.dimensions() * variables.outputs_per_variable,
            },
        })
    }
}

struct Widths {
    inputs: usize,
    outputs: usize,
}

/// A residual multilayer perceptron, which assumes no neighbourhood among the variables.
///
/// A linear map takes all inputs to `width` features. Each block adds to the features the output of a perceptron with
/// one hidden layer, four times as wide, of the normalised features and the time. A last linear map takes the features
/// and the inputs.
///
/// # Formula
///
/// h₀ = W_in x;  h_{i+1} = h_i + U_i · dropout(silu(V_i norm(h_i) + T_i τ(t)));  output = W_out [norm(h), x]
#[derive(Debug)]
pub struct Mlp {
    shape: Shape,
    inputs: i64,
    outputs: i64,
    dropout: f64,
    time_features: TimeFeatures,
    embed_time: Linear,
    enter: Linear,
    blocks: Vec<Block>,
    norm: LayerNorm,
    leave: Linear,
}

#[derive(Debug)]
struct Block {
    norm: LayerNorm,
    widen: Linear,
    time: Linear,
    narrow: Linear,
}

impl Mlp {
    /// Builds the network with fresh parameters under `path`.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit the others or the variables.
    pub fn new(config: &MlpConfig, variables: &Variables, path: &Path<'_>) -> Result<Self, Error> {
        let Widths { inputs, outputs } = config.widths(variables)?;
        let (inputs, outputs, width) = (inputs as i64, outputs as i64, config.width as i64);
        let blocks = path / "blocks";
        let block = |number: usize| {
            let here = &blocks / number;
            Block {
                norm: LayerNorm::new(&here / "norm", width),
                widen: Linear::new(&here / "widen", width, 4 * width, Start::Uniform),
                time: Linear::new(&here / "time", width, 4 * width, Start::Uniform),
                narrow: Linear::new(&here / "narrow", 4 * width, width, Start::Zero),
            }
        };
        Ok(Self {
            shape: variables.shape,
            inputs,
            outputs,
            dropout: config.dropout,
            time_features: TimeFeatures::vdm(width, path.device()),
            embed_time: Linear::new(path / "embed_time", width, width, Start::Uniform),
            enter: Linear::new(path / "enter", inputs, width, Start::Uniform),
            blocks: (0..config.blocks).map(block).collect(),
            norm: LayerNorm::new(path / "norm", width),
            leave: Linear::new(path / "leave", width + inputs, outputs, Start::Zero),
        })
    }
}

impl Network for Mlp {
    fn forward(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor {
        assert!(condition.is_none(), "a network without `classes` takes no condition");
        let batch = input.size()[0];
        expect_shape("t", t, &[batch]);
        // Probabilities need no centring before the first linear map, which can do it.
        let x = input.reshape([batch, -1]);
        expect_shape("input", &x, &[batch, self.inputs]);
        let time = self.embed_time.forward(&self.time_features.forward(t)).silu();
        let mut h = self.enter.forward(&x);
        for block in &self.blocks {
            let wide = block.widen.forward(&block.norm.forward(&h)) + block.time.forward(&time);
            h = block.narrow.forward(&dropout(wide.silu(), self.dropout, mode)) + h;
        }
        let output = self.leave.forward(&Tensor::cat(&[self.norm.forward(&h), x], -1));
        let output = match self.shape {
            Shape::Row { .. } => output,
            other => output.reshape([batch, other.dimensions() as i64, self.outputs / other.dimensions() as i64]),
        };
        output.to_kind(input.kind())
    }

    fn decays(&self, name: &str) -> bool {
        name.ends_with("weight") && !name.contains("norm")
    }
}
