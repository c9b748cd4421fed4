//! The whole file: an experiment, and what an example looks like.

use anyhow::{Context, Result, bail, ensure};
use bfn_nets::networks::Shape;
use bfn_nets::{EmaConfig, OptimiserConfig, Precision};

use super::flow::{Flow, Known};
use super::network::Net;
use super::section::Section;
use super::yaml;
use crate::config::{
    CheckpointConfig, DataConfig, Decay, Experiment, FlowConfig, MnistConfig, NotFinite, PixelsConfig, Text8Config,
    Times, TrainingConfig, ValidationConfig,
};
use crate::form::{Arrangement, Form, Variable};

/// A configuration of the published code in this program's terms.
#[derive(Debug)]
pub struct Translation {
    /// The experiment.
    pub experiment: Experiment,
    /// What an example looks like.
    pub form: Form,
    /// What is not quite the same here, in sentences.
    pub notes: Vec<String>,
}

/// The characters of text8 in the order of the published classes.
const TEXT8_ALPHABET: &str = " abcdefghijklmnopqrstuvwxyz";

/// Reads a configuration file of the published code.
///
/// A file with `model` alone is enough where the data follow from it.
///
/// # Errors
///
/// The key and the line that is wrong, unknown or not supported.
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
    let optimiser = optimiser(&mut file)?;
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

struct Data {
    config: DataConfig,
    variable: Variable,
}

impl Data {
    fn read(file: &mut Section, shape: Shape, known: Known, notes: &mut Vec<String>) -> Result<Self> {
        let mut section = file.optional("data")?;
        let name: String = match &mut section {
            Some(data) => data.required("dataset")?,
            None => {
                let name = guess(shape, known)?;
                notes.push(format!("the configuration names no data: {name} is taken, which its model fits"));
                name.to_owned()
            }
        };
        ensure!(
            ["bin_mnist", "mnist", "text8"].contains(&name.as_str()),
            "data.dataset is {name}; this program knows bin_mnist, mnist and text8"
        );
        let section_bins = match &mut section {
            Some(data) => {
                let bins = data.or("num_bins", 256)?;
                data.only("horizontal_flip", false, "images are not mirrored")?;
                data.only("val_frac", 0.01, "one in a hundred training images is held out")?;
                data.ignore(&["data_dir"]);
                Some(bins)
            }
            None => None,
        };
        let bins = match (section_bins, known) {
            (Some(bins), _) => bins,
            (None, Known::Bins(bins)) => bins,
            (None, _) => 256,
        };
        let length = match &mut section {
            Some(data) if name == "text8" => Some(data.required::<usize>("seq_len")?),
            _ => None,
        };
        if let Some(section) = section {
            section.finish("such data have no other settings here")?;
        }
        let image = |size, channels| Shape::Image { height: size, width: size, channels };
        let (data_shape, variable, config) = match name.as_str() {
            "bin_mnist" => (image(28, 1), Variable::Discrete(2), mnist(PixelsConfig::Binarised)),
            "mnist" => (image(28, 1), Variable::Discretised(bins), mnist(PixelsConfig::Grey { bins: small(bins)? })),
            _ => {
                let Shape::Sequence { length: own } = shape else {
                    bail!("data.dataset is text8, but the network is one for images");
                };
                let length = length.unwrap_or(own);
                let config = DataConfig { text8: Some(Text8Config { length }), ..DataConfig::default() };
                (Shape::Sequence { length }, Variable::Discrete(TEXT8_ALPHABET.len()), config)
            }
        };
        ensure!(data_shape == shape, "the network is for {shape}, but data.dataset {name} has {data_shape}");
        let fits = match (known, variable) {
            (Known::Classes(classes), Variable::Discrete(own)) => classes == own,
            (Known::Bins(bins), Variable::Discretised(own)) => bins == own,
            (Known::SomeBins, Variable::Discretised(_)) => true,
            _ => false,
        };
        ensure!(fits, "the flow is for {known}, but data.dataset {name} has {variable:?}");
        Ok(Self { config, variable })
    }
}

/// The published data that a model was made for.
fn guess(shape: Shape, known: Known) -> Result<&'static str> {
    Ok(match (shape, known) {
        (Shape::Image { height: 28, width: 28, channels: 1 }, Known::Classes(2)) => "bin_mnist",
        (Shape::Image { height: 28, width: 28, channels: 1 }, Known::Bins(_)) => "mnist",
        (Shape::Sequence { .. }, Known::Classes(_)) => "text8",
        _ => bail!("the configuration names no data, and none follow from its model ({shape}); add a `data` table"),
    })
}

fn mnist(pixels: PixelsConfig) -> DataConfig {
    DataConfig { mnist: Some(MnistConfig { pixels }), ..DataConfig::default() }
}

fn small(bins: usize) -> Result<u16> {
    u16::try_from(bins)
        .ok()
        .filter(|bins| (2..=256).contains(bins))
        .with_context(|| format!("data.num_bins is {bins}; it must be a number from 2 to 256"))
}

impl std::fmt::Display for Known {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Classes(classes) => write!(to, "{classes} classes"),
            Self::Bins(bins) => write!(to, "{bins} bins"),
            Self::SomeBins => to.write_str("bins"),
        }
    }
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
        // A file without loaders says nothing of batches; the size does for evaluation.
        Ok(Self { training_batch: batch("train_loader", 64)?, validation_batch: batch("val_loader", 64)? as u64 })
    }
}

/// `optimizer`, the arguments of PyTorch's AdamW.
fn optimiser(file: &mut Section) -> Result<OptimiserConfig> {
    let mut config = OptimiserConfig {
        learning_rate: 1e-3,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        muon: None,
    };
    if let Some(mut optimizer) = file.optional("optimizer")? {
        config.learning_rate = optimizer.or("lr", config.learning_rate)?;
        let betas = optimizer.or("betas", vec![config.beta_1, config.beta_2])?;
        let [beta_1, beta_2] = betas[..] else {
            bail!("optimizer.betas has {} numbers; it must have two", betas.len())
        };
        (config.beta_1, config.beta_2) = (beta_1, beta_2);
        config.epsilon = optimizer.or("eps", config.epsilon)?;
        config.weight_decay = optimizer.or("weight_decay", config.weight_decay)?;
        optimizer.only("amsgrad", false, "the second moment is an average")?;
        optimizer.only("maximize", false, "losses are made small")?;
        optimizer.ignore(&["foreach", "fused", "capturable", "differentiable"]);
        optimizer.finish("these are all that AdamW has here")?;
    }
    Ok(config)
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
        read.seed = training.or("seed", read.seed as usize)? as u64;
        let clip: f64 = training.or("grad_clip_norm", -1.0)?;
        let ema_decay: f64 = training.or("ema_decay", -1.0)?;
        // Numbers that are not above 0 switch these off there.
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
