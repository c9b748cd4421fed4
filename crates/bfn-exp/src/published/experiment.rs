//! The whole file: an experiment and the form of an example.

use anyhow::{Context, Result, bail, ensure};
use bfn_nets::networks::Shape;
use bfn_nets::{EmaConfig, OptimiserConfig, Precision};

use super::data::{Data, TEXT8_ALPHABET};
use super::flow::Flow;
use super::network::Net;
use super::section::Section;
use super::yaml;
use crate::config::{
    CheckpointConfig, Decay, Experiment, FlowConfig, NotFinite, Times, TrainingConfig, ValidationConfig,
};
use crate::form::{Arrangement, Form, Variable};

/// A configuration of the published code in this program's terms.
#[derive(Debug)]
pub struct Translation {
    /// The experiment.
    pub experiment: Experiment,
    /// The form of an example.
    pub form: Form,
    /// The differences from the published code, in sentences.
    pub notes: Vec<String>,
}

/// Reads a configuration file of the published code.
///
/// A file that contains only `model` is sufficient if the data follow from the model.
///
/// # Errors
///
/// Returns an error that names the key and the line if a setting is wrong, unknown or not supported.
pub fn read(text: &str) -> Result<Translation> {
    let mut file = Section::file(yaml::parse(text)?)?;
    let mut model = file.section("model")?;
    let net = Net::read(&mut model)?;
    let flow = Flow::read(&mut model)?;
    model.finish("a model has net, input_adapter, output_adapter, bayesian_flow, loss and distribution_factory")?;
    ensure!(
        net.variables.outputs_per_variable == flow.outputs,
        "the network has {} outputs per variable, but model.distribution_factory needs {}",
        net.variables.outputs_per_variable,
        flow.outputs
    );
    let mut notes = Vec::new();
    let data = Data::read(&mut file, net.variables.shape, flow.variable, &mut notes)?;
    let loaders = Loaders::read(&mut file)?;
    let (optimiser, decays) = optimiser(&mut file)?;
    if decays == Decays::All && matches!(net.config, bfn_nets::networks::NetworkConfig::Transformer(_)) {
        notes.push(
            "the configuration names no weight_decay: the published code then lets all parameters decay by 0.01; here \
             those do that decay where it is named"
                .to_owned(),
        );
    }
    let training = Training::read(&mut file)?;
    if let Some(mut meta) = file.optional("meta")? {
        meta.ignore(&["neptune", "debug", "root_dir"]);
        meta.finish("meta has neptune, debug and root_dir")?;
    }
    file.finish("a file has meta, data, train_loader, val_loader, model, optimizer and training")?;

    if let (FlowConfig::Continuous { reconstruction_deviation, .. }, Variable::Discretised(bins)) =
        (flow.config, data.variable)
    {
        let reconstructed = if reconstruction_deviation.is_some() { 16 } else { 256 };
        if bins != reconstructed {
            notes.push(format!(
                "the published code reconstructs {reconstructed} bins whatever the data; here it is their {bins}"
            ));
        }
    }
    let arrangement = match net.variables.shape {
        Shape::Image { height, width, channels } => Arrangement::Image { height, width, channels },
        Shape::Sequence { length } => Arrangement::Text { length, alphabet: TEXT8_ALPHABET.to_owned() },
        Shape::Row { .. } => bail!("the published code has no networks for rows of tables"),
    };
    let validation_batch = loaders.validation_batch;
    let experiment = Experiment {
        data: data.config,
        flow: flow.config,
        network: net.config,
        optimiser,
        ema: EmaConfig { decay: training.ema_decay, warm_up: false },
        training: TrainingConfig {
            steps: training.steps,
            max_time: None,
            seed: training.seed,
            batch: loaders.training_batch,
            accumulation: training.accumulation,
            clip: training.clip,
            warm_up: 0,
            decay: Decay::Constant,
            precision: Precision::F32,
            deterministic: false,
            cuda_graphs: false,
            times: Times::Independent,
            time_density: Vec::new(),
            not_finite: NotFinite::default(),
            condition_dropout: 0.0,
            log_every: training.log_every,
            tensorboard: true,
        },
        validation: training.validate_every.map(|every| ValidationConfig {
            every,
            examples: training.validation_batches.map(|batches| batches.saturating_mul(validation_batch)),
            samples: ValidationConfig::SAMPLES,
            sample_steps: ValidationConfig::SAMPLE_STEPS,
        }),
        checkpoint: CheckpointConfig { every: training.checkpoint_every, keep: 2, keep_every: None },
    };
    Ok(Translation { experiment, form: Form { arrangement, variable: data.variable }, notes })
}

struct Loaders {
    training_batch: usize,
    validation_batch: u64,
}

impl Loaders {
    fn read(file: &mut Section) -> Result<Self> {
        let mut batch = |key: &str, default: usize| -> Result<usize> {
            let Some(mut loader) = file.optional(key)? else { return Ok(default) };
            let size = loader.or("batch_size", 1)?;
            loader.ignore(&["shuffle", "num_workers", "pin_memory", "drop_last", "persistent_workers"]);
            loader.finish("a loader has no other settings here")?;
            ensure!(size > 0, "{key}.batch_size is 0; it must be at least 1");
            Ok(size)
        };
        // A file without loaders gives no batch size; the default size is sufficient for evaluation.
        Ok(Self { training_batch: batch("train_loader", 64)?, validation_batch: batch("val_loader", 64)? as u64 })
    }
}

/// The parameters to which the published code applies weight decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decays {
    /// The parameters that its networks name, if they name any.
    Named,
    /// All parameters: the decay is PyTorch's default, which only the optimiser receives.
    All,
}

/// Reads `optimizer`, the arguments of PyTorch's AdamW.
fn optimiser(file: &mut Section) -> Result<(OptimiserConfig, Decays)> {
    let mut config = OptimiserConfig {
        learning_rate: 1e-3,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        muon: None,
    };
    let mut decays = Decays::All;
    if let Some(mut optimizer) = file.optional("optimizer")? {
        config.learning_rate = optimizer.or("lr", config.learning_rate)?;
        let betas = optimizer.or("betas", vec![config.beta_1, config.beta_2])?;
        let [beta_1, beta_2] = betas[..] else {
            bail!("optimizer.betas has {} numbers; it must have two", betas.len())
        };
        (config.beta_1, config.beta_2) = (beta_1, beta_2);
        config.epsilon = optimizer.or("eps", config.epsilon)?;
        if let Some(weight_decay) = optimizer.or("weight_decay", None)? {
            (config.weight_decay, decays) = (weight_decay, Decays::Named);
        }
        optimizer.only("amsgrad", false, "the second moment is an average")?;
        optimizer.only("maximize", false, "losses are made small")?;
        optimizer.ignore(&["foreach", "fused", "capturable", "differentiable"]);
        optimizer.finish("these are all that AdamW has here")?;
    }
    Ok((config, decays))
}

struct Training {
    steps: u64,
    seed: u64,
    accumulation: u32,
    clip: f64,
    ema_decay: f64,
    log_every: u64,
    checkpoint_every: u64,
    validate_every: Option<u64>,
    validation_batches: Option<u64>,
}

impl Training {
    fn read(file: &mut Section) -> Result<Self> {
        let mut read = Self {
            steps: 1,
            seed: 666,
            accumulation: 1,
            clip: f64::INFINITY,
            ema_decay: 0.0,
            log_every: 50,
            checkpoint_every: 10_000,
            validate_every: None,
            validation_batches: None,
        };
        let Some(mut training) = file.optional("training")? else { return Ok(read) };
        let mut count = |key: &str, default: usize| -> Result<u64> {
            let value = training.or(key, default)?;
            ensure!(value > 0, "training.{key} is 0; it must be at least 1");
            Ok(value as u64)
        };
        read.steps = count("n_training_steps", 1)?;
        read.log_every = count("log_interval", 50)?;
        read.accumulation = u32::try_from(count("accumulate", 1)?).context("training.accumulate is too large")?;
        read.seed = training.or("seed", None)?.unwrap_or(read.seed as usize) as u64;
        let clip: f64 = training.or("grad_clip_norm", -1.0)?;
        let ema_decay: f64 = training.or("ema_decay", -1.0)?;
        // In the published code, values that are not above 0 switch these off.
        read.clip = if clip > 0.0 { clip } else { f64::INFINITY };
        read.ema_decay = ema_decay.max(0.0);
        let positive = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).filter(|n| *n > 0);
        read.checkpoint_every = positive(training.or("checkpoint_interval", None)?).unwrap_or(read.checkpoint_every);
        read.validate_every = positive(training.or("val_interval", None)?);
        read.validation_batches = positive(Some(training.or("max_val_batches", -1)?));
        training.only("start_step", 1_usize, "training starts at the first step")?;
        training.ignore(&["checkpoint_dir", "val_repeats"]);
        training.finish("these are all that training has here")?;
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The settings of the published runs on CIFAR-10.
    const CIFAR10: &str = "
meta: {neptune: , debug: False}
data: {dataset: \"cifar10\", horizontal_flip: False, num_bins: BINS}
train_loader: {batch_size: 32, shuffle: True, num_workers: 8, pin_memory: True, drop_last: True, persistent_workers: True}
val_loader: {batch_size: 500, shuffle: False, num_workers: 8, pin_memory: True}
model:
  net:
    class_name: \"UNetVDM\"
    parameters: {embedding_dim: 128, n_blocks: 32, n_attention_heads: 1, dropout_prob: 0.1, norm_groups: 32,
      input_channels: 3, use_fourier_features: True, attention_everywhere: False, image_size: 32}
  input_adapter:
    class_name: \"FourierImageInputAdapter\"
    parameters: {input_channels: 3, input_shape: [32, 32], output_height: 3, add_pos_feats: False, add_mask: False}
  output_adapter:
    class_name: \"OutputAdapter\"
    parameters: {input_height: 131, output_channels: 3, output_height: OUTPUTS}
  bayesian_flow: {class_name: \"CtsBayesianFlow\", parameters: {min_variance: VARIANCE}}
  loss: {class_name: \"CtsBayesianFlowLoss\", parameters: {noise_pred: True}}
  distribution_factory: FACTORY
optimizer: {lr: 2e-4, betas: [0.9,0.99], weight_decay: 0.01, eps: 1e-8}
training:
  checkpoint_interval: 10_000
  ema_decay: 0.9999
  grad_clip_norm: 5.0
  log_interval: 1
  n_training_steps: 1_000_000
  val_interval: 50_000
  val_repeats: 100
";

    fn cifar10(bins: usize, discretised: bool) -> String {
        let factory = if discretised {
            format!("{{class_name: \"DiscretizedNormalFactory\", parameters: {{num_bins: {bins}, clip: True}}}}")
        } else {
            "{class_name: \"DeltaFactory\", parameters: {}}".to_owned()
        };
        CIFAR10
            .replace("BINS", &bins.to_string())
            .replace("OUTPUTS", if discretised { "2" } else { "1" })
            .replace("VARIANCE", if bins == 256 { "1e-6" } else { "1e-3" })
            .replace("FACTORY", &factory)
    }

    #[test]
    fn published_runs_on_cifar10_are_the_experiments_of_their_names() {
        for (bins, discretised) in [(256, false), (256, true), (16, false), (16, true)] {
            let kind = if discretised { "discretised" } else { "continuous" };
            let file = format!("../../experiments/cifar10_{bins}_{kind}.toml");
            let ours = Experiment::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file), &[]).unwrap();
            let Translation { experiment, form, .. } = read(&cifar10(bins, discretised)).unwrap();
            assert_eq!(form.arrangement, Arrangement::Image { height: 32, width: 32, channels: 3 });
            assert_eq!(form.variable, Variable::Discretised(bins));
            assert_eq!(experiment.data, ours.data);
            assert_eq!(experiment.network, ours.network);
            assert_eq!((experiment.optimiser, experiment.ema), (ours.optimiser, ours.ema));
            let training = |of: &Experiment| (of.training.steps, of.training.batch, of.training.clip);
            assert_eq!(training(&experiment), training(&ours));
            assert_eq!(experiment.checkpoint.every, ours.checkpoint.every);
            // The file gives σ₁ in decimals.
            let numbers = |of: FlowConfig| match of {
                FlowConfig::Continuous { sigma_1, reconstruction_deviation } => {
                    [sigma_1, reconstruction_deviation.unwrap_or(0.0)]
                }
                FlowConfig::Discretised { sigma_1 } => [sigma_1, f64::NAN],
                other => panic!("{other:?}"),
            };
            for (own, published) in numbers(ours.flow).into_iter().zip(numbers(experiment.flow)) {
                assert!((own.is_nan() && published.is_nan()) || (own - published).abs() < 1e-15, "{own} {published}");
            }
        }
    }

    #[test]
    fn images_are_mirrored_where_the_published_code_does_it() {
        let flipped = |text: &str| read(&text.replace("horizontal_flip: False", "horizontal_flip: True")).unwrap();
        let data = flipped(&cifar10(256, true)).experiment.data;
        assert_eq!(data.cifar10.unwrap().flip, crate::config::FlipConfig::Horizontal);
    }

    #[test]
    fn empty_settings_are_the_defaults() {
        let text = cifar10(16, false).replace("val_repeats: 100", "seed:");
        assert_eq!(read(&text).unwrap().experiment.training.seed, 666);
    }
}
