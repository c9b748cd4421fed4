//! The configuration files of the published code, read as that code reads them.
//!
//! ```text
//! published.yaml ─► yaml (values as OmegaConf has them) ─► section (keys by name) ─► network, flow, training ─► Experiment
//! ```
//!
//! A setting that is unknown there, or that this program has no counterpart for, is refused by its name and line.

mod data;
mod experiment;
mod flow;
mod network;
mod section;
mod yaml;

pub use experiment::{Translation, read};
