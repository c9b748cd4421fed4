//! The one error type of this crate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The reason why data could not be read.
///
/// Each message states where, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file is in none of the places.
    #[error("{what} not found: no file {names} in any of {}; {cure}", listed(.places))]
    Missing {
        /// The data set or file that was wanted.
        what: String,
        /// The file names that were searched for.
        names: String,
        /// The folders that were searched, in this order.
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
    /// The file's content is not what its format requires.
    #[error("{path}: at byte {offset}: expected {expected}, found {found}; {cure}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The position in the file; for gzip, in the unpacked data.
        offset: u64,
        /// What the format requires there.
        expected: String,
        /// What was found there.
        found: String,
        /// What to do about it.
        cure: String,
    },
    /// A text contains a character that its alphabet lacks.
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
        /// The row, counted from 1, not counting the line of names.
        row: u64,
        /// The name of the column.
        column: String,
        /// What the column holds.
        expected: String,
        /// What was found there.
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
    /// No address provided the file.
    #[error(
        "{path}: cannot be fetched: {said}; check the connection and the proxy's variables (HTTPS_PROXY), or put the file there yourself"
    )]
    Fetch {
        /// The path that the file would have had.
        path: PathBuf,
        /// The failure at each address.
        said: String,
    },
    /// An existing file is not the one that is known by its name.
    #[error("{path}: expected the SHA-256 {expected}, found {found}; move the file away if it is not wanted")]
    Different {
        /// The file.
        path: PathBuf,
        /// The published SHA-256.
        expected: String,
        /// The SHA-256 of the file.
        found: String,
    },
    /// A setting is out of its range.
    #[error("{key}: expected {expected}, found {found}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// What the setting may be.
        expected: String,
        /// What the setting is.
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

    /// Creates the error for a fault that another copy of the file would not have.
    pub(crate) fn malformed(path: &Path, offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            offset,
            expected: expected.into(),
            found: found.into(),
            cure: "correct the file, or get it again if it is damaged".to_owned(),
        }
    }

    /// Replaces the advice on what to do by a better one.
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
