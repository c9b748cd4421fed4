//! CSV files.

use std::path::Path;

use csv::{ErrorKind, ReaderBuilder};

use crate::bytes::Content;
use crate::error::DataError;

use super::{Cell, Limits};

/// Parses a CSV file into the names and the cells of its columns; the first line holds the names.
pub(super) fn parse(
    path: &Path,
    bytes: &[u8],
    missing: &[String],
    most: Limits,
) -> Result<(Vec<String>, Vec<Vec<Cell>>), DataError> {
    let content = Content::new(path, bytes).rest(most.bytes)?;
    let mut reader = ReaderBuilder::new().from_reader(content.as_slice());
    let wrong = |error: csv::Error| {
        let offset = error.position().map_or(0, csv::Position::byte);
        let line = error.position().map_or(1, csv::Position::line);
        let (expected, found, cure) = match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => (
                format!("{expected_len} cells, as in the first line"),
                format!("{len} in line {line}"),
                "correct the line; a cell with a comma in it needs quotation marks",
            ),
            ErrorKind::Utf8 { .. } => {
                ("text in UTF-8".to_owned(), format!("other bytes in line {line}"), "convert the file to UTF-8")
            }
            _ => ("a table in CSV".to_owned(), format!("an error ({error})"), "correct the file"),
        };
        DataError::malformed(path, offset, expected, found).with_cure(cure)
    };
    let names: Vec<String> = reader.headers().map_err(wrong)?.iter().map(|name| name.trim().to_owned()).collect();
    if let [only] = &names[..]
        && let Some(separator) = [';', '\t', '|'].into_iter().find(|separator| only.contains(*separator))
    {
        let found = format!("one column {only:?}");
        return Err(DataError::malformed(path, 0, "columns with commas between them", found)
            .with_cure(format!("put commas in the place of {separator:?}")));
    }
    let mut columns = vec![Vec::new(); names.len()];
    for (rows, record) in (1_u64..).zip(reader.records()) {
        let record = record.map_err(wrong)?;
        if rows * names.len() as u64 > most.cells {
            return Err(most.too_many_cells(path, record.position().map_or(0, csv::Position::byte)));
        }
        for (column, text) in columns.iter_mut().zip(&record) {
            let is_missing = text.is_empty() || missing.iter().any(|missing| missing == text);
            column.push(if is_missing { Cell::Missing } else { Cell::Text(text.into()) });
        }
    }
    Ok((names, columns))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_table_is_read_to_its_end_or_refused() {
        let text = b"a,b\n1,2\n3,4\n";
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        for bytes in [text.to_vec(), packed.finish().unwrap()] {
            let parse = |bytes_kept, cells| {
                let parsed = parse(Path::new("x.csv"), &bytes, &[], Limits { bytes: bytes_kept, cells });
                parsed.map(|(_, columns)| columns[0].len()).map_err(|error| error.to_string())
            };
            assert_eq!(parse(12, 4), Ok(2));
            // One byte or one row too many.
            let error = parse(8, 4).unwrap_err();
            assert!(error.contains("at byte 8: expected the end of the file") && error.contains("more than 8 bytes"));
            let error = parse(12, 3).unwrap_err();
            assert!(error.contains("at byte 8: expected a table of at most 3 cells"), "{error}");
        }
    }
}
