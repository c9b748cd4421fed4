//! `model.net` and its adapters: the network, its size, and the arrangement of its variables.

use anyhow::{Context, Result, bail, ensure};
use bfn_nets::networks::{NetworkConfig, Positions, Shape, TransformerConfig, UNetConfig, Variables, VdmUNetConfig};

use super::section::Section;

/// A network of the published code in this program's terms.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) config: NetworkConfig,
    pub(super) variables: Variables,
}

/// The number of groups in the group normalisation of the published `UNetModel`, which has no setting for it.
const UNET_GROUPS: usize = 32;

/// The exponents of the Fourier features in the published `UNetVDM`, which has no setting for them.
const VDM_EXPONENTS: [i32; 2] = [5, 6];

impl Net {
    pub(super) fn read(model: &mut Section) -> Result<Self> {
        let (class, net) = model.class("net")?.context("model.net is empty")?;
        let input = model.class("input_adapter")?;
        let output = model.class("output_adapter")?;
        let net = match class.as_str() {
            "UNetModel" => unet(net, ImageInput::read(input)?, ImageOutput::read(output)?)?,
            "UNetVDM" => vdm(net, ImageInput::read(input)?, ImageOutput::read(output)?)?,
            "GPT" => {
                ensure!(output.is_none(), "model.output_adapter of a GPT is not supported: it must be null");
                gpt(net, TextInput::read(input)?)?
            }
            other => bail!("model.net.class_name is {other}; this program knows UNetModel, UNetVDM and GPT"),
        };
        net.config.check(&net.variables).context("the network of the configuration")?;
        Ok(net)
    }
}

fn unet(mut net: Section, input: ImageInput, output: ImageOutput) -> Result<Net> {
    let image_size: usize = net.or("image_size", 32)?;
    let in_channels: usize = net.or("in_channels", 3)?;
    let width: usize = net.or("model_channels", 128)?;
    let features: usize = net.or("out_channels", 128)?;
    let blocks_per_level = net.or("num_res_blocks", 3)?;
    let resolutions: Vec<usize> = net.or("attention_resolutions", vec![8, 16])?;
    let dropout = net.or("dropout", 0.0)?;
    let multipliers: Vec<usize> = net.or("channel_mult", vec![1, 2, 2, 2])?;
    let heads: usize = net.or("num_heads", 4)?;
    let heads_up: i64 = net.or("num_heads_upsample", -1)?;
    let skip_to_output = net.or("skip", true)?;
    let input_projection = net.or("project_input", false)?;
    net.only("conv_resample", true, "resampling is by convolution")?;
    net.only("dims", 2_usize, "images have two dimensions")?;
    net.only("use_scale_shift_norm", false, "the time is added, not multiplied")?;
    net.only("num_classes", None::<usize>, "the published network with classes is never given one")?;
    net.ignore(&["use_checkpoint"]);
    net.finish("these are all that a UNetModel has here")?;

    ensure!(
        heads_up == -1 || usize::try_from(heads_up) == Ok(heads),
        "model.net.parameters.num_heads_upsample is {heads_up}, which is not supported: it must be −1 or num_heads"
    );
    agree("model.net.parameters.out_channels", features, "model_channels", width)?;
    agree("model.net.parameters.in_channels", in_channels, "input_adapter's output_height", input.features)?;
    ensure!(input.time, "model.input_adapter.parameters.add_mask is False, which is not supported for a UNetModel");
    let entering = if input_projection { width } else { in_channels };
    let skipped = if skip_to_output { entering } else { 0 };
    agree(
        "model.output_adapter.parameters.input_height",
        output.input_height,
        "the network's outputs",
        skipped + width,
    )?;
    let levels = multipliers.len();
    let config = UNetConfig {
        width,
        blocks_per_level,
        attention_levels: (0..levels).filter(|level| resolutions.contains(&(1 << level.min(&32)))).collect(),
        multipliers,
        heads,
        dropout,
        norm_groups: UNET_GROUPS,
        input_projection,
        skip_to_output,
        patch: 1,
        position_bands: input.position_bands.unwrap_or(0),
        input_features: (input.features != input.gathered()).then_some(input.features),
        classes: None,
        low_resolution: None,
    };
    Ok(Net { config: NetworkConfig::Unet(config), variables: image(image_size, &input, &output)? })
}

fn vdm(mut net: Section, input: ImageInput, output: ImageOutput) -> Result<Net> {
    let width: usize = net.or("embedding_dim", 128)?;
    let blocks = net.or("n_blocks", 32)?;
    let heads = net.or("n_attention_heads", 1)?;
    let dropout = net.or("dropout_prob", 0.1)?;
    let norm_groups = net.or("norm_groups", 32)?;
    let channels: usize = net.or("input_channels", 3)?;
    let fourier = net.or("use_fourier_features", true)?;
    let attention_everywhere = net.or("attention_everywhere", false)?;
    let image_size = net.or("image_size", 32)?;
    net.finish("these are all that a UNetVDM has")?;

    let plain = !input.time && input.position_bands.is_none() && input.features == input.channels;
    ensure!(
        plain,
        "model.input_adapter of a UNetVDM must leave the image as it is: add_mask and add_pos_feats False, \
         output_height the same as input_channels"
    );
    agree("model.net.parameters.input_channels", channels, "input_adapter's output_height", input.features)?;
    let outputs = channels + width;
    agree("model.output_adapter.parameters.input_height", output.input_height, "the network's outputs", outputs)?;
    let config = VdmUNetConfig {
        width,
        blocks,
        heads,
        dropout,
        norm_groups,
        fourier_exponents: if fourier { VDM_EXPONENTS.to_vec() } else { Vec::new() },
        attention_everywhere,
        patch: 1,
        classes: None,
        low_resolution: None,
    };
    Ok(Net { config: NetworkConfig::VdmUnet(config), variables: image(image_size, &input, &output)? })
}

fn gpt(mut net: Section, input: TextInput) -> Result<Net> {
    let classes: usize = net.required("vocab_size")?;
    let layers = net.or("n_layer", 12)?;
    let heads = net.or("n_head", 12)?;
    let width: usize = net.or("n_embd", 768)?;
    let dropout = net.or("dropout", 0.0)?;
    let skip_to_output = net.or("skip", false)?;
    net.only("bias", true, "every layer has a bias")?;
    net.only("is_causal", false, "every position sees every other")?;
    net.finish("these are all that a GPT has")?;
    agree("model.net.parameters.vocab_size", classes, "input_adapter's vocab_size", input.classes)?;
    agree("model.net.parameters.n_embd", width, "input_adapter's output_size", input.width)?;
    let config =
        TransformerConfig { width, layers, heads, dropout, positions: input.positions, skip_to_output, classes: None };
    let shape = Shape::Sequence { length: input.length };
    let variables = Variables { shape, inputs_per_variable: classes, outputs_per_variable: classes };
    Ok(Net { config: NetworkConfig::Transformer(config), variables })
}

fn image(size: usize, input: &ImageInput, output: &ImageOutput) -> Result<Variables> {
    let &ImageInput { height, width, channels, .. } = input;
    ensure!(
        [height, width] == [size, size],
        "model.net.parameters.image_size is {size}, but input_adapter's input_shape is [{height}, {width}]"
    );
    agree(
        "model.output_adapter.parameters.output_channels",
        output.channels,
        "input_adapter's input_channels",
        channels,
    )?;
    let shape = Shape::Image { height, width, channels };
    Ok(Variables { shape, inputs_per_variable: 1, outputs_per_variable: output.outputs })
}

/// `FourierImageInputAdapter`.
#[derive(Debug)]
struct ImageInput {
    height: usize,
    width: usize,
    channels: usize,
    /// The number of features per pixel that enter the network.
    features: usize,
    /// Whether the time is one of the features.
    time: bool,
    /// The number of frequencies of the position features, if these are included.
    position_bands: Option<usize>,
}

impl ImageInput {
    fn read(adapter: Option<(String, Section)>) -> Result<Self> {
        let mut adapter = parameters("model.input_adapter", "FourierImageInputAdapter", adapter)?;
        let channels = adapter.or("input_channels", 3)?;
        let shape: Vec<usize> = adapter.or("input_shape", vec![224, 224])?;
        let bands = adapter.or("n_freq_bands", 64)?;
        let features = adapter.or("output_height", 256)?;
        let positions = adapter.or("add_pos_feats", true)?;
        let time = adapter.or("add_mask", true)?;
        adapter.only("mask_res", -1_i64, "the time goes in as it is")?;
        adapter.only("learn_pos_feats", false, "the position features of an image are fixed")?;
        adapter.ignore(&["value_res", "pos_embed_size", "init_scale"]);
        let [height, width] = shape[..] else {
            return Err(adapter.error(format!("input_shape has {} numbers; it must have two", shape.len())));
        };
        if !positions && bands != 64 {
            return Err(adapter.error(format!("n_freq_bands is {bands}; without add_pos_feats it must be 64")));
        }
        adapter.finish("these are all that a FourierImageInputAdapter has here")?;
        Ok(Self { height, width, channels, features, time, position_bands: positions.then_some(bands) })
    }

    /// Returns the number of values per pixel before the linear map to `features`.
    fn gathered(&self) -> usize {
        let positions = self.position_bands.map_or(0, |bands| bands.saturating_mul(4).saturating_add(2));
        self.channels.saturating_add(usize::from(self.time)).saturating_add(positions)
    }
}

/// `OutputAdapter`.
#[derive(Debug)]
struct ImageOutput {
    input_height: usize,
    channels: usize,
    /// The number of output parameters per variable.
    outputs: usize,
}

impl ImageOutput {
    fn read(adapter: Option<(String, Section)>) -> Result<Self> {
        let mut adapter = parameters("model.output_adapter", "OutputAdapter", adapter)?;
        let read = Self {
            input_height: adapter.required("input_height")?,
            channels: adapter.required("output_channels")?,
            outputs: adapter.required("output_height")?,
        };
        adapter.finish("these are all that an OutputAdapter has")?;
        Ok(read)
    }
}

/// `TextInputAdapter`.
#[derive(Debug)]
struct TextInput {
    classes: usize,
    length: usize,
    width: usize,
    positions: Positions,
}

impl TextInput {
    fn read(adapter: Option<(String, Section)>) -> Result<Self> {
        let mut adapter = parameters("model.input_adapter", "TextInputAdapter", adapter)?;
        let learned = adapter.or("learn_pos_embedding", false)?;
        let read = Self {
            classes: adapter.required("vocab_size")?,
            length: adapter.required("seq_len")?,
            width: adapter.or("output_size", 256)?,
            positions: if learned { Positions::Learned } else { Positions::Sinusoidal },
        };
        adapter.finish("these are all that a TextInputAdapter has")?;
        Ok(read)
    }
}

fn parameters(key: &str, expected: &str, adapter: Option<(String, Section)>) -> Result<Section> {
    let (class, parameters) = adapter.with_context(|| format!("{key} is empty; {expected} is expected"))?;
    ensure!(class == expected, "{key}.class_name is {class}; with this network it must be {expected}");
    Ok(parameters)
}

/// Checks that two settings are equal, as the published code requires.
fn agree(key: &str, value: usize, other_key: &str, other: usize) -> Result<()> {
    ensure!(value == other, "{key} is {value}, but {other_key} is {other}: they must be the same");
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn net(text: &str) -> Net {
        Net::read(&mut Section::file(yaml::parse(text).unwrap()).unwrap()).unwrap()
    }

    const IMAGES: &str = "
input_adapter: {class_name: FourierImageInputAdapter, parameters: {ADAPTER, add_pos_feats: False}}
output_adapter: {class_name: OutputAdapter, parameters: {input_height: HEIGHT, output_channels: CHANNELS, output_height: OUT}}";

    fn images(adapter: &str, height: &str, channels: &str, outputs: &str) -> String {
        let text = IMAGES.replace("ADAPTER", adapter).replace("HEIGHT", height);
        text.replace("CHANNELS", channels).replace("OUT", outputs)
    }

    /// The settings of the published runs give the networks whose parameters are counted in bfn-nets.
    #[test]
    fn published_settings_are_the_published_networks() {
        let text8 = net("
net: {class_name: GPT, parameters: {vocab_size: 27, n_layer: 24, n_head: 12, n_embd: 768, dropout: 0.0, skip: True, bias: True}}
input_adapter: {class_name: TextInputAdapter, parameters: {vocab_size: 27, seq_len: 256, output_size: 768, learn_pos_embedding: False}}
output_adapter: null");
        assert_eq!(text8.config, NetworkConfig::Transformer(TransformerConfig::published_text8()));
        assert_eq!(text8.variables.shape, Shape::Sequence { length: 256 });

        let mnist = "
net:
  class_name: \"UNetModel\"
  parameters: {image_size: 28, in_channels: 2, model_channels: 128, out_channels: 128, num_res_blocks: 2,
    attention_resolutions: [8,16], dropout: 0.5, channel_mult: [1, 2, 2], conv_resample: True, dims: 2,
    num_heads: 4, num_heads_upsample: -1, project_input: True, skip: True}";
        let adapter = "input_channels: 1, input_shape: [28, 28], output_height: 2";
        let mnist = net(&format!("{mnist}{}", images(adapter, "256", "1", "1")));
        assert_eq!(mnist.config, NetworkConfig::Unet(UNetConfig::published_mnist()));

        for outputs in [1, 2] {
            let cifar10 = "
net:
  class_name: UNetVDM
  parameters: {embedding_dim: 128, n_blocks: 32, n_attention_heads: 1, dropout_prob: 0.1, norm_groups: 32,
    input_channels: 3, use_fourier_features: True, attention_everywhere: False, image_size: 32}";
            let adapter = "input_channels: 3, input_shape: [32, 32], output_height: 3, add_mask: False";
            let cifar10 = net(&format!("{cifar10}{}", images(adapter, "131", "3", &outputs.to_string())));
            assert_eq!(cifar10.config, NetworkConfig::VdmUnet(VdmUNetConfig::published_cifar10()));
            assert_eq!(cifar10.variables.outputs_per_variable, outputs);
        }
    }

    #[test]
    fn attention_is_where_the_image_is_smaller_by_the_given_factors() {
        let text = "
net: {class_name: UNetModel, parameters: {image_size: 32, in_channels: 516, attention_resolutions: [2, 8], skip: False}}";
        let adapter = "input_channels: 3, input_shape: [32, 32], output_height: 516";
        let Net { config: NetworkConfig::Unet(config), .. } =
            net(&format!("{text}{}", images(adapter, "128", "3", "2")))
        else {
            panic!("a U-Net");
        };
        // The other settings are the defaults of the published code.
        assert_eq!(config.attention_levels, [1, 3]);
        assert_eq!((config.multipliers, config.blocks_per_level, config.heads), (vec![1, 2, 2, 2], 3, 4));
        assert_eq!((config.input_features, config.input_projection, config.dropout), (Some(516), false, 0.0));
    }
}
