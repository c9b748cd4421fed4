//! What a data set is.

use std::fmt;

use bfn_core::VariableKind;

use crate::error::DataError;
use crate::random::Seed;
use crate::table::Columns;
use crate::values::{Row, Storage};
use crate::vocabulary::Vocabulary;

/// One split of a data set: examples of D variables each.
///
/// Implement it for data of your own. `read` must be a pure function of its arguments, so that
/// order, threads and resuming change nothing; whatever is random about an example comes from
/// `draw`. A data set in memory finds what is wrong with the data when it is made; one that reads
/// files as it goes answers in `read`.
pub trait Dataset: Send + Sync {
    /// What the D variables of an example are to each other.
    fn layout(&self) -> &Layout;

    /// What a variable, counted from 0, can be. Its value is the index of its bin or class, or, where it is
    /// continuous, the number itself.
    fn kind(&self, variable: usize) -> VariableKind;

    /// The number of examples in an epoch.
    fn len(&self) -> usize;

    /// Whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes example `index` into `out`, which has the storage that the data set names.
    ///
    /// # Shapes
    ///
    /// `out`: `[D]`, D = `self.layout().variables()`
    ///
    /// # Errors
    ///
    /// What a data set that reads files as it goes finds wrong with them.
    ///
    /// # Panics
    ///
    /// If `index` is not below `self.len()` or `out` has another length.
    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError>;

    /// The class of example `index`, where examples have classes: an index into [`Self::label_names`].
    fn label(&self, index: usize) -> Option<u32> {
        let _ = index;
        None
    }

    /// What the classes of examples are called; empty where they have none.
    fn label_names(&self) -> &[String] {
        &[]
    }

    /// How values lie in memory: as narrow as the kinds of the variables allow.
    fn storage(&self) -> Storage {
        Storage::of((0..self.layout().variables()).map(|variable| self.kind(variable)))
    }
}

/// From what an example's own randomness follows: binarisation, windows, flips.
///
/// The same draw gives the same example; another epoch (or, in an evaluation, another repeat) draws afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Draw {
    /// The run's or evaluation's seed.
    pub seed: Seed,
    /// The epoch or repeat.
    pub epoch: u64,
}

/// What the variables of an example are to each other.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Layout {
    /// An image; variables run row by row, within a row pixel by pixel, within a pixel channel by channel.
    Image {
        /// Rows.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// 1 for grey, 3 for red, green and blue.
        channels: usize,
    },
    /// A window of text; variables are its symbols in reading order.
    Text {
        /// Symbols in a window.
        length: usize,
        /// What the classes mean.
        vocabulary: Vocabulary,
    },
    /// A sequence of variables that are neighbours in their order.
    Sequence {
        /// Variables.
        length: usize,
    },
    /// A row of a table.
    Table {
        /// What its variables mean.
        columns: Columns,
    },
}

impl Layout {
    /// The number of variables in an example, D.
    #[must_use]
    pub fn variables(&self) -> usize {
        match self {
            Self::Image { height, width, channels } => height * width * channels,
            Self::Text { length, .. } | Self::Sequence { length } => *length,
            Self::Table { columns } => columns.variables().len(),
        }
    }
}

/// The parts that a data set is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// What networks learn from.
    Train,
    /// What choices are made on.
    Validation,
    /// What results are reported on.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}
