//! Functions of exponentiated rows: normalised probabilities and what is computed from them.
//!
//! Many rows are shifted and exponentiated together, in one loop whatever their length, before each row is finished.

use std::ops::Range;

use super::pieces::collected;
use super::rows::{largest, rows, sum, sum_of_squares};
use super::{Array, Element, IndexArray, flat, from_vec};

/// The number of elements that are exponentiated together, few enough for the fastest memory.
const TOGETHER: usize = 1024;

/// A row after exponentiation.
struct Row<'a, F> {
    /// The index of the row among all rows.
    number: usize,
    /// The largest number of the row.
    peak: F,
    /// e^(row − peak). A NaN in the row, which `peak` ignores, appears here.
    exponentials: &'a mut [F],
}

impl<F: Element> Row<'_, F> {
    /// Computes Σ e^(row − peak).
    #[inline(always)]
    fn total(&self) -> F {
        sum(self.exponentials)
    }
}

/// Exponentiates some rows of this length, whose numbers `fill` writes, and passes each row to `finish`.
#[inline(always)]
fn for_each<F: Element>(
    length: usize,
    rows: Range<usize>,
    mut fill: impl FnMut(usize, &mut [F]),
    mut finish: impl FnMut(Row<'_, F>),
) {
    let together = (TOGETHER / length).clamp(1, rows.len().max(1));
    let (mut buffer, mut peaks) = (vec![F::zero(); together * length], vec![F::zero(); together]);
    for first in rows.clone().step_by(together) {
        let buffer = &mut buffer[..together.min(rows.end - first) * length];
        for (i, (row, peak)) in buffer.chunks_exact_mut(length).zip(&mut peaks).enumerate() {
            fill(first + i, row);
            *peak = largest(row);
            for x in row {
                *x = *x - *peak;
            }
        }
        for x in buffer.iter_mut() {
            *x = x.exponential();
        }
        for (i, (exponentials, peak)) in buffer.chunks_exact_mut(length).zip(&peaks).enumerate() {
            finish(Row { number: first + i, peak: *peak, exponentials });
        }
    }
}

/// Returns the numbers of a row.
#[inline(always)]
fn row<F>(values: &[F], length: usize, number: usize) -> &[F] {
    &values[number * length..][..length]
}

/// Computes `per_row` numbers from every row, which `f` appends. Rows of two classes have their own loop.
fn each<F: Element>(values: &[F], length: usize, per_row: usize, f: impl Fn(Row<'_, F>, &mut Vec<F>) + Sync) -> Vec<F> {
    collected(values.len() / length.max(1) * per_row, per_row, |range, out| {
        let rows = range.start / per_row..range.end / per_row;
        match length {
            2 => for_each(2, rows, |i, to| to.copy_from_slice(row(values, 2, i)), |row| f(row, out)),
            length => for_each(length, rows, |i, to| to.copy_from_slice(row(values, length, i)), |row| f(row, out)),
        }
    })
}

/// Computes ln Σ e^row.
pub(super) fn log_sum_exp<F: Element>(a: &Array<F>) -> Array<F> {
    let (outer, length) = rows(a.shape());
    if length == 0 {
        return from_vec(outer, vec![F::neg_infinity(); outer.iter().product()]);
    }
    from_vec(outer, each(flat(a), length, 1, |row, out| out.push(row.total().ln() + row.peak)))
}

/// Computes row − ln Σ e^row; the shift precedes the subtraction of the logarithm, to preserve small differences.
pub(super) fn log_softmax<F: Element>(a: &Array<F>) -> Array<F> {
    let (_, length) = rows(a.shape());
    if length == 0 {
        return a.clone();
    }
    let values = flat(a);
    let normalised = |of: Row<'_, F>, out: &mut Vec<F>| {
        let (peak, total) = (of.peak, of.total().ln());
        out.extend(row(values, length, of.number).iter().map(move |x| (*x - peak) - total));
    };
    from_vec(a.shape(), each(values, length, length, normalised))
}

/// Computes scale · e^row / Σ e^row + offset.
pub(super) fn affine_softmax<F: Element>(a: &Array<F>, scale: F, offset: F) -> Array<F> {
    let (_, length) = rows(a.shape());
    if length == 0 {
        return a.clone();
    }
    let probabilities = |row: Row<'_, F>, out: &mut Vec<F>| {
        let total = row.total();
        out.extend(row.exponentials.iter().map(move |e| scale * (*e / total) + offset));
    };
    from_vec(a.shape(), each(flat(a), length, length, probabilities))
}

/// Computes the number at `indices` of every row, minus ln Σ e^row.
pub(super) fn log_softmax_at<F: Element>(a: &Array<F>, indices: &IndexArray) -> Array<F> {
    let (outer, length) = rows(a.shape());
    let (values, indices) = (flat(a), flat(indices));
    let chosen = |of: Row<'_, F>, out: &mut Vec<F>| {
        let x = row(values, length, of.number)[indices[of.number]];
        out.push((x - of.peak) - of.total().ln());
    };
    from_vec(outer, each(values, length, 1, chosen))
}

/// Computes ‖p − e_x‖² with p = e^row / Σ e^row and the class x at `indices`.
///
/// Computed as (1 − p_x)² + Σ_(k≠x) p_k² with 1 − p_x the sum of the others: nothing cancels where p_x approaches 1.
pub(super) fn squared_distance<F: Element>(a: &Array<F>, indices: &IndexArray) -> Array<F> {
    let (outer, length) = rows(a.shape());
    let indices = flat(indices);
    let distance = |row: Row<'_, F>, out: &mut Vec<F>| {
        let own = &mut row.exponentials[indices[row.number]];
        let likelihood = std::mem::replace(own, F::zero());
        let (others, squares) = (sum(row.exponentials), sum_of_squares(row.exponentials));
        let total = others + likelihood;
        out.push((others * others + squares) / (total * total));
    };
    from_vec(outer, each(flat(a), length, 1, distance))
}

/// Computes ln Σ p e^b with p = e^row / Σ e^row, for two arrays of the same shape.
///
/// Computed as ln Σ e^(row − peak + b) − ln Σ e^(row − peak).
pub(super) fn log_mean_exp<F: Element>(a: &Array<F>, b: &Array<F>) -> Array<F> {
    /// Appends the rows' results.
    #[inline(always)]
    fn append<F: Element>(a: &[F], b: &[F], length: usize, rows: Range<usize>, out: &mut Vec<F>) {
        let from = out.len();
        let weighted = |i: usize, to: &mut [F]| {
            let peak = largest(row(a, length, i));
            for ((to, a), b) in to.iter_mut().zip(row(a, length, i)).zip(row(b, length, i)) {
                *to = (*a - peak) + *b;
            }
        };
        for_each(length, rows.clone(), weighted, |row| out.push(row.total().ln() + row.peak));
        let normaliser = |of: Row<'_, F>| {
            let place = from + of.number - rows.start;
            out[place] = out[place] - of.total().ln();
        };
        for_each(length, rows.clone(), |i, to| to.copy_from_slice(row(a, length, i)), normaliser);
    }
    let (outer, length) = rows(a.shape());
    let (a, b) = (flat(a), flat(b));
    let out = collected(outer.iter().product(), 1, |range, out| match length {
        2 => append(a, b, 2, range, out),
        length => append(a, b, length, range, out),
    });
    from_vec(outer, out)
}
