//! Functions of rows, which lie along the last axis.

use super::pieces::collected;
use super::{Array, Element, flat, from_vec};

/// The outer axes, and the length of the last one.
pub(super) fn rows(shape: &[usize]) -> (&[usize], usize) {
    let (length, outer) = shape.split_last().expect("an operation over the last axis needs an axis");
    (outer, *length)
}

/// One number from every row.
pub(super) fn reduced<F: Element>(a: &Array<F>, f: impl Fn(&[F]) -> F + Sync) -> Array<F> {
    let (outer, length) = rows(a.shape());
    let values = flat(a);
    let out = collected(outer.iter().product(), 1, |range, out| {
        out.extend(range.map(|row| f(&values[row * length..][..length])));
    });
    from_vec(outer, out)
}

/// A row appended for every row, of the same length.
pub(super) fn mapped<F: Element>(a: &Array<F>, f: impl Fn(&[F], &mut Vec<F>) + Sync) -> Array<F> {
    let (_, length) = rows(a.shape());
    let values = flat(a);
    let out = collected(values.len(), length, |range, out| {
        for row in values[range].chunks_exact(length.max(1)) {
            f(row, out);
        }
    });
    from_vec(a.shape(), out)
}

/// Σ of a row.
pub(super) fn sum<F: Element>(row: &[F]) -> F {
    row.iter().fold(F::zero(), |sum, x| sum + *x)
}

/// The largest number of a row, NaN if it holds one.
pub(super) fn peak<F: Element>(row: &[F]) -> F {
    row.iter().fold(F::neg_infinity(), |peak, x| if *x > peak || x.is_nan() { *x } else { peak })
}

/// ln Σ e^row.
pub(super) fn log_sum_exp<F: Element>(row: &[F]) -> F {
    let peak = peak(row);
    row.iter().fold(F::zero(), |sum, x| sum + (*x - peak).exp()).ln() + peak
}

/// ln Σ e^(a + b) of two rows.
pub(super) fn log_sum_exp_of_sum<F: Element>(a: &[F], b: &[F]) -> F {
    let sums = || a.iter().zip(b).map(|(a, b)| *a + *b);
    let peak = sums().fold(F::neg_infinity(), |peak, x| if x > peak || x.is_nan() { x } else { peak });
    sums().fold(F::zero(), |sum, x| sum + (x - peak).exp()).ln() + peak
}

/// row − ln Σ e^row; shifted before the logarithm is subtracted, which keeps the digits of small differences.
pub(super) fn log_softmax<F: Element>(row: &[F], out: &mut Vec<F>) {
    let peak = peak(row);
    let total = row.iter().fold(F::zero(), |sum, x| sum + (*x - peak).exp()).ln();
    out.extend(row.iter().map(|x| (*x - peak) - total));
}

/// e^row / Σ e^row.
pub(super) fn softmax<F: Element>(row: &[F], out: &mut Vec<F>) {
    let (peak, first) = (peak(row), out.len());
    out.extend(row.iter().map(|x| (*x - peak).exp()));
    let total = sum(&out[first..]);
    for p in &mut out[first..] {
        *p = *p / total;
    }
}

/// Running sums.
pub(super) fn cumulative_sum<F: Element>(row: &[F], out: &mut Vec<F>) {
    let mut sum = F::zero();
    out.extend(row.iter().map(|x| {
        sum = sum + *x;
        sum
    }));
}
