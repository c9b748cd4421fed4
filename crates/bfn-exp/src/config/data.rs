//! `[data]`: known data sets and text.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{ArrayConfig, ImagesConfig, TableConfig};

/// `[data]`: where the data are stored, and exactly one table that describes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The folder that is searched for data sets first, before the variable BFN_DATA and the cache folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The embedded 8 × 8 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<DigitsConfig>,
    /// MNIST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mnist: Option<MnistConfig>,
    /// CIFAR-10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cifar10: Option<Cifar10Config>,
    /// text8, or the beginning of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text8: Option<Text8Config>,
    /// A folder of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImagesConfig>,
    /// A NumPy array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayConfig>,
    /// A table in CSV or Parquet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableConfig>,
    /// A text file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
}

/// `[data.digits]`: the embedded digits have no settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigitsConfig {}

/// `[data.mnist]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MnistConfig {
    /// How grey levels become values.
    pub pixels: PixelsConfig,
}

/// The treatment of MNIST's grey levels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PixelsConfig {
    /// Each pixel is 1 with the probability given by its grey level, drawn anew in each epoch.
    Binarised,
    /// The same, but drawn once from this seed.
    StaticallyBinarised {
        /// The seed.
        seed: u64,
    },
    /// Grey levels in equal bins.
    Grey {
        /// The number of bins, 2 to 256.
        bins: u16,
    },
}

/// `[data.cifar10]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cifar10Config {
    /// Equal bins of the intensities of red, green and blue, 2 to 256.
    pub bins: u16,
    /// Whether images are mirrored while training.
    #[serde(default)]
    pub flip: FlipConfig,
}

/// Whether images are mirrored while training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlipConfig {
    /// Never, as published.
    #[default]
    Never,
    /// Left and right are swapped in a random half of the images, drawn anew in each epoch.
    Horizontal,
}

/// `[data.text8]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text8Config {
    /// Characters in a window.
    pub length: usize,
}

/// `[data.text]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The file, or the files in the order in which they form one text; each plain, gzip, or a zip of one file. A
    /// relative path is searched for in the working folder, then in the data folders.
    pub file: Paths,
    /// Symbols in a window.
    pub length: usize,
    /// The alphabet, in the order of the classes; absent for the characters that occur.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alphabet: Option<String>,
    /// The character of the alphabet that replaces characters outside it; absent if these are an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<char>,
    /// What a symbol is.
    #[serde(default)]
    pub symbols: SymbolsConfig,
    /// The JSON file of a tokenizer, in the format of the library `tokenizers`; only for tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// One.
    One(PathBuf),
    /// Several.
    Several(Vec<PathBuf>),
}

/// What a symbol of a text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolsConfig {
    /// A UTF-8 character.
    #[default]
    Characters,
    /// A byte, whatever its meaning.
    Bytes,
    /// A token of a tokenizer.
    Tokens,
}

impl DataConfig {
    /// Returns the name of the table that describes the data.
    pub fn name(&self) -> &'static str {
        self.tables().into_iter().find(|(_, there)| *there).map_or("none", |(name, _)| name)
    }

    fn tables(&self) -> [(&'static str, bool); 8] {
        [
            ("data.digits", self.digits.is_some()),
            ("data.mnist", self.mnist.is_some()),
            ("data.cifar10", self.cifar10.is_some()),
            ("data.text8", self.text8.is_some()),
            ("data.text", self.text.is_some()),
            ("data.images", self.images.is_some()),
            ("data.array", self.array.is_some()),
            ("data.table", self.table.is_some()),
        ]
    }

    pub(super) fn check(&self) -> Result<()> {
        let tables = self.tables();
        let present: Vec<&str> = tables.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        let known = tables.map(|(name, _)| name).join(", ");
        ensure!(
            present.len() == 1,
            "exactly one of the tables {known} is needed, not {}",
            match present[..] {
                [] => "none of them".to_owned(),
                _ => present.join(" and "),
            }
        );
        Ok(())
    }
}
