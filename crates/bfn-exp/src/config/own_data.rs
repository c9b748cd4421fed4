//! Custom data: folders of images, arrays, tables.

use std::path::PathBuf;

use anyhow::Result;
use bfn_data::table::{ColumnKind, ColumnRule, RealMap};
use bfn_data::{Colour, FolderOptions, Meaning, NpyArray, Root, Shares, Split};
use serde::{Deserialize, Serialize};

use super::FlipConfig;
use crate::task::Source;

/// The shares of examples held out of training; these are chosen at random, the same in every run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeldOutConfig {
    /// The share held out for validation.
    pub validation: f64,
    /// The share held out for testing.
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

/// `[data.images]`: the PNG, JPEG and WebP files of a folder.
/// A relative path is searched for in the working folder, then in the data folders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesConfig {
    /// The folder; its sub-folders are the labels.
    pub folder: PathBuf,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// The channels of an image; transparency is ignored.
    pub colour: ColourConfig,
    /// Equal bins of the intensities, 2 to 256.
    pub bins: u16,
    /// Whether images are mirrored while training.
    #[serde(default)]
    pub flip: FlipConfig,
    /// The shares that are held out.
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
    /// Returns the options for reading the files as images.
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

/// `[data.array]`: a NumPy array whose first dimension counts the examples.
/// Its shape is `[examples, length]`, `[examples, height, width]` or `[examples, height, width, channels]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayConfig {
    /// The .npy or .npz file.
    pub file: PathBuf,
    /// The name of the array, for an .npz file with several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The meaning of its numbers.
    pub values: Meaning,
    /// A file with one integer for each example; if only `labels_name` is given, the file of the array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The name of the array of labels in an .npz file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_name: Option<String>,
    /// The shares that are held out.
    #[serde(default)]
    pub held_out: HeldOutConfig,
}

impl ArrayConfig {
    /// Reads one split of the array.
    ///
    /// # Errors
    ///
    /// Returns an error if a file is missing or invalid.
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
    /// The marks of a missing value in CSV, in addition to an empty cell.
    #[serde(default = "usual_marks")]
    pub missing: Vec<String>,
    /// The shares that are held out.
    #[serde(default)]
    pub held_out: HeldOutConfig,
    /// The columns to model and their kinds; if several rules match a column, the first one applies.
    pub columns: Vec<ColumnsConfig>,
}

/// Returns the marks of a missing value that apply by default.
pub fn usual_marks() -> Vec<String> {
    ["NA", "NaN", "nan", "null", "?"].map(str::to_owned).into()
}

/// `[[data.table.columns]]`: a rule for some columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnsConfig {
    /// The names of columns; one `*` in a name matches any text.
    pub names: Vec<String>,
    /// The kind of these columns.
    pub kind: ColumnKindConfig,
}

/// The kind of a column.
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
        /// The smallest value; absent for that of the data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lowest: Option<i64>,
        /// The largest value; absent for that of the data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        highest: Option<i64>,
    },
    /// Classes, by name.
    Categorical {
        /// All class names; absent for those of the data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        classes: Option<Vec<String>>,
    },
}

/// How real numbers are mapped to [−1, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RealMapConfig {
    /// The mean is subtracted, and the result divided by `clip` standard deviations; values beyond ±1 are clipped.
    Standardised {
        /// The number of standard deviations that is mapped to 1.
        clip: f64,
    },
    /// By their rank.
    Quantiles,
}

impl ColumnKindConfig {
    /// Converts the kind for the table reader.
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
