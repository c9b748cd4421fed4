//! The count of a network's arithmetic operations.

use std::cell::Cell;

use tch::Tensor;

thread_local! {
    /// The operations so far, while they are counted.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs work and counts its floating-point operations in this module's networks, on this thread.
///
/// # Formula
///
/// Each product that is added up in a linear map, in a convolution or in the two products of attention counts as two
/// operations; a convolution of a doubled image counts by its definition. Nothing else is counted, as is usual for the
/// utilisation of a device. The backward pass takes twice as many. A custom network counts nothing.
pub fn count_operations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.replace(Some(0));
    let result = work();
    let counted = COUNT.replace(before).unwrap_or(0);
    (result, counted)
}

/// Counts each number of `output` as a sum of `products` products.
pub(super) fn summed(output: Tensor, products: i64) -> Tensor {
    note(output.numel() as u64, products);
    output
}

/// Counts `numbers` numbers as sums of `products` products each.
pub(super) fn note(numbers: u64, products: i64) {
    COUNT.with(|count| count.set(count.get().map(|so_far| so_far + 2 * numbers * products as u64)));
}
