//! The one error type of this crate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why data could not be read. Each message says where, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No place holds the file.
    #[error("{what} not found: no file {names} in any of {}; {cure}", listed(.places))]
    Missing {
        /// The data set or file that was wanted.
        what: String,
        /// The file names that would have done.
        names: String,
        /// The folders that were looked at, in this order.
        places: Vec<PathBuf>,
        /// What to do about it.
        cure: String,
    },
    /// The operating system refused to read the file.
    #[error("{path}: cannot be read: {reason}; check that it is a file and that you may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        reason: io::Error,
    },
    /// The file's content is not what its format demands.
    #[error("{path}: at byte {offset}: expected {expected}, found {found}; {cure}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in the file; for gzip, where in the unpacked data.
        offset: u64,
        /// What the format demands there.
        expected: String,
        /// What is there.
        found: String,
        /// What to do about it.
        cure: String,
    },
    /// A text holds a character that its alphabet lacks.
    #[error(
        "{path}:{line}:{column}: expected a character of the alphabet {alphabet:?}, found {found:?}; \
         remove it from the text or use an alphabet that has it"
    )]
    UnknownSymbol {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The character within the line, counted from 1.
        column: u64,
        /// The character.
        found: char,
        /// All characters that are known.
        alphabet: String,
    },
    /// A cell of a table is not what its column holds.
    #[error(
        "{path}: row {row} of column {column:?}: expected {expected}, found {found:?}; correct the file or the column's rule"
    )]
    Cell {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1, without the line of names.
        row: u64,
        /// The name of the column.
        column: String,
        /// What the column holds.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The operating system refused to write the file.
    #[error("{path}: cannot be written: {reason}; check that there is room and that you may write there")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        reason: io::Error,
    },
    /// No address gave the file.
    #[error(
        "{path}: cannot be fetched: {said}; check the connection and the proxy's variables (HTTPS_PROXY), or put the file there yourself"
    )]
    Fetch {
        /// What the file would have been called.
        path: PathBuf,
        /// What was said at each address.
        said: String,
    },
    /// A file is there and is not the one that is known by its name.
    #[error("{path}: expected the SHA-256 {expected}, found {found}; move the file away if it is not wanted")]
    Different {
        /// The file.
        path: PathBuf,
        /// The published sum.
        expected: String,
        /// That of the file.
        found: String,
    },
    /// A setting is out of its range.
    #[error("{key}: expected {expected}, found {found}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
}

impl DataError {
    pub(crate) fn unreadable(path: &Path, reason: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), reason }
    }

    pub(crate) fn unwritable(path: &Path, reason: io::Error) -> Self {
        Self::Unwritable { path: path.to_owned(), reason }
    }

    /// A fault that another copy of the file would not have.
    pub(crate) fn malformed(path: &Path, offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            offset,
            expected: expected.into(),
            found: found.into(),
            cure: "correct the file, or get it again if it is damaged".to_owned(),
        }
    }

    /// The same error with something better to do about it.
    pub(crate) fn with_cure(mut self, better: impl Into<String>) -> Self {
        if let Self::Malformed { cure, .. } = &mut self {
            *cure = better.into();
        }
        self
    }

    pub(crate) fn invalid(key: &'static str, expected: impl Into<String>, found: impl fmt::Display) -> Self {
        Self::Invalid { key, expected: expected.into(), found: found.to_string() }
    }
}

fn listed(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}
