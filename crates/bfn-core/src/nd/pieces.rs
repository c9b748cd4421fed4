//! Filling an array piece by piece, on all cores with the feature `rayon`.
//!
//! Every number depends on its place alone, so the pieces and the number of threads change no bit of the result.

/// The numbers that are worth a task of their own.
const PIECE: usize = 1 << 13;

/// An array of `count` numbers that `fill` computes, given the place of the first and the memory of as many as it
/// likes, always a multiple of `unit`.
pub(super) fn filled<T, Fill>(count: usize, unit: usize, zero: T, fill: Fill) -> Vec<T>
where
    T: Copy + Send + Sync,
    Fill: Fn(usize, &mut [T]) + Sync,
{
    let mut out = vec![zero; count];
    let unit = unit.max(1);
    let length = unit * PIECE.div_ceil(unit);
    over_pieces(&mut out, length, fill);
    out
}

/// `fill` for each piece of `length` numbers.
#[cfg(not(feature = "rayon"))]
pub(super) fn over_pieces<T: Send>(out: &mut [T], length: usize, fill: impl Fn(usize, &mut [T]) + Sync) {
    for (number, piece) in out.chunks_mut(length).enumerate() {
        fill(number * length, piece);
    }
}

/// `fill` for each piece of `length` numbers.
#[cfg(feature = "rayon")]
pub(super) fn over_pieces<T: Send>(out: &mut [T], length: usize, fill: impl Fn(usize, &mut [T]) + Sync) {
    use rayon::prelude::*;
    if out.len() <= length {
        if !out.is_empty() {
            fill(0, out);
        }
        return;
    }
    out.par_chunks_mut(length).enumerate().for_each(|(number, piece)| fill(number * length, piece));
}
