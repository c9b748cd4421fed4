//! The order of the examples: a pure function of the position in the run.

use crate::permutation::Permutation;
use crate::random::{Purpose, Seed};

/// The endless order of the examples of a training run: epoch after epoch, each shuffled anew.
///
/// Position p of the run belongs to epoch ⌊p / N⌋. It holds the example to which that epoch's permutation maps p mod N.
/// Nothing is dropped at the end of an epoch, and no state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    seed: Seed,
    examples: u64,
}

/// The example at one position of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The position in the run.
    pub position: u64,
    /// The number of complete passes through all examples before this position.
    pub epoch: u64,
    /// The example, in 0..N.
    pub index: u64,
}

/// The share of one of several processes that train together.
///
/// Rank r of w takes every w-th position from r on. The shares are disjoint and together cover all positions: in one
/// step, w ranks with batches of B see what one process sees in a batch of w·B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    /// The number of this process, counted from 0.
    pub rank: u64,
    /// The number of processes.
    pub ranks: u64,
}

impl Order {
    /// Creates the order of `examples` examples under `seed`.
    ///
    /// # Panics
    ///
    /// Panics if there are no examples.
    #[must_use]
    pub fn new(seed: Seed, examples: u64) -> Self {
        assert!(examples > 0, "expected at least 1 example, found 0");
        Self { seed, examples }
    }

    /// Returns the places of the batch of `step`: positions (step · size + j) · ranks + rank for j in 0..size.
    pub fn batch(&self, step: u64, size: u64, shard: Shard) -> impl Iterator<Item = Place> + use<> {
        let Self { seed, examples } = *self;
        let of_epoch = move |epoch| Permutation::new(seed, Purpose::Order, epoch, examples);
        let mut current = (0, of_epoch(0));
        (0..size).map(move |j| {
            let position = (step * size + j) * shard.ranks + shard.rank;
            let epoch = position / examples;
            if current.0 != epoch {
                current = (epoch, of_epoch(epoch));
            }
            Place { position, epoch, index: current.1.at(position % examples) }
        })
    }
}

impl Shard {
    /// All positions, for one process that trains alone.
    pub const WHOLE: Self = Self { rank: 0, ranks: 1 };
}
