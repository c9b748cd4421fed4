//! Records of event files: a length and its checksum, followed by bytes and their checksum.

/// The numbers of bytes before and after the content of a record.
const BEFORE: usize = 12;
const AFTER: usize = 4;

/// The constant that is added to a rotated checksum.
const DELTA: u32 = 0xa282_ead8;

/// Encodes bytes as a record.
///
/// # Formula
///
/// length (u64), mask(crc(length)) (u32), bytes, mask(crc(bytes)) (u32), all with the lowest byte first; crc is
/// CRC-32C, and mask(c) = rotate(c, 15 to the right) + 0xa282ead8 modulo 2³².
pub(super) fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(BEFORE + bytes.len() + AFTER);
    record.extend(length);
    record.extend(checksum(&length).to_le_bytes());
    record.extend(bytes);
    record.extend(checksum(bytes).to_le_bytes());
    record
}

/// The records in some bytes, up to the first incomplete one.
#[derive(Debug)]
pub(super) struct Records<'a> {
    left: &'a [u8],
}

impl<'a> Records<'a> {
    /// Returns the records of a file.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { left: file }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.left.split_first_chunk::<8>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != checksum(length) {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != checksum(bytes) {
            return None;
        }
        self.left = rest;
        Some(bytes)
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_until_one_is_damaged() {
        let all: Vec<&[u8]> = vec![b"", b"a", b"a longer record"];
        let file: Vec<u8> = all.iter().flat_map(|bytes| frame(bytes)).collect();
        assert_eq!(Records::new(&file).collect::<Vec<_>>(), all);
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 4;
            let sound = Records::new(&damaged).count();
            assert_eq!(sound, [16, 33].iter().filter(|end| **end <= place).count(), "{place}");
            assert_eq!(Records::new(&file[..place]).count(), sound, "{place}");
        }
    }
}
