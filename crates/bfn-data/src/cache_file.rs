//! A file of our own making, mapped into memory.
#![allow(unsafe_code, reason = "a file is mapped here and nowhere else in this crate")]

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::DataError;

/// A file that is mapped into memory, and whose every byte is checked to be there before it is read.
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
        // SAFETY: the map is read only while the file is as long as it was when it was mapped, see `bytes`. The
        // file is written once, under another name, and never changed: a new one takes its name, and leaves this
        // one as it is until it is closed.
        let bytes = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// The content, if the file still has all of it.
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] where somebody has cut the file short since.
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
