//! Batches: shuffled for training, in order for evaluation.

use std::fmt;
use std::sync::Arc;

use ndarray::Array2;

use crate::dataset::{Dataset, Draw};
use crate::error::DataError;
use crate::order::{Order, Place, Shard};
use crate::random::Seed;

/// Some examples of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where in the run each example stands: different for all examples that a run ever sees, on
    /// whichever rank. Noise for an example is drawn from a stream with this index.
    pub positions: Vec<u64>,
    /// Which example of the split each one is.
    pub indices: Vec<u64>,
    /// The examples, `[B, D]`: the index of each variable's bin or class.
    pub values: Array2<u8>,
    /// The examples' classes, `[B]`, where the data set has classes.
    pub labels: Option<Vec<u8>>,
}

/// The endless batches of a training run; the batch of a step is a pure function of the step.
///
/// Batches cross from one epoch into the next, so that all have the same size and no example is
/// dropped.
#[derive(Clone)]
pub struct Batches {
    dataset: Arc<dyn Dataset>,
    seed: Seed,
    order: Order,
    size: usize,
    shard: Shard,
}

impl Batches {
    /// Batches of `size` examples in the order that `seed` gives.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if `size` is 0 or the data set is empty.
    pub fn new(dataset: Arc<dyn Dataset>, seed: Seed, size: usize) -> Result<Self, DataError> {
        check(&*dataset, size)?;
        Ok(Self { seed, order: Order::new(seed, dataset.len() as u64), size, shard: Shard::WHOLE, dataset })
    }

    /// The same batches as seen by one of several ranks, `size` examples on each.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] unless rank < ranks.
    pub fn sharded(self, shard: Shard) -> Result<Self, DataError> {
        if shard.rank >= shard.ranks {
            return Err(DataError::invalid(
                "rank",
                format!("a rank below the number of ranks, {}", shard.ranks),
                shard.rank,
            ));
        }
        Ok(Self { shard, ..self })
    }

    /// The batch of `step`, counted from 0.
    #[must_use]
    pub fn batch(&self, step: u64) -> Batch {
        let places = self.order.batch(step, self.size as u64, self.shard);
        collect(&*self.dataset, self.seed, places, self.size)
    }

    /// The examples in a batch of this rank.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }
}

/// A split from its first example to its last, for evaluation; the last batch may be smaller.
#[derive(Clone)]
pub struct InOrder {
    dataset: Arc<dyn Dataset>,
    draw: Draw,
    size: usize,
    examples: usize,
}

impl InOrder {
    /// All examples in batches of `size`, drawn as `draw` says.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if `size` is 0 or the data set is empty.
    pub fn new(dataset: Arc<dyn Dataset>, draw: Draw, size: usize) -> Result<Self, DataError> {
        check(&*dataset, size)?;
        Ok(Self { draw, size, examples: dataset.len(), dataset })
    }

    /// Only the first `limit` examples, or all where there are fewer.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] if `limit` is 0.
    pub fn limited(self, limit: usize) -> Result<Self, DataError> {
        if limit == 0 {
            return Err(DataError::invalid("limit", "at least 1 example", limit));
        }
        Ok(Self { examples: self.examples.min(limit), ..self })
    }

    /// How many examples there are in all.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// How many batches there are.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.examples.div_ceil(self.size) as u64
    }

    /// Batch `number`, counted from 0.
    ///
    /// # Panics
    ///
    /// If `number` is not below [`Self::batches`].
    #[must_use]
    pub fn batch(&self, number: u64) -> Batch {
        assert!(number < self.batches(), "expected a batch below {}, found {number}", self.batches());
        let first = number * self.size as u64;
        let last = (first + self.size as u64).min(self.examples as u64);
        let places = (first..last).map(|index| Place { position: index, epoch: self.draw.epoch, index });
        let size = (last - first) as usize;
        collect(&*self.dataset, self.draw.seed, places, size)
    }
}

fn check(dataset: &dyn Dataset, size: usize) -> Result<(), DataError> {
    if size == 0 {
        return Err(DataError::invalid("batch size", "at least 1", size));
    }
    if dataset.is_empty() {
        return Err(DataError::invalid("data set", "at least 1 example", "none"));
    }
    Ok(())
}

fn collect(dataset: &dyn Dataset, seed: Seed, places: impl Iterator<Item = Place>, size: usize) -> Batch {
    let variables = dataset.layout().variables();
    let mut values = Array2::zeros((size, variables));
    let (mut positions, mut indices) = (Vec::with_capacity(size), Vec::with_capacity(size));
    for (mut row, place) in values.rows_mut().into_iter().zip(places) {
        let draw = Draw { seed, epoch: place.epoch };
        if let Some(row) = row.as_slice_mut() {
            dataset.read(place.index as usize, draw, row);
        }
        positions.push(place.position);
        indices.push(place.index);
    }
    let labels = indices.iter().map(|&index| dataset.label(index as usize)).collect();
    Batch { positions, indices, values, labels }
}

impl fmt::Debug for Batches {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Batches")
            .field("order", &self.order)
            .field("size", &self.size)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InOrder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("InOrder")
            .field("draw", &self.draw)
            .field("size", &self.size)
            .field("examples", &self.examples)
            .finish_non_exhaustive()
    }
}
