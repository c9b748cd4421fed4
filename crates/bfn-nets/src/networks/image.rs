//! Images on their way into and out of a network.
//!
//! Variables come as \[B, D\] or \[B, D, K\], channels fastest; the networks work on \[B, C, H, W\]. A `patch` of r
//! folds r×r pixels into channels before anything else, and unfolds them at the very end.

use tch::nn::Path;
use tch::{Device, Kind, Tensor};

use crate::shim::fused;
use crate::{Error, NamedTensor};

use super::Condition;
use super::condition::expect_no_low_resolution;
use super::config::{Checks, Shape, Variables};
use super::layers::{Linear, Start, pointwise};

/// An image as the inner network sees it, after folding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    pub(super) height: i64,
    pub(super) width: i64,
    /// Input numbers per folded pixel.
    pub(super) channels: i64,
    /// Output numbers per folded pixel.
    pub(super) outputs: i64,
    patch: i64,
    unfolded_height: i64,
    unfolded_width: i64,
    unfolded_channels: i64,
    inputs_per_variable: i64,
    outputs_per_variable: i64,
    /// The reduction factor of the low-resolution images that the network takes.
    low_resolution: Option<i64>,
}

impl Canvas {
    /// Creates the canvas for images folded by `patch` and halved `halvings` times inside.
    pub(super) fn new(checks: Checks, variables: &Variables, patch: usize, halvings: usize) -> Result<Self, Error> {
        checks.variables(variables)?;
        let Shape::Image { height, width, channels } = variables.shape else {
            let expected = "data that are images (take `network.transformer` for sequences)";
            return Err(checks.error_at(checks.table, variables.shape, expected));
        };
        checks.at_least_one("patch", patch)?;
        for (side, length) in [("height", height), ("width", width)] {
            if !length.is_multiple_of(patch) {
                let expected = format!("a divisor of the image's {side}, which is {length}");
                return Err(checks.error("patch", patch, expected));
            }
            let folded = length / patch;
            if halvings >= 16 || !folded.is_multiple_of(1 << halvings) {
                let expected = format!(
                    "few enough levels that the image's {side}, which is {folded} after `patch`, \
                     can be halved {halvings} times, once after each level but the last"
                );
                let found = format!("{} levels", halvings + 1);
                return Err(checks.error("multipliers", found, expected));
            }
        }
        let fold = patch * patch;
        Ok(Self {
            height: (height / patch) as i64,
            width: (width / patch) as i64,
            channels: (channels * fold * variables.inputs_per_variable) as i64,
            outputs: (channels * fold * variables.outputs_per_variable) as i64,
            patch: patch as i64,
            unfolded_height: height as i64,
            unfolded_width: width as i64,
            unfolded_channels: channels as i64,
            inputs_per_variable: variables.inputs_per_variable as i64,
            outputs_per_variable: variables.outputs_per_variable as i64,
            low_resolution: None,
        })
    }

    /// Returns the same canvas for a network that also takes images smaller by `factor`, if there is one.
    pub(super) fn conditioned_on(self, checks: Checks, factor: Option<usize>) -> Result<Self, Error> {
        let Some(factor) = factor else { return Ok(self) };
        let sides = [self.unfolded_height, self.unfolded_width];
        let fits = (2..1 << 16).contains(&factor) && sides.iter().all(|side| side % factor as i64 == 0);
        if !fits {
            let expected = format!("a number from 2 on that divides the image's height and width, {sides:?}");
            return Err(checks.error("low_resolution", factor, expected));
        }
        Ok(Self { low_resolution: Some(factor as i64), ..self })
    }

    /// Returns the number of channels of [`condition`](Self::condition).
    pub(super) fn condition_channels(&self) -> i64 {
        if self.low_resolution.is_none() { 0 } else { (self.unfolded_channels + 1) * self.patch * self.patch }
    }

    /// Returns the low-resolution images beside the folded images `x`, as channels.
    ///
    /// Each number is repeated over the pixels that it stands for. A further channel is 1 where there is such an
    /// image. All channels are 0 where there is none. The result is `None` for a network that takes no such images.
    pub(super) fn condition(&self, condition: Option<&Condition>, x: &Tensor) -> Option<Tensor> {
        let Some(factor) = self.low_resolution else {
            expect_no_low_resolution(condition);
            return None;
        };
        let batch = x.size()[0];
        let options = (x.kind(), x.device());
        let Some(small_images) = condition.and_then(Condition::low_resolution) else {
            return Some(Tensor::zeros([batch, self.condition_channels(), self.height, self.width], options));
        };
        let (channels, sides) = (self.unfolded_channels, [self.unfolded_height, self.unfolded_width]);
        let small = sides.map(|side| side / factor);
        expect_shape("low-resolution images", &small_images.values, &[batch, small[0] * small[1] * channels]);
        expect_shape("which low-resolution images are given", &small_images.given, &[batch]);
        let is_given = small_images.given.to_kind(x.kind()).reshape([batch, 1, 1, 1]);
        let values = small_images.values.to_kind(x.kind()).reshape([batch, small[0], small[1], channels]);
        let values = values.permute([0, 3, 1, 2]).contiguous().upsample_nearest2d(sides, None, None) * &is_given;
        let beside = Tensor::cat(&[values, is_given.expand([batch, 1, sides[0], sides[1]], false)], 1);
        Some(if self.patch == 1 { beside } else { beside.pixel_unshuffle(self.patch) })
    }

    /// Returns the position features that the published input adapter holds, even if nothing reads them.
    pub(super) fn published_positions(&self, bands: i64) -> NamedTensor {
        let positions = position_features(self.unfolded_height, self.unfolded_width, bands);
        NamedTensor::new("input_adapter.pos_feats", &positions)
    }

    fn dimensions(&self) -> i64 {
        self.unfolded_height * self.unfolded_width * self.unfolded_channels
    }

    /// Folds inputs \[B, D\] or \[B, D, K\] → \[B, C, H, W\]; class probabilities θ are mapped to 2θ − 1.
    pub(super) fn fold(&self, input: &Tensor) -> Tensor {
        let batch = input.size()[0];
        let x = match self.inputs_per_variable {
            1 => {
                expect_shape("input", input, &[batch, self.dimensions()]);
                input.shallow_clone()
            }
            classes => {
                expect_shape("input", input, &[batch, self.dimensions(), classes]);
                input * 2.0 - 1.0
            }
        };
        let (height, width) = (self.unfolded_height, self.unfolded_width);
        let channels = self.unfolded_channels * self.inputs_per_variable;
        let x = match channels {
            1 => x.reshape([batch, 1, height, width]),
            _ => x.reshape([batch, height, width, channels]).permute([0, 3, 1, 2]),
        };
        match self.patch {
            1 => x.contiguous(),
            patch => x.pixel_unshuffle(patch).contiguous(),
        }
    }

    /// Unfolds outputs \[B, outputs, H, W\] → \[B, D, P\].
    pub(super) fn unfold(&self, output: &Tensor) -> Tensor {
        let batch = output.size()[0];
        let output = match self.patch {
            1 => output.shallow_clone(),
            patch => output.pixel_shuffle(patch),
        };
        output.permute([0, 2, 3, 1]).reshape([batch, self.dimensions(), self.outputs_per_variable])
    }
}

/// The last linear map, to the output parameters of every pixel.
///
/// It takes the network's features, and beside them the network's input if that is skipped to the output.
#[derive(Debug)]
pub(super) struct ImageOutput {
    projection: Linear,
    skipped: i64,
    features: i64,
}

impl ImageOutput {
    pub(super) fn new(path: Path<'_>, skipped: i64, features: i64, outputs: i64) -> Self {
        let projection = Linear::new(path, skipped + features, outputs, Start::Uniform);
        Self { projection, skipped, features }
    }

    /// Computes W \[input, features\] + b as a sum of two products, which saves the concatenation.
    ///
    /// `through` is a linear map that the input passed before the skip; the two maps are multiplied, so that the wide
    /// skipped image need not be read again.
    pub(super) fn forward(&self, features: &Tensor, input: Option<&Tensor>, through: Option<&Linear>) -> Tensor {
        let Linear { weight, bias } = &self.projection;
        let Some(input) = input else {
            return pointwise(features, weight, Some(bias));
        };
        let of_input = weight.narrow(1, 0, self.skipped);
        let of_features = weight.narrow(1, self.skipped, self.features);
        let skipped = match through {
            None => pointwise(input, &of_input, Some(bias)),
            Some(inner) => {
                let bias = of_input.mv(&inner.bias) + bias;
                pointwise(input, &of_input.matmul(&inner.weight), Some(&bias))
            }
        };
        pointwise(features, &of_features, None) + skipped
    }
}

/// Computes sines and cosines of the two coordinates of every pixel, and the coordinates: \[H·W, 4·bands + 2\].
///
/// Coordinates range over [−1, 1]; the frequencies of an axis of n pixels range from π to π n / 2.
pub(super) fn position_features(height: i64, width: i64, bands: i64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let row = Tensor::linspace(-1.0, 1.0, height, options);
    let column = Tensor::linspace(-1.0, 1.0, width, options);
    let grid = Tensor::stack(&Tensor::meshgrid_indexing(&[row, column], "ij"), -1);
    let coordinates = grid.reshape([-1, 2]);
    let frequencies =
        Tensor::stack(&[height, width].map(|side| Tensor::linspace(1.0, side as f64 / 2.0, bands, options)), 0);
    let angles = coordinates.unsqueeze(-1) * frequencies.unsqueeze(0);
    let angles = angles.reshape([height * width, 2 * bands]) * std::f64::consts::PI;
    Tensor::cat(&[angles.sin(), angles.cos(), coordinates], -1)
}

/// Returns images \[B, C, H, W\] in the layout that suits the layers which serve their device at present.
pub(super) fn arranged(images: Tensor) -> Tensor {
    if fused::serve(images.device()) { fused::channels_last(&images) } else { images }
}

/// Panics unless the tensor has this shape.
pub(super) fn expect_shape(name: &str, tensor: &Tensor, expected: &[i64]) {
    let found = tensor.size();
    assert!(found == expected, "{name}: expected shape {expected:?}, found {found:?}");
}

/// The number of frequencies of the position features in the published configurations.
pub(super) const PUBLISHED_POSITION_BANDS: i64 = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::LowResolution;
    use super::*;

    /// With one input and one output number per variable, unfolding undoes folding.
    #[test]
    fn unfolding_undoes_folding() {
        for (patch, channels, size) in [(1, 1, [1, 4, 6]), (1, 3, [3, 4, 6]), (2, 1, [4, 2, 3]), (2, 3, [12, 2, 3])] {
            let shape = Shape::Image { height: 4, width: 6, channels };
            let variables = Variables { shape, inputs_per_variable: 1, outputs_per_variable: 1 };
            let canvas = Canvas::new(Checks { table: "test" }, &variables, patch, 0).unwrap();
            let input = Tensor::arange(2 * shape.dimensions() as i64, (Kind::Float, Device::Cpu)).reshape([2, -1]);
            let folded = canvas.fold(&input);
            assert_eq!(folded.size()[1..], size);
            assert!(folded.is_contiguous());
            assert_eq!(canvas.unfold(&folded).squeeze_dim(-1), input);
        }
    }

    /// Pixel (y, x) of the extra channels holds number (⌊y/2⌋, ⌊x/2⌋) of the small image, and the last channel is 1.
    #[test]
    fn each_low_resolution_number_is_repeated_over_its_pixels() {
        let shape = Shape::Image { height: 4, width: 6, channels: 2 };
        let variables = Variables { shape, inputs_per_variable: 1, outputs_per_variable: 1 };
        let checks = Checks { table: "test" };
        let canvas = Canvas::new(checks, &variables, 1, 0).unwrap().conditioned_on(checks, Some(2)).unwrap();
        let number = |y: i64, x: i64, channel: i64| (1 + (y * 3 + x) * 2 + channel) as f64;
        let values = Tensor::arange(12, (Kind::Float, Device::Cpu)).reshape([1, 12]) + 1.0;
        for given in [1.0, 0.0] {
            let low_resolution =
                LowResolution { values: values.shallow_clone(), given: Tensor::from_slice(&[given as f32]) };
            let condition = Condition::of_low_resolution(low_resolution);
            let x = Tensor::zeros([1, 2, 4, 6], (Kind::Float, Device::Cpu));
            let channels = canvas.condition(Some(&condition), &x).unwrap();
            assert_eq!(channels.size(), [1, 3, 4, 6]);
            for (y, x) in (0..4).flat_map(|y| (0..6).map(move |x| (y, x))) {
                let at = |channel: i64| channels.double_value(&[0, channel, y, x]);
                let expected = [number(y / 2, x / 2, 0) * given, number(y / 2, x / 2, 1) * given, given];
                assert_eq!([at(0), at(1), at(2)], expected, "pixel ({y}, {x})");
            }
        }
    }
}
