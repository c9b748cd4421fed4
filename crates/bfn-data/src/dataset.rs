//! The interface of a data set.

use std::fmt;

use bfn_core::VariableKind;

use crate::error::DataError;
use crate::random::Seed;
use crate::table::Columns;
use crate::values::{Row, Storage};
use crate::vocabulary::Vocabulary;

/// One split of a data set: examples of D variables each.
///
/// Implement this trait for custom data. `read` must be a pure function of its arguments, so that order, threads and
/// resuming change nothing; all randomness of an example comes from `draw`. A data set in memory reports faults of
/// its data when it is created; one that reads files on demand reports them in `read`.
pub trait Dataset: Send + Sync {
    /// Returns how the D variables of an example relate to each other.
    fn layout(&self) -> &Layout;

    /// Returns what a variable, counted from 0, can be.
    ///
    /// Its value is the index of its bin or class or, if the variable is continuous, the number itself.
    fn kind(&self, variable: usize) -> VariableKind;

    /// Returns the number of examples in an epoch.
    fn len(&self) -> usize;

    /// Returns whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes example `index` into `out`, which has the storage of the data set.
    ///
    /// # Shapes
    ///
    /// `out`: `[D]`, D = `self.layout().variables()`
    ///
    /// # Errors
    ///
    /// Returns an error if a data set that reads files on demand finds a fault in them.
    ///
    /// # Panics
    ///
    /// Panics if `index` is not below `self.len()` or if `out` is not of length D.
    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError>;

    /// Returns the class of example `index`, an index into [`Self::label_names`], if examples have classes.
    fn label(&self, index: usize) -> Option<u32> {
        let _ = index;
        None
    }

    /// Returns the names of the examples' classes, empty if examples have no classes.
    fn label_names(&self) -> &[String] {
        &[]
    }

    /// Returns how values are stored: as narrowly as the kinds of the variables allow.
    fn storage(&self) -> Storage {
        Storage::of((0..self.layout().variables()).map(|variable| self.kind(variable)))
    }
}

/// The source of an example's own randomness: binarisation, windows, flips.
///
/// The same draw gives the same example; another epoch (or, in an evaluation, another repeat) draws afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Draw {
    /// The run's or evaluation's seed.
    pub seed: Seed,
    /// The epoch or repeat.
    pub epoch: u64,
}

/// The way in which the variables of an example relate to each other.
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
    /// A window of text; the variables are its symbols in reading order.
    Text {
        /// Symbols in a window.
        length: usize,
        /// What the classes mean.
        vocabulary: Vocabulary,
    },
    /// A sequence of variables, each a neighbour of those before and after it.
    Sequence {
        /// Variables.
        length: usize,
    },
    /// A row of a table.
    Table {
        /// The columns that its variables stand for.
        columns: Columns,
    },
}

impl Layout {
    /// Returns the number of variables in an example, D.
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
    /// The examples that networks learn from.
    Train,
    /// The examples that choices are based on.
    Validation,
    /// The examples that results are reported for.
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
