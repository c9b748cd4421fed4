//! The layers that the networks are made of, with PyTorch's default initialisation.

use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use crate::shim::fused::{self, Numbers};
use crate::shim::kernels;

use super::Mode;
use super::arithmetic::summed;

/// The initial values of a layer's weights and biases.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// Weights and biases uniform in ±1/√(inputs of one output).
    ///
    /// This is the default of linear and convolutional layers in PyTorch.
    Uniform,
    /// All zero, for the last layer of a residual branch: the block starts as the identity.
    Zero,
    /// Normal weights with this standard deviation, zero biases.
    Normal(f64),
}

impl Start {
    pub(super) fn weight(self, inputs: i64) -> Init {
        match self {
            Self::Uniform => uniform(inputs),
            Self::Zero => Init::Const(0.0),
            Self::Normal(stdev) => Init::Randn { mean: 0.0, stdev },
        }
    }

    pub(super) fn bias(self, inputs: i64) -> Init {
        match self {
            Self::Uniform => uniform(inputs),
            Self::Zero | Self::Normal(_) => Init::Const(0.0),
        }
    }
}

fn uniform(inputs: i64) -> Init {
    let bound = 1.0 / (inputs as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// A linear layer: x ↦ W x + b over the last axis, or over the channels of an image.
#[derive(Debug)]
pub(super) struct Linear {
    /// \[outputs, inputs\].
    pub(super) weight: Tensor,
    /// \[outputs\].
    pub(super) bias: Tensor,
}

impl Linear {
    pub(super) fn new(path: Path<'_>, inputs: i64, outputs: i64, start: Start) -> Self {
        Self {
            weight: path.var("weight", &[outputs, inputs], start.weight(inputs)),
            bias: path.var("bias", &[outputs], start.bias(inputs)),
        }
    }

    /// Maps the last axis: \[…, inputs\] → \[…, outputs\].
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        linear(x, &self.weight, Some(&self.bias))
    }

    /// Maps the last axis without adding the bias.
    pub(super) fn without_bias(&self, x: &Tensor) -> Tensor {
        linear(x, &self.weight, None)
    }

    /// Maps the last axis and applies GELU in its approximation by tanh.
    pub(super) fn then_gelu(&self, x: &Tensor) -> Tensor {
        let Self { weight, bias } = self;
        if fused::serve(x.device()) && weight.size()[0] % fused::VECTOR == 0 {
            fused::gelu_biased(&self.without_bias(x), bias)
        } else if [x, weight, bias].into_iter().all(kernels::takes) {
            summed(kernels::linear_gelu(x, weight, bias), weight.size()[1])
        } else {
            self.forward(x).gelu("tanh")
        }
    }

    /// Maps the channels: \[B, inputs, H, W\] → \[B, outputs, H, W\].
    pub(super) fn over_channels(&self, x: &Tensor) -> Tensor {
        pointwise(x, &self.weight, Some(&self.bias))
    }
}

/// Applies a linear map to the last axis: `weight` is \[outputs, inputs\].
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let ours = [Some(x), Some(weight), bias].into_iter().flatten().all(kernels::takes);
    let y = if ours { kernels::linear(x, weight, bias) } else { x.linear(weight, bias) };
    summed(y, weight.size()[1])
}

/// Applies a linear map to the channels of every pixel: `weight` is \[outputs, inputs\].
///
/// This is a matrix product, which is faster than a 1×1 convolution if inputs or outputs are few.
pub(super) fn pointwise(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if fused::serve(x.device()) {
        // In their layout, the numbers of a pixel lie side by side.
        return linear(&x.permute([0, 2, 3, 1]), weight, bias).permute([0, 3, 1, 2]);
    }
    let size = x.size();
    let (batch, outputs, inputs) = (size[0], weight.size()[0], weight.size()[1]);
    let pixels = x.flatten(2, 3);
    let weight = weight.unsqueeze(0).expand([batch, -1, -1], false);
    let y = match bias {
        Some(bias) => bias.reshape([1, outputs, 1]).baddbmm(&weight, &pixels, 1.0, 1.0),
        None => weight.bmm(&pixels),
    };
    summed(y, inputs).reshape([batch, outputs, size[2], size[3]])
}

/// A square convolution that keeps the size, or halves it.
#[derive(Debug)]
pub(super) struct Convolution {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Convolution {
    /// Creates a 3×3 convolution that keeps the size.
    pub(super) fn new(path: Path<'_>, inputs: i64, outputs: i64, start: Start) -> Self {
        Self::with_kernel(path, inputs, outputs, start, 3)
    }

    /// Creates a 1×1 convolution.
    pub(super) fn pointwise(path: Path<'_>, inputs: i64, outputs: i64, start: Start) -> Self {
        Self::with_kernel(path, inputs, outputs, start, 1)
    }

    /// Creates a 3×3 convolution of stride 2.
    pub(super) fn halving(path: Path<'_>, channels: i64) -> Self {
        Self { stride: 2, ..Self::new(path, channels, channels, Start::Uniform) }
    }

    fn with_kernel(path: Path<'_>, inputs: i64, outputs: i64, start: Start, side: i64) -> Self {
        let fan_in = inputs * side * side;
        Self {
            weight: path.var("weight", &[outputs, inputs, side, side], start.weight(fan_in)),
            bias: path.var("bias", &[outputs], start.bias(fan_in)),
            stride: 1,
            padding: side / 2,
        }
    }

    /// Applies the convolution after doubling each pixel along both axes (nearest-neighbour up-sampling).
    ///
    /// Doubling is itself a transposed convolution with a 2×2 kernel of ones. One transposed convolution with the
    /// product of both kernels gives the same with 4/9 of the arithmetic and without the large image in between.
    pub(super) fn after_doubling(&self, x: &Tensor) -> Tensor {
        debug_assert!(self.stride == 1 && self.padding == 1, "a 3×3 convolution that keeps the size");
        let padded = self.weight.constant_pad_nd([1, 1, 1, 1]);
        let corner = |row, column| padded.narrow(2, row, 4).narrow(3, column, 4);
        let kernel = corner(0, 0) + corner(0, 1) + corner(1, 0) + corner(1, 1);
        let kernel = kernel.flip([2, 3]).transpose(0, 1).contiguous();
        let double = |bias: Option<&Tensor>| x.conv_transpose2d(&kernel, bias, [2, 2], [1, 1], [0, 0], 1, [1, 1]);
        let y = match self.fuses(x) {
            true => fused::add_biased(&double(None), None, &self.bias),
            false => double(Some(&self.bias)),
        };
        summed(y, self.products())
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        if self.fuses(x) {
            return fused::add_biased(&self.without_bias(x), None, &self.bias);
        }
        self.convolve(x, Some(&self.bias))
    }

    /// Returns whether the bias is added by a layer that is faster at it.
    fn fuses(&self, x: &Tensor) -> bool {
        fused::serve(x.device()) && self.bias.size()[0] % fused::VECTOR == 0
    }

    /// Applies the convolution without adding the bias.
    pub(super) fn without_bias(&self, x: &Tensor) -> Tensor {
        self.convolve(x, None)
    }

    fn convolve(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (stride, padding) = (self.stride, self.padding);
        summed(x.conv2d(&self.weight, bias, [stride, stride], [padding, padding], [1, 1], 1), self.products())
    }

    /// Returns the bias, \[outputs\].
    pub(super) fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// Returns the number of products in one output number.
    fn products(&self) -> i64 {
        self.weight.size()[1..].iter().product()
    }
}

/// Group normalisation: over groups of channels of an image.
#[derive(Debug)]
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    const EPSILON: f64 = 1e-5;

    pub(super) fn new(path: Path<'_>, groups: i64, channels: i64) -> Self {
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
            groups,
        }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        match self.fused(x) {
            Some(norm) => norm.apply(x, None, Numbers::Bf16),
            None => x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), Self::EPSILON, true),
        }
    }

    /// Normalises and applies SiLU.
    pub(super) fn then_silu(&self, x: &Tensor) -> Tensor {
        match self.fused(x) {
            Some(norm) => fused::GroupNorm { activates: true, ..norm }.apply(x, None, Numbers::Bf16),
            None => self.forward(x).silu(),
        }
    }

    /// Returns this as a layer that does more than normalise, if such layers serve the device of x, and images of the
    /// size of x fit.
    pub(super) fn fused(&self, x: &Tensor) -> Option<fused::GroupNorm<'_>> {
        let Self { weight, bias, groups } = self;
        let norm =
            fused::GroupNorm { weight, bias, groups: *groups, epsilon: Self::EPSILON, activates: false, dropout: 0.0 };
        let serves = fused::serve(x.device()) && norm.fits(x, x.size()[2..].iter().product(), Numbers::Bf16);
        serves.then_some(norm)
    }
}

/// Layer normalisation: over the last axis.
#[derive(Debug)]
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
}

impl LayerNorm {
    pub(super) fn new(path: Path<'_>, width: i64) -> Self {
        Self {
            weight: path.var("weight", &[width], Init::Const(1.0)),
            bias: path.var("bias", &[width], Init::Const(0.0)),
            width,
        }
    }

    const EPSILON: f64 = 1e-5;

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        if kernels::takes(x) && self.width % kernels::MULTIPLE == 0 {
            return kernels::layer_norm(x, &self.weight, &self.bias, Self::EPSILON);
        }
        x.layer_norm([self.width], Some(&self.weight), Some(&self.bias), Self::EPSILON, true)
    }

    /// Adds a branch to the stream x, where [fused layers](fused::serve) serve it, and normalises the sum in bf16.
    ///
    /// Returns both.
    pub(super) fn after_adding(&self, x: &Tensor, branch: Option<fused::Branch<'_>>) -> (Tensor, Tensor) {
        fused::add_and_normalise(x, branch, [&self.weight, &self.bias], Self::EPSILON, Numbers::Bf16)
    }
}

/// Sets each number to zero with this probability and scales the others up, while training.
pub(super) fn dropout(x: Tensor, probability: f64, mode: Mode) -> Tensor {
    match (mode, x.device()) {
        (Mode::Evaluate, _) => x,
        (Mode::Train, _) if probability == 0.0 => x,
        (Mode::Train, Device::Cpu) => x.shallow_clone() * dropout_mask(&x, probability),
        (Mode::Train, _) => x.dropout(probability, true),
    }
}

/// Draws a mask: zero with this probability, to the nearest 2⁻¹⁶, else the factor that keeps the mean at one.
///
/// Each 64-bit draw serves four numbers. libtorch's own dropout makes a draw for each number, which on a CPU takes
/// longer than a convolution.
fn dropout_mask(x: &Tensor, probability: f64) -> Tensor {
    const STEPS: f64 = 65536.0;
    let numbers = x.numel() as i64;
    let dropped = (probability * STEPS).round().clamp(0.0, STEPS - 1.0);
    let draws = Tensor::empty([(numbers + 3) / 4], (Kind::Int64, x.device())).random_from_(i64::MIN, None);
    let kept = draws.view_dtype(Kind::Int16).narrow(0, 0, numbers).ge(dropped as i64 + i64::from(i16::MIN));
    kept.to_kind(x.kind()).g_mul_scalar_(STEPS / (STEPS - dropped)).view_(x.size())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::VarStore;

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// On a GPU in bf16, and only there, normalisation is more than that.
    #[test]
    fn fused_layers_serve_bf16_on_gpus() {
        for device in crate::device::available() {
            let store = VarStore::new(device);
            let norm = GroupNorm::new(store.root() / "norm", 4, 16);
            let x = Tensor::randn([2, 16, 4, 4], (Kind::Float, device));
            assert!(norm.fused(&x).is_none());
            let _precision = crate::Precision::Bf16.guard(device);
            assert_eq!(norm.fused(&x).is_some(), device.is_cuda());
        }
    }

    #[test]
    fn convolution_after_doubling_is_that() {
        let store = VarStore::new(Device::Cpu);
        let convolution = Convolution::new(store.root() / "conv", 3, 5, Start::Uniform);
        let x = Tensor::randn([2, 3, 4, 6], OPTIONS);
        let expected = convolution.forward(&x.upsample_nearest2d([8, 12], None, None));
        let error = (convolution.after_doubling(&x) - expected).abs().max().double_value(&[]);
        assert!(error < 1e-6, "{error:e}");
    }

    #[test]
    fn pointwise_is_a_linear_map_of_the_channels() {
        let x = Tensor::randn([2, 3, 4, 5], OPTIONS);
        let (weight, bias) = (Tensor::randn([7, 3], OPTIONS), Tensor::randn([7], OPTIONS));
        let expected = x.permute([0, 2, 3, 1]).linear(&weight, Some(&bias)).permute([0, 3, 1, 2]);
        let error = (pointwise(&x, &weight, Some(&bias)) - expected).abs().max().double_value(&[]);
        assert!(error < 1e-5, "{error:e}");
    }

    #[test]
    fn dropout_does_not_depend_on_the_number_of_threads() {
        use crate::{device, seed_dropout};
        let usual = device::threads();
        let masks = [1, 2, 3].map(|threads| {
            device::set_threads(threads);
            seed_dropout(1, 2);
            dropout(Tensor::ones([(1 << 20) + 3], OPTIONS), 0.3, Mode::Train)
        });
        device::set_threads(usual);
        assert!(masks[0].equal(&masks[1]) && masks[0].equal(&masks[2]));
    }

    /// Of n numbers, n p are dropped, within five standard deviations.
    ///
    /// The others are 1/(1 − p), and neighbours are independent.
    #[test]
    fn dropout_drops_its_share_and_keeps_the_mean() {
        for probability in [0.1, 0.5, 0.9] {
            let n = 100_003;
            let y = dropout(Tensor::ones([n], OPTIONS), probability, Mode::Train);
            let dropped = y.eq(0.0).to_kind(Kind::Float);
            let deviation = (probability * (1.0 - probability) / n as f64).sqrt();
            let share = dropped.mean(Kind::Float).double_value(&[]);
            assert!((share - probability).abs() < 5.0 * deviation, "{share} of {probability}");
            let scale = y.max().double_value(&[]);
            assert!((scale * (1.0 - probability) - 1.0).abs() < 2e-4, "{scale}");
            let both = (dropped.narrow(0, 0, n - 1) * dropped.narrow(0, 1, n - 1)).mean(Kind::Float).double_value(&[]);
            let product = probability * probability;
            assert!((both - product).abs() < 10.0 * deviation, "{both} of {product}");
        }
    }
}
