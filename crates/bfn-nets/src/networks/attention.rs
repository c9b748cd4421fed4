//! Self-attention: over a sequence, and over the pixels of an image.

use tch::nn::Path;
use tch::{Device, Kind, Tensor};

use crate::shim::kernels;

use super::Mode;
use super::arithmetic::note;
use super::layers::{GroupNorm, Start, dropout as dropped, linear};

/// The order of the queries, keys and values of the heads in one projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// The queries of all heads, then their keys, then their values.
    KindFirst,
    /// Queries, keys and values of the first head, then of the second, and so on.
    HeadFirst,
}

/// Computes softmax attention of every position to every position.
///
/// `projected`: \[B, T, 3·width\], queries, keys and values of `heads` heads. Returns \[B, T, width\].
pub(super) fn attend(projected: &Tensor, heads: i64, packing: Packing, dropout: f64) -> Tensor {
    let size = projected.size();
    let (batch, length, width) = (size[0], size[1], size[2] / 3);
    let channels = width / heads;
    // The scores and the weighted values.
    note((batch * heads * length * length) as u64, 2 * channels);
    if dropout == 0.0 && prefers_kernel(projected, batch * heads, channels) {
        let single = projected.to_kind(Kind::Float);
        return kernels::attention(&single, heads, packing == Packing::HeadFirst).to_kind(projected.kind());
    }
    if prefers_products(projected, length, dropout) {
        let (split, axis) = match packing {
            Packing::KindFirst => (projected.view([batch, length, 3, heads, channels]), 2),
            Packing::HeadFirst => (projected.view([batch, length, heads, 3, channels]), 3),
        };
        let attended = products(&split.movedim_int(axis, 0).transpose(2, 3), dropout);
        return attended.transpose(1, 2).reshape([batch, length, width]);
    }
    // Parts of the last axis: their gradients are joined by one operation.
    let parts = match packing {
        Packing::KindFirst => projected.split(width, 2),
        Packing::HeadFirst => projected.view([batch, length, heads, 3 * channels]).split(channels, 3),
    };
    let [queries, keys, values] =
        [0, 1, 2].map(|kind| parts[kind].view([batch, length, heads, channels]).transpose(1, 2));
    Tensor::scaled_dot_product_attention(&queries, &keys, &values, None::<Tensor>, dropout, false, None, false)
        .transpose(1, 2)
        .reshape([batch, length, width])
}

/// Computes attention by matrix products, with the attention weights in memory.
///
/// `parts`: queries, keys, values \[3, B, heads, T, channels\]. Returns \[B, heads, T, channels\].
fn products(parts: &Tensor, dropout: f64) -> Tensor {
    let size = parts.size();
    let (batch, heads, length, channels) = (size[1], size[2], size[3], size[4]);
    // Copied once: with views, every product would make its own copy.
    let parts = parts.contiguous().view([3, batch * heads, length, channels]).unbind(0);
    let queries = &parts[0] / (channels as f64).sqrt();
    let weights = queries.bmm(&parts[1].transpose(1, 2)).softmax(-1, None::<Kind>);
    dropped(weights, dropout, Mode::Train).bmm(&parts[2]).view([batch, heads, length, channels])
}

/// Returns whether the kernel of this crate is faster than libtorch's functions, by timings of all
/// (`cargo bench -p bfn-nets`).
///
/// Its backward pass gives each head of an example to one thread. It computes in f32; for bf16, the matrix instructions
/// of some processors make up for what libtorch loses elsewhere, but not with narrow heads.
fn prefers_kernel(projected: &Tensor, heads: i64, channels: i64) -> bool {
    let idle_threads = projected.requires_grad() && heads < i64::from(tch::get_num_threads());
    projected.device() == Device::Cpu
        && !idle_threads
        && match projected.kind() {
            Kind::Float => true,
            Kind::BFloat16 => channels <= 16,
            _ => false,
        }
}

/// Returns whether [`products`] is faster than libtorch's fused attention, by timings of both: on a CPU, if the fused
/// kernel is slow backwards (bf16, short sequences), and with dropout of the weights, for which there is no fused kernel
/// there.
fn prefers_products(projected: &Tensor, length: i64, dropout: f64) -> bool {
    let slow_backwards = projected.kind() == Kind::BFloat16 && projected.requires_grad() && length <= 256;
    projected.device() == Device::Cpu && (slow_backwards || dropout > 0.0)
}

/// The names and the layout of one published attention block.
#[derive(Debug, Clone, Copy)]
pub(super) struct PixelAttentionLayout {
    pub(super) norm: &'static str,
    pub(super) projection: &'static str,
    pub(super) output: &'static str,
    pub(super) packing: Packing,
    /// The number of trailing axes of length 1 of the weights, which are convolutions in the published code.
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

    /// Applies the block: \[B, C, H, W\] → \[B, C, H, W\].
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let pixels = self.norm.forward(x).flatten(2, 3).transpose(1, 2);
        let projected = self.projection.forward(&pixels);
        let attended = attend(&projected, self.heads, self.packing, 0.0);
        // With x first, the sum takes the layout of x, which suits the next normalisation.
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
        linear(x, &self.weight.flatten(1, -1), Some(&self.bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes softmax(q kᵀ/√C) v, head by head.
    fn expected(projected: &Tensor, heads: i64, packing: Packing) -> Tensor {
        let width = projected.size()[2] / 3;
        let channels = width / heads;
        let outputs = (0..heads).map(|head| {
            let part = |kind: i64| {
                let start = match packing {
                    Packing::KindFirst => kind * width + head * channels,
                    Packing::HeadFirst => (head * 3 + kind) * channels,
                };
                projected.narrow(2, start, channels)
            };
            let scores = part(0).matmul(&part(1).transpose(1, 2)) / (channels as f64).sqrt();
            scores.softmax(-1, Kind::Double).matmul(&part(2))
        });
        Tensor::cat(&outputs.collect::<Vec<_>>(), 2)
    }

    /// Checks output and gradient of every way to compute attention, with the largest error that its precision allows.
    #[test]
    fn attention_is_its_formula_whichever_way_is_taken() {
        let shapes =
            [(1, 1, 1), (5, 3, 4), (5, 2, 16), (24, 4, 16), (49, 2, 40), (70, 2, 8), (300, 1, 8), (300, 2, 20)];
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 4e-2), (Kind::Double, 1e-12)] {
            for (length, heads, channels) in shapes {
                for packing in [Packing::KindFirst, Packing::HeadFirst] {
                    let x = Tensor::randn([2, length, 3 * heads * channels], (kind, Device::Cpu));
                    let weight = Tensor::randn([2, length, heads * channels], (kind, Device::Cpu));
                    let exact = x.to_kind(Kind::Double).copy().set_requires_grad(true);
                    let expected = expected(&exact, heads, packing);
                    (&expected * &weight).sum(Kind::Double).backward();

                    let without_gradient = attend(&x, heads, packing, 0.0);
                    let leaf = x.set_requires_grad(true);
                    let found = attend(&leaf, heads, packing, 0.0);
                    (&found * &weight).sum(kind).backward();
                    let pairs = [(without_gradient, &expected), (found, &expected), (leaf.grad(), &exact.grad())];
                    for (found, expected) in pairs {
                        let error = (found - expected).abs().max().double_value(&[]);
                        let largest = expected.abs().max().double_value(&[]);
                        let place = format!("{kind:?} {length} {heads} {channels} {packing:?}");
                        assert!(error <= tolerance * largest.max(1.0), "{place}: {error:e} of {largest}");
                    }
                }
            }
        }
    }
}
