//! A cache file of this crate, mapped into memory.
#![allow(unsafe_code, reason = "a file is mapped here and nowhere else in this crate")]

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::DataError;

/// A file that is mapped into memory and checked to be complete before every read.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    file: File,
    bytes: Mmap,
}

impl MappedFile {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let unreadable = |reason| DataError::unreadable(path, reason);
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the map is read only while the file is as long as it was when it was mapped, see `bytes`. The file
        // is written once, under another name, and never modified: a new file takes over the name and leaves this one
        // intact until it is closed.
        let bytes = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Returns the content if the file still has its full length.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the file's length has changed since.
    pub(crate) fn bytes(&self) -> Result<&[u8], DataError> {
        let length = self.file.metadata().map_err(|reason| DataError::unreadable(&self.path, reason))?.len();
        if length != self.bytes.len() as u64 {
            return Err(DataError::Malformed {
                path: self.path.clone(),
                offset: length,
                expected: format!("{} bytes, as at the start of this run", self.bytes.len()),
                found: format!("{length} bytes"),
                cure: "the file was changed while it was in use: start again".to_owned(),
            });
        }
        Ok(&self.bytes)
    }
}
