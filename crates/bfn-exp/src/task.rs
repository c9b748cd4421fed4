//! The task of an experiment: data, flow and the shape of the network, joined.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bfn_core::continuous::Reconstruction;
use bfn_core::discrete::{Readout, Receiver};
use bfn_core::distribution::Probability;
use bfn_core::{ContinuousFlow, DiscreteFlow, DiscretisedFlow};
use bfn_data::table::{ColumnRule, RawTable};
use bfn_data::{Alphabet, Dataset, Draw, Flip, Pixels, Root, Seed, Split, Symbols, Text, Tokenizer, Values, Windows};
use bfn_nets::networks::{NetworkConfig, Shape, Variables};

use crate::config::{
    Cifar10Config, DataConfig, Experiment, FlipConfig, FlowConfig, Paths, PixelsConfig, ReadoutConfig, SymbolsConfig,
    TextConfig,
};
use crate::form::{Arrangement, Form, Variable};
use crate::mixed::Mixed;
use crate::objective::{Objective, Stored};
use crate::side::Side;

/// The flow of an experiment, fitted to the form of its data.
#[derive(Debug)]
pub struct Task {
    /// The form of an example.
    pub form: Form,
    /// The losses and the sampler.
    pub objective: Box<dyn Objective>,
    /// The variables that the network models.
    pub variables: Variables,
    /// The conditions that the network receives besides θ and t.
    pub side: Side,
}

/// How a bound is computed where the published code differs; by default exactly.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arithmetic {
    /// The receiver distribution of discrete data in the n-step loss.
    pub receiver: Receiver,
    /// How the logarithm of a bin's probability is computed.
    pub probability: Probability,
}

impl Task {
    /// Joins the flow of an experiment with the form of its data.
    ///
    /// # Errors
    ///
    /// Returns an error if the flow does not fit the data, or if one of its parameters is outside its domain.
    pub fn new(experiment: &Experiment, form: Form, arithmetic: Arithmetic) -> Result<Self> {
        let side = Side::new(&experiment.network, &form)?;
        if let Arrangement::Table { columns } = &form.arrangement {
            let mixed = Mixed::new(experiment.flow, columns, arithmetic)?;
            let (inputs, outputs) = (mixed.input_width(), mixed.output_width());
            let shape = Shape::Row { variables: form.dimensions(), inputs, outputs };
            let variables = Variables { shape, inputs_per_variable: 1, outputs_per_variable: 1 };
            return Ok(Self { form, objective: Box::new(mixed), variables, side });
        }
        let objective = objective(experiment.flow, form.variable, arithmetic)?;
        let shape = match (&form.arrangement, &experiment.network) {
            (Arrangement::Image { height, width, channels }, _) => {
                Shape::Image { height: *height, width: *width, channels: *channels }
            }
            (_, NetworkConfig::Transformer(_)) => Shape::Sequence { length: form.dimensions() },
            (Arrangement::Sequence { length }, NetworkConfig::Mlp(_)) => Shape::Sequence { length: *length },
            // To a convolutional network, a line of text is an image with one row.
            _ => Shape::Image { height: 1, width: form.dimensions(), channels: 1 },
        };
        let inputs_per_variable = match experiment.flow {
            FlowConfig::Discrete { .. } if form.values() > 2 => form.values(),
            _ => 1,
        };
        let outputs_per_variable = objective.outputs_per_variable();
        let variables = Variables { shape, inputs_per_variable, outputs_per_variable };
        Ok(Self { form, objective, variables, side })
    }
}

fn objective(flow: FlowConfig, variable: Variable, arithmetic: Arithmetic) -> Result<Box<dyn Objective>> {
    let Arithmetic { receiver, probability } = arithmetic;
    Ok(match (flow, variable) {
        (FlowConfig::Continuous { sigma_1, reconstruction_deviation }, Variable::Discretised(bins)) => {
            let deviation = reconstruction_deviation.unwrap_or(sigma_1);
            let reconstruction = Reconstruction::Bins { bins, deviation, probability };
            let flow = ContinuousFlow::new(sigma_1, reconstruction).context("in [flow.continuous]")?;
            Box::new(Stored { flow, values: bins })
        }
        (FlowConfig::Discretised { sigma_1 }, Variable::Discretised(bins)) => {
            let flow = DiscretisedFlow::new(bins, sigma_1).context("in [flow.discretised]")?;
            Box::new(Stored { flow: flow.with_probability(probability), values: bins })
        }
        (FlowConfig::Continuous { sigma_1, reconstruction_deviation }, Variable::Continuous) => {
            let reconstruction = Reconstruction::Density { deviation: reconstruction_deviation.unwrap_or(sigma_1) };
            let flow = ContinuousFlow::new(sigma_1, reconstruction).context("in [flow.continuous]")?;
            Box::new(Stored { flow, values: 1 })
        }
        // Ordered bins may be modelled as unordered classes.
        (FlowConfig::Discrete { beta_1, readout }, Variable::Discretised(values) | Variable::Discrete(values)) => {
            let flow = DiscreteFlow::new(values, beta_1).context("in [flow.discrete]")?.with_readout(readout.into());
            Box::new(Stored { flow: flow.with_receiver(receiver), values })
        }
        (_, Variable::Discrete(classes)) => {
            bail!("the data are discrete ({classes} classes); use [flow.discrete] with beta_1 for them")
        }
        (_, Variable::Continuous) => bail!("the data are real numbers; use [flow.continuous] with sigma_1 for them"),
        (FlowConfig::Mixed { .. }, _) => bail!("[flow.mixed] is for tables; these data are all of one kind"),
        (_, Variable::Mixed) => bail!("the data are a table; use [flow.mixed] for them"),
    })
}

impl From<ReadoutConfig> for Readout {
    fn from(readout: ReadoutConfig) -> Self {
        match readout {
            ReadoutConfig::Direct => Self::Direct,
            ReadoutConfig::Posterior => Self::Posterior,
        }
    }
}

/// One split of a data set, with its name in reports.
#[allow(missing_debug_implementations, reason = "a data set need not have one")]
pub struct Source {
    /// The examples.
    pub dataset: Arc<dyn Dataset>,
    /// The name of the data.
    pub title: String,
}

impl DataConfig {
    /// Reads one split of the data.
    ///
    /// Text is read in windows, as `windows` specifies: at random positions for training, and one after the other for
    /// evaluation.
    ///
    /// # Errors
    ///
    /// Returns an error if files are missing or invalid.
    pub fn open(&self, split: Split, windows: Windows) -> Result<Source> {
        self.read(split, windows).with_context(|| format!("in [{}]", self.name()))
    }

    fn read(&self, split: Split, windows: Windows) -> Result<Source> {
        let root = Root::new(self.root.clone());
        if self.digits.is_some() {
            return Ok(Source::new(bfn_data::digits(split)?, "digits, 8×8 pixels, 17 grey levels".to_owned()));
        }
        if let Some(mnist) = &self.mnist {
            let images = bfn_data::mnist(&root, split, mnist.pixels.into())?;
            return Ok(Source::new(images, format!("MNIST, {}", mnist.pixels)));
        }
        if let Some(Cifar10Config { bins, flip }) = self.cifar10 {
            let images = bfn_data::cifar10(&root, split, bins.into(), flip.into())?;
            return Ok(Source::new(images, format!("CIFAR-10, {bins} bins")));
        }
        if let Some(text8) = &self.text8 {
            let text = bfn_data::text8(&root)?;
            return Ok(Source::new(text.split(split, text8.length, windows)?, text.title().to_owned()));
        }
        if let Some(text) = &self.text {
            let file = text.read(&root)?;
            return Ok(Source::new(file.split(split, text.length, windows)?, file.title().to_owned()));
        }
        if let Some(images) = &self.images {
            let folder = root.file("the folder of images", &images.folder)?;
            let data = bfn_data::ImageFolder::open(&folder, &images.options(), split, &Root::cache().join("images"))?;
            return Ok(Source::new(data, format!("{}, {} bins", folder.display(), images.bins)));
        }
        if let Some(array) = &self.array {
            return array.open(&root, split);
        }
        if let Some(table) = &self.table {
            let file = root.file("the table", &table.file)?;
            let raw = RawTable::read(&file, &table.missing)?;
            let rules: Vec<ColumnRule> = table.columns.iter().map(ColumnRule::from).collect();
            let rows = bfn_data::table::table(&raw, &rules, table.held_out.into(), split)?;
            return Ok(Source::new(rows, file.display().to_string()));
        }
        bail!("it names no data")
    }
}

impl Source {
    pub(crate) fn new(dataset: impl Dataset + 'static, title: String) -> Self {
        Self { dataset: Arc::new(dataset), title }
    }

    /// Returns the examples in `range`, as far as they exist, as numbers: `[count, D]` in row-major order.
    ///
    /// Bins and classes are whole numbers; real numbers are unchanged. Examples that are drawn anew in each epoch are
    /// drawn as in the first epoch of seed 0.
    ///
    /// # Errors
    ///
    /// Returns the error that the data set reports about its files.
    pub fn values(&self, range: Range<usize>) -> Result<Vec<f64>> {
        let data = self.dataset.as_ref();
        let range = range.start..range.end.min(data.len());
        let variables = data.layout().variables();
        let mut example = Values::zeros(data.storage(), 1, variables);
        let mut values = Vec::with_capacity(range.len() * variables);
        for index in range {
            data.read(index, Draw { seed: Seed(0), epoch: 0 }, example.row_mut(0))?;
            values.extend((0..variables).map(|variable| example.at(0, variable)));
        }
        Ok(values)
    }

    /// Checks that there are examples.
    ///
    /// # Errors
    ///
    /// Returns an error if the split has no examples.
    pub fn check_examples(&self) -> Result<()> {
        ensure!(!self.dataset.is_empty(), "{} has no examples in this split; hold out a larger share", self.title);
        Ok(())
    }

    /// Checks that each example has a label that a network of `classes` classes accepts.
    ///
    /// # Errors
    ///
    /// Returns an error if the data have no labels, or labels beyond the classes.
    pub fn check_labels(&self, classes: Option<usize>) -> Result<()> {
        let Some(classes) = classes else { return Ok(()) };
        for index in 0..self.dataset.len() {
            match self.dataset.label(index) {
                Some(label) if (label as usize) < classes => {}
                Some(label) => bail!(
                    "the network has {classes} classes, but {} has the label {label}; set `classes` of the \
                     network to at least {}",
                    self.title,
                    label as usize + 1
                ),
                None => bail!(
                    "the network is conditioned on labels, but {} has none; remove `classes` from the network",
                    self.title
                ),
            }
        }
        Ok(())
    }
}

impl TextConfig {
    fn read(&self, root: &Root) -> Result<Text> {
        let symbols = match (self.symbols, &self.alphabet, self.unknown, &self.tokenizer) {
            (SymbolsConfig::Bytes, None, None, None) => Symbols::Bytes,
            (SymbolsConfig::Tokens, None, None, Some(path)) => {
                let path = root.file("the tokenizer", path)?;
                let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                Symbols::Tokens(Tokenizer::parse(&path, &bytes)?)
            }
            (SymbolsConfig::Characters, None, None, None) => Symbols::FromText,
            (SymbolsConfig::Characters, Some(alphabet), unknown, None) => {
                let alphabet = Alphabet::new(alphabet)?;
                match unknown {
                    None => Symbols::Given(alphabet),
                    Some(unknown) => Symbols::Mapped { alphabet, unknown },
                }
            }
            _ => bail!(
                "the keys of [data.text] do not fit together: characters may have alphabet, and with it unknown; \
                 tokens need tokenizer and nothing else; bytes have neither"
            ),
        };
        let paths = match &self.file {
            Paths::One(path) => vec![root.file("the text", path)?],
            Paths::Several(paths) => {
                paths.iter().map(|path| root.file("the text", path)).collect::<Result<Vec<_>, _>>()?
            }
        };
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        Ok(Text::read(&paths, &symbols)?)
    }
}

impl From<FlipConfig> for Flip {
    fn from(flip: FlipConfig) -> Self {
        match flip {
            FlipConfig::Never => Self::Never,
            FlipConfig::Horizontal => Self::Horizontal,
        }
    }
}

impl From<PixelsConfig> for Pixels {
    fn from(pixels: PixelsConfig) -> Self {
        match pixels {
            PixelsConfig::Binarised => Self::DynamicallyBinarised,
            PixelsConfig::StaticallyBinarised { seed } => Self::StaticallyBinarised { seed: Seed(seed) },
            PixelsConfig::Grey { bins } => Self::Grey { bins: bins.into() },
        }
    }
}

impl fmt::Display for PixelsConfig {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binarised => to.write_str("dynamically binarised"),
            Self::StaticallyBinarised { seed } => write!(to, "statically binarised with seed {seed}"),
            Self::Grey { bins } => write!(to, "{bins} grey levels"),
        }
    }
}
