//! The reader of checkpoints of the published code, on any bytes.
//!
//! ```text
//! LD_LIBRARY_PATH=../../.libtorch/lib cargo +nightly fuzz run state_dict    (in the folder of the crate)
//! ```
//!
//! Built for fuzzing, the reader passes over wrong checksums, which would keep every change of a pickle from being read.
#![no_main]

#[path = "../../tests/fuzz/state_dict.rs"]
mod state_dict;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| state_dict::state_dict(bytes));
