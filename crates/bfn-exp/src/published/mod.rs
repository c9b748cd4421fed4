//! The configuration files of the published code, read as that code reads them.
//!
//! ```text
//! published.yaml ─► yaml (as OmegaConf reads it) ─► section (keys by name) ─► network, flow, training ─► Experiment
//! ```
//!
//! Settings that the published code does not know, or that have no counterpart here, are rejected by name and line.

mod data;
mod experiment;
mod flow;
mod network;
mod section;
mod yaml;

pub use experiment::{Translation, read};
