//! The simplest model of all, to compare with: each variable on its own, by counting.

use bfn_core::VariableKind;

use crate::dataset::{Dataset, Draw};

/// For each variable, how often each of its values occurs in a training split.
///
/// # Formula
///
/// p_d(k) = (n_dk + 1) / (N + K)
///
/// n_dk: how often variable d has value k among the N examples; K: the number of values. The added
/// one keeps a value that never occurred possible.
#[derive(Debug, Clone)]
pub struct Histogram {
    values: usize,
    /// −ln p_d(k), `[D, K]`
    nats: Vec<f64>,
}

impl Histogram {
    /// Counts the values in a split, each example drawn once.
    ///
    /// # Panics
    ///
    /// If the data set is of continuous variables, which bytes cannot hold.
    #[must_use]
    pub fn fit(dataset: &dyn Dataset, draw: Draw) -> Self {
        let values = match dataset.kind() {
            VariableKind::Discretised { bins } => bins,
            VariableKind::Discrete { classes } => classes,
            kind => panic!("expected discretised or discrete variables, found {kind:?}"),
        };
        let mut example = vec![0; dataset.layout().variables()];
        let mut counts = vec![1_u64; example.len() * values];
        for index in 0..dataset.len() {
            dataset.read(index, draw, &mut example);
            for (variable, &value) in example.iter().enumerate() {
                counts[variable * values + usize::from(value)] += 1;
            }
        }
        let total = (dataset.len() + values) as f64;
        let nats = counts.into_iter().map(|count| (total / count as f64).ln()).collect();
        Self { values, nats }
    }

    /// −ln p(x) of one example, in nats, summed over its variables.
    ///
    /// # Shapes
    ///
    /// `example`: `[D]`
    ///
    /// # Panics
    ///
    /// If the example has another number of variables or a value that is not below K.
    #[must_use]
    pub fn nats(&self, example: &[u8]) -> f64 {
        let variables = self.nats.len() / self.values;
        assert_eq!(example.len(), variables, "expected {variables} variables, found {}", example.len());
        let rows = self.nats.chunks_exact(self.values);
        rows.zip(example).map(|(row, &value)| row[usize::from(value)]).sum()
    }

    /// The mean of −ln p(x) over a split, in nats per example.
    #[must_use]
    pub fn mean_nats(&self, dataset: &dyn Dataset, draw: Draw) -> f64 {
        let mut example = vec![0; dataset.layout().variables()];
        let total: f64 = (0..dataset.len())
            .map(|index| {
                dataset.read(index, draw, &mut example);
                self.nats(&example)
            })
            .sum();
        total / dataset.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Layout;
    use crate::random::Seed;

    /// The values 0, 1, 1, 1 of one variable of three classes.
    struct Four(Layout);

    impl Dataset for Four {
        fn layout(&self) -> &Layout {
            &self.0
        }

        fn kind(&self) -> VariableKind {
            VariableKind::Discrete { classes: 3 }
        }

        fn len(&self) -> usize {
            4
        }

        fn read(&self, index: usize, _: Draw, out: &mut [u8]) {
            out[0] = index.min(1) as u8;
        }
    }

    #[test]
    fn probabilities_are_counts_and_one_more_and_sum_to_one() {
        let layout = Layout::Image { height: 1, width: 1, channels: 1 };
        let draw = Draw { seed: Seed(0), epoch: 0 };
        let four = Four(layout);
        let histogram = Histogram::fit(&four, draw);
        let probabilities = [0, 1, 2].map(|value| (-histogram.nats(&[value])).exp());
        for (probability, expected) in probabilities.iter().zip([2.0, 4.0, 1.0]) {
            assert!((probability - expected / 7.0).abs() < 1e-12);
        }
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let mean = (histogram.nats(&[0]) + 3.0 * histogram.nats(&[1])) / 4.0;
        assert!((histogram.mean_nats(&four, draw) - mean).abs() < 1e-12);
    }
}
