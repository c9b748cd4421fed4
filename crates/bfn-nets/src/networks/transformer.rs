//! The transformer of the published text8 experiment: every position attends to every other.

use serde::{Deserialize, Serialize};
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use crate::shim::fused::{self, Branch};
use crate::{Error, NamedTensor};

use super::attention::{Packing, attend};
use super::condition::{LabelEmbedding, expect_no_low_resolution};
use super::config::{Checks, Variables};
use super::image::expect_shape;
use super::layers::{LayerNorm, Linear, Start, dropout, linear};
use super::{Condition, Mode, Network};

/// Settings of a [`Transformer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Numbers per position; an even multiple of `heads`.
    pub width: usize,
    /// Number of blocks, each of attention and a perceptron.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Probability of dropout: of the embedded input, the attention weights and both residual branches.
    pub dropout: f64,
    /// The encoding of positions.
    #[serde(default)]
    pub positions: Positions,
    /// Whether the embedded input is concatenated with the features before the last linear map.
    pub skip_to_output: bool,
    /// Number of classes to condition on, each a learned vector added to every position (published: none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
}

/// The encoding of positions in a transformer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Fixed sines and cosines, of wavelengths up to 2π·1000 (published).
    #[default]
    Sinusoidal,
    /// A learned embedding.
    Learned,
}

const CHECKS: Checks = Checks { table: "network.transformer" };

impl TransformerConfig {
    /// Returns the settings of the published text8 run: 170,175,003 parameters.
    pub fn published_text8() -> Self {
        Self {
            width: 768,
            layers: 24,
            heads: 12,
            dropout: 0.0,
            positions: Positions::Sinusoidal,
            skip_to_output: true,
            classes: None,
        }
    }

    /// Checks the settings against the variables.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit.
    pub fn check(&self, variables: &Variables) -> Result<(), Error> {
        CHECKS.at_least_one("width", self.width)?;
        CHECKS.at_least_one("layers", self.layers)?;
        CHECKS.divides("width", self.width, "heads", self.heads)?;
        if !self.width.is_multiple_of(2) {
            return Err(CHECKS.error("width", self.width, "an even number"));
        }
        if let Some(classes) = self.classes {
            CHECKS.at_least_one("classes", classes)?;
        }
        CHECKS.dropout(self.dropout)?;
        CHECKS.variables(variables)
    }
}

/// The non-causal transformer. See [`TransformerConfig`].
///
/// An image is treated as the sequence of its variables.
#[derive(Debug)]
pub struct Transformer {
    length: i64,
    inputs: i64,
    width: i64,
    dropout: f64,
    inp_embedding: Linear,
    t_embedding: Linear,
    label_emb: Option<LabelEmbedding>,
    /// \[length, width\].
    positions: Tensor,
    fixed_positions: bool,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    lm_head: Linear,
    skip_to_output: bool,
}

/// The initial standard deviation of all weights.
///
/// That of the last layer of each residual branch is smaller by √(2 layers).
const STANDARD_DEVIATION: f64 = 0.02;

impl Transformer {
    /// Builds the network with fresh parameters under `path`.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit the others or the variables.
    pub fn new(config: &TransformerConfig, variables: &Variables, path: &Path<'_>) -> Result<Self, Error> {
        config.check(variables)?;
        let length = variables.shape.dimensions() as i64;
        let inputs = variables.inputs_per_variable as i64;
        let width = config.width as i64;
        let start = Start::Normal(STANDARD_DEVIATION);
        let adapter = path / "input_adapter";
        let positions = match config.positions {
            Positions::Sinusoidal => sinusoids(length, width).to_device(path.device()),
            Positions::Learned => {
                let init = Init::Randn { mean: 0.0, stdev: STANDARD_DEVIATION };
                (&adapter / "pos_embedding").var("weight", &[length, width], init)
            }
        };
        let inner = path / "transformer";
        let blocks = (0..config.layers).map(|index| Block::new(&(&inner / "h" / index), config));
        let blocks = blocks.collect();
        let head_inputs = if config.skip_to_output { 2 * width } else { width };
        let outputs = variables.outputs_per_variable as i64;
        Ok(Self {
            length,
            inputs,
            width,
            dropout: config.dropout,
            inp_embedding: Linear::new(&adapter / "inp_embedding", inputs, width, start),
            t_embedding: Linear::new(&adapter / "t_embedding", 1, width, start),
            label_emb: LabelEmbedding::new(&adapter, config.classes, width, STANDARD_DEVIATION),
            positions,
            fixed_positions: config.positions == Positions::Sinusoidal,
            blocks,
            ln_f: LayerNorm::new(&inner / "ln_f", width),
            lm_head: Linear::new(path / "lm_head", head_inputs, outputs, start),
            skip_to_output: config.skip_to_output,
        })
    }

    /// Computes the embedded input: \[B·D, width\], a row for each position.
    fn embed(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>) -> Tensor {
        let batch = input.size()[0];
        expect_shape("t", t, &[batch]);
        let x = match self.inputs {
            1 => {
                expect_shape("input", input, &[batch, self.length]);
                input.reshape([-1, 1])
            }
            classes => {
                expect_shape("input", input, &[batch, self.length, classes]);
                input.reshape([-1, classes]) * 2.0 - 1.0
            }
        };
        let mut everywhere = self.t_embedding.forward(&(t.to_kind(x.kind()) * 2.0 - 1.0).unsqueeze(-1));
        if let Some(label) = LabelEmbedding::forward(self.label_emb.as_ref(), condition, batch) {
            everywhere += label;
        }
        let added = everywhere.unsqueeze(1) + &self.positions;
        // The stream that the blocks add to stays in f32, even if matrix products are in bf16.
        let mut embedded = self.inp_embedding.forward(&x).to_kind(added.kind());
        // In place: the gradient of a linear map does not need its output.
        embedded += added.view([-1, self.width]);
        embedded
    }

    /// Applies the blocks and the last normalisation, without dropout, in fewer passes over the stream.
    ///
    /// A branch is added to the stream by the normalisation that follows it.
    fn features_fused(&self, embedded: &Tensor) -> Tensor {
        let mut stream = embedded.to_kind(Kind::Float);
        let mut branch: Option<(Tensor, &Linear)> = None;
        for block in &self.blocks {
            let (sum, normalised) = block.ln_1.after_adding(&stream, branch.as_ref().map(unbiased));
            let attended = block.attended(&normalised, self.length, 0.0);
            let attention = (block.attention_out.without_bias(&attended), &block.attention_out);
            let (sum, normalised) = block.ln_2.after_adding(&sum, Some(unbiased(&attention)));
            let hidden = block.mlp_in.then_gelu(&normalised);
            branch = Some((block.mlp_out.without_bias(&hidden), &block.mlp_out));
            stream = sum;
        }
        self.ln_f.after_adding(&stream, branch.as_ref().map(unbiased)).1
    }
}

/// Returns a branch that ended in a linear map, whose bias is still to be added.
fn unbiased<'a>((numbers, last): &'a (Tensor, &'a Linear)) -> Branch<'a> {
    Branch { numbers, bias: &last.bias }
}

impl Network for Transformer {
    fn forward(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor {
        expect_no_low_resolution(condition);
        let embedded = self.embed(input, t, condition);
        let drops = mode == Mode::Train && self.dropout > 0.0;
        let x = if fused::serve(embedded.device()) && fused::takes_width(self.width) && !drops {
            self.features_fused(&embedded)
        } else {
            let entering = dropout(embedded.shallow_clone(), self.dropout, mode);
            self.ln_f.forward(&self.blocks.iter().fold(entering, |x, block| block.forward(x, self.length, mode)))
        };
        let Linear { weight, bias } = &self.lm_head;
        let output = if self.skip_to_output {
            // W [x, embedded] + b as a sum of two products, which saves the concatenation.
            let of_x = weight.narrow(1, 0, self.width);
            let of_embedded = weight.narrow(1, self.width, self.width);
            linear(&x, &of_x, Some(bias)) + linear(&embedded, &of_embedded, None)
        } else {
            self.lm_head.forward(&x)
        };
        output.view([input.size()[0], self.length, -1]).to_kind(input.kind())
    }

    /// Returns true for weights of linear maps only, as in the published run: not biases, normalisation or embeddings.
    fn decays(&self, name: &str) -> bool {
        let mut parts = name.rsplit('.');
        let is_weight = parts.next() == Some("weight");
        let layer = parts.next().unwrap_or_default();
        let is_embedding = layer == "pos_embedding" || layer == "label_emb";
        is_weight && !layer.starts_with("ln_") && !is_embedding
    }

    fn published_buffers(&self) -> Vec<NamedTensor> {
        if !self.fixed_positions {
            return Vec::new();
        }
        let tensor = self.positions.to_device(Device::Cpu);
        vec![NamedTensor::new("input_adapter.pos_embedding", &tensor)]
    }
}

/// A block of attention and a perceptron, each a residual branch that normalises its input.
#[derive(Debug)]
struct Block {
    ln_1: LayerNorm,
    attention_in: Linear,
    attention_out: Linear,
    ln_2: LayerNorm,
    mlp_in: Linear,
    mlp_out: Linear,
    heads: i64,
    dropout: f64,
}

impl Block {
    fn new(path: &Path<'_>, config: &TransformerConfig) -> Self {
        let width = config.width as i64;
        let start = Start::Normal(STANDARD_DEVIATION);
        let last = Start::Normal(STANDARD_DEVIATION / (2.0 * config.layers as f64).sqrt());
        let (attention, mlp) = (path / "attn", path / "mlp");
        Self {
            ln_1: LayerNorm::new(path / "ln_1", width),
            attention_in: Linear::new(&attention / "c_attn", width, 3 * width, start),
            attention_out: Linear::new(&attention / "c_proj", width, width, last),
            ln_2: LayerNorm::new(path / "ln_2", width),
            mlp_in: Linear::new(&mlp / "c_fc", width, 4 * width, start),
            mlp_out: Linear::new(&mlp / "c_proj", 4 * width, width, last),
            heads: config.heads as i64,
            dropout: config.dropout,
        }
    }

    /// Applies the block to \[B·D, width\], D being `length`.
    ///
    /// With positions and examples on one axis, the output of a linear map is no view of another tensor. For a view,
    /// libtorch would have to copy gradients where a sum is in place.
    fn forward(&self, x: Tensor, length: i64, mode: Mode) -> Tensor {
        let attention_dropout = match mode {
            Mode::Train => self.dropout,
            Mode::Evaluate => 0.0,
        };
        let attended = self.attended(&self.ln_1.forward(&x), length, attention_dropout);
        let middle = plus(dropout(self.attention_out.forward(&attended), self.dropout, mode), x);
        let hidden = self.mlp_in.then_gelu(&self.ln_2.forward(&middle));
        plus(dropout(self.mlp_out.forward(&hidden), self.dropout, mode), middle)
    }

    /// Applies attention to \[B·D, width\], normalised, up to the last linear map.
    fn attended(&self, x: &Tensor, length: i64, dropout: f64) -> Tensor {
        let projected = self.attention_in.forward(x);
        let projected = projected.view([-1, length, projected.size()[1]]);
        attend(&projected, self.heads, Packing::KindFirst, dropout).view(x.size().as_slice())
    }
}

/// Adds a residual branch to `x`, in the type of `x`.
///
/// The sum is in place if both have one type: neither a linear map nor dropout needs its output for its gradient.
fn plus(mut branch: Tensor, x: Tensor) -> Tensor {
    if branch.kind() != x.kind() {
        return x + branch;
    }
    branch += x;
    branch
}

/// Computes sin(n / 1000^(i/width)) at even i, cos of the same at odd i: \[length, width\].
///
/// It uses f32 and the operations of the published code, which rounds the angles visibly.
fn sinusoids(length: i64, width: i64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let positions = Tensor::arange(length, options).unsqueeze(1);
    let angles = |first: i64| {
        let exponents = Tensor::arange_start_step(first, width, 2, options) / width as f64;
        &positions / Tensor::pow_scalar(1000.0, &exponents)
    };
    Tensor::stack(&[angles(0).sin(), angles(1).cos()], -1).reshape([length, width])
}
