//! Tables: rows of columns of different kinds.
//!
//! A [`RawTable`] is the content of a CSV or Parquet file. [`ColumnRule`]s state which of its columns are modelled,
//! and as what. Fitted to the rows of the training split, they become [`Columns`], which turn rows into variables and
//! variables back into rows.

mod column;
mod columns;
mod csv_file;
mod guess;
mod parquet_file;
mod raw;
mod rule;

pub use column::{Column, Missing, Transform};
pub use columns::{Columns, Role, TableVariable};
pub use guess::Guess;
pub use raw::{Cell, RawTable};
pub use rule::{ColumnKind, ColumnRule, RealMap};

use std::path::Path;

use crate::bytes::{self, MOST_BYTES};
use crate::dataset::{Layout, Split};
use crate::error::DataError;
use crate::rows::{Kinds, Rows};
use crate::split::Shares;
use crate::values::{Row, Values};

/// The limits on the part of a table that is kept in memory, however tightly its file is packed.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of text.
    bytes: u64,
    /// Cells, each of which takes 24 bytes in addition to its text.
    cells: u64,
}

impl Limits {
    /// One gibibyte of text and three of cells.
    const USUAL: Self = Self { bytes: MOST_BYTES, cells: 1 << 27 };

    fn too_many_cells(self, path: &Path, offset: u64) -> DataError {
        DataError::Malformed {
            path: path.to_owned(),
            offset,
            expected: format!("a table of at most {} cells, which are kept in memory", self.cells),
            found: "more".to_owned(),
            cure: "use a part of its rows or columns".to_owned(),
        }
    }

    fn too_much_text(self, path: &Path) -> DataError {
        DataError::Malformed {
            path: path.to_owned(),
            offset: 0,
            expected: format!("at most {} of text in the cells, which are kept in memory", bytes::size(self.bytes)),
            found: "more".to_owned(),
            cure: "use a part of its rows or columns".to_owned(),
        }
    }
}

/// Returns one split of a table.
///
/// The rows that `shares` holds out are chosen at random but are the same in every run. The statistics of real
/// numbers (means, quantiles) are learnt from the training rows alone. Classes and ranges of integers that no rule
/// gives are those of all rows.
///
/// # Errors
///
/// Returns [`DataError::Cell`] if a cell is not what its column's rule states; [`DataError::Invalid`] if the rules or
/// shares make no sense.
pub fn table(raw: &RawTable, rules: &[ColumnRule], shares: Shares, split: Split) -> Result<Rows, DataError> {
    let count = raw.rows() as u64;
    let held_out = shares.of(count)?;
    let training: Vec<usize> = held_out.members(count, Split::Train).map(|row| row as usize).collect();
    let columns = Columns::fit(raw, rules, &training)?;
    let members: Vec<usize> = held_out.members(count, split).map(|row| row as usize).collect();
    let kinds = Kinds::Each(columns.variables().iter().map(|variable| variable.kind).collect());
    let mut values = Values::zeros(kinds.storage(), members.len(), columns.variables().len());
    let reader = columns.reader(raw)?;
    for (row, member) in members.iter().enumerate() {
        let encoded = reader.row(*member)?;
        match values.row_mut(row) {
            Row::Reals(out) => out.iter_mut().zip(encoded).for_each(|(out, value)| *out = value as f32),
            out => out.set(encoded.into_iter().map(|value| value as u32)),
        }
    }
    Ok(Rows::new(Layout::Table { columns }, kinds, values))
}
