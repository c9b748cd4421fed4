//! CSV files.

use std::path::Path;

use csv::{ErrorKind, ReaderBuilder};

use crate::bytes::Content;
use crate::error::DataError;

use super::Cell;

/// The names and the cells of the columns; the first line holds the names.
pub(super) fn parse(path: &Path, bytes: &[u8], missing: &[String]) -> Result<(Vec<String>, Vec<Vec<Cell>>), DataError> {
    let content = Content::new(path, bytes).take(MOST_BYTES)?;
    let mut reader = ReaderBuilder::new().from_reader(content.as_slice());
    let wrong = |error: csv::Error| {
        let offset = error.position().map_or(0, csv::Position::byte);
        let line = error.position().map_or(1, csv::Position::line);
        let (expected, found) = match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                (format!("{expected_len} cells, as in the first line"), format!("{len} in line {line}"))
            }
            ErrorKind::Utf8 { .. } => ("text in UTF-8".to_owned(), format!("other bytes in line {line}")),
            _ => ("a table in CSV".to_owned(), format!("an error ({error})")),
        };
        DataError::malformed(path, offset, expected, found)
    };
    let names: Vec<String> = reader.headers().map_err(wrong)?.iter().map(|name| name.trim().to_owned()).collect();
    let mut columns = vec![Vec::new(); names.len()];
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        for (column, text) in columns.iter_mut().zip(&record) {
            let is_missing = text.is_empty() || missing.iter().any(|missing| missing == text);
            column.push(if is_missing { Cell::Missing } else { Cell::Text(text.into()) });
        }
    }
    Ok((names, columns))
}

/// More than a table that is modelled in memory, less than what a hostile gzip can unpack to.
const MOST_BYTES: u64 = 1 << 30;
