//! The U-Net of the published binarised-MNIST experiment.
//!
//! It has residual blocks conditioned on the time, down- and up-sampling, and attention in the middle.

use tch::Tensor;
use tch::nn::Path;

use crate::{Error, NamedTensor};

use super::attention::{Packing, PixelAttention, PixelAttentionLayout};
use super::condition::LabelEmbedding;
use super::config::Variables;
use super::image::{Canvas, ImageOutput, PUBLISHED_POSITION_BANDS, arranged, expect_shape, position_features};
use super::layers::{Convolution, GroupNorm, Linear, Start};
use super::residual::{ResidualBlock, ResidualLayout, ResidualSizes, TimeName, TimeStart};
use super::time::TimeFeatures;
use super::unet_config::UNetConfig;
use super::{Condition, Mode, Network};

/// The U-Net with down-sampling. See [`UNetConfig`].
#[derive(Debug)]
pub struct UNet {
    canvas: Canvas,
    positions: Option<Tensor>,
    published_bands: i64,
    input_adapter: Option<Linear>,
    input_projection: Option<Linear>,
    skip_to_output: bool,
    time_features: TimeFeatures,
    time_embed: [Linear; 2],
    label_emb: Option<LabelEmbedding>,
    first: Convolution,
    down: Vec<Stage>,
    middle: (ResidualBlock, PixelAttention, ResidualBlock),
    up: Vec<Stage>,
    out: (GroupNorm, Convolution),
    output: ImageOutput,
}

impl UNet {
    /// Builds the network with fresh parameters under `path`.
    ///
    /// # Errors
    ///
    /// Returns an error for the first setting that does not fit the others or the variables.
    pub fn new(config: &UNetConfig, variables: &Variables, path: &Path<'_>) -> Result<Self, Error> {
        let canvas = config.canvas(variables)?;
        let width = config.width as i64;
        let time_width = 4 * width;
        let groups = config.norm_groups as i64;
        let block = |path: Path<'_>, inputs: i64, outputs: i64| {
            let dropout = config.dropout;
            let sizes = ResidualSizes { inputs, outputs, time_width, groups, dropout };
            ResidualBlock::new(&path, sizes, &RESIDUAL)
        };
        let attention = |path: Path<'_>, channels: i64| {
            PixelAttention::new(&path, channels, config.heads as i64, groups, ATTENTION)
        };

        // The numbers of a pixel, then the time, then its position, then the low-resolution image there.
        let position_channels = match config.position_bands as i64 {
            0 => 0,
            bands => 4 * bands + 2,
        };
        let gathered = canvas.channels + 1 + position_channels + canvas.condition_channels();
        let features = config.input_features.map_or(gathered, |features| features as i64);
        // As in the published code, there is no map if the number of features is already right.
        let adapter = path / "input_adapter" / "output_projection";
        let input_adapter = (features != gathered).then(|| Linear::new(adapter, gathered, features, Start::Uniform));
        let projection = path / "input_projection";
        let input_projection =
            config.input_projection.then(|| Linear::new(projection, features, width, Start::Uniform));
        let entering = if config.input_projection { width } else { features };

        let embed = path / "time_embed";
        let time_embed = [
            Linear::new(&embed / "0", width, time_width, Start::Uniform),
            Linear::new(&embed / "2", time_width, time_width, Start::Uniform),
        ];

        let label_emb = LabelEmbedding::new(path, config.classes, time_width, 1.0);

        let blocks = path / "input_blocks";
        let first = Convolution::new(&blocks / "0" / "0", entering, width, Start::Uniform);
        let mut channels = width;
        let mut skips = vec![width];
        let mut down = Vec::new();
        let last_level = config.multipliers.len() - 1;
        for (level, &multiplier) in config.multipliers.iter().enumerate() {
            let outputs = width * multiplier as i64;
            for _ in 0..config.blocks_per_level {
                let here = &blocks / skips.len();
                down.push(Stage {
                    block: Some(block(&here / "0", channels, outputs)),
                    attention: config.attention_levels.contains(&level).then(|| attention(&here / "1", outputs)),
                    resample: None,
                });
                channels = outputs;
                skips.push(channels);
            }
            if level < last_level {
                let here = &blocks / skips.len() / "0" / "op";
                let resample = Some(Resample::Down(Convolution::halving(here, channels)));
                down.push(Stage { block: None, attention: None, resample });
                skips.push(channels);
            }
        }

        let here = path / "middle_block";
        let middle = (
            block(&here / "0", channels, channels),
            attention(&here / "1", channels),
            block(&here / "2", channels, channels),
        );

        let blocks = path / "output_blocks";
        let mut up = Vec::new();
        for (level, &multiplier) in config.multipliers.iter().enumerate().rev() {
            let outputs = width * multiplier as i64;
            for index in 0..=config.blocks_per_level {
                let here = &blocks / up.len();
                let has_attention = config.attention_levels.contains(&level);
                let doubles = level > 0 && index == config.blocks_per_level;
                let skipped = skips.pop().unwrap_or_default();
                up.push(Stage {
                    block: Some(block(&here / "0", channels + skipped, outputs)),
                    attention: has_attention.then(|| attention(&here / "1", outputs)),
                    resample: doubles.then(|| {
                        let here = &here / (1 + usize::from(has_attention)) / "conv";
                        Resample::Up(Convolution::new(here, outputs, outputs, Start::Uniform))
                    }),
                });
                channels = outputs;
            }
        }

        let here = path / "out";
        let out = (
            GroupNorm::new(&here / "0", groups, channels),
            Convolution::new(&here / "2", channels, width, Start::Zero),
        );
        let skipped = if config.skip_to_output { entering } else { 0 };
        let here = path / "output_adapter" / "output_projection";
        Ok(Self {
            canvas,
            published_bands: match config.position_bands as i64 {
                0 => PUBLISHED_POSITION_BANDS,
                bands => bands,
            },
            positions: (config.position_bands > 0).then(|| {
                let bands = config.position_bands as i64;
                position_features(canvas.height, canvas.width, bands)
                    .reshape([1, canvas.height, canvas.width, position_channels])
                    .permute([0, 3, 1, 2])
                    .contiguous()
                    .to_device(path.device())
            }),
            input_adapter,
            input_projection,
            skip_to_output: config.skip_to_output,
            time_features: TimeFeatures::unet(width, path.device()),
            time_embed,
            label_emb,
            first,
            down,
            middle,
            up,
            out,
            output: ImageOutput::new(here, skipped, width, canvas.outputs),
        })
    }

    /// Gathers pixel, time, position and low-resolution image as channels.
    fn gather(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>) -> Tensor {
        let x = self.canvas.fold(input);
        let batch = x.size()[0];
        let plane = [batch, 1, self.canvas.height, self.canvas.width];
        let time = (t.to_kind(x.kind()) * 2.0 - 1.0).reshape([batch, 1, 1, 1]).expand(plane, false);
        let positions = self.positions.as_ref().map(|positions| positions.expand([batch, -1, -1, -1], false));
        let of_condition = self.canvas.condition(condition, &x);
        let gathered = Tensor::cat(&[x, time].into_iter().chain(positions).chain(of_condition).collect::<Vec<_>>(), 1);
        match &self.input_adapter {
            None => gathered,
            Some(adapter) => adapter.over_channels(&gathered),
        }
    }
}

impl Network for UNet {
    fn forward(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor {
        expect_shape("t", t, &[input.size()[0]]);
        let features = arranged(self.gather(input, t, condition));
        let hidden = self.time_embed[0].forward(&self.time_features.forward(t)).silu();
        let mut embedded = self.time_embed[1].forward(&hidden);
        if let Some(label) = LabelEmbedding::forward(self.label_emb.as_ref(), condition, input.size()[0]) {
            embedded += label;
        }
        // Every block starts with this same activation of the embedding.
        let time = embedded.silu();

        let mut h = match &self.input_projection {
            None => self.first.forward(&features),
            Some(projection) => self.first.forward(&projection.over_channels(&features)),
        };
        let mut skips = Vec::with_capacity(self.down.len() + 1);
        for stage in &self.down {
            let next = stage.forward(&h, &time, mode);
            skips.push(std::mem::replace(&mut h, next));
        }
        skips.push(h.shallow_clone());
        let (before, attention, after) = &self.middle;
        h = before.forward(&h, &time, mode);
        h = attention.forward(&h);
        h = after.forward(&h, &time, mode);
        for stage in &self.up {
            // There are as many stages on the way up as skips: `new` pops one for each.
            let joined = match skips.pop() {
                Some(skip) => Tensor::cat(&[h, skip], 1),
                None => h,
            };
            h = stage.forward(&joined, &time, mode);
        }
        let h = self.out.1.forward(&self.out.0.then_silu(&h));
        let skipped = self.skip_to_output.then_some(&features);
        let output = self.output.forward(&h, skipped, self.input_projection.as_ref());
        self.canvas.unfold(&output).to_kind(input.kind())
    }

    /// Returns true: the published run decays every parameter, biases and normalisation included.
    fn decays(&self, _name: &str) -> bool {
        true
    }

    fn published_buffers(&self) -> Vec<NamedTensor> {
        vec![self.canvas.published_positions(self.published_bands)]
    }
}

/// A residual block, attention and resampling in this order, each optional.
#[derive(Debug)]
struct Stage {
    block: Option<ResidualBlock>,
    attention: Option<PixelAttention>,
    resample: Option<Resample>,
}

impl Stage {
    fn forward(&self, x: &Tensor, time: &Tensor, mode: Mode) -> Tensor {
        let mut h = x.shallow_clone();
        if let Some(block) = &self.block {
            h = block.forward(&h, time, mode);
        }
        if let Some(attention) = &self.attention {
            h = attention.forward(&h);
        }
        match &self.resample {
            None => h,
            Some(Resample::Down(convolution)) => convolution.forward(&h),
            Some(Resample::Up(convolution)) => convolution.after_doubling(&h),
        }
    }
}

#[derive(Debug)]
enum Resample {
    Down(Convolution),
    Up(Convolution),
}

const RESIDUAL: ResidualLayout = ResidualLayout {
    first: "in_layers",
    time: TimeName::InSequence("emb_layers", "1"),
    time_start: TimeStart::Linear,
    second: "out_layers",
    skip: "skip_connection",
};

const ATTENTION: PixelAttentionLayout = PixelAttentionLayout {
    norm: "norm",
    projection: "qkv",
    output: "proj_out",
    packing: Packing::HeadFirst,
    kernel_axes: 1,
};
