//! The residual block of both U-Nets, conditioned on the time.

use tch::nn::Path;
use tch::{Kind, Tensor};

use crate::shim::fused::{self, Numbers};

use super::Mode;
use super::layers::{Convolution, GroupNorm, Start, dropout, linear};

/// The block x + conv(dropout(silu(norm(conv(silu(norm x)) + W time)))), whose last convolution starts at zero.
///
/// If the block changes the number of channels, a 1×1 convolution changes that of x.
#[derive(Debug)]
pub(super) struct ResidualBlock {
    norm_in: GroupNorm,
    conv_in: Convolution,
    time_weight: Tensor,
    time_bias: Option<Tensor>,
    norm_out: GroupNorm,
    conv_out: Convolution,
    skip: Option<Convolution>,
    dropout: f64,
}

/// The sizes of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResidualSizes {
    pub(super) inputs: i64,
    pub(super) outputs: i64,
    pub(super) time_width: i64,
    pub(super) groups: i64,
    pub(super) dropout: f64,
}

/// The names of a block's parts in one published network, and the initial values of W there.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResidualLayout {
    /// The sequence with normalisation and convolution as layers 0 and 2.
    pub(super) first: &'static str,
    pub(super) time: TimeName,
    pub(super) time_start: TimeStart,
    /// The sequence with normalisation and convolution as layers 0 and 3.
    pub(super) second: &'static str,
    pub(super) skip: &'static str,
}

/// The place of the map W of the time.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeName {
    Layer(&'static str),
    InSequence(&'static str, &'static str),
}

/// The initial values of the map W of the time.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeStart {
    /// Those of any linear layer.
    Linear,
    /// Zero, without a bias.
    ZeroWithoutBias,
}

impl ResidualBlock {
    pub(super) fn new(path: &Path<'_>, sizes: ResidualSizes, layout: &ResidualLayout) -> Self {
        let ResidualSizes { inputs, outputs, time_width, groups, dropout } = sizes;
        let start = Start::Uniform;
        let first = path / layout.first;
        let second = path / layout.second;
        let time = match layout.time {
            TimeName::Layer(name) => path / name,
            TimeName::InSequence(name, index) => path / name / index,
        };
        let time_dims = [outputs, time_width];
        let (time_weight, time_bias) = match layout.time_start {
            TimeStart::Linear => (
                time.var("weight", &time_dims, start.weight(time_width)),
                Some(time.var("bias", &[outputs], start.bias(time_width))),
            ),
            TimeStart::ZeroWithoutBias => (time.var("weight", &time_dims, Start::Zero.weight(time_width)), None),
        };
        Self {
            norm_in: GroupNorm::new(&first / "0", groups, inputs),
            conv_in: Convolution::new(&first / "2", inputs, outputs, start),
            time_weight,
            time_bias,
            norm_out: GroupNorm::new(&second / "0", groups, outputs),
            conv_out: Convolution::new(&second / "3", outputs, outputs, Start::Zero),
            skip: (inputs != outputs).then(|| Convolution::pointwise(path / layout.skip, inputs, outputs, start)),
            dropout,
        }
    }

    /// Applies the block.
    ///
    /// `x`: \[B, inputs, H, W\]; `time`: \[B, time_width\], activated. Returns \[B, outputs, H, W\].
    pub(super) fn forward(&self, x: &Tensor, time: &Tensor, mode: Mode) -> Tensor {
        let time = linear(time, &self.time_weight, self.time_bias.as_ref());
        if let (Some(norm_in), Some(norm_out)) = (self.norm_in.fused(x), self.norm_out.fused(x)) {
            return self.forward_fused(x, &time, [norm_in, norm_out], mode);
        }
        let mut h = self.conv_in.forward(&self.norm_in.then_silu(x));
        // Both sums are in place: the gradient of a convolution does not need its output.
        h += time.unsqueeze(-1).unsqueeze(-1);
        let h = dropout(self.norm_out.then_silu(&h), self.dropout, mode);
        let mut h = self.conv_out.forward(&h);
        match &self.skip {
            None => h += x,
            Some(skip) => h += skip.forward(x),
        }
        h
    }

    /// The same in fewer passes over the images. The first convolution's bias is added with the time.
    fn forward_fused(&self, x: &Tensor, time: &Tensor, norms: [fused::GroupNorm<'_>; 2], mode: Mode) -> Tensor {
        let [norm_in, norm_out] = norms.map(|norm| fused::GroupNorm { activates: true, ..norm });
        let dropout = match mode {
            Mode::Train => self.dropout,
            Mode::Evaluate => 0.0,
        };
        let h = self.conv_in.without_bias(&norm_in.apply(x, None, Numbers::Bf16));
        let added = time.to_kind(Kind::Float) + self.conv_in.bias();
        let h = fused::GroupNorm { dropout, ..norm_out }.apply(&h, Some(&added), Numbers::Bf16);
        let h = self.conv_out.without_bias(&h);
        match &self.skip {
            None => fused::add_biased(&h, Some(x), self.conv_out.bias()),
            Some(skip) => fused::add_biased(&h, Some(&skip.without_bias(x)), &(self.conv_out.bias() + skip.bias())),
        }
    }
}
