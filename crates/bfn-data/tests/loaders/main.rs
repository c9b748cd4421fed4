//! The loaders, used through their public API. One program, because linking many takes longer than running them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may panic, and say what was skipped")]

mod arrays;
mod batches;
mod cifar10;
mod fetch;
mod folders;
mod idx;
mod images;
mod known;
mod order;
mod prefetch;
mod random;
mod tables;
mod text;
