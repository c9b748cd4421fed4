//! The form of an example, as stored in the folder of a run.

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};
use bfn_core::VariableKind;
use bfn_data::table::Columns;
use bfn_data::{Alphabet, Dataset, Layout, Tokenizer, Vocabulary};
use serde::{Deserialize, Serialize};

/// The form of an example: enough to build the network and to write samples without the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Form {
    /// The arrangement of the variables.
    pub arrangement: Arrangement,
    /// The values that each variable can take.
    pub variable: Variable,
}

/// The arrangement of the variables of an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrangement {
    /// An image; variables run row by row, within a row pixel by pixel, within a pixel channel by channel.
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// 1 for grey, 3 for red, green and blue.
        channels: usize,
    },
    /// A window of text.
    Text {
        /// Characters.
        length: usize,
        /// The alphabet, in the order of the classes.
        alphabet: String,
    },
    /// A sequence of variables that are neighbours in their order.
    Sequence {
        /// Variables.
        length: usize,
    },
    /// A row of a table.
    Table {
        /// The columns, with the transforms between cells and values.
        columns: Columns,
    },
    /// A window of bytes.
    Bytes {
        /// Bytes.
        length: usize,
    },
    /// A window of tokens.
    Tokens {
        /// Tokens.
        length: usize,
        /// The tokenizer, in the JSON format of the library `tokenizers`.
        tokenizer: String,
    },
}

/// The values that each variable can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// One of this many equal bins of [−1, 1].
    Discretised(usize),
    /// One of this many classes.
    Discrete(usize),
    /// A real number.
    Continuous,
    /// A value of the kind of its column.
    Mixed,
}

impl fmt::Display for Variable {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discretised(bins) => write!(to, "each one of {bins} bins"),
            Self::Discrete(classes) => write!(to, "each one of {classes} classes"),
            Self::Continuous => to.write_str("real numbers"),
            Self::Mixed => to.write_str("each of its column's kind"),
        }
    }
}

impl Arrangement {
    /// Returns whether the variables are symbols of a text.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Bytes { .. } | Self::Tokens { .. })
    }
}

impl Form {
    /// Returns the form of a data set's examples.
    ///
    /// # Errors
    ///
    /// Returns an error if no flow of this program models such data yet.
    pub fn of(data: &dyn Dataset) -> Result<Self> {
        let arrangement = match data.layout() {
            Layout::Image { height, width, channels } => {
                Arrangement::Image { height: *height, width: *width, channels: *channels }
            }
            Layout::Text { length, vocabulary } => match vocabulary {
                Vocabulary::Characters(alphabet) => {
                    Arrangement::Text { length: *length, alphabet: alphabet.to_string() }
                }
                Vocabulary::Bytes => Arrangement::Bytes { length: *length },
                Vocabulary::Tokens(tokenizer) => {
                    Arrangement::Tokens { length: *length, tokenizer: tokenizer.json().to_owned() }
                }
                other => bail!("text of {other:?} cannot be modelled yet"),
            },
            Layout::Sequence { length } => Arrangement::Sequence { length: *length },
            Layout::Table { columns } => {
                let arrangement = Arrangement::Table { columns: columns.clone() };
                return Ok(Self { arrangement, variable: Variable::Mixed });
            }
            other => bail!("data of the layout {other:?} cannot be modelled yet"),
        };
        let variable = match data.kind(0) {
            VariableKind::Discretised { bins } => Variable::Discretised(bins),
            VariableKind::Discrete { classes } => Variable::Discrete(classes),
            VariableKind::Continuous => Variable::Continuous,
        };
        Ok(Self { arrangement, variable })
    }

    /// Returns D, the number of variables of an example.
    pub fn dimensions(&self) -> usize {
        match &self.arrangement {
            Arrangement::Image { height, width, channels } => height * width * channels,
            Arrangement::Text { length, .. }
            | Arrangement::Bytes { length }
            | Arrangement::Tokens { length, .. }
            | Arrangement::Sequence { length } => *length,
            Arrangement::Table { columns } => columns.variables().len(),
        }
    }

    /// Returns K, the number of bins or classes of a variable; 1 for real numbers or if variables differ.
    pub fn values(&self) -> usize {
        match self.variable {
            Variable::Discretised(values) | Variable::Discrete(values) => values,
            Variable::Continuous | Variable::Mixed => 1,
        }
    }

    /// Returns whether there are real numbers among the variables.
    pub fn has_reals(&self) -> bool {
        match &self.arrangement {
            Arrangement::Table { columns } => {
                columns.variables().iter().any(|variable| variable.kind == VariableKind::Continuous)
            }
            _ => self.variable == Variable::Continuous,
        }
    }

    /// Returns the meaning of the classes of text; `None` if the data are not text.
    ///
    /// # Errors
    ///
    /// Returns an error if the record of a run was changed by hand and is no longer valid.
    pub fn vocabulary(&self) -> Result<Option<Vocabulary>> {
        Ok(match &self.arrangement {
            Arrangement::Text { alphabet, .. } => Some(Vocabulary::Characters(Alphabet::new(alphabet)?)),
            Arrangement::Bytes { .. } => Some(Vocabulary::Bytes),
            Arrangement::Tokens { tokenizer, .. } => {
                Some(Vocabulary::Tokens(Tokenizer::parse(Path::new("run.json"), tokenizer.as_bytes())?))
            }
            Arrangement::Image { .. } | Arrangement::Sequence { .. } | Arrangement::Table { .. } => None,
        })
    }

    /// Returns the name of the unit bits per variable.
    pub fn bits_per_variable(&self) -> &'static str {
        match self.arrangement {
            Arrangement::Text { .. } => "bits/char",
            Arrangement::Bytes { .. } => "bits/byte",
            Arrangement::Tokens { .. } => "bits/token",
            _ => "bits/dim",
        }
    }
}
