//! Single files from zip archives, read in memory.

use std::io::{Cursor, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::DataError;

/// A zip archive in memory. Nothing is ever written to the paths that it names.
pub(crate) struct Zip<'a> {
    path: &'a Path,
    archive: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Zip<'a> {
    /// Returns whether the bytes begin like a zip archive.
    pub(crate) fn is(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04")
    }

    pub(crate) fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Self, DataError> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(path, &error))?;
        Ok(Self { path, archive })
    }

    /// Returns the names of the files inside.
    pub(crate) fn names(&self) -> Vec<String> {
        self.archive.file_names().filter(|name| !name.ends_with('/')).map(str::to_owned).collect()
    }

    /// Returns the content of a file; more than `most` bytes are refused.
    ///
    /// Memory grows only with what is actually unpacked, and the file's checksum is verified.
    pub(crate) fn file(&mut self, name: &str, most: u64) -> Result<Vec<u8>, DataError> {
        let path = self.path;
        let entry = self.archive.by_name(name).map_err(|error| broken(path, &error))?;
        let mut content = Vec::new();
        let read = entry.take(most + 1).read_to_end(&mut content);
        read.map_err(|error| broken(path, &ZipError::Io(error)))?;
        if content.len() as u64 > most {
            let expected = format!("at most {most} bytes in {name:?}");
            return Err(DataError::malformed(path, 0, expected, "more"));
        }
        Ok(content)
    }
}

fn broken(path: &Path, error: &ZipError) -> DataError {
    DataError::malformed(path, 0, "a sound zip archive", format!("an error ({error})"))
}
