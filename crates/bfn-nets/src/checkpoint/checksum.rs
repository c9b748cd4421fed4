//! The checksum that a checkpoint carries in its own header.

use std::ops::Range;

use sha2::{Digest, Sha256};

/// The key of the metadata entry that holds the checksum.
pub(super) const KEY: &str = "sha256";

/// The placeholder for the checksum while it is computed, of the same length.
pub(super) const PLACEHOLDER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Finds the checksum's digits in a header.
///
/// A quotation mark inside a JSON string is escaped, and a tensor's entry is an object, so that the pattern occurs
/// only once.
pub(super) fn place(header: &[u8]) -> Option<Range<usize>> {
    let before = format!("\"{KEY}\":\"");
    let start = header.windows(before.len()).position(|window| window == before.as_bytes())? + before.len();
    let end = start + PLACEHOLDER.len();
    (end <= header.len()).then_some(start..end)
}

/// Computes the SHA-256 of a file given in parts, in hexadecimal.
pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
