//! Which example comes when: a pure function of the position in the run.

use crate::permutation::Permutation;
use crate::random::{Purpose, Seed};

/// The endless order of the examples of a training run: epoch after epoch, each shuffled anew.
///
/// Position p of the run belongs to epoch ⌊p / N⌋ and holds the example to which that epoch's
/// permutation sends p mod N. Nothing is dropped at an epoch's end, and nothing is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    seed: Seed,
    examples: u64,
}

/// What stands at one position of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The position in the run.
    pub position: u64,
    /// How often all examples were passed through before.
    pub epoch: u64,
    /// The example, in 0..N.
    pub index: u64,
}

/// The share of one of several processes that train together.
///
/// Rank r of w takes every w-th position from r on: the shares are disjoint, together they are all
/// positions, and w ranks with batches of B see in a step what one process sees in a batch of w·B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    /// Which process this is, from 0.
    pub rank: u64,
    /// How many there are.
    pub ranks: u64,
}

impl Order {
    /// The order of `examples` examples under `seed`.
    ///
    /// # Panics
    ///
    /// If there are no examples.
    #[must_use]
    pub fn new(seed: Seed, examples: u64) -> Self {
        assert!(examples > 0, "expected at least 1 example, found 0");
        Self { seed, examples }
    }

    /// The places of the batch of `step`: positions (step · size + j) · ranks + rank for j in 0..size.
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
    /// All positions: one process that trains alone.
    pub const WHOLE: Self = Self { rank: 0, ranks: 1 };
}
