//! The IDX format of MNIST: a shape, then bytes.

use std::path::Path;

use crate::bytes::{self, Content};
use crate::error::DataError;

/// The content of an IDX file of unsigned bytes.
///
/// # Format
///
/// Two zero bytes, a type code (8: unsigned byte), the number of dimensions, the size of each dimension as a
/// big-endian u32, then the elements, the last dimension fastest. The whole file may be gzipped, which its first two
/// bytes show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// The size of each dimension; there is at least one.
    pub shape: Vec<usize>,
    /// The elements, the last dimension fastest.
    pub data: Vec<u8>,
}

impl Idx {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Unreadable`] if the file cannot be read, and the errors of [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::parse(path, &bytes::read(path)?)
    }

    /// Parses the bytes of a file, plain or gzipped; `path` is used only in messages.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the bytes are truncated, are not IDX, hold another type, are fewer or more
    /// than the header states, or if gzip finds them damaged. A header that claims more than the bytes can hold is
    /// refused before anything is allocated for it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let malformed =
            |offset, expected: &str, found: String| Err(DataError::malformed(path, offset, expected, found));
        let mut content = Content::new(path, bytes);

        let magic = content.exactly(4, "an IDX magic number")?;
        if magic[..2] != [0, 0] {
            let found = format!("{:#04x} {:#04x}", magic[0], magic[1]);
            return malformed(0, "two zero bytes, as IDX files begin", found);
        }
        if magic[2] != UNSIGNED_BYTE {
            let expected = "the type code 0x08 (unsigned byte)";
            return malformed(2, expected, type_name(magic[2]));
        }
        if magic[3] == 0 {
            return malformed(3, "at least one dimension", "none".to_owned());
        }

        let sizes = content.exactly(4 * u64::from(magic[3]), "sizes of dimensions")?;
        let sizes: Vec<u32> =
            sizes.chunks_exact(4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]])).collect();
        let header = 4 + 4 * sizes.len() as u64;
        let claimed = sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::from(size)));
        let count = match claimed {
            Some(count) if header.saturating_add(count) <= content.most => count,
            _ => {
                let expected = format!("elements for the shape {sizes:?} that the header claims");
                let found = format!("a file that holds {} bytes at most", content.most);
                return malformed(4, &expected, found);
            }
        };

        let data = content.exactly(count, "elements")?;
        content.end()?;
        Ok(Self { shape: sizes.into_iter().map(|size| size as usize).collect(), data })
    }
}

const UNSIGNED_BYTE: u8 = 0x08;

fn type_name(code: u8) -> String {
    let name = match code {
        0x09 => "signed byte",
        0x0b => "16-bit integer",
        0x0c => "32-bit integer",
        0x0d => "32-bit float",
        0x0e => "64-bit float",
        _ => "unknown",
    };
    format!("{code:#04x} ({name})")
}
