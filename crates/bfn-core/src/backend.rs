//! The array library behind the equations.

use std::fmt::Debug;

/// An array library, named by a zero-sized marker.
///
/// Every equation of this crate is written once, over [`Tensor<B>`](crate::Tensor), and runs on each
/// library that implements this trait: [`Nd`](crate::Nd) (`ndarray`, f64 and f32) in this crate,
/// libtorch with automatic differentiation in `bfn-nets`.
///
/// A method takes arrays by reference and returns a new one. Binary operations broadcast as NumPy
/// does: shapes are aligned at their last axis and an axis of length 1 stretches. *The last axis*
/// is always the one of classes, bins or parameters. Precision and device are those of the
/// arguments; where an array is made from numbers it is made like an existing one.
///
/// The methods without a body are the primitives. Those with one are composites: an
/// implementation may replace them by a faster kernel with the same values, which the
/// conformance suite (feature `conformance`) checks.
///
/// # Panics
///
/// Shapes that do not fit are a programmer's mistake: every method panics, naming both shapes.
pub trait Backend: Copy + Debug + 'static {
    /// An array of real numbers of any rank.
    type Array: Debug;
    /// An array of class indices of any rank.
    type Indices: Debug;

    /// A second handle on the same numbers; copies no data where the library can share it.
    fn alias(a: &Self::Array) -> Self::Array;
    /// A second handle on the same indices.
    fn alias_indices(a: &Self::Indices) -> Self::Indices;
    /// The lengths of the axes.
    fn shape(a: &Self::Array) -> Vec<usize>;
    /// The lengths of the axes of an index array.
    fn shape_indices(a: &Self::Indices) -> Vec<usize>;
    /// The same numbers in row-major order under another shape.
    fn reshape(a: &Self::Array, shape: &[usize]) -> Self::Array;
    /// An array of the given numbers in row-major order, on the device and in the precision of `like`.
    fn from_values(like: &Self::Array, shape: &[usize], values: &[f64]) -> Self::Array;
    /// An array filled with one number, on the device and in the precision of `like`.
    fn full(like: &Self::Array, shape: &[usize], value: f64) -> Self::Array;
    /// The numbers in row-major order, on the host.
    fn to_values(a: &Self::Array) -> Vec<f64>;
    /// The indices in row-major order, on the host.
    fn to_indices(a: &Self::Indices) -> Vec<usize>;
    /// An index array on the device of `like`.
    fn from_indices(like: &Self::Array, shape: &[usize], indices: &[usize]) -> Self::Indices;

    /// `a + b`.
    fn add(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `a − b`.
    fn sub(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `a · b`, element by element.
    fn mul(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `a / b`, element by element.
    fn div(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `scale · a + offset` with two numbers.
    fn affine(a: &Self::Array, scale: f64, offset: f64) -> Self::Array;

    /// `e^a`.
    fn exp(a: &Self::Array) -> Self::Array;
    /// `e^a − 1`, exact where `a` is small.
    fn exp_m1(a: &Self::Array) -> Self::Array;
    /// `ln a`.
    fn ln(a: &Self::Array) -> Self::Array;
    /// `ln(1 + a)`, exact where `a` is small.
    fn ln_1p(a: &Self::Array) -> Self::Array;
    /// `√a`.
    fn sqrt(a: &Self::Array) -> Self::Array;
    /// `1 / a`.
    fn recip(a: &Self::Array) -> Self::Array;
    /// `|a|`.
    fn abs(a: &Self::Array) -> Self::Array;
    /// Φ(a), the distribution function of the standard normal.
    fn normal_cdf(a: &Self::Array) -> Self::Array;
    /// ln Φ(a), finite far into the lower tail.
    fn normal_ln_cdf(a: &Self::Array) -> Self::Array;
    /// `a` limited to `[low, high]`.
    fn clamp(a: &Self::Array, low: f64, high: f64) -> Self::Array;
    /// Element by element `below` where `a < threshold`, else `otherwise`; all three broadcast.
    ///
    /// Only the chosen branch gets a gradient, and none flows to `a`.
    fn where_below(a: &Self::Array, threshold: f64, below: &Self::Array, otherwise: &Self::Array) -> Self::Array;

    /// Σ over the last axis, which is removed.
    fn sum_last(a: &Self::Array) -> Self::Array;
    /// The largest number along the last axis, which is removed. Carries no gradient.
    fn max_last(a: &Self::Array) -> Self::Array;
    /// Running sums along the last axis.
    fn cumulative_sum_last(a: &Self::Array) -> Self::Array;
    /// Part `start..start + length` of the last axis.
    fn slice_last(a: &Self::Array, start: usize, length: usize) -> Self::Array;
    /// Arrays joined along the last axis.
    fn concat_last(parts: &[&Self::Array]) -> Self::Array;
    /// `out[…] = a[…, indices[…]]`: one number picked along the last axis, which is removed.
    fn gather_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array;
    /// `a` with `values[…]` added at `[…, indices[…]]`; `values` broadcasts to the shape of `indices`.
    fn scatter_add_last(a: &Self::Array, indices: &Self::Indices, values: &Self::Array) -> Self::Array;
    /// The index of the largest number along the last axis, which is removed.
    fn argmax_last(a: &Self::Array) -> Self::Indices;

    /// The indices as real numbers, in the precision of `like`.
    fn indices_to_reals(indices: &Self::Indices, like: &Self::Array) -> Self::Array;
    /// The integer parts, limited to `0..count`, as indices.
    fn reals_to_indices(a: &Self::Array, count: usize) -> Self::Indices;

    /// The same numbers, cut off from automatic differentiation where there is any.
    fn detach(a: &Self::Array) -> Self::Array {
        Self::alias(a)
    }

    /// `a · x + b · y`, the shape of every flow and every update.
    fn linear_combination(a: &Self::Array, x: &Self::Array, b: &Self::Array, y: &Self::Array) -> Self::Array {
        Self::add(&Self::mul(a, x), &Self::mul(b, y))
    }

    /// ln Σ e^a over the last axis, which is removed.
    fn log_sum_exp_last(a: &Self::Array) -> Self::Array {
        let peak = Self::max_last(a);
        let mut kept = Self::shape(&peak);
        kept.push(1);
        let shifted = Self::sub(a, &Self::reshape(&peak, &kept));
        Self::add(&Self::ln(&Self::sum_last(&Self::exp(&shifted))), &peak)
    }

    /// `a − ln Σ e^a` over the last axis: normalised log-probabilities.
    fn log_softmax_last(a: &Self::Array) -> Self::Array {
        let peak = Self::max_last(a);
        let mut kept = Self::shape(&peak);
        kept.push(1);
        // Shifted before the logarithm is subtracted, which keeps the digits of small differences between large numbers.
        let shifted = Self::sub(a, &Self::reshape(&peak, &kept));
        let total = Self::ln(&Self::sum_last(&Self::exp(&shifted)));
        Self::sub(&shifted, &Self::reshape(&total, &kept))
    }

    /// `e^a / Σ e^a` over the last axis: normalised probabilities.
    fn softmax_last(a: &Self::Array) -> Self::Array {
        Self::exp(&Self::log_softmax_last(a))
    }

    /// Σ_j Φ((edges_j − mean) · inverse_deviation), for each element of `mean` over all `edges`.
    ///
    /// This is all that the mean of a discretised normal needs. An implementation may do it
    /// without the array of shape `[…, edges]` that this body makes.
    fn sum_normal_cdf(edges: &[f64], mean: &Self::Array, inverse_deviation: &Self::Array) -> Self::Array {
        let mut kept = Self::shape(mean);
        kept.push(1);
        let mut scale_shape = Self::shape(inverse_deviation);
        scale_shape.push(1);
        let edges = Self::from_values(mean, &[edges.len()], edges);
        let distance = Self::sub(&edges, &Self::reshape(mean, &kept));
        let scaled = Self::mul(&distance, &Self::reshape(inverse_deviation, &scale_shape));
        Self::sum_last(&Self::normal_cdf(&scaled))
    }
}
