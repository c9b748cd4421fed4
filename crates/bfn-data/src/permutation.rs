//! A shuffled order that is computed rather than stored.

use rand::RngCore;

use crate::random::{Purpose, Seed, finalise};

/// A random permutation of 0..length with O(1) state: the image of an index is computed on demand.
///
/// The permutation is a Feistel network on pairs (left, right) from a grid of a × b ≥ length cells, with a and b near
/// √length. Each round adds to one half a keyed hash of the other, which is a bijection of the grid whatever the hash.
/// A result outside 0..length is sent through the network again until it falls inside (cycle walking), which keeps the
/// bijection. This is rare, since the grid has fewer than a + 1 surplus cells.
#[derive(Debug, Clone)]
pub struct Permutation {
    length: u64,
    left_size: u64,
    right_size: u64,
    keys: [u64; ROUNDS],
}

/// The number of rounds. Each half is hashed four times; tests find no structure even with two.
const ROUNDS: usize = 8;

impl Permutation {
    /// Creates the permutation of 0..length that belongs to (seed, purpose, step).
    #[must_use]
    pub fn new(seed: Seed, purpose: Purpose, step: u64, length: u64) -> Self {
        let mut stream = seed.stream(purpose, step, length);
        let left_size = length.saturating_sub(1).isqrt() + 1;
        Self {
            length,
            left_size,
            right_size: length.div_ceil(left_size),
            keys: std::array::from_fn(|_| stream.next_u64()),
        }
    }

    /// Returns the number of indices that are permuted.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the image of `index`.
    ///
    /// # Panics
    ///
    /// Panics if `index` is not below the length.
    #[must_use]
    pub fn at(&self, index: u64) -> u64 {
        assert!(index < self.length, "expected an index below {}, found {index}", self.length);
        let mut cell = index;
        loop {
            cell = self.scramble(cell);
            if cell < self.length {
                return cell;
            }
        }
    }

    /// Makes one pass through the network: a bijection of the whole grid.
    fn scramble(&self, cell: u64) -> u64 {
        let (mut left, mut right) = (cell / self.right_size, cell % self.right_size);
        for pair in self.keys.chunks_exact(2) {
            left = add(left, hash(right, pair[0], self.left_size), self.left_size);
            right = add(right, hash(left, pair[1], self.right_size), self.right_size);
        }
        left * self.right_size + right
    }
}

/// Returns a number in 0..size, computed from half a cell and a key.
fn hash(half: u64, key: u64, size: u64) -> u64 {
    let word = finalise(half.wrapping_add(key));
    ((u128::from(word) * u128::from(size)) >> 64) as u64
}

/// Returns left + right modulo size, both below size ≤ 2³².
fn add(left: u64, right: u64, size: u64) -> u64 {
    let sum = left + right;
    if sum < size { sum } else { sum - size }
}
