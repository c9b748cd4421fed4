//! The content of a table's file, before any rule is applied.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::bytes;
use crate::error::DataError;

use super::{Limits, csv_file, parquet_file};

/// The content of a table, column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTable {
    pub(super) path: PathBuf,
    pub(super) names: Vec<String>,
    /// `[columns][rows]`
    pub(super) columns: Vec<Vec<Cell>>,
    pub(super) rows: usize,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value, or a text that stands for none.
    Missing,
    /// An integer from a typed file.
    Integer(i64),
    /// A real number from a typed file.
    Real(f64),
    /// Text, which may spell a number.
    Text(Box<str>),
}

impl RawTable {
    /// Reads a CSV file, plain or gzipped, or a Parquet file; its first bytes show which.
    ///
    /// In CSV, cells that are empty or one of `missing` are missing; in Parquet, those that are null.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Unreadable`] if the file cannot be read, and the errors of [`Self::parse`].
    pub fn read(path: &Path, missing: &[String]) -> Result<Self, DataError> {
        Self::parse(path, &bytes::read(path)?, missing)
    }

    /// Parses the bytes of a file; `path` is used only in messages.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the bytes are not such a file, if rows differ in length, if there are no
    /// columns, no rows or two columns of the same name, or if there are more than 1 GiB of text or 2²⁷ cells.
    pub fn parse(path: &Path, bytes: &[u8], missing: &[String]) -> Result<Self, DataError> {
        let (names, columns) = if bytes.starts_with(parquet_file::MAGIC) {
            parquet_file::parse(path, bytes, Limits::USUAL)?
        } else {
            csv_file::parse(path, bytes, missing, Limits::USUAL)?
        };
        let rows = columns.first().map_or(0, Vec::len);
        if rows == 0 {
            return Err(DataError::malformed(path, 0, "a table of at least one column and one row", "none"));
        }
        let mut known = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !known.insert(*name)) {
            return Err(DataError::malformed(path, 0, "columns of different names", format!("{twice:?} twice"))
                .with_cure("give one of them another name"));
        }
        Ok(Self { path: path.to_owned(), names, columns, rows })
    }

    /// Returns the names of the columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the cells of a column.
    ///
    /// # Panics
    ///
    /// Panics if there is no such column.
    #[must_use]
    pub fn column(&self, column: usize) -> &[Cell] {
        &self.columns[column]
    }

    /// Creates the error for a cell that is not what was expected.
    pub(super) fn wrong(&self, column: usize, row: usize, expected: impl Into<String>) -> DataError {
        DataError::Cell {
            path: self.path.clone(),
            row: row as u64 + 1,
            column: self.names[column].clone(),
            expected: expected.into(),
            found: self.columns[column][row].to_string(),
        }
    }
}

impl Cell {
    /// Returns the number that the cell is or spells.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Integer(value) => Some(*value as f64),
            Self::Real(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    /// Returns the integer that the cell is or spells; 3.0 counts as one.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Text(text) if text.trim().parse::<i64>().is_ok() => text.trim().parse().ok(),
            // Beyond 2⁵³, not every integer is representable as a real number.
            _ => self.number().filter(|value| value.fract() == 0.0 && value.abs() < 9e15).map(|value| value as i64),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => Ok(()),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Real(value) => write!(out, "{value}"),
            Self::Text(text) => out.write_str(text),
        }
    }
}
