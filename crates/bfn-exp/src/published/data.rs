//! `data`: the data set, or the one that follows from the model.

use anyhow::{Context, Result, bail, ensure};
use bfn_nets::networks::Shape;

use super::flow::Known;
use super::section::Section;
use crate::config::{
    Cifar10Config, ColourConfig, DataConfig, FlipConfig, HeldOutConfig, ImagesConfig, MnistConfig, PixelsConfig,
    Text8Config,
};
use crate::form::Variable;

/// The characters of text8 in the order of the published classes.
pub(super) const TEXT8_ALPHABET: &str = " abcdefghijklmnopqrstuvwxyz";

/// The data of a configuration in this program's terms.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) config: DataConfig,
    pub(super) variable: Variable,
}

impl Data {
    /// Reads the table `data`, or infers the data from the model.
    pub(super) fn read(file: &mut Section, shape: Shape, known: Known, notes: &mut Vec<String>) -> Result<Self> {
        let (data, data_shape, name) = match file.optional("data")? {
            Some(section) => Self::named(section)?,
            None => {
                let (data, name) = Self::fitting(shape, known)?;
                notes.push(format!("the configuration names no data: {name} is taken, which its model fits"));
                (data, shape, name)
            }
        };
        if let (Shape::Image { .. }, Shape::Sequence { .. }) = (shape, data_shape) {
            bail!("data.dataset is {name}, but the network is one for images");
        }
        ensure!(data_shape == shape, "the network is for {shape}, but data.dataset {name} has {data_shape}");
        let variable = data.variable;
        let fits = match (known, variable) {
            (Known::Classes(classes), Variable::Discrete(own)) => classes == own,
            (Known::Bins(bins), Variable::Discretised(own)) => bins == own,
            (Known::SomeBins, Variable::Discretised(_)) => true,
            _ => false,
        };
        ensure!(fits, "the flow is for {known}, but data.dataset {name} has {variable:?}");
        Ok(data)
    }

    /// Returns the data that a table names, the shape of an example, and the name of the data.
    fn named(mut section: Section) -> Result<(Self, Shape, String)> {
        let name: String = section.required("dataset")?;
        let bins: usize = section.or("num_bins", 256)?;
        let mirrored = section.or("horizontal_flip", false)?;
        section.only("val_frac", 0.01, "one in a hundred training images is held out")?;
        section.ignore(&["data_dir"]);
        let length = if name == "text8" { section.required("seq_len")? } else { 0 };
        let (data, shape) = Self::of(&name, bins, mirrored, length)?;
        section.finish("such data have no other settings here")?;
        Ok((data, shape, name))
    }

    /// Infers data that fit the model, and returns them with a name.
    fn fitting(shape: Shape, known: Known) -> Result<(Self, String)> {
        let bins = if let Known::Bins(bins) = known { bins } else { 256 };
        let (name, length) = match (shape, known) {
            (Shape::Image { height: 28, width: 28, channels: 1 }, Known::Classes(2)) => ("bin_mnist", 0),
            (Shape::Image { height: 28, width: 28, channels: 1 }, Known::Bins(_)) => ("mnist", 0),
            (Shape::Image { height: 32, width: 32, channels: 3 }, Known::Bins(_)) => ("cifar10", 0),
            (Shape::Sequence { length }, Known::Classes(_)) => ("text8", length),
            (Shape::Image { height, width, channels: channels @ (1 | 3) }, Known::Bins(_)) => {
                let name = "a folder of images (the key data.images.folder says which)".to_owned();
                return Ok((Self::images(height, width, channels, bins)?, name));
            }
            _ => bail!("the configuration names no data, and none follow from its model ({shape}); add a `data` table"),
        };
        Ok((Self::of(name, bins, false, length)?.0, name.to_owned()))
    }

    /// Returns the data with a published name and the shape of an example; settings that it lacks are ignored.
    fn of(name: &str, bins: usize, mirrored: bool, length: usize) -> Result<(Self, Shape)> {
        let image = |size, channels| Shape::Image { height: size, width: size, channels };
        Ok(match name {
            "bin_mnist" => (Self::mnist(PixelsConfig::Binarised, Variable::Discrete(2)), image(28, 1)),
            "mnist" => {
                let pixels = PixelsConfig::Grey { bins: number_of(bins)? };
                (Self::mnist(pixels, Variable::Discretised(bins)), image(28, 1))
            }
            // CIFAR-10 is the only data set whose images the published code mirrors.
            "cifar10" => (Self::cifar10(bins, mirrored)?, image(32, 3)),
            "text8" => (Self::text8(length), Shape::Sequence { length }),
            _ => bail!("data.dataset is {name}; this program knows bin_mnist, mnist, cifar10 and text8"),
        })
    }

    fn mnist(pixels: PixelsConfig, variable: Variable) -> Self {
        Self { config: DataConfig { mnist: Some(MnistConfig { pixels }), ..DataConfig::default() }, variable }
    }

    fn cifar10(bins: usize, mirrored: bool) -> Result<Self> {
        let flip = if mirrored { FlipConfig::Horizontal } else { FlipConfig::Never };
        let cifar10 = Cifar10Config { bins: number_of(bins)?, flip };
        let config = DataConfig { cifar10: Some(cifar10), ..DataConfig::default() };
        Ok(Self { config, variable: Variable::Discretised(bins) })
    }

    fn images(height: usize, width: usize, channels: usize, bins: usize) -> Result<Self> {
        let images = ImagesConfig {
            folder: "images".into(),
            height,
            width,
            colour: if channels == 1 { ColourConfig::Grey } else { ColourConfig::Rgb },
            bins: number_of(bins)?,
            flip: FlipConfig::Never,
            held_out: HeldOutConfig::default(),
        };
        let config = DataConfig { images: Some(images), ..DataConfig::default() };
        Ok(Self { config, variable: Variable::Discretised(bins) })
    }

    fn text8(length: usize) -> Self {
        let config = DataConfig { text8: Some(Text8Config { length }), ..DataConfig::default() };
        Self { config, variable: Variable::Discrete(TEXT8_ALPHABET.len()) }
    }
}

fn number_of(bins: usize) -> Result<u16> {
    u16::try_from(bins)
        .ok()
        .filter(|bins| (2..=256).contains(bins))
        .with_context(|| format!("data.num_bins is {bins}; it must be a number from 2 to 256"))
}
