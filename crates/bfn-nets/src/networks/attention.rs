//! Self-attention: over a sequence, and over the pixels of an image.

use tch::Tensor;
use tch::nn::Path;

use super::layers::{GroupNorm, Start};

/// How queries, keys and values of the heads lie in one projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Those of all heads for the queries, then the keys, then the values.
    KindFirst,
    /// Queries, keys and values of the first head, then of the second, and so on.
    HeadFirst,
}

/// Softmax attention of every position to every position.
///
/// `projected`: \[B, T, 3·width\], queries, keys and values of `heads` heads. Returns \[B, T, width\].
pub(super) fn attend(projected: &Tensor, heads: i64, packing: Packing, dropout: f64) -> Tensor {
    let size = projected.size();
    let (batch, length, width) = (size[0], size[1], size[2] / 3);
    let channels = width / heads;
    // Each of the three is a view [B, heads, T, channels] whose last axis is dense, as the fused kernels want it.
    let (split, axis) = match packing {
        Packing::KindFirst => (projected.view([batch, length, 3, heads, channels]), 2),
        Packing::HeadFirst => (projected.view([batch, length, heads, 3, channels]), 3),
    };
    let part = |index| split.select(axis, index).transpose(1, 2);
    Tensor::scaled_dot_product_attention(&part(0), &part(1), &part(2), None::<Tensor>, dropout, false, None, false)
        .transpose(1, 2)
        .reshape([batch, length, width])
}

/// The names and the layout of one published attention block.
#[derive(Debug, Clone, Copy)]
pub(super) struct PixelAttentionLayout {
    pub(super) norm: &'static str,
    pub(super) projection: &'static str,
    pub(super) output: &'static str,
    pub(super) packing: Packing,
    /// Trailing axes of length 1 of the weights: they are convolutions there.
    pub(super) kernel_axes: usize,
}

/// A residual attention block over the pixels of an image.
#[derive(Debug)]
pub(super) struct PixelAttention {
    norm: GroupNorm,
    projection: KernelOne,
    output: KernelOne,
    heads: i64,
    packing: Packing,
}

impl PixelAttention {
    pub(super) fn new(path: &Path<'_>, channels: i64, heads: i64, groups: i64, layout: PixelAttentionLayout) -> Self {
        let axes = layout.kernel_axes;
        let linear = |name, outputs, start| KernelOne::new(path / name, channels, outputs, axes, start);
        Self {
            norm: GroupNorm::new(path / layout.norm, groups, channels),
            projection: linear(layout.projection, 3 * channels, Start::Uniform),
            output: linear(layout.output, channels, Start::Zero),
            heads,
            packing: layout.packing,
        }
    }

    /// \[B, C, H, W\] → \[B, C, H, W\].
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let pixels = self.norm.forward(x).flatten(2, 3).transpose(1, 2);
        let projected = self.projection.forward(&pixels);
        let attended = attend(&projected, self.heads, self.packing, 0.0);
        // With x first the sum takes the layout of x, which the next normalisation wants.
        x + self.output.forward(&attended).transpose(1, 2).reshape(x.size())
    }
}

/// A convolution with a kernel of one, applied to \[B, T, C\] as the linear map that it is.
#[derive(Debug)]
struct KernelOne {
    weight: Tensor,
    bias: Tensor,
}

impl KernelOne {
    fn new(path: Path<'_>, inputs: i64, outputs: i64, axes: usize, start: Start) -> Self {
        let mut dims = vec![outputs, inputs];
        dims.extend(std::iter::repeat_n(1, axes));
        Self {
            weight: path.var("weight", &dims, start.weight(inputs)),
            bias: path.var("bias", &[outputs], start.bias(inputs)),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight.flatten(1, -1), Some(&self.bias))
    }
}
