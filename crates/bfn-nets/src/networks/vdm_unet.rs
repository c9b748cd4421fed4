//! The U-Net of the published CIFAR-10 experiments, after variational diffusion models.
//!
//! It has full resolution throughout, Fourier features of the input, and attention in the middle.

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::Path;

use crate::{Error, NamedTensor};

use super::attention::{Packing, PixelAttention, PixelAttentionLayout};
use super::condition::LabelEmbedding;
use super::config::{Checks, Variables, norm_groups, unfolded};
use super::image::{Canvas, ImageOutput, PUBLISHED_POSITION_BANDS, arranged, expect_shape};
use super::layers::{Convolution, GroupNorm, Linear, Start};
use super::residual::{ResidualBlock, ResidualLayout, ResidualSizes, TimeName, TimeStart};
use super::time::TimeFeatures;
use super::{Condition, Mode, Network};

/// Settings of a [`VdmUNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VdmUNetConfig {
    /// Channels throughout; an even multiple of `norm_groups` and of `heads`.
    pub width: usize,
    /// Number of residual blocks on the way to the middle (one more on the way from it).
    pub blocks: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Probability of dropout inside the residual blocks.
    pub dropout: f64,
    /// Number of groups of the group normalisation (published: 32).
    #[serde(default = "norm_groups")]
    pub norm_groups: usize,
    /// Exponents n of the sines and cosines of 2π 2ⁿ x that join the input x (published: 5 and 6); may be empty.
    pub fourier_exponents: Vec<i32>,
    /// Whether attention follows every residual block rather than only the middle (published: false).
    #[serde(default)]
    pub attention_everywhere: bool,
    /// Folds patch×patch pixels into channels at the input and back at the output (published: 1).
    #[serde(default = "unfolded")]
    pub patch: usize,
    /// Number of classes to condition on, each a learned vector added to that of the time (published: none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Reduction factor f of the low-resolution images to condition on (published: none).
    ///
    /// The means of f×f pixels, enlarged again, are channels of the input, beside a channel that is 1 where there is
    /// such an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_resolution: Option<usize>,
}

const CHECKS: Checks = Checks { table: "network.vdm_unet" };

impl VdmUNetConfig {
    /// Returns the settings of the published CIFAR-10 runs.
    ///
    /// The network has 30,722,188 parameters for continuous data, 30,722,584 for discretised data.
    pub fn published_cifar10() -> Self {
        Self {
            width: 128,
            blocks: 32,
            heads: 1,
            dropout: 0.1,
            norm_groups: norm_groups(),
            fourier_exponents: vec![5, 6],
            attention_everywhere: false,
            patch: unfolded(),
            classes: None,
            low_resolution: None,
        }
    }

    /// Checks the settings against the variables.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit.
    pub fn check(&self, variables: &Variables) -> Result<(), Error> {
        self.canvas(variables).map(drop)
    }

    fn canvas(&self, variables: &Variables) -> Result<Canvas, Error> {
        CHECKS.at_least_one("width", self.width)?;
        CHECKS.at_least_one("blocks", self.blocks)?;
        CHECKS.divides("width", self.width, "norm_groups", self.norm_groups)?;
        CHECKS.divides("width", self.width, "heads", self.heads)?;
        if !self.width.is_multiple_of(2) {
            return Err(CHECKS.error("width", self.width, "an even number"));
        }
        CHECKS.dropout(self.dropout)?;
        if let Some(exponent) = self.fourier_exponents.iter().find(|n| !(-16..=16).contains(*n)) {
            return Err(CHECKS.error("fourier_exponents", exponent, "numbers from −16 to 16"));
        }
        if let Some(classes) = self.classes {
            CHECKS.at_least_one("classes", classes)?;
        }
        Canvas::new(CHECKS, variables, self.patch, 0)?.conditioned_on(CHECKS, self.low_resolution)
    }
}

/// The U-Net without down-sampling. See [`VdmUNetConfig`].
#[derive(Debug)]
pub struct VdmUNet {
    canvas: Canvas,
    /// The frequencies 2π 2ⁿ, \[F, 1, 1, 1\].
    frequencies: Option<Tensor>,
    time_features: TimeFeatures,
    embed_conditioning: [Linear; 2],
    label_emb: Option<LabelEmbedding>,
    conv_in: Convolution,
    down: Vec<Stage>,
    middle: (ResidualBlock, PixelAttention, ResidualBlock),
    up: Vec<Stage>,
    conv_out: (GroupNorm, Convolution),
    output: ImageOutput,
}

impl VdmUNet {
    /// Builds the network with fresh parameters under `path`.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit the others or the variables.
    pub fn new(config: &VdmUNetConfig, variables: &Variables, path: &Path<'_>) -> Result<Self, Error> {
        let canvas = config.canvas(variables)?;
        let width = config.width as i64;
        let groups = config.norm_groups as i64;
        let block = |path: Path<'_>, inputs: i64| {
            let (outputs, time_width, dropout) = (width, 4 * width, config.dropout);
            let sizes = ResidualSizes { inputs, outputs, time_width, groups, dropout };
            ResidualBlock::new(&path, sizes, &RESIDUAL)
        };
        let attention = |path: Path<'_>| {
            let path = path / "layers";
            PixelAttention::new(&path, width, config.heads as i64, groups, ATTENTION)
        };
        let stage = |path: Path<'_>, inputs: i64| Stage {
            block: block(&path / "resnet_block", inputs),
            attention: config.attention_everywhere.then(|| attention(&path / "attention_block")),
        };

        let embed = path / "embed_conditioning";
        let embed_conditioning = [
            Linear::new(&embed / "0", width, 4 * width, Start::Uniform),
            Linear::new(&embed / "2", 4 * width, 4 * width, Start::Uniform),
        ];
        let label_emb = LabelEmbedding::new(path, config.classes, 4 * width, 1.0);
        let exponents = &config.fourier_exponents;
        let entering = canvas.channels * (1 + 2 * exponents.len() as i64) + canvas.condition_channels();
        let conv_in = Convolution::new(path / "conv_in", entering, width, Start::Uniform);
        let blocks = path / "down_blocks";
        let down = (0..config.blocks).map(|index| stage(&blocks / index, width)).collect();
        let middle = (
            block(path / "mid_resnet_block_1", width),
            attention(path / "mid_attn_block"),
            block(path / "mid_resnet_block_2", width),
        );
        let blocks = path / "up_blocks";
        let up = (0..=config.blocks).map(|index| stage(&blocks / index, 2 * width)).collect();
        let here = path / "conv_out";
        let conv_out =
            (GroupNorm::new(&here / "0", groups, width), Convolution::new(&here / "2", width, width, Start::Zero));
        let here = path / "output_adapter" / "output_projection";
        let output = ImageOutput::new(here, canvas.channels, width, canvas.outputs);

        let frequencies = (!exponents.is_empty()).then(|| {
            let frequency = |n: &i32| (2f64.powi(*n) * 2.0 * std::f64::consts::PI) as f32;
            let frequencies: Vec<f32> = exponents.iter().map(frequency).collect();
            Tensor::from_slice(&frequencies).reshape([-1, 1, 1, 1]).to_device(path.device())
        });
        let time_features = TimeFeatures::vdm(width, path.device());
        Ok(Self {
            canvas,
            frequencies,
            time_features,
            embed_conditioning,
            label_emb,
            conv_in,
            down,
            middle,
            up,
            conv_out,
            output,
        })
    }

    /// Returns the image, then the sines of its channels, frequency by frequency, then the cosines likewise.
    fn fourier(&self, x: &Tensor) -> Tensor {
        let Some(frequencies) = &self.frequencies else {
            return x.shallow_clone();
        };
        let angles = (x.unsqueeze(1) * frequencies).flatten(1, 2);
        Tensor::cat(&[x.shallow_clone(), angles.sin(), angles.cos()], 1)
    }
}

impl Network for VdmUNet {
    fn forward(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor {
        expect_shape("t", t, &[input.size()[0]]);
        let x = self.canvas.fold(input);
        let hidden = self.embed_conditioning[0].forward(&self.time_features.forward(t)).silu();
        let mut embedded = self.embed_conditioning[1].forward(&hidden);
        if let Some(label) = LabelEmbedding::forward(self.label_emb.as_ref(), condition, input.size()[0]) {
            embedded += label;
        }
        let time = embedded.silu();

        let entering = match self.canvas.condition(condition, &x) {
            None => self.fourier(&x),
            Some(of_condition) => Tensor::cat(&[self.fourier(&x), of_condition], 1),
        };
        let mut h = self.conv_in.forward(&arranged(entering));
        let mut skips = Vec::with_capacity(self.up.len());
        for stage in &self.down {
            let next = stage.forward(&h, &time, mode);
            skips.push(std::mem::replace(&mut h, next));
        }
        skips.push(h.shallow_clone());
        let (before, attention, after) = &self.middle;
        h = before.forward(&h, &time, mode);
        h = attention.forward(&h);
        h = after.forward(&h, &time, mode);
        for (stage, skip) in self.up.iter().zip(skips.into_iter().rev()) {
            h = stage.forward(&Tensor::cat(&[h, skip], 1), &time, mode);
        }
        let h = self.conv_out.1.forward(&self.conv_out.0.then_silu(&h));
        let output = self.output.forward(&h, Some(&x), None);
        self.canvas.unfold(&output).to_kind(input.kind())
    }

    /// Returns true: the published runs decay every parameter, biases and normalisation included.
    fn decays(&self, _name: &str) -> bool {
        true
    }

    fn published_buffers(&self) -> Vec<NamedTensor> {
        vec![self.canvas.published_positions(PUBLISHED_POSITION_BANDS)]
    }
}

/// A residual block with optional attention.
#[derive(Debug)]
struct Stage {
    block: ResidualBlock,
    attention: Option<PixelAttention>,
}

impl Stage {
    fn forward(&self, x: &Tensor, time: &Tensor, mode: Mode) -> Tensor {
        let h = self.block.forward(x, time, mode);
        match &self.attention {
            None => h,
            Some(attention) => attention.forward(&h),
        }
    }
}

const RESIDUAL: ResidualLayout = ResidualLayout {
    first: "net1",
    time: TimeName::Layer("cond_proj"),
    time_start: TimeStart::ZeroWithoutBias,
    second: "net2",
    skip: "skip_conv",
};

const ATTENTION: PixelAttentionLayout =
    PixelAttentionLayout { norm: "0", projection: "1", output: "3", packing: Packing::KindFirst, kernel_axes: 2 };
