//! Batches: shuffled for training, in order for evaluation.

use std::fmt;
use std::sync::Arc;

use crate::dataset::{Dataset, Draw};
use crate::error::DataError;
use crate::order::{Order, Place, Shard};
use crate::random::Seed;
use crate::values::{Storage, Values};

/// A batch of examples of one split.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The position of each example in the run, unique among all examples that a run ever sees, on any rank. The
    /// noise for an example is drawn from the stream with this index.
    pub positions: Vec<u64>,
    /// The index of each example in the split.
    pub indices: Vec<u64>,
    /// The examples, `[B, D]`: the index of each variable's bin or class, or a real number.
    pub values: Values,
    /// The examples' classes, `[B]`, if the data set has classes.
    pub labels: Option<Vec<u32>>,
}

impl Batch {
    /// Creates a batch without examples, to be filled.
    #[must_use]
    pub fn empty() -> Self {
        let values = Values::zeros(Storage::Bytes, 0, 0);
        Self { positions: Vec::new(), indices: Vec::new(), values, labels: None }
    }
}

/// The endless batches of a training run; the batch of a step is a pure function of the step.
///
/// Batches continue from one epoch into the next, so that all have the same size and no example is dropped.
#[derive(Clone)]
pub struct Batches {
    dataset: Arc<dyn Dataset>,
    seed: Seed,
    order: Order,
    size: usize,
    shard: Shard,
    storage: Storage,
}

impl Batches {
    /// Creates batches of `size` examples in the order that `seed` gives.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if `size` is 0 or the data set is empty.
    pub fn new(dataset: Arc<dyn Dataset>, seed: Seed, size: usize) -> Result<Self, DataError> {
        check(&*dataset, size)?;
        let order = Order::new(seed, dataset.len() as u64);
        Ok(Self { seed, order, size, shard: Shard::WHOLE, storage: dataset.storage(), dataset })
    }

    /// Restricts the batches to those of one of several ranks, `size` examples on each.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] unless rank < ranks.
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

    /// Returns the batch of `step`, counted from 0.
    ///
    /// # Errors
    ///
    /// Returns an error if the data set finds a fault in its files.
    pub fn batch(&self, step: u64) -> Result<Batch, DataError> {
        let mut batch = Batch::empty();
        self.fill(step, &mut batch)?;
        Ok(batch)
    }

    /// Writes the batch of `step` into the memory of another batch, whose content is lost.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::batch`].
    pub fn fill(&self, step: u64, batch: &mut Batch) -> Result<(), DataError> {
        let places = self.order.batch(step, self.size as u64, self.shard);
        collect(&*self.dataset, self.seed, places, self.size, self.storage, batch)
    }

    /// Returns the number of examples in a batch of this rank.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the data set.
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
    storage: Storage,
}

impl InOrder {
    /// Creates batches of `size` over all examples, each example read with `draw`.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if `size` is 0 or the data set is empty.
    pub fn new(dataset: Arc<dyn Dataset>, draw: Draw, size: usize) -> Result<Self, DataError> {
        check(&*dataset, size)?;
        Ok(Self { draw, size, examples: dataset.len(), storage: dataset.storage(), dataset })
    }

    /// Keeps only the first `limit` examples, or all if there are fewer.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if `limit` is 0.
    pub fn limited(self, limit: usize) -> Result<Self, DataError> {
        if limit == 0 {
            return Err(DataError::invalid("limit", "at least 1 example", limit));
        }
        Ok(Self { examples: self.examples.min(limit), ..self })
    }

    /// Returns the total number of examples.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Returns the number of batches.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.examples.div_ceil(self.size) as u64
    }

    /// Returns batch `number`, counted from 0.
    ///
    /// # Errors
    ///
    /// Returns an error if the data set finds a fault in its files.
    ///
    /// # Panics
    ///
    /// Panics if `number` is not below [`Self::batches`].
    pub fn batch(&self, number: u64) -> Result<Batch, DataError> {
        assert!(number < self.batches(), "expected a batch below {}, found {number}", self.batches());
        let first = number * self.size as u64;
        let last = (first + self.size as u64).min(self.examples as u64);
        let places = (first..last).map(|index| Place { position: index, epoch: self.draw.epoch, index });
        let mut batch = Batch::empty();
        collect(&*self.dataset, self.draw.seed, places, (last - first) as usize, self.storage, &mut batch)?;
        Ok(batch)
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

fn collect(
    dataset: &dyn Dataset,
    seed: Seed,
    places: impl Iterator<Item = Place>,
    size: usize,
    storage: Storage,
    batch: &mut Batch,
) -> Result<(), DataError> {
    let variables = dataset.layout().variables();
    if batch.values.dim() != (size, variables) || batch.values.storage() != storage {
        batch.values = Values::zeros(storage, size, variables);
    }
    batch.positions.clear();
    batch.indices.clear();
    for (example, place) in places.enumerate() {
        let draw = Draw { seed, epoch: place.epoch };
        dataset.read(place.index as usize, draw, batch.values.row_mut(example))?;
        batch.positions.push(place.position);
        batch.indices.push(place.index);
    }
    batch.labels = batch.indices.iter().map(|&index| dataset.label(index as usize)).collect();
    Ok(())
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
