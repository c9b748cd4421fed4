//! Functions of rows, which lie along the last axis.

use super::pieces::collected;
use super::{Array, Element, flat, from_vec};

/// Returns the outer axes, and the length of the last one.
pub(super) fn rows(shape: &[usize]) -> (&[usize], usize) {
    let (length, outer) = shape.split_last().expect("an operation over the last axis needs an axis");
    (outer, *length)
}

/// Computes one number from every row.
pub(super) fn reduced<F: Element>(a: &Array<F>, f: impl Fn(&[F]) -> F + Sync) -> Array<F> {
    let (outer, length) = rows(a.shape());
    let values = flat(a);
    let out = collected(outer.iter().product(), 1, |range, out| {
        out.extend(range.map(|row| f(&values[row * length..][..length])));
    });
    from_vec(outer, out)
}

/// Computes a row of the same length from every row; `f` appends it.
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

/// The number of lanes that are added or compared side by side; their results are combined at the end of a row.
const LANES: usize = 8;

/// Folds a row of any length by an associative `f`; the order does not depend on where the row lies.
#[inline(always)]
pub(super) fn folded<F: Element>(row: &[F], start: F, f: impl Fn(F, F) -> F) -> F {
    if row.len() < LANES {
        return row.iter().fold(start, |total, x| f(total, *x));
    }
    let mut lanes = [start; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for part in whole {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane = f(*lane, *x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, *x);
    }
    let [a, b, c, d, e, g, h, i] = lanes;
    f(f(f(a, b), f(c, d)), f(f(e, g), f(h, i)))
}

/// Computes Σ of a row.
#[inline(always)]
pub(super) fn sum<F: Element>(row: &[F]) -> F {
    folded(row, F::zero(), |sum, x| sum + x)
}

/// Computes Σ of the squares of a row.
#[inline(always)]
pub(super) fn sum_of_squares<F: Element>(row: &[F]) -> F {
    if row.len() < LANES {
        return row.iter().fold(F::zero(), |sum, x| sum + *x * *x);
    }
    let mut lanes = [F::zero(); LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for part in whole {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane = *lane + *x * *x;
        }
    }
    rest.iter().fold(sum(&lanes), |sum, x| sum + *x * *x)
}

/// Returns the largest number of a row, or NaN if it contains one.
pub(super) fn peak<F: Element>(row: &[F]) -> F {
    row.iter().fold(F::neg_infinity(), |peak, x| if *x > peak || x.is_nan() { *x } else { peak })
}

/// Returns the largest number of a row, ignoring NaN.
#[inline(always)]
pub(super) fn largest<F: Element>(row: &[F]) -> F {
    folded(row, F::neg_infinity(), |peak, x| if x > peak { x } else { peak })
}

/// Appends the running sums of a row.
pub(super) fn cumulative_sum<F: Element>(row: &[F], out: &mut Vec<F>) {
    let mut sum = F::zero();
    out.extend(row.iter().map(|x| {
        sum = sum + *x;
        sum
    }));
}

/// Joins arrays of these outer axes along the last one.
pub(super) fn joined<F: Element>(outer: &[usize], parts: &[&Array<F>]) -> Array<F> {
    let parts: Vec<(&[F], usize)> = parts.iter().map(|part| (flat(part), rows(part.shape()).1)).collect();
    let length = parts.iter().map(|(_, length)| length).sum();
    let count: usize = outer.iter().product();
    let mut joined = Vec::with_capacity(count * length);
    if let [(a, 1), (b, 1)] = parts[..] {
        // The logits of two classes: this avoids a call for every number.
        joined.extend(a.iter().zip(b).flat_map(|(a, b)| [*a, *b]));
    } else {
        for row in 0..count {
            for (values, length) in &parts {
                joined.extend_from_slice(&values[row * length..][..*length]);
            }
        }
    }
    from_vec(&[outer, &[length]].concat(), joined)
}
