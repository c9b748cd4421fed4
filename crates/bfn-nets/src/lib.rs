//! Networks, optimiser, moving average, checkpoints, devices and precision for Bayesian Flow Networks, on libtorch.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`torch`] | the backend that lets the equations of `bfn-core` run on libtorch's tensors |
//! | [`networks`] | the networks Ψ(θ, t) |
//! | [`parameter`] | a network's learned tensors, under their names |
//! | [`optimiser`], [`ema`] | AdamW and Muon, gradient clipping; the average of the weights |
//! | [`classifier`], [`measures`] | a feature space for images; how far samples are from data in it |
//! | [`checkpoint`] | named tensors on disk, whole or not at all |
//! | [`published`] | state dicts of PyTorch, read without running code, and written |
//! | [`recorded`] | work that is recorded once and repeated as a whole: CUDA graphs |
//! | [`device`], [`precision`], [`random_state`] | where, how exactly, and with which dropout a network computes |
//!
//! Call [`device::initialise`] (or resolve a [`DeviceChoice`]) before anything else: libtorch looks for CUDA only once.
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]
// All of it lies in one module, behind safe functions.
#![deny(unsafe_code)]

pub mod checkpoint;
pub mod classifier;
pub mod device;
pub mod ema;
pub mod measures;
pub mod networks;
pub mod optimiser;
pub mod parameter;
pub mod precision;
pub mod published;
pub mod random_state;
pub mod recorded;
pub mod torch;

mod constants;
mod error;
#[allow(unsafe_code)]
mod shim;
mod whole_file;

pub use checkpoint::{Checkpoint, Snapshot};
pub use device::{Determinism, DeviceChoice};
pub use ema::{Ema, EmaConfig};
pub use error::{Error, Mismatch, Misshapen};
pub use optimiser::{MuonConfig, Optimiser, OptimiserConfig};
pub use parameter::{NamedTensor, Parameter};
pub use precision::{Precision, PrecisionGuard};
pub use random_state::seed_dropout;
pub use recorded::{Inputs, Recorded};
pub use shim::Autocast;
pub use torch::{Indices, Tensor, Torch};
pub use whole_file::{check_writable, write_whole};
