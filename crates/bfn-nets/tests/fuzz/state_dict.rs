//! A property of any bytes: the reader returns, and its result is bounded by the size of the file.

use std::path::Path;

use bfn_nets::published::parse_state_dict;
use tch::Kind;

/// Reads the bytes as a state dict, and every number in the result.
pub(crate) fn state_dict(bytes: &[u8]) {
    let Ok(tensors) = parse_state_dict(bytes, Path::new("fuzzed")) else { return };
    let mut total = 0;
    for one in &tensors {
        total += one.tensor.numel() * one.tensor.kind().elt_size_in_bytes();
        let _ = one.tensor.to_kind(Kind::Double).sum(Kind::Double).double_value(&[]);
    }
    assert!(total <= 4 * bytes.len(), "{total} bytes of tensors from a file of {}", bytes.len());
}
