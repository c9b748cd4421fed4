//! A zip archive as `torch.save` writes it: every entry is stored without compression.
//!
//! Its directory is at the end. Sizes and positions in it are accepted only if the file has those bytes.

use std::collections::HashMap;
use std::io;

use super::Problem;

/// The entries of an archive, as slices of its bytes.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    entries: HashMap<String, Stored<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Stored<'a> {
    bytes: &'a [u8],
    checksum: u32,
}

const END_OF_DIRECTORY: u32 = 0x0605_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const LOCAL_ENTRY: u32 = 0x0403_4b50;
/// The value of a size or position that zip64 keeps elsewhere.
const ELSEWHERE: u32 = u32::MAX;

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Problem> {
        if !bytes.starts_with(&LOCAL_ENTRY.to_le_bytes()) {
            let found = match bytes {
                [] => "an empty file".to_owned(),
                [0x80, ..] => "a bare pickle: a checkpoint from before PyTorch 1.6".to_owned(),
                _ => format!("a file that starts with {:02x?}", &bytes[..bytes.len().min(4)]),
            };
            return Err(Problem::new("a zip archive made by torch.save", found));
        }
        let end = find_end(bytes)?;
        let mut field = Fields { bytes, at: end + 10 };
        let count = field.u16()?;
        let _length = field.u32()?;
        let start = field.u32()?;
        if start == ELSEWHERE || count == u16::MAX {
            return Err(Problem::new("an archive of less than 4 GiB", "a zip64 archive"));
        }
        let mut directory = Fields { bytes, at: start as usize };
        let mut entries = HashMap::new();
        for _ in 0..count {
            let (name, stored) = read_entry(bytes, &mut directory)?;
            if entries.insert(name.clone(), stored).is_some() {
                return Err(Problem::new("entries of different names", format!("{name} twice")));
            }
        }
        Ok(Self { entries })
    }

    /// Returns the folder that holds `data.pkl`.
    pub(super) fn root(&self) -> Result<&str, Problem> {
        let mut roots = self.entries.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
        match (roots.next(), roots.next()) {
            (Some(root), None) => Ok(root),
            (None, _) => Err(Problem::new("an entry data.pkl", "a zip archive without one")),
            (Some(_), Some(_)) => Err(Problem::new("one entry data.pkl", "several")),
        }
    }

    /// Returns the bytes of an entry that may be absent, without checking them.
    pub(super) fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.entries.get(name).map(|stored| stored.bytes)
    }

    /// Returns the bytes of an entry, which must match its checksum.
    pub(super) fn read(&self, name: &str) -> Result<&'a [u8], Problem> {
        let Some(stored) = self.entries.get(name) else {
            return Err(Problem::new(format!("an entry {name}"), "none"));
        };
        let checksum = crc32fast::hash(stored.bytes);
        // Not while fuzzing, since a fuzzer does not guess checksums.
        if checksum != stored.checksum && !cfg!(fuzzing) {
            let expected = format!("checksum {:08x} of {name}", stored.checksum);
            return Err(Problem::new(expected, format!("{checksum:08x}")));
        }
        Ok(stored.bytes)
    }
}

/// Reads one entry of the directory and moves on to the next.
fn read_entry<'a>(bytes: &'a [u8], directory: &mut Fields<'a>) -> Result<(String, Stored<'a>), Problem> {
    directory.expect(DIRECTORY_ENTRY, "an entry of the zip directory")?;
    directory.skip(4)?;
    let flags = directory.u16()?;
    let method = directory.u16()?;
    directory.skip(4)?;
    let checksum = directory.u32()?;
    let compressed = directory.u32()?;
    let size = directory.u32()?;
    let name_length = directory.u16()? as usize;
    let extra_length = directory.u16()? as usize;
    let comment_length = directory.u16()? as usize;
    directory.skip(8)?;
    let position = directory.u32()?;
    let name = directory.take(name_length)?;
    directory.skip(extra_length + comment_length)?;
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(Problem::new("names in UTF-8", format!("{name:02x?}")));
    };
    if flags & 1 != 0 {
        return Err(Problem::new("entries that are not encrypted", format!("{name}, encrypted")));
    }
    if method != 0 || compressed != size {
        return Err(Problem::new("entries stored as they are", format!("{name}, compressed")));
    }
    if [compressed, size, position].contains(&ELSEWHERE) {
        return Err(Problem::new("an archive of less than 4 GiB", "a zip64 archive"));
    }
    // The local header repeats the name and pads the data to their alignment.
    let mut local = Fields { bytes, at: position as usize };
    local.expect(LOCAL_ENTRY, name)?;
    local.skip(22)?;
    let skipped = local.u16()? as usize + local.u16()? as usize;
    local.skip(skipped)?;
    let bytes = local.take(size as usize)?;
    Ok((name.to_owned(), Stored { bytes, checksum }))
}

/// Finds the start of the end-of-directory record, which a comment of at most 64 KiB may follow.
fn find_end(bytes: &[u8]) -> Result<usize, Problem> {
    const RECORD: usize = 22;
    let signature = END_OF_DIRECTORY.to_le_bytes();
    let last = bytes.len().saturating_sub(RECORD);
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last)
        .rev()
        .find(|&at| bytes[at..].starts_with(&signature) && bytes.len() >= at + RECORD)
        .ok_or_else(|| Problem::new("a zip directory at the end", "none: the file is cut short"))
}

/// A reader of little-endian numbers, one after the other.
#[derive(Debug)]
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(length);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            let expected = format!("{length} bytes at offset {}", self.at);
            let found = format!("a file of {} bytes", self.bytes.len());
            return Err(Problem::new(expected, found));
        };
        self.at += length;
        Ok(taken)
    }

    fn skip(&mut self, length: usize) -> Result<(), Problem> {
        self.take(length).map(drop)
    }

    fn u16(&mut self) -> Result<u16, Problem> {
        Ok(self.take(2)?.iter().rev().fold(0, |number, &byte| number << 8 | u16::from(byte)))
    }

    fn u32(&mut self) -> Result<u32, Problem> {
        Ok(self.take(4)?.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn expect(&mut self, signature: u32, what: &str) -> Result<(), Problem> {
        let at = self.at;
        match self.u32()? {
            found if found == signature => Ok(()),
            found => {
                let expected = format!("the header of {what} at offset {at}");
                Err(Problem::new(expected, format!("{found:08x}")))
            }
        }
    }
}

/// A writer of an archive of stored entries, each aligned as PyTorch maps it.
#[derive(Debug)]
pub(super) struct ArchiveWriter<W> {
    file: W,
    at: usize,
    directory: Vec<u8>,
    count: u16,
}

impl<W: io::Write> ArchiveWriter<W> {
    pub(super) fn new(file: W) -> Self {
        Self { file, at: 0, directory: Vec::new(), count: 0 }
    }

    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        const ALIGNMENT: usize = 64;
        const LOCAL_HEADER: usize = 30;
        // An extra field of a two-byte mark, a length, and as many bytes as the alignment needs.
        let unpadded = self.at + LOCAL_HEADER + name.len() + 4;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;

        // Version 2.0, names in UTF-8, stored, 1 January 1980; checksum, both sizes, length of the name.
        let mut common = Vec::new();
        common.extend([20, 0, 0x00, 0x08, 0, 0, 0, 0, 0x21, 0]);
        common.extend(crc32fast::hash(bytes).to_le_bytes());
        common.extend(small(bytes.len())?.to_le_bytes());
        common.extend(small(bytes.len())?.to_le_bytes());
        common.extend(u16::try_from(name.len()).map_err(io::Error::other)?.to_le_bytes());

        self.directory.extend(DIRECTORY_ENTRY.to_le_bytes());
        self.directory.extend([20, 0]);
        self.directory.extend(&common);
        // No extra field, no comment, disk 0, no attributes; the position of the local header.
        self.directory.extend([0; 12]);
        self.directory.extend(small(self.at)?.to_le_bytes());
        self.directory.extend(name.bytes());

        let mut header = LOCAL_ENTRY.to_le_bytes().to_vec();
        header.extend(&common);
        header.extend((padding as u16 + 4).to_le_bytes());
        header.extend(name.bytes());
        header.extend(b"FB");
        header.extend((padding as u16).to_le_bytes());
        header.resize(header.len() + padding, b'Z');
        self.file.write_all(&header)?;
        self.file.write_all(bytes)?;
        self.at += header.len() + bytes.len();
        self.count = self.count.checked_add(1).filter(|&count| count != u16::MAX).ok_or_else(too_large)?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        let mut end = END_OF_DIRECTORY.to_le_bytes().to_vec();
        end.extend([0; 4]);
        end.extend(self.count.to_le_bytes());
        end.extend(self.count.to_le_bytes());
        end.extend(small(self.directory.len())?.to_le_bytes());
        end.extend(small(self.at)?.to_le_bytes());
        end.extend([0; 2]);
        self.file.write_all(&self.directory)?;
        self.file.write_all(&end)
    }
}

/// Converts a size or position that must not need zip64.
fn small(number: usize) -> io::Result<u32> {
    u32::try_from(number).ok().filter(|&number| number != ELSEWHERE).ok_or_else(too_large)
}

fn too_large() -> io::Error {
    io::Error::other("a state dict of more than 4 GiB or 65531 tensors does not fit this format")
}
