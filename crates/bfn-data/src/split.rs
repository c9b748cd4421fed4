//! The assignment of a file's examples to splits.

use crate::dataset::Split;
use crate::error::DataError;
use crate::permutation::Permutation;
use crate::random::{Purpose, Seed};

/// The numbers of held-out examples in a file, chosen at random but the same in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldOut {
    pub(crate) validation: u64,
    pub(crate) test: u64,
}

/// The shares of a file that are held out of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// The share held out for validation, in [0, 1).
    pub validation: f64,
    /// The share held out for the test, in [0, 1).
    pub test: f64,
}

impl Default for Shares {
    /// Holds out a tenth each.
    fn default() -> Self {
        Self { validation: 0.1, test: 0.1 }
    }
}

impl Shares {
    /// Returns how many of `count` examples are held out, rounded.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if a share is not in [0, 1) or nothing is left to train on.
    pub(crate) fn of(self, count: u64) -> Result<HeldOut, DataError> {
        for (key, share) in [("validation share", self.validation), ("test share", self.test)] {
            if !(0.0..1.0).contains(&share) {
                return Err(DataError::invalid(key, "a share from 0 to below 1", share));
            }
        }
        let number = |share: f64| (share * count as f64).round() as u64;
        let held_out = HeldOut { validation: number(self.validation), test: number(self.test) };
        if held_out.validation + held_out.test >= count {
            let found = format!("{} and {} of {count}", held_out.validation, held_out.test);
            return Err(DataError::invalid("shares held out", "at least one example left for training", found));
        }
        Ok(held_out)
    }
}

impl HeldOut {
    /// Returns the indices of a split's examples in a file of `count` examples.
    pub(crate) fn members(self, count: u64, split: Split) -> impl Iterator<Item = u64> {
        let (train, validation) = (count - self.validation - self.test, count - self.test);
        let places = match split {
            Split::Train => 0..train,
            Split::Validation => train..validation,
            Split::Test => validation..count,
        };
        let shuffled = Permutation::new(SPLIT_SEED, Purpose::Split, 0, count);
        places.map(move |place| shuffled.at(place))
    }
}

/// The seed of all splits, part of every data set's definition: another seed would give results on another split.
const SPLIT_SEED: Seed = Seed(0);
