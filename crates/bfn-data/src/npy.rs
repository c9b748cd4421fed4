//! NumPy arrays: .npy files, and .npz archives of them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::archive::Zip;
use crate::bytes;
use crate::error::DataError;

/// The content of a .npy file, in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The elements, the last dimension fastest.
    pub elements: Elements,
}

/// The elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum Elements {
    /// Unsigned bytes, and booleans as 0 and 1.
    Bytes(Vec<u8>),
    /// Integers of all other types.
    Integers(Vec<i64>),
    /// Real numbers of 32 or 64 bits.
    Reals(Vec<f64>),
}

impl NpyArray {
    /// Reads a .npy file, or the array `name` of an .npz archive; an archive of one array needs no name.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Unreadable`] if the file cannot be read, [`DataError::Invalid`] if an archive has no
    /// array of that name, [`DataError::Malformed`] if a compressed array has more than 2 GiB, and the errors of
    /// [`Self::parse`].
    pub fn read(path: &Path, name: Option<&str>) -> Result<Self, DataError> {
        Self::parse_file(path, &bytes::read(path)?, name)
    }

    /// Returns the names of the arrays in the bytes of a .npz file; none for a .npy file, whose array has no name.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the archive is damaged.
    pub fn names(path: &Path, bytes: &[u8]) -> Result<Vec<String>, DataError> {
        if Zip::is(bytes) { Ok(Zip::parse(path, bytes)?.names()) } else { Ok(Vec::new()) }
    }

    /// Parses the bytes of a file as [`read`](Self::read) does; `path` is used only in messages.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::read`].
    pub fn parse_file(path: &Path, bytes: &[u8], name: Option<&str>) -> Result<Self, DataError> {
        if !Zip::is(bytes) {
            return Self::parse(path, bytes);
        }
        let mut archive = Zip::parse(path, bytes)?;
        let names = archive.names();
        let wanted = match (name, &names[..]) {
            (Some(name), _) => names.iter().find(|file| *file == name || file.strip_suffix(".npy") == Some(name)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some(wanted) = wanted else {
            let found = name.map_or_else(|| "none".to_owned(), |name| format!("{name:?}"));
            let expected = format!("the name of an array in {}: one of {names:?}", path.display());
            return Err(DataError::invalid("array", expected, found));
        };
        let most = bytes::most_unpacked(bytes.len() as u64);
        let content = archive.file(wanted, most)?;
        Self::parse_within(&path.join(wanted), &content, most)
    }

    /// Parses the bytes of a .npy file; `path` is used only in messages.
    ///
    /// # Format
    ///
    /// The magic `\x93NUMPY`, a version of two bytes, the length of the header (2 bytes in version 1, else 4,
    /// little-endian), the header, which is a Python dictionary of `descr`, `fortran_order` and `shape`, then the
    /// elements.
    ///
    /// The header is parsed here rather than by a general Python reader, so that nothing in it can nest. Products of
    /// dimensions are checked for overflow.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the bytes are not such a file, if the elements are of another type or in
    /// Fortran order, or if there are fewer or more bytes than the header states.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        Self::parse_within(path, bytes, u64::MAX)
    }

    /// Parses like [`parse`](Self::parse), but refuses elements that take more than `most` bytes in memory.
    fn parse_within(path: &Path, bytes: &[u8], most: u64) -> Result<Self, DataError> {
        let malformed =
            |offset: usize, expected: &str, found: String| DataError::malformed(path, offset as u64, expected, found);
        let start = |count: usize| bytes.get(..count).map(<[u8]>::to_vec).unwrap_or_else(|| bytes.to_vec());
        if !bytes.starts_with(MAGIC) {
            return Err(malformed(0, "the magic number of a .npy file", format!("{:02x?}", start(6))));
        }
        let (length, header_start): (usize, usize) = match bytes.get(6..) {
            Some([1, 0, a, b, ..]) => (usize::from(u16::from_le_bytes([*a, *b])), 10),
            Some([2 | 3, 0, a, b, c, d, ..]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
            _ => return Err(malformed(6, "version 1, 2 or 3 of the format", format!("{:02x?}", start(12)))),
        };
        let header = header_start.checked_add(length).and_then(|end| bytes.get(header_start..end));
        let Some(header) = header else {
            return Err(malformed(header_start, "a header", format!("the end of the file before {length} bytes")));
        };
        let header = std::str::from_utf8(header).ok().and_then(Header::parse);
        let Some(Header { descr, order, shape }) = header else {
            let expected = "a header of descr, fortran_order and shape";
            return Err(malformed(header_start, expected, "something else".to_owned())
                .with_cure("save the array with numpy.save"));
        };
        if order == Order::Fortran && shape.len() > 1 {
            return Err(malformed(header_start, "an array in C order", "Fortran order".to_owned())
                .with_cure("save numpy.ascontiguousarray of it"));
        }
        let Some(element) = Element::of(&descr) else {
            let expected = "booleans, integers, or real numbers of 32 or 64 bits";
            return Err(malformed(header_start, expected, format!("the type {descr:?}"))
                .with_cure("convert the array with astype"));
        };
        let data = &bytes[header_start + length..];
        let count = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        if count.and_then(|count| count.checked_mul(element.size)) != Some(data.len()) {
            let expected = format!("{} elements of {} bytes for the shape {shape:?}", Count(count), element.size);
            let found = format!("{} bytes", data.len());
            return Err(malformed(header_start + length, &expected, found));
        }
        let kept = (data.len() / element.size) as u64 * element.kept();
        if kept > most {
            let expected = format!("an array of at most {most} bytes in memory");
            return Err(
                malformed(header_start + length, &expected, format!("one of {kept}")).with_cure("save a part of it")
            );
        }
        let elements = element.read(data).map_err(|place| {
            let offset = header_start + length + place * element.size;
            malformed(offset, "an integer below 2⁶³", "a greater one".to_owned())
        })?;
        Ok(Self { shape, elements })
    }
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// The content of a header.
struct Header {
    descr: String,
    order: Order,
    shape: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    C,
    Fortran,
}

impl Header {
    /// Parses `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`, with the keys in any order.
    fn parse(text: &str) -> Option<Self> {
        let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
        let mut values = BTreeMap::new();
        let mut rest = inner.trim();
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let after = after.trim_start().strip_prefix(':')?.trim_start();
            let end =
                if after.starts_with('(') { after.find(')')? + 1 } else { after.find(',').unwrap_or(after.len()) };
            let (value, after) = after.split_at(end);
            if values.insert(key, value.trim()).is_some() {
                return None;
            }
            let after = after.trim_start();
            rest = if after.is_empty() { after } else { after.strip_prefix(',')?.trim_start() };
        }
        if values.len() != 3 {
            return None;
        }
        let (descr, "") = quoted(values.get("descr")?)? else { return None };
        let order = match *values.get("fortran_order")? {
            "False" => Order::C,
            "True" => Order::Fortran,
            _ => return None,
        };
        let sizes = values.get("shape")?.strip_prefix('(')?.strip_suffix(')')?.trim();
        let sizes = sizes.strip_suffix(',').unwrap_or(sizes);
        let shape = match sizes {
            "" => Some(Vec::new()),
            _ => sizes.split(',').map(|size| size.trim().parse().ok()).collect(),
        };
        Some(Self { descr: descr.to_owned(), order, shape: shape? })
    }
}

/// Splits off a string in single or double quotes, and returns it and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The type of an element.
struct Element {
    kind: char,
    size: usize,
    endian: Endian,
}

#[derive(Clone, Copy, PartialEq)]
enum Endian {
    Little,
    Big,
}

impl Element {
    fn of(descr: &str) -> Option<Self> {
        let mut letters = descr.chars();
        let endian = match letters.next()? {
            '<' | '|' => Endian::Little,
            '>' => Endian::Big,
            _ => return None,
        };
        let kind = letters.next()?;
        let size = letters.as_str().parse().ok()?;
        let known = match kind {
            'b' => size == 1,
            'i' | 'u' => matches!(size, 1 | 2 | 4 | 8),
            'f' => matches!(size, 4 | 8),
            _ => false,
        };
        known.then_some(Self { kind, size, endian })
    }

    /// Returns the number of bytes that an element takes in memory.
    fn kept(&self) -> u64 {
        if self.is_byte() { 1 } else { 8 }
    }

    fn is_byte(&self) -> bool {
        self.size == 1 && self.kind != 'i'
    }

    /// Returns all elements, or the index of the first one that is too large.
    fn read(&self, data: &[u8]) -> Result<Elements, usize> {
        if self.is_byte() {
            return Ok(Elements::Bytes(data.to_vec()));
        }
        let words = data.chunks_exact(self.size).map(|element| {
            let mut word = [0; 8];
            match self.endian {
                Endian::Little => word[..self.size].copy_from_slice(element),
                Endian::Big => {
                    word[..self.size].iter_mut().zip(element.iter().rev()).for_each(|(to, from)| *to = *from)
                }
            }
            u64::from_le_bytes(word)
        });
        let unused = 64 - 8 * self.size as u32;
        Ok(match (self.kind, self.size) {
            ('f', 4) => Elements::Reals(words.map(|word| f64::from(f32::from_bits(word as u32))).collect()),
            ('f', _) => Elements::Reals(words.map(f64::from_bits).collect()),
            ('i', _) => Elements::Integers(words.map(|word| ((word << unused) as i64) >> unused).collect()),
            _ => {
                let integers = words.enumerate().map(|(place, word)| i64::try_from(word).map_err(|_| place));
                Elements::Integers(integers.collect::<Result<_, _>>()?)
            }
        })
    }
}

/// A count that may be too large for its type.
struct Count(Option<usize>);

impl std::fmt::Display for Count {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(count) => write!(out, "{count}"),
            None => out.write_str("more than 2⁶⁴"),
        }
    }
}
