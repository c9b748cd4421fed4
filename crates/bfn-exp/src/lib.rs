//! The experiment runners behind the `bfn` program.
//!
//! ```text
//! experiments/*.toml ─► config ─► task ─► train ─► run folder ─► evaluate, sample
//! ```
//!
//! [`config`] reads an experiment file, [`task`] joins data, flow and network, [`train`] is the training loop, and
//! [`run`] is the folder that a run leaves behind. There are no equations here: they are in `bfn-core`, and
//! [`objective`] is where they meet a network.

pub mod bench;
pub mod bound;
pub mod check;
pub mod checkpoints;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod completion;
pub mod conditioning;
pub mod config;
pub mod data;
pub mod draws;
pub mod engine;
pub mod evaluate;
pub mod examples;
pub mod export;
pub mod fitted;
pub mod form;
pub mod gallery;
pub mod generative;
pub mod gridded;
pub mod hub;
pub mod import;
pub mod init;
pub mod inpaint;
pub mod list;
pub mod mask;
pub mod memory;
pub mod metrics;
pub mod mixed;
pub mod model;
pub mod not_finite;
pub mod objective;
pub mod outputs;
pub mod overrides;
pub mod phases;
pub mod picture;
pub mod progress;
pub mod published;
pub mod quality;
pub mod report;
pub mod resume;
pub mod run;
pub mod sample;
pub mod shell;
pub mod side;
pub mod solver;
pub mod stop;
pub mod sweep;
pub mod table;
pub mod tally;
pub mod target;
pub mod task;
pub mod tensorboard;
pub mod train;
pub mod trajectory;
