//! Parquet files.

use std::path::Path;

use ::bytes::Bytes;
use parquet::basic::{Compression, Repetition};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::BasicTypeInfo;

use crate::bytes::DEFLATE_RATIO;
use crate::error::DataError;
use crate::guard::guarded;

use super::{Cell, Limits};

pub(super) const MAGIC: &[u8] = b"PAR1";

/// Parses a Parquet file into the names and the cells of its columns.
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
    let (claimed, can_hold) = (claimed_bytes(metadata), can_hold(metadata, bytes.len() as u64, most));
    if claimed > can_hold {
        return Err(broken(format!("a claim of {claimed} bytes in a file that can hold {can_hold}")));
    }
    // The elements of lists in cells could outnumber the rows of the table.
    let fields = metadata.file_metadata().schema().get_fields();
    let is_flat = |basic: &BasicTypeInfo| !basic.has_repetition() || basic.repetition() != Repetition::REPEATED;
    if let Some(nested) = fields.iter().find(|field| !field.is_primitive() || !is_flat(field.get_basic_info())) {
        return Err(broken(format!("lists or groups in column {:?}, which is neither number nor text", nested.name())));
    }
    // Millions of equal or missing cells take a few bytes, so the number of cells has its own limit.
    let rows = total_rows(metadata.row_groups().iter().map(|group| group.num_rows()))
        .ok_or_else(|| broken("a negative number of rows".to_owned()))?;
    if rows.saturating_mul(fields.len() as u64) > most.cells {
        return Err(most.too_many_cells(path, 0));
    }
    let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let mut columns = vec![Vec::new(); names.len()];
    // A text that is in the file once may be the text of many cells.
    let mut text_bytes = 0;
    for (row, record) in reader.get_row_iter(None).map_err(error)?.enumerate() {
        let record = record.map_err(error)?;
        for (column, (name, field)) in columns.iter_mut().zip(record.get_column_iter()) {
            let cell = cell(field).ok_or_else(|| {
                broken(format!("a value in row {} of column {name:?} that is neither number nor text", row + 1))
            })?;
            if let Cell::Text(text) = &cell {
                text_bytes += text.len() as u64;
            }
            if text_bytes > most.bytes {
                return Err(most.too_much_text(path));
            }
            column.push(cell);
        }
    }
    Ok((names, columns))
}

/// Returns how many bytes the columns unpack to, according to the file.
fn claimed_bytes(metadata: &ParquetMetaData) -> u64 {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    columns.map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
}

/// Returns how many bytes a file may unpack to.
///
/// This is the limit of deflate. Zstandard packs a block of equal bytes into four, so with it the limit is raised,
/// but to no more than is kept of a table.
fn can_hold(metadata: &ParquetMetaData, bytes: u64, most: Limits) -> u64 {
    let mut columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let usual = bytes.saturating_mul(DEFLATE_RATIO);
    if columns.any(|column| matches!(column.compression(), Compression::ZSTD(_))) {
        return usual.max(most.bytes.min(bytes.saturating_mul(ZSTD_RATIO)));
    }
    usual
}

/// Zstandard packs at most 128 KiB of equal bytes into a block of 4.
const ZSTD_RATIO: u64 = 32 << 10;

/// Returns the sum of the rows of all groups, or `None` if one claims a negative number.
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

    use parquet::basic::ZstdLevel;
    use parquet::column::writer::ColumnWriter;
    use parquet::data_type::ByteArray;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// Creates a file of `groups` row groups whose columns are written by `write`.
    fn file(
        schema: &str,
        groups: usize,
        properties: WriterProperties,
        write: impl Fn(&mut ColumnWriter<'_>),
    ) -> Vec<u8> {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
        for _ in 0..groups {
            let mut group = writer.next_row_group().unwrap();
            while let Some(mut column) = group.next_column().unwrap() {
                write(column.untyped());
                column.close().unwrap();
            }
            group.close().unwrap();
        }
        writer.close().unwrap();
        bytes
    }

    fn usual() -> WriterProperties {
        WriterProperties::builder().build()
    }

    /// Many missing cells take a few bytes in the file, and are refused before they are created.
    #[test]
    fn more_cells_than_are_kept_are_refused() {
        let bytes = file("message m { optional int64 a; optional int64 b; }", 2, usual(), |column| {
            let ColumnWriter::Int64ColumnWriter(column) = column else { panic!("integers") };
            column.write_batch(&[], Some(&[0; 1000]), None).unwrap();
        });
        let parse = |cells| parse(Path::new("x.parquet"), &bytes, Limits { cells, ..Limits::USUAL });
        assert_eq!(parse(4000).unwrap().1[1].len(), 2000);
        let error = parse(3999).unwrap_err().to_string();
        assert!(error.contains("expected a table of at most 3999 cells"), "{error}");
    }

    /// A text is in the file once, however many cells hold it.
    #[test]
    fn more_text_than_is_kept_is_refused() {
        let bytes = file("message m { required binary a (UTF8); }", 1, usual(), |column| {
            let ColumnWriter::ByteArrayColumnWriter(column) = column else { panic!("texts") };
            column.write_batch(&vec![ByteArray::from("abcdefgh".repeat(100).as_str()); 1000], None, None).unwrap();
        });
        assert!(bytes.len() < 5000);
        let parse = |kept| parse(Path::new("x.parquet"), &bytes, Limits { bytes: kept, ..Limits::USUAL });
        assert_eq!(parse(800_000).unwrap().1[0].len(), 1000);
        let error = parse(799_999).unwrap_err().to_string();
        assert!(error.contains("expected at most 799999 bytes of text"), "{error}");
    }

    /// Zstandard packs a constant column tighter than deflate could.
    #[test]
    fn constant_columns_are_read() {
        let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
        let properties = WriterProperties::builder()
            .set_compression(zstd)
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(usize::MAX);
        let bytes = file("message m { required double a; }", 1, properties.build(), |column| {
            let ColumnWriter::DoubleColumnWriter(column) = column else { panic!("numbers") };
            column.write_batch(&vec![1.5; 1_000_000], None, None).unwrap();
        });
        assert!((bytes.len() as u64) < 8_000_000 / DEFLATE_RATIO);
        let columns = parse(Path::new("x.parquet"), &bytes, Limits::USUAL).unwrap().1;
        assert!(columns[0].len() == 1_000_000 && columns[0].iter().all(|cell| *cell == Cell::Real(1.5)));
        // No more than is kept of a table.
        let most = Limits { bytes: 7_000_000, ..Limits::USUAL };
        assert!(parse(Path::new("x.parquet"), &bytes, most).unwrap_err().to_string().contains("a claim of"));
    }

    /// One row may hold a list of any length, which is refused before it is created.
    #[test]
    fn lists_are_refused() {
        let list = "optional group a (LIST) { repeated group list { optional int64 element; } }";
        for (column, repeated) in [("repeated int64 a;", 1), (list, 3)] {
            let bytes = file(&format!("message m {{ {column} }}"), 1, usual(), |column| {
                let ColumnWriter::Int64ColumnWriter(column) = column else { panic!("integers") };
                column.write_batch(&[1, 2, 3], Some(&[repeated; 3]), Some(&[0, 1, 1])).unwrap();
            });
            let error = parse(Path::new("x.parquet"), &bytes, Limits::USUAL).unwrap_err().to_string();
            assert!(error.contains("lists or groups in column \"a\""), "{error}");
        }
    }

    #[test]
    fn negative_numbers_of_rows_are_refused() {
        assert_eq!(total_rows([3, 4].into_iter()), Some(7));
        assert_eq!(total_rows([i64::MAX; 3].into_iter()), Some(u64::MAX));
        assert_eq!(total_rows([3, -1, 5].into_iter()), None);
    }
}
