//! Checkpoints: one safetensors file of named tensors in groups, and of metadata as text.
//!
//! A group is a name prefix: the weights are under `model.`, their averages under `ema.`, the optimiser's state under
//! `optimiser.`. The metadata holds the caller's entries and a SHA-256 of every other byte of the file, which is
//! verified before anything is used. Writing has two halves, so that the slow one can run on another thread:
//! [`Snapshot`] copies to host memory, [`Snapshot::write`] writes. Loading changes all tensors or none.

mod checksum;
mod kinds;
mod read;
mod write;

pub use read::Checkpoint;
pub use write::Snapshot;

/// Returns a tensor's full name in the file; the empty group has no prefix.
fn full_name(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") }
}
