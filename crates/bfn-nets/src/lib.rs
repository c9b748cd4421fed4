//! Networks, optimiser, moving average, checkpoints, devices and precision for Bayesian Flow Networks, on libtorch.
//!
//! | module | contents |
//! | --- | --- |
//! | [`torch`] | the backend that runs the equations of `bfn-core` on libtorch's tensors |
//! | [`networks`] | the networks Ψ(θ, t) |
//! | [`kernels`] | layers on CPUs in f32, faster than those of libtorch |
//! | [`parameter`] | a network's learned tensors and their names |
//! | [`optimiser`], [`ema`] | AdamW and Muon, gradient clipping; the moving average of the weights |
//! | [`classifier`], [`measures`] | a feature space for images; distances between samples and data in it |
//! | [`checkpoint`] | named tensors on disk, written whole or not at all |
//! | [`published`] | PyTorch state dicts, read without running code, and written |
//! | [`recorded`] | CUDA graphs: work that is recorded once and replayed as a whole |
//! | [`device`], [`precision`], [`random_state`] | the device, the precision and the dropout of a network |
//!
//! Call [`device::initialise`] (or resolve a [`DeviceChoice`]) before anything else: libtorch looks for CUDA only once.
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]
// All unsafe code is in one module, behind safe functions.
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
pub use shim::{Autocast, kernels};
pub use torch::{Indices, Tensor, Torch};
pub use whole_file::{check_writable, write_whole};
