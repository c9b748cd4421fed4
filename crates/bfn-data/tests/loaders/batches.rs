//! Batches for training and for evaluation.

use std::collections::HashMap;
use std::sync::Arc;

use bfn_core::VariableKind;
use bfn_data::{Batch, Batches, DataError, Dataset, Draw, InOrder, Layout, Purpose, Row, Seed, Shard, Split, digits};
use proptest::prelude::*;

/// Examples of three variables: the index, the epoch and a random byte.
struct Counted {
    layout: Layout,
    examples: usize,
}

impl Counted {
    fn new(examples: usize) -> Arc<Self> {
        let layout = Layout::Image { height: 1, width: 3, channels: 1 };
        Arc::new(Self { layout, examples })
    }
}

impl Dataset for Counted {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, _variable: usize) -> VariableKind {
        VariableKind::Discretised { bins: 256 }
    }

    fn len(&self) -> usize {
        self.examples
    }

    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        let mut stream = draw.seed.stream(Purpose::Augment, draw.epoch, index as u64);
        out.bytes().copy_from_slice(&[index as u8, draw.epoch as u8, stream.below(256) as u8]);
        Ok(())
    }
}

/// Returns the examples of a batch, each with its position in the run.
fn by_position(batch: &Batch) -> Vec<(u64, u64, Vec<u8>)> {
    let rows = batch.values.bytes().rows();
    let keys = batch.positions.iter().zip(&batch.indices);
    keys.zip(rows).map(|((&p, &i), row)| (p, i, row.to_vec())).collect()
}

proptest! {
    /// The example at a position depends neither on the batch size nor on the number of ranks.
    #[test]
    fn a_run_is_the_same_in_any_batches(
        seed: u64, examples in 1_usize..40, size in 1_usize..12, ranks in 1_u64..4,
    ) {
        let one = Batches::new(Counted::new(examples), Seed(seed), 1).unwrap();
        let many = Batches::new(Counted::new(examples), Seed(seed), size).unwrap();
        let mut seen = HashMap::new();
        let mut count = 0;
        for step in 0..6 {
            for rank in 0..ranks {
                let batch = many.clone().sharded(Shard { rank, ranks }).unwrap().batch(step).unwrap();
                prop_assert_eq!(batch.values.dim(), (size, 3));
                for (position, index, values) in by_position(&batch) {
                    let alone = by_position(&one.batch(position).unwrap());
                    prop_assert_eq!(&alone, &[(position, index, values.clone())]);
                    prop_assert_eq!(u64::from(values[0]), index);
                    prop_assert_eq!(u64::from(values[1]), position / examples as u64);
                    seen.insert(position, index);
                    count += 1;
                }
            }
        }
        // Every position from 0 on occurs once.
        prop_assert_eq!(seen.len(), count);
        prop_assert!((0..count as u64).all(|position| seen.contains_key(&position)));
    }

    #[test]
    fn evaluation_passes_each_example_once_in_order(examples in 1_usize..200, size in 1_usize..50, limit in 1_usize..250) {
        let draw = Draw { seed: Seed(1), epoch: 7 };
        let all = InOrder::new(Counted::new(examples), draw, size).unwrap().limited(limit).unwrap();
        let batches: Vec<Batch> = (0..all.batches()).map(|number| all.batch(number).unwrap()).collect();
        let indices: Vec<u64> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
        let expected: Vec<u64> = (0..examples.min(limit) as u64).collect();
        prop_assert_eq!(all.examples(), expected.len());
        prop_assert_eq!(indices, expected);
        for batch in &batches {
            prop_assert_eq!(batch.values.nrows(), batch.indices.len());
            prop_assert!(batch.values.bytes().column(1).iter().all(|&epoch| epoch == 7));
        }
        let last = batches.len() - 1;
        prop_assert!(batches[..last].iter().all(|batch| batch.indices.len() == size));
    }
}

#[test]
fn labels_go_with_their_examples() {
    let data = Arc::new(digits(Split::Validation).unwrap());
    let batch = Batches::new(data.clone(), Seed(1), 50).unwrap().batch(5).unwrap();
    let labels = batch.labels.unwrap();
    for (&index, &label) in batch.indices.iter().zip(&labels) {
        assert_eq!(data.label(index as usize), Some(label));
    }
    let none = Batches::new(Counted::new(3), Seed(1), 2).unwrap().batch(0).unwrap();
    assert_eq!(none.labels, None);
}

/// A refilled batch equals a new one, whatever its previous content.
#[test]
fn batches_are_filled_into_the_memory_of_others() {
    let small = Batches::new(Counted::new(100), Seed(1), 7).unwrap();
    let digits = Batches::new(Arc::new(digits(Split::Train).unwrap()), Seed(1), 5).unwrap();
    let mut batch = Batch::empty();
    for step in [3, 4, 0] {
        small.fill(step, &mut batch).unwrap();
        assert_eq!(batch, small.batch(step).unwrap());
        let memory = batch.values.bytes().as_ptr();
        small.fill(step + 1, &mut batch).unwrap();
        assert_eq!(batch.values.bytes().as_ptr(), memory);
        digits.fill(step, &mut batch).unwrap();
        assert_eq!(batch, digits.batch(step).unwrap());
    }
}

#[test]
fn epochs_are_shuffled_differently() {
    let batches = Batches::new(Counted::new(100), Seed(1), 100).unwrap();
    let (first, second) = (batches.batch(0).unwrap(), batches.batch(1).unwrap());
    assert_ne!(first.indices, second.indices);
    assert_ne!(first.indices, (0..100).collect::<Vec<u64>>());
}

#[test]
fn senseless_settings_are_refused() {
    let draw = Draw { seed: Seed(0), epoch: 0 };
    let errors = [
        Batches::new(Counted::new(5), Seed(0), 0).unwrap_err(),
        Batches::new(Counted::new(0), Seed(0), 5).unwrap_err(),
        InOrder::new(Counted::new(5), draw, 0).unwrap_err(),
        InOrder::new(Counted::new(5), draw, 1).unwrap().limited(0).unwrap_err(),
        Batches::new(Counted::new(5), Seed(0), 1).unwrap().sharded(Shard { rank: 2, ranks: 2 }).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, DataError::Invalid { .. }), "{error}");
    }
}

#[test]
#[should_panic(expected = "expected a batch below 3, found 3")]
fn a_batch_beyond_the_last_panics() {
    let draw = Draw { seed: Seed(0), epoch: 0 };
    let _ = InOrder::new(Counted::new(5), draw, 2).unwrap().batch(3);
}
