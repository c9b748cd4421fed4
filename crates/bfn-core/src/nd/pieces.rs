//! Computation of an array piece by piece, on all cores with the feature `rayon`.
//!
//! Every number depends only on its position, so the pieces and the number of threads change no bit of the result.

use std::ops::Range;

use super::Element;

/// The number of elements that justifies a separate task.
#[cfg(feature = "rayon")]
const PIECE: usize = 1 << 13;

/// Computes an array of `count` numbers.
///
/// `append` appends the numbers of a range to its argument; ranges begin and end at multiples of `unit`.
#[cfg(not(feature = "rayon"))]
pub(super) fn collected<F: Element>(
    count: usize,
    _unit: usize,
    append: impl Fn(Range<usize>, &mut Vec<F>) + Sync,
) -> Vec<F> {
    let mut out = Vec::with_capacity(count);
    append(0..count, &mut out);
    out
}

/// Computes an array of `count` numbers.
///
/// `append` appends the numbers of a range to its argument; ranges begin and end at multiples of `unit`.
#[cfg(feature = "rayon")]
pub(super) fn collected<F: Element>(
    count: usize,
    unit: usize,
    append: impl Fn(Range<usize>, &mut Vec<F>) + Sync,
) -> Vec<F> {
    use rayon::prelude::*;
    let unit = unit.max(1);
    let length = unit * PIECE.div_ceil(unit);
    if count <= length {
        let mut out = Vec::with_capacity(count);
        append(0..count, &mut out);
        return out;
    }
    let mut out = vec![F::zero(); count];
    out.par_chunks_mut(length).enumerate().for_each_init(Vec::new, |piece, (number, out)| {
        piece.clear();
        append(number * length..number * length + out.len(), piece);
        out.copy_from_slice(piece);
    });
    out
}
