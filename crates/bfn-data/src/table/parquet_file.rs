//! Parquet files.

use std::path::Path;

use ::bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::bytes::DEFLATE_RATIO;
use crate::error::DataError;
use crate::guard::guarded;

use super::Cell;

pub(super) const MAGIC: &[u8] = b"PAR1";

/// The names and the cells of the columns.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<String>, Vec<Vec<Cell>>), DataError> {
    guarded(path, EXPECTED, || read(path, bytes))
}

const EXPECTED: &str = "a sound table in Parquet";

fn read(path: &Path, bytes: &[u8]) -> Result<(Vec<String>, Vec<Vec<Cell>>), DataError> {
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
    let most = (bytes.len() as u64).saturating_mul(DEFLATE_RATIO);
    if unpacked > most {
        return Err(broken(format!("a claim of {unpacked} bytes in a file that can hold {most}")));
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
