//! How much arithmetic a network asks for.

use std::cell::Cell;

use tch::Tensor;

thread_local! {
    /// The operations so far, while somebody counts.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Does some work, and counts the floating-point operations that the networks of this module are asked for meanwhile,
/// on this thread.
///
/// # Formula
///
/// Two for each product that is added up in a linear map, a convolution or the two products of attention; for a
/// convolution of a doubled image those of its definition. Nothing else is counted, as is usual for the utilisation of
/// a device; the way back takes twice as many. A network of one's own counts nothing.
pub fn count_operations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.replace(Some(0));
    let result = work();
    let counted = COUNT.replace(before).unwrap_or(0);
    (result, counted)
}

/// Says that each number of `output` is a sum of so many products.
pub(super) fn summed(output: Tensor, products: i64) -> Tensor {
    note(output.numel() as u64, products);
    output
}

/// Says that so many numbers are sums of so many products each.
pub(super) fn note(numbers: u64, products: i64) {
    COUNT.with(|count| count.set(count.get().map(|so_far| so_far + 2 * numbers * products as u64)));
}
