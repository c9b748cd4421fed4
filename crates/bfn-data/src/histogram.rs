//! The simplest baseline model: each variable on its own, by counting.

use bfn_core::VariableKind;

use crate::dataset::{Dataset, Draw};
use crate::error::DataError;
use crate::values::Values;

/// The frequencies of each variable's values in a training split.
///
/// # Formula
///
/// p_d(k) = (n_dk + 1) / (N + K_d)
///
/// n_dk: how often variable d has value k among the N examples; K_d: the number of its values. The added one keeps
/// values that never occurred possible.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// −ln p_d(k), `[D][K_d]`
    nats: Vec<Vec<f64>>,
}

impl Histogram {
    /// Counts the values in a split, with each example drawn once.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if a variable is continuous, or an error if the data set finds a fault in its
    /// files.
    pub fn fit(dataset: &dyn Dataset, draw: Draw) -> Result<Self, DataError> {
        let variables = dataset.layout().variables();
        let mut counts = Vec::with_capacity(variables);
        for variable in 0..variables {
            match dataset.kind(variable) {
                VariableKind::Discretised { bins: values } | VariableKind::Discrete { classes: values } => {
                    counts.push(vec![1_u64; values]);
                }
                VariableKind::Continuous => {
                    let expected = "bins or classes, which can be counted";
                    return Err(DataError::invalid("variable", expected, format!("variable {variable} is continuous")));
                }
            }
        }
        each(dataset, dataset.len(), draw, |example| {
            for (variable, counts) in counts.iter_mut().enumerate() {
                counts[example.at(0, variable) as usize] += 1;
            }
        })?;
        let nats = |counts: Vec<u64>| {
            let total = (dataset.len() + counts.len()) as f64;
            counts.into_iter().map(|count| (total / count as f64).ln()).collect()
        };
        Ok(Self { nats: counts.into_iter().map(nats).collect() })
    }

    /// Returns −ln p_d(k) for value k of variable d.
    ///
    /// # Panics
    ///
    /// Panics if there is no such variable or value.
    #[must_use]
    pub fn nats(&self, variable: usize, value: usize) -> f64 {
        self.nats[variable][value]
    }

    /// Returns the mean of −ln p(x) in nats per example.
    ///
    /// The mean is over the first `limit` examples of a split, or over all if there are fewer.
    ///
    /// # Errors
    ///
    /// Returns an error if the data set finds a fault in its files.
    ///
    /// # Panics
    ///
    /// Panics if the examples do not have as many variables as those that were counted.
    pub fn mean_nats(&self, dataset: &dyn Dataset, limit: usize, draw: Draw) -> Result<f64, DataError> {
        let mut total = 0.0;
        let count = dataset.len().min(limit);
        each(dataset, count, draw, |example| {
            let (variables, found) = (self.nats.len(), example.ncols());
            assert_eq!(found, variables, "expected {variables} variables, found {found}");
            let of_variable = |(variable, nats): (usize, &Vec<f64>)| nats[example.at(0, variable) as usize];
            total += self.nats.iter().enumerate().map(of_variable).sum::<f64>();
        })?;
        Ok(total / count as f64)
    }
}

/// Calls `look` with each of the first `count` examples, as a batch of one.
fn each(dataset: &dyn Dataset, count: usize, draw: Draw, mut look: impl FnMut(&Values)) -> Result<(), DataError> {
    let mut example = Values::zeros(dataset.storage(), 1, dataset.layout().variables());
    for index in 0..count {
        dataset.read(index, draw, example.row_mut(0))?;
        look(&example);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Layout;
    use crate::random::Seed;
    use crate::values::Row;

    /// Four examples of one variable of three classes: the values `first`, 1, 1, 1.
    struct Four {
        layout: Layout,
        first: u8,
    }

    impl Dataset for Four {
        fn layout(&self) -> &Layout {
            &self.layout
        }

        fn kind(&self, _: usize) -> VariableKind {
            VariableKind::Discrete { classes: 3 }
        }

        fn len(&self) -> usize {
            4
        }

        fn read(&self, index: usize, _: Draw, out: Row<'_>) -> Result<(), DataError> {
            out.bytes()[0] = if index == 0 { self.first } else { 1 };
            Ok(())
        }
    }

    #[test]
    fn probabilities_are_counts_and_one_more_and_sum_to_one() {
        let four = |first| Four { layout: Layout::Image { height: 1, width: 1, channels: 1 }, first };
        let draw = Draw { seed: Seed(0), epoch: 0 };
        let histogram = Histogram::fit(&four(0), draw).expect("classes");
        let probabilities: Vec<f64> = histogram.nats[0].iter().map(|nats| (-nats).exp()).collect();
        for (probability, expected) in probabilities.iter().zip([2.0, 4.0, 1.0]) {
            assert!((probability - expected / 7.0).abs() < 1e-12);
        }
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for first in 0..3 {
            let mean = (histogram.nats[0][usize::from(first)] + 3.0 * histogram.nats[0][1]) / 4.0;
            let found = histogram.mean_nats(&four(first), usize::MAX, draw).expect("classes");
            assert!((found - mean).abs() < 1e-12);
            let of_first = histogram.mean_nats(&four(first), 1, draw).expect("classes");
            assert_eq!(of_first, histogram.nats[0][usize::from(first)]);
        }
    }
}
