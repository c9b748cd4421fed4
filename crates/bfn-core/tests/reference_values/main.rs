//! The equations compared with numbers computed by the published PyTorch implementation; see
//! `tests/reference/README.md`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like the tests themselves")]

mod continuous;
mod discrete;
mod discretised;
mod file;
mod solvers;

use bfn_core::Tensor;

/// The tolerance to which the equations agree: relative to the number, or absolute where the number is below 1.
const TOLERANCE: f64 = 1e-9;

/// Panics unless the tensor has the shape and the values of the reference.
fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.shape(), expected.shape(), "{what}: shape");
    let pairs = found.to_values().into_iter().zip(expected.to_values());
    for (index, (found, expected)) in pairs.enumerate() {
        let allowed = tolerance * expected.abs().max(1.0);
        assert!((found - expected).abs() <= allowed, "{what}[{index}] is {found}, the reference {expected}");
    }
}

/// Like [`assert_close`], but only where `p` is at least the floor of the published code.
/// Returns the number of values compared.
fn assert_close_above_floor(what: &str, found: &Tensor, expected: &Tensor, p: &Tensor) -> usize {
    let mut compared = 0;
    let values = found.to_values().into_iter().zip(expected.to_values()).zip(p.to_values());
    for (index, ((found, expected), p)) in values.enumerate() {
        if p >= 1e-5 {
            compared += 1;
            let allowed = TOLERANCE * expected.abs().max(1.0);
            assert!((found - expected).abs() <= allowed, "{what}[{index}] is {found}, the reference {expected}");
        }
    }
    compared
}
