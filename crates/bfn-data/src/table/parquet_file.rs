//! Parquet files.

use std::path::Path;

use ::bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::bytes::DEFLATE_RATIO;
use crate::error::DataError;
use crate::guard::guarded;

use super::{Cell, Limits};

pub(super) const MAGIC: &[u8] = b"PAR1";

/// The names and the cells of the columns.
pub(super) fn parse(path: &Path, bytes: &[u8], most: Limits) -> Result<(Vec<String>, Vec<Vec<Cell>>), DataError> {
    guarded(path, EXPECTED, || read(path, bytes, most))
}

const EXPECTED: &str = "a sound table in Parquet";

fn read(path: &Path, bytes: &[u8], most: Limits) -> Result<(Vec<String>, Vec<Vec<Cell>>), DataError> {
    let broken = |found: String| DataError::malformed(path, 0, EXPECTED, found);
    let error = |error: parquet::errors::ParquetError| broken(format!("an error ({error})"));
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(error)?;
    let metadata = reader.metadata();
    // A claim of more than the bytes can hold is refused before anything is allocated for it.
    let unpacked: u64 = metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add);
    let can_hold = (bytes.len() as u64).saturating_mul(DEFLATE_RATIO);
    if unpacked > can_hold {
        return Err(broken(format!("a claim of {unpacked} bytes in a file that can hold {can_hold}")));
    }
    // Millions of equal cells, or of missing ones, take a few bytes: their number has a limit of its own.
    let rows = total_rows(metadata.row_groups().iter().map(|group| group.num_rows()))
        .ok_or_else(|| broken("a negative number of rows".to_owned()))?;
    let columns = metadata.file_metadata().schema().get_fields().len() as u64;
    if rows.saturating_mul(columns) > most.cells {
        return Err(most.too_many_cells(path, 0));
    }
    let names: Vec<String> =
        metadata.file_metadata().schema().get_fields().iter().map(|f| f.name().to_owned()).collect();
    let mut columns = vec![Vec::new(); names.len()];
    for (row, record) in reader.get_row_iter(None).map_err(error)?.enumerate() {
        let record = record.map_err(error)?;
        for (column, (name, field)) in columns.iter_mut().zip(record.get_column_iter()) {
            column.push(cell(field).ok_or_else(|| {
                broken(format!("a value in row {} of column {name:?} that is neither number nor text", row + 1))
            })?);
        }
    }
    Ok((names, columns))
}

/// Σ of the rows of all groups; None where one claims a negative number.
fn total_rows(groups: impl Iterator<Item = i64>) -> Option<u64> {
    groups.map(|rows| u64::try_from(rows).ok()).try_fold(0_u64, |total, rows| Some(total.saturating_add(rows?)))
}

fn cell(field: &Field) -> Option<Cell> {
    Some(match field {
        Field::Null => Cell::Missing,
        Field::Bool(value) => Cell::Text(value.to_string().into()),
        Field::Byte(value) => Cell::Integer((*value).into()),
        Field::Short(value) => Cell::Integer((*value).into()),
        Field::Int(value) => Cell::Integer((*value).into()),
        Field::Long(value) => Cell::Integer(*value),
        Field::UByte(value) => Cell::Integer((*value).into()),
        Field::UShort(value) => Cell::Integer((*value).into()),
        Field::UInt(value) => Cell::Integer((*value).into()),
        Field::ULong(value) => Cell::Integer(i64::try_from(*value).ok()?),
        Field::Float(value) => Cell::Real((*value).into()),
        Field::Double(value) => Cell::Real(*value),
        Field::Str(text) => Cell::Text(text.as_str().into()),
        Field::Decimal(_) | Field::Date(_) | Field::TimestampMillis(_) | Field::TimestampMicros(_) => {
            Cell::Text(field.to_string().into())
        }
        Field::Bytes(bytes) => Cell::Text(std::str::from_utf8(bytes.data()).ok()?.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::Int64Type;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// Many missing cells are a few bytes in the file, and are refused before they are made.
    #[test]
    fn more_cells_than_are_kept_are_refused() {
        let schema = Arc::new(parse_message_type("message m { optional int64 a; optional int64 b; }").unwrap());
        let mut bytes = Vec::new();
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
        for _ in 0..2 {
            let mut group = writer.next_row_group().unwrap();
            while let Some(mut column) = group.next_column().unwrap() {
                column.typed::<Int64Type>().write_batch(&[], Some(&[0; 1000]), None).unwrap();
                column.close().unwrap();
            }
            group.close().unwrap();
        }
        writer.close().unwrap();
        let parse = |cells| parse(Path::new("x.parquet"), &bytes, Limits { cells, ..Limits::USUAL });
        assert_eq!(parse(4000).unwrap().1[1].len(), 2000);
        let error = parse(3999).unwrap_err().to_string();
        assert!(error.contains("expected a table of at most 3999 cells"), "{error}");
    }

    #[test]
    fn negative_numbers_of_rows_are_refused() {
        assert_eq!(total_rows([3, 4].into_iter()), Some(7));
        assert_eq!(total_rows([i64::MAX; 3].into_iter()), Some(u64::MAX));
        assert_eq!(total_rows([3, -1, 5].into_iter()), None);
    }
}
