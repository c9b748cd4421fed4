//! Data of one's own: folders of images, arrays, tables.

use std::path::PathBuf;

use anyhow::Result;
use bfn_data::table::{ColumnKind, ColumnRule, RealMap};
use bfn_data::{Colour, FolderOptions, Meaning, NpyArray, Root, Shares, Split};
use serde::{Deserialize, Serialize};

use super::FlipConfig;
use crate::task::Source;

/// What is held out of training, chosen at random, the same in every run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeldOutConfig {
    /// The share held out for validation.
    pub validation: f64,
    /// The share held out for the test.
    pub test: f64,
}

impl Default for HeldOutConfig {
    fn default() -> Self {
        let Shares { validation, test } = Shares::default();
        Self { validation, test }
    }
}

impl From<HeldOutConfig> for Shares {
    fn from(HeldOutConfig { validation, test }: HeldOutConfig) -> Self {
        Self { validation, test }
    }
}

/// `[data.images]`: the PNG, JPEG and WebP files of a folder. A path that is not absolute is looked for from the
/// working folder, then in the places of data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesConfig {
    /// The folder; its sub-folders are the labels.
    pub folder: PathBuf,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// The channels of an image; how transparent its pixels are is left out.
    pub colour: ColourConfig,
    /// Equal bins of the intensities, 2 to 256.
    pub bins: u16,
    /// Whether images are mirrored while training.
    #[serde(default)]
    pub flip: FlipConfig,
    /// What is held out.
    #[serde(default)]
    pub held_out: HeldOutConfig,
}

/// The channels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColourConfig {
    /// One.
    Grey,
    /// Red, green and blue.
    Rgb,
}

impl ImagesConfig {
    /// How the files become images.
    pub fn options(&self) -> FolderOptions {
        let colour = match self.colour {
            ColourConfig::Grey => Colour::Grey,
            ColourConfig::Rgb => Colour::Rgb,
        };
        FolderOptions {
            height: self.height,
            width: self.width,
            colour,
            bins: self.bins.into(),
            flip: self.flip.into(),
            shares: self.held_out.into(),
        }
    }
}

/// `[data.array]`: an array of NumPy whose first dimension counts the examples: `[examples, length]`,
/// `[examples, height, width]` or `[examples, height, width, channels]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayConfig {
    /// The .npy or .npz file.
    pub file: PathBuf,
    /// The name of the array in an .npz file of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What its numbers mean.
    pub values: Meaning,
    /// A file of one integer for each example; the same file where only `labels_name` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The name of the array of labels in an .npz file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_name: Option<String>,
    /// What is held out.
    #[serde(default)]
    pub held_out: HeldOutConfig,
}

impl ArrayConfig {
    /// Reads one split.
    ///
    /// # Errors
    ///
    /// Files that are missing or not sound.
    pub fn open(&self, root: &Root, split: Split) -> Result<Source> {
        let path = root.file("the array", &self.file)?;
        let array = NpyArray::read(&path, self.name.as_deref())?;
        let labels = match (&self.labels, &self.labels_name) {
            (None, None) => None,
            (file, name) => {
                let file = root.file("the labels", file.as_ref().unwrap_or(&self.file))?;
                let array = NpyArray::read(&file, name.as_deref())?;
                Some((file, array))
            }
        };
        let labels = labels.as_ref().map(|(file, array)| (file.as_path(), array));
        let rows = bfn_data::array(&path, &array, labels, self.values, self.held_out.into(), split)?;
        Ok(Source::new(rows, path.display().to_string()))
    }
}

/// `[data.table]`: a table in CSV (plain or gzip, names in the first line) or Parquet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The file.
    pub file: PathBuf,
    /// What stands for a missing value in CSV, beside nothing.
    #[serde(default = "usual_marks")]
    pub missing: Vec<String>,
    /// What is held out.
    #[serde(default)]
    pub held_out: HeldOutConfig,
    /// The columns that are modelled, and as what; of several rules for a column the first counts.
    pub columns: Vec<ColumnsConfig>,
}

/// What stands for a missing value where an experiment does not say.
pub fn usual_marks() -> Vec<String> {
    ["NA", "NaN", "nan", "null", "?"].map(str::to_owned).into()
}

/// `[[data.table.columns]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnsConfig {
    /// The names of columns; one `*` in a name stands for anything.
    pub names: Vec<String>,
    /// What they are.
    pub kind: ColumnKindConfig,
}

/// What columns are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnKindConfig {
    /// Real numbers.
    Continuous {
        /// How they are mapped to [−1, 1].
        map: RealMapConfig,
    },
    /// Integers, each a bin.
    Integer {
        /// The least; absent for that of the data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lowest: Option<i64>,
        /// The greatest; absent for that of the data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        highest: Option<i64>,
    },
    /// Classes, by name.
    Categorical {
        /// All of them; absent for those of the data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        classes: Option<Vec<String>>,
    },
}

/// How real numbers are mapped to [−1, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RealMapConfig {
    /// Less their mean, over so many standard deviations; what is farther out is clipped.
    Standardised {
        /// Standard deviations between the mean and 1.
        clip: f64,
    },
    /// By their rank.
    Quantiles,
}

impl ColumnKindConfig {
    /// The same for the reader of tables.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::Continuous { map: RealMapConfig::Standardised { clip } } => {
                ColumnKind::Continuous(RealMap::Standardised { clip: *clip })
            }
            Self::Continuous { map: RealMapConfig::Quantiles } => ColumnKind::Continuous(RealMap::Quantiles),
            Self::Integer { lowest, highest } => ColumnKind::Integer { lowest: *lowest, highest: *highest },
            Self::Categorical { classes } => ColumnKind::Categorical { classes: classes.clone() },
        }
    }
}

impl From<&ColumnsConfig> for ColumnRule {
    fn from(columns: &ColumnsConfig) -> Self {
        Self { names: columns.names.clone(), kind: columns.kind.kind() }
    }
}
