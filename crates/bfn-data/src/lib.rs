//! Data for Bayesian Flow Networks: from bytes on disk to batches.
//!
//! ```
//! use std::sync::Arc;
//! use bfn_data::{Batches, Dataset, Prefetch, Seed, Split, digits};
//!
//! # fn main() -> Result<(), bfn_data::DataError> {
//! let train = Arc::new(digits(Split::Train)?);
//! assert_eq!((train.len(), train.layout().variables()), (1437, 64));
//!
//! // Batches of 32, from step 10 on, prepared ahead by two threads.
//! let batches = Batches::new(train, Seed(7), 32)?;
//! let ahead = Prefetch::new(10..20, 2, 4, move |step| batches.batch(step));
//! for batch in ahead {
//!     let batch = batch?;
//!     assert_eq!(batch.values.dim(), (32, 64));
//!     assert!(batch.values.bytes().iter().all(|&bin| bin < 17));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What holds everywhere
//!
//! * **Every draw is a function of (seed, purpose, step, index)**, see [`Seed::stream`]. No
//!   generator carries state from batch to batch, so a run resumes at any step without replay, and
//!   the number of threads, the batch size and the number of ranks change no example.
//! * **The batch of a step is a pure function of the step**, see [`Batches::batch`].
//! * **Files are read once, whole, up front.** A file that is replaced or truncated during a run does not affect it.
//!   Only [`ImageFolder`] reads on demand, from a cache file of its own, which is replaced but never modified. If that
//!   file is truncated all the same, the next read returns an error.
//! * **Parsers are pure functions from bytes.** They allocate no more than the file justifies and, for packed files, no
//!   more than a fixed number of bytes and cells (1 GiB of text, 2 GiB of an array, 2²⁷ cells of a table). They
//!   answer bad input with a [`DataError`] that names the path, the place, what was expected, what was found and
//!   what to do.
//! * **A value is stored as narrowly as possible**: the index of a class or of a bin in one, two or four bytes, a real
//!   number in four, see [`Storage`]. [`Dataset::kind`] states what the value means.
//!
//! # The parts, in reading order
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Seed`], [`Purpose`], [`Stream`] | counter-based randomness |
//! | [`Permutation`], [`Order`] | the order of the examples, with O(1) state |
//! | [`Dataset`], [`Layout`], [`Split`], [`Draw`] | the interface of a data set; implement it for custom data |
//! | [`Values`], [`Row`], [`Storage`] | the values of examples |
//! | [`digits`], [`mnist`], [`cifar10`], [`text8`] | known data sets |
//! | [`Text`], [`ImageFolder`], [`array()`], [`table`] | custom data |
//! | [`Batches`], [`InOrder`], [`Prefetch`] | batches for training and for evaluation |
//! | [`Root`], [`KNOWN`], [`Download`] | where data is stored, and where it comes from |
//! | [`Idx`], [`CifarRecords`], [`NpyArray`], [`Alphabet`], [`Tokenizer`] | file formats |
//! | [`Histogram`] | the simplest baseline model |
//!
//! A custom data set is a type that implements [`Dataset`]; see `examples/own_dataset.rs` for one.

#![deny(unsafe_code)]
#![deny(missing_docs)]

mod alphabet;
mod archive;
mod array;
mod batches;
mod binarise;
mod bytes;
mod cache_file;
mod catalogue;
mod cifar10;
mod dataset;
mod digits;
mod error;
mod fetch;
mod folder;
mod guard;
mod histogram;
mod idx;
mod images;
mod mnist;
mod npy;
mod order;
mod permutation;
mod prefetch;
mod random;
mod root;
mod rows;
mod split;
pub mod table;
mod text;
mod values;
mod vocabulary;
mod windows;

pub use alphabet::{Alphabet, MAX_SYMBOLS};
pub use array::{Meaning, array};
pub use batches::{Batch, Batches, InOrder};
pub use binarise::binarise;
pub use catalogue::{Checked, KNOWN, KnownDataset, KnownFile, Sum, Verdict};
pub use cifar10::{CIFAR10_CLASSES, CifarRecords, cifar10, unpack_cifar10};
pub use dataset::{Dataset, Draw, Layout, Split};
pub use digits::{DIGITS_ATTRIBUTION, digits};
pub use error::DataError;
pub use fetch::{Download, Fetched, Progress};
pub use folder::{Colour, FolderOptions, ImageFolder, decode_image};
pub use histogram::Histogram;
pub use idx::Idx;
pub use images::{Flip, Images};
pub use mnist::{Pixels, mnist};
pub use npy::{Elements, NpyArray};
pub use order::{Order, Place, Shard};
pub use permutation::Permutation;
pub use prefetch::Prefetch;
pub use random::{Float, Purpose, Seed, Stream};
pub use root::Root;
pub use rows::Rows;
pub use split::Shares;
pub use text::{Symbols, Text, text8};
pub use values::{Row, Storage, Values};
pub use vocabulary::{Tokenizer, Vocabulary};
pub use windows::{TextWindows, Windows};
