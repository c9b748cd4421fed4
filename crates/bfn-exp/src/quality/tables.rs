//! Tables: how often values occur, alone and in pairs.

use anyhow::Result;
use bfn_core::VariableKind;
use bfn_data::table::Columns;

use super::{Judge, Measure};

/// The number of groups in which a variable with more values is compared.
const CELLS: usize = 16;

/// A judge of table rows.
pub(super) struct Tables {
    kinds: Vec<VariableKind>,
    reference: Vec<Vec<usize>>,
}

impl Tables {
    /// Creates a judge that compares with the rows of `reference`.
    pub(super) fn new(columns: &Columns, reference: &[f64]) -> Self {
        let kinds: Vec<VariableKind> = columns.variables().iter().map(|variable| variable.kind).collect();
        let reference = cells(reference, &kinds);
        Self { kinds, reference }
    }

    fn alone(&self, rows: &[Vec<usize>], variable: usize) -> f64 {
        let histogram = |rows: &[Vec<usize>]| histogram(rows.iter().map(|row| row[variable]), CELLS);
        total_variation(&histogram(rows), &histogram(&self.reference))
    }

    fn together(&self, rows: &[Vec<usize>], a: usize, b: usize) -> f64 {
        let histogram = |rows: &[Vec<usize>]| histogram(rows.iter().map(|row| row[a] * CELLS + row[b]), CELLS * CELLS);
        total_variation(&histogram(rows), &histogram(&self.reference))
    }
}

impl Judge for Tables {
    fn measures(&self) -> Vec<Measure> {
        vec![Measure::Columns, Measure::WorstColumn, Measure::ColumnPairs]
    }

    fn basis(&self) -> Vec<String> {
        vec![format!("values of a column in at most {CELLS} equal groups")]
    }

    fn judge(&self, samples: &[f64], _wanted: &[Option<u32>]) -> Result<Vec<f64>> {
        let (rows, variables) = (cells(samples, &self.kinds), self.kinds.len());
        let alone: Vec<f64> = (0..variables).map(|variable| self.alone(&rows, variable)).collect();
        let pairs = (0..variables).flat_map(|b| (0..b).map(move |a| (a, b)));
        let together: Vec<f64> = pairs.map(|(a, b)| self.together(&rows, a, b)).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        Ok(vec![mean(&alone), alone.iter().copied().fold(0.0, f64::max), mean(&together)])
    }
}

/// Returns the group of every value.
fn cells(values: &[f64], kinds: &[VariableKind]) -> Vec<Vec<usize>> {
    let cell = |(value, kind): (&f64, &VariableKind)| match kind {
        VariableKind::Continuous => ((value + 1.0) / 2.0 * CELLS as f64).clamp(0.0, CELLS as f64 - 1.0) as usize,
        VariableKind::Discretised { bins: count } | VariableKind::Discrete { classes: count } => {
            *value as usize * CELLS.min(*count) / count
        }
    };
    values.chunks_exact(kinds.len()).map(|row| row.iter().zip(kinds).map(cell).collect()).collect()
}

fn histogram(cells: impl Iterator<Item = usize>, count: usize) -> Vec<f64> {
    let mut shares = vec![0.0; count];
    let mut total = 0.0;
    for cell in cells {
        shares[cell] += 1.0;
        total += 1.0;
    }
    shares.iter_mut().for_each(|share| *share /= f64::max(total, 1.0));
    shares
}

/// Computes ½ Σ |p − q|.
fn total_variation(p: &[f64], q: &[f64]) -> f64 {
    0.5 * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependence_shows_in_pairs_alone() {
        let kinds = vec![VariableKind::Discrete { classes: 2 }; 2];
        let equal = [0.0, 0.0, 1.0, 1.0];
        let tables = Tables { reference: cells(&equal, &kinds), kinds };
        assert_eq!(tables.judge(&equal, &[]).expect("measures"), [0.0, 0.0, 0.0]);
        assert_eq!(tables.judge(&[0.0, 1.0, 1.0, 0.0], &[]).expect("measures"), [0.0, 0.0, 1.0]);
        assert_eq!(tables.judge(&[0.0, 0.0, 0.0, 1.0], &[]).expect("measures"), [0.25, 0.5, 0.5]);
    }

    #[test]
    fn values_are_grouped_over_their_range() {
        let kinds =
            [VariableKind::Continuous, VariableKind::Discretised { bins: 64 }, VariableKind::Discrete { classes: 3 }];
        assert_eq!(cells(&[-1.0, 0.0, 0.0, 1.0, 63.0, 2.0], &kinds), [vec![0, 0, 0], vec![15, 15, 2]]);
    }
}
