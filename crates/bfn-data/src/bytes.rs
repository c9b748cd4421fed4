//! Files as bytes, plain or gzipped.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::DataError;

/// The maximum size of a text or table in memory.
///
/// It is more than any that is modelled, and less than what a hostile gzip can unpack to.
pub(crate) const MOST_BYTES: u64 = 1 << 30;

/// Reads the bytes of a file as they are on disk.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(|reason| DataError::unreadable(path, reason))
}

/// Formats a number of bytes, in GiB if it is a whole number of them.
pub(crate) fn size(bytes: u64) -> String {
    if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) {
        return format!("{} GiB", bytes >> 30);
    }
    format!("{bytes} bytes")
}

/// A file's content from front to end, unpacked on the way if its first bytes are those of gzip.
pub(crate) struct Content<'a> {
    path: &'a Path,
    source: Source<'a>,
    offset: u64,
    /// The most bytes that the file can hold or, if packed, may unpack to.
    pub(crate) most: u64,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
}

/// The greatest compression ratio of deflate, which packs at most 258 bytes into 2 bits.
pub(crate) const DEFLATE_RATIO: u64 = 1032;

/// Returns the most bytes of an array that a packed file of `packed` bytes may unpack to.
///
/// This is the limit of deflate, but no more than 2 GiB unless the file itself is larger.
pub(crate) fn most_unpacked(packed: u64) -> u64 {
    packed.saturating_mul(DEFLATE_RATIO).min(packed.max(2 << 30))
}

impl<'a> Content<'a> {
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        let packed = bytes.starts_with(&[0x1f, 0x8b]);
        let size = bytes.len() as u64;
        Self {
            path,
            source: if packed { Source::Gzip(Box::new(MultiGzDecoder::new(bytes))) } else { Source::Plain(bytes) },
            offset: 0,
            most: if packed { most_unpacked(size) } else { size },
        }
    }

    /// Reads the next bytes, up to `limit` of them; fewer only at the end of the content.
    ///
    /// Memory grows only with what is actually there, so a small file cannot claim much of it.
    pub(crate) fn take(&mut self, limit: u64) -> Result<Vec<u8>, DataError> {
        let mut taken = Vec::new();
        let outcome = match &mut self.source {
            Source::Plain(rest) => rest.take(limit).read_to_end(&mut taken),
            Source::Gzip(decoder) => decoder.take(limit).read_to_end(&mut taken),
        };
        self.offset += taken.len() as u64;
        match outcome {
            Ok(_) => Ok(taken),
            Err(reason) => Err(self.damaged(&reason)),
        }
    }

    /// Reads all that is left, to be kept in memory; more than `most` bytes are refused.
    pub(crate) fn rest(&mut self, most: u64) -> Result<Vec<u8>, DataError> {
        let rest = self.take(most.saturating_add(1))?;
        if rest.len() as u64 > most {
            return Err(DataError::Malformed {
                path: self.path.to_owned(),
                offset: most,
                expected: "the end of the file, whose content is kept in memory".to_owned(),
                found: format!("more than {}", size(most)),
                cure: "use a part of it".to_owned(),
            });
        }
        Ok(rest)
    }

    /// Reads the next `count` bytes; `what` names them in messages.
    pub(crate) fn exactly(&mut self, count: u64, what: &str) -> Result<Vec<u8>, DataError> {
        let start = self.offset;
        let taken = self.take(count)?;
        if (taken.len() as u64) < count {
            return Err(DataError::malformed(
                self.path,
                start,
                format!("{what} of {count} bytes"),
                format!("the end of the file after {} bytes", taken.len()),
            ));
        }
        Ok(taken)
    }

    /// Checks that nothing follows; for gzip, this is also where its checksum is verified.
    pub(crate) fn end(&mut self) -> Result<(), DataError> {
        let start = self.offset;
        if self.take(1)?.is_empty() {
            return Ok(());
        }
        Err(DataError::malformed(self.path, start, "the end of the file", "more bytes"))
    }

    fn damaged(&self, reason: &io::Error) -> DataError {
        let (expected, found) = match reason.kind() {
            io::ErrorKind::UnexpectedEof => ("more gzip data", "the end of the file".to_owned()),
            _ => ("valid gzip data", format!("an error ({reason})")),
        };
        DataError::malformed(self.path, self.offset, expected, found)
    }
}

#[cfg(test)]
mod tests {
    use super::most_unpacked;

    #[test]
    fn packed_files_unpack_to_no_more_than_they_justify() {
        assert_eq!(most_unpacked(1000), 1_032_000);
        // Ten megabytes of deflate can hold ten gigabytes of zeros.
        assert_eq!(most_unpacked(10 << 20), 2 << 30);
        assert_eq!(most_unpacked(5 << 30), 5 << 30);
        assert_eq!(most_unpacked(u64::MAX), u64::MAX);
    }
}
