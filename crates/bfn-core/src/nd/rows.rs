//! Functions of rows, which lie along the last axis.

use super::pieces::filled;
use super::{Array, Element, flat, from_vec};

/// The outer axes, and the length of the last one.
pub(super) fn rows(shape: &[usize]) -> (&[usize], usize) {
    let (length, outer) = shape.split_last().expect("an operation over the last axis needs an axis");
    (outer, *length)
}

/// One number from every row.
pub(super) fn reduced<F: Element>(a: &Array<F>, f: impl Fn(&[F]) -> F + Sync) -> Array<F> {
    let (outer, length) = rows(a.shape());
    let (values, count) = (flat(a), outer.iter().product());
    let out = filled(count, 1, F::zero(), |start, out| {
        for (i, out) in out.iter_mut().enumerate() {
            *out = f(&values[(start + i) * length..][..length]);
        }
    });
    from_vec(outer, out)
}

/// A row from every row, of the same length.
pub(super) fn mapped<F: Element>(a: &Array<F>, f: impl Fn(&[F], &mut [F]) + Sync) -> Array<F> {
    let (_, length) = rows(a.shape());
    let values = flat(a);
    let out = filled(values.len(), length, F::zero(), |start, out| {
        let row = &values[start..start + out.len()];
        for (row, out) in row.chunks_exact(length.max(1)).zip(out.chunks_exact_mut(length.max(1))) {
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

/// row − ln Σ e^row; shifted before the logarithm is subtracted, which keeps the digits of small differences.
pub(super) fn log_softmax<F: Element>(row: &[F], out: &mut [F]) {
    let peak = peak(row);
    let mut total = F::zero();
    for (x, out) in row.iter().zip(&mut *out) {
        *out = *x - peak;
        total = total + out.exp();
    }
    let total = total.ln();
    for out in out {
        *out = *out - total;
    }
}

/// e^row / Σ e^row.
pub(super) fn softmax<F: Element>(row: &[F], out: &mut [F]) {
    let peak = peak(row);
    let mut total = F::zero();
    for (x, out) in row.iter().zip(&mut *out) {
        *out = (*x - peak).exp();
        total = total + *out;
    }
    for out in out {
        *out = *out / total;
    }
}
