//! Fuzzes the reader of checkpoints of the published code with arbitrary bytes.
//!
//! ```text
//! LD_LIBRARY_PATH=../../.libtorch/lib cargo +nightly fuzz run state_dict    (in the folder of the crate)
//! ```
//!
//! In a fuzzing build the reader ignores wrong checksums, which would otherwise keep changed pickles from being read.
#![no_main]

#[path = "../../tests/fuzz/state_dict.rs"]
mod state_dict;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| state_dict::state_dict(bytes));
