//! The array library behind the equations.

use std::f64::consts::PI;
use std::fmt::Debug;

use crate::special::NARROW;

/// An array library, represented by a zero-sized marker type.
///
/// Every equation of this crate is written once, over [`Tensor<B>`](crate::Tensor), and runs on each
/// library that implements this trait: [`Nd`](crate::Nd) (`ndarray`, f64 and f32) in this crate,
/// libtorch with automatic differentiation in `bfn-nets`.
///
/// A method takes arrays by reference and returns a new one. Binary operations broadcast as in NumPy: shapes are
/// aligned at their last axis and an axis of length 1 stretches. *The last axis* is always the axis of classes, bins
/// or parameters. Precision and device are those of the arguments; an array that is created from numbers takes them
/// from an existing array.
///
/// Methods without a body are the primitives. Methods with a body are composites: an implementation may replace them
/// with a faster kernel that returns the same values. The conformance suite (feature `conformance`) checks this.
///
/// # Panics
///
/// Every method panics if the shapes do not fit each other, and names both shapes: this is a programming error.
pub trait Backend: Copy + Debug + 'static {
    /// An array of real numbers of any rank.
    type Array: Debug;
    /// An array of class indices of any rank.
    type Indices: Debug;

    /// Returns a second handle to the same numbers, without a copy where the library can share the data.
    fn alias(a: &Self::Array) -> Self::Array;
    /// Returns a second handle to the same indices.
    fn alias_indices(a: &Self::Indices) -> Self::Indices;
    /// Returns the lengths of the axes.
    fn shape(a: &Self::Array) -> Vec<usize>;
    /// Returns the lengths of the axes of an index array.
    fn shape_indices(a: &Self::Indices) -> Vec<usize>;
    /// Returns the same numbers, in row-major order, with another shape.
    fn reshape(a: &Self::Array, shape: &[usize]) -> Self::Array;
    /// Creates an array of the given numbers in row-major order, on the device and in the precision of `like`.
    fn from_values(like: &Self::Array, shape: &[usize], values: &[f64]) -> Self::Array;
    /// Creates an array filled with one number, on the device and in the precision of `like`.
    fn full(like: &Self::Array, shape: &[usize], value: f64) -> Self::Array;
    /// Returns the numbers in row-major order, on the host.
    fn to_values(a: &Self::Array) -> Vec<f64>;
    /// Returns the indices in row-major order, on the host.
    fn to_indices(a: &Self::Indices) -> Vec<usize>;
    /// Creates an index array on the device of `like`.
    fn from_indices(like: &Self::Array, shape: &[usize], indices: &[usize]) -> Self::Indices;

    /// `a + b`.
    fn add(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `a − b`.
    fn sub(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `a · b`, element by element.
    fn mul(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `a / b`, element by element.
    fn div(a: &Self::Array, b: &Self::Array) -> Self::Array;
    /// `scale · a + offset`, where `scale` and `offset` are numbers.
    fn affine(a: &Self::Array, scale: f64, offset: f64) -> Self::Array;

    /// `e^a`.
    fn exp(a: &Self::Array) -> Self::Array;
    /// `e^a − 1`, accurate where `a` is small.
    fn exp_m1(a: &Self::Array) -> Self::Array;
    /// `ln a`.
    fn ln(a: &Self::Array) -> Self::Array;
    /// `ln(1 + a)`, accurate where `a` is small.
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
    /// Limits `a` to `[low, high]`.
    fn clamp(a: &Self::Array, low: f64, high: f64) -> Self::Array;
    /// Selects `below` where `a < threshold`, else `otherwise`, element by element; all three broadcast.
    ///
    /// Only the selected branch receives a gradient; none flows to `a`.
    fn where_below(a: &Self::Array, threshold: f64, below: &Self::Array, otherwise: &Self::Array) -> Self::Array;

    /// Computes Σ over the last axis, which is removed.
    fn sum_last(a: &Self::Array) -> Self::Array;
    /// Returns the largest number along the last axis, which is removed. The result carries no gradient.
    fn max_last(a: &Self::Array) -> Self::Array;
    /// Computes the running sums along the last axis.
    fn cumulative_sum_last(a: &Self::Array) -> Self::Array;
    /// Returns the part `start..start + length` of the last axis.
    fn slice_last(a: &Self::Array, start: usize, length: usize) -> Self::Array;
    /// Joins arrays along the last axis.
    fn concat_last(parts: &[&Self::Array]) -> Self::Array;
    /// Picks one number along the last axis, which is removed: `out[…] = a[…, indices[…]]`.
    fn gather_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array;
    /// Adds `values[…]` to `a` at `[…, indices[…]]`; `values` broadcasts to the shape of `indices`.
    ///
    /// `a` is taken by value, so that its memory can be reused.
    fn scatter_add_last(a: Self::Array, indices: &Self::Indices, values: &Self::Array) -> Self::Array;
    /// Returns the index of the largest number along the last axis, which is removed.
    fn argmax_last(a: &Self::Array) -> Self::Indices;

    /// Converts indices to real numbers, in the precision of `like`.
    fn indices_to_reals(indices: &Self::Indices, like: &Self::Array) -> Self::Array;
    /// Converts the integer parts of real numbers, limited to `0..count`, to indices.
    fn reals_to_indices(a: &Self::Array, count: usize) -> Self::Indices;

    /// Returns the same numbers, detached from automatic differentiation where there is any.
    fn detach(a: &Self::Array) -> Self::Array {
        Self::alias(a)
    }

    /// Selects rows of `a`, counted from 0 along its first axis, in the given order: the particles that are kept.
    ///
    /// # Panics
    ///
    /// Panics if one of the rows does not exist.
    fn select_rows(a: &Self::Array, rows: &[usize]) -> Self::Array {
        let mut shape = Self::shape(a);
        assert!(rows.iter().all(|row| *row < shape[0]), "rows {rows:?} of an array of shape {shape:?}");
        let (values, width) = (Self::to_values(a), shape[1..].iter().product::<usize>());
        let selected: Vec<f64> = rows.iter().flat_map(|row| values[row * width..][..width].iter().copied()).collect();
        shape[0] = rows.len();
        Self::from_values(a, &shape, &selected)
    }

    /// Computes `a · x + b · y`, the form of every flow and every update.
    fn linear_combination(a: &Self::Array, x: &Self::Array, b: &Self::Array, y: &Self::Array) -> Self::Array {
        Self::add(&Self::mul(a, x), &Self::mul(b, y))
    }

    /// Computes Σ_i `weights[i]` · `arrays[i]`, for arrays of the same shape, as in the steps of a sampler.
    ///
    /// # Panics
    ///
    /// Panics if there are no arrays, or if the numbers of weights and arrays differ.
    fn weighted_sum(weights: &[f64], arrays: &[&Self::Array]) -> Self::Array {
        assert!(
            !arrays.is_empty() && weights.len() == arrays.len(),
            "{} weights, {} arrays",
            weights.len(),
            arrays.len()
        );
        let scaled = |i: usize| Self::affine(arrays[i], weights[i], 0.0);
        (1..arrays.len()).fold(scaled(0), |sum, i| Self::add(&sum, &scaled(i)))
    }

    /// Computes `scale · (a − b)²`, the loss of a message about real numbers.
    fn squared_error(scale: &Self::Array, a: &Self::Array, b: &Self::Array) -> Self::Array {
        let difference = Self::sub(a, b);
        Self::mul(scale, &Self::mul(&difference, &difference))
    }

    /// Computes Σ a² over the last axis, which is removed.
    fn sum_of_squares_last(a: &Self::Array) -> Self::Array {
        Self::sum_last(&Self::mul(a, a))
    }

    /// Computes ln Σ e^a over the last axis, which is removed.
    fn log_sum_exp_last(a: &Self::Array) -> Self::Array {
        let peak = Self::max_last(a);
        let mut kept = Self::shape(&peak);
        kept.push(1);
        let shifted = Self::sub(a, &Self::reshape(&peak, &kept));
        Self::add(&Self::ln(&Self::sum_last(&Self::exp(&shifted))), &peak)
    }

    /// Computes normalised log-probabilities over the last axis: `a − ln Σ e^a`.
    fn log_softmax_last(a: &Self::Array) -> Self::Array {
        let peak = Self::max_last(a);
        let mut kept = Self::shape(&peak);
        kept.push(1);
        // The shift precedes the logarithm's subtraction, to preserve small differences between large numbers.
        let shifted = Self::sub(a, &Self::reshape(&peak, &kept));
        let total = Self::ln(&Self::sum_last(&Self::exp(&shifted)));
        Self::sub(&shifted, &Self::reshape(&total, &kept))
    }

    /// Computes normalised probabilities over the last axis: `e^a / Σ e^a`.
    fn softmax_last(a: &Self::Array) -> Self::Array {
        Self::exp(&Self::log_softmax_last(a))
    }

    /// Computes ln Σ_k p_k e^(b_k) with p = e^a / Σ e^a over the last axis, which is removed.
    ///
    /// This is the receiver's term in the n-step losses. `b` broadcasts to the shape of `a`.
    fn log_mean_exp_last(a: &Self::Array, b: &Self::Array) -> Self::Array {
        Self::log_sum_exp_last(&Self::add(&Self::log_softmax_last(a), b))
    }

    /// Computes `scale · e^a / Σ e^a + offset` over the last axis.
    ///
    /// If `a` holds the logits of the output distribution, this gives the mean of the messages.
    fn affine_softmax_last(a: &Self::Array, scale: f64, offset: f64) -> Self::Array {
        Self::affine(&Self::softmax_last(a), scale, offset)
    }

    /// Computes the normalised log-probability of one index of the last axis, which is removed.
    ///
    /// This is `a[…, x] − ln Σ e^a` for the x that `indices` holds.
    fn log_softmax_at_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        Self::gather_last(&Self::log_softmax_last(a), indices)
    }

    /// Computes the squared distance of probabilities from a one-hot vector, over the last axis, which is removed.
    ///
    /// Σ_k (p_k − \[k = x\])² = 1 − 2 p_x + Σ_k p_k² with p = e^a / Σ e^a, for the x that `indices` holds.
    fn squared_distance_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        let p = Self::softmax_last(a);
        let rest = Self::affine(&Self::gather_last(&p, indices), -2.0, 1.0);
        Self::add(&rest, &Self::sum_of_squares_last(&p))
    }

    /// Computes Σ_j Φ((edges_j − mean) · inverse_deviation) over all `edges`, for each element of `mean`.
    ///
    /// The mean of a discretised normal needs only this sum. An implementation may compute it without the array of
    /// shape `[…, edges]` that this body creates.
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

    /// Computes the logarithm of a standard normal's mass in a bin whose middle is at `offset`, element by element.
    ///
    /// This is ln(Φ(offset + half_width) − Φ(offset − half_width)), accurate relative to the larger of 1 and the
    /// result for wide bins, for narrow bins, and far into the tails; see
    /// [`normal_ln_mass`](crate::special::normal_ln_mass). `half_width` must be above 0.
    fn normal_ln_mass(offset: &Self::Array, half_width: &Self::Array) -> Self::Array {
        let limit = NARROW * NARROW;
        let square = Self::mul(offset, offset);
        let squared_width = Self::affine(&Self::mul(half_width, half_width), 4.0, 0.0);
        let scaled = Self::mul(&square, &squared_width);
        let size = Self::mul(&Self::clamp(&square, 1.0, f64::INFINITY), &squared_width);

        // Both branches are limited to the range in which they are selected; neither has an infinite slope elsewhere.
        let (q, cq) = (Self::clamp(&squared_width, 0.0, limit), Self::clamp(&scaled, 0.0, limit));
        let times = |a: &Self::Array, b: &Self::Array| Self::mul(a, b);
        let second = Self::sub(&cq, &q);
        let q_squared = times(&q, &q);
        let fourth =
            Self::add(&times(&cq, &Self::add(&cq, &Self::affine(&q, -6.0, 0.0))), &Self::affine(&q_squared, 3.0, 0.0));
        let inner = Self::add(
            &times(&cq, &Self::add(&cq, &Self::affine(&q, -15.0, 0.0))),
            &Self::affine(&q_squared, 45.0, 0.0),
        );
        let sixth = Self::add(&times(&cq, &inner), &Self::affine(&times(&q_squared, &q), -15.0, 0.0));
        let series = Self::weighted_sum(&[1.0 / 24.0, 1.0 / 1920.0, 1.0 / 322_560.0], &[&second, &fourth, &sixth]);
        let ln_width = Self::affine(&Self::ln(half_width), 1.0, 2.0_f64.ln() - 0.5 * (2.0 * PI).ln());
        let narrow = Self::add(&Self::add(&Self::affine(&square, -0.5, 0.0), &ln_width), &Self::ln_1p(&series));

        let distance = Self::affine(&Self::abs(offset), -1.0, 0.0);
        let near = Self::normal_ln_cdf(&Self::add(&distance, half_width));
        let far = Self::normal_ln_cdf(&Self::sub(&distance, half_width));
        let ratio = Self::clamp(&Self::sub(&far, &near), f64::NEG_INFINITY, -1e-30);
        let complement = Self::affine(&Self::exp_m1(&ratio), -1.0, 0.0);
        let wide = Self::add(&near, &Self::ln(&complement));
        Self::where_below(&size, limit, &narrow, &wide)
    }

    /// Computes the logarithm of a normal's mass in every interval of increasing `edges`, along a new last axis.
    ///
    /// The values are ln(Φ(z_(k+1)) − Φ(z_k)) with z_k = (edges_k − mean) · inverse_deviation. The first and the last
    /// of the edges + 1 intervals hold the mass beyond the outermost edges. These are all log-probabilities of a
    /// discretised normal. An implementation may compute Φ once per edge.
    ///
    /// # Panics
    ///
    /// Panics if there are no edges.
    fn normal_ln_masses(edges: &[f64], mean: &Self::Array, inverse_deviation: &Self::Array) -> Self::Array {
        assert!(!edges.is_empty(), "the intervals of no edges are not known");
        let unsqueezed = |a: &Self::Array| {
            let mut kept = Self::shape(a);
            kept.push(1);
            Self::reshape(a, &kept)
        };
        let (mean, inverse_deviation) = (unsqueezed(mean), unsqueezed(inverse_deviation));
        let row = |values: &[f64]| Self::from_values(&mean, &[values.len()], values);
        let from_mean = |values: &[f64]| Self::mul(&Self::sub(&row(values), &mean), &inverse_deviation);
        let first = Self::normal_ln_cdf(&from_mean(&edges[..1]));
        let last = Self::normal_ln_cdf(&Self::affine(&from_mean(&edges[edges.len() - 1..]), -1.0, 0.0));
        if edges.len() == 1 {
            return Self::concat_last(&[&first, &last]);
        }
        let middles: Vec<f64> = edges.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
        let half_widths: Vec<f64> = edges.windows(2).map(|pair| 0.5 * (pair[1] - pair[0])).collect();
        let inner = Self::normal_ln_mass(&from_mean(&middles), &Self::mul(&row(&half_widths), &inverse_deviation));
        Self::concat_last(&[&first, &inner, &last])
    }

    /// Applies `f` to arrays whose first axis indexes independent rows, with the same number of rows in each.
    ///
    /// `f` returns one number per row, and creates arrays of about `width` numbers per row to compute it. An
    /// implementation may call `f` on some of the rows at a time, so that these arrays never exist as a whole. It may
    /// support first derivatives only.
    fn by_rows(
        arguments: &[&Self::Array],
        _width: usize,
        f: &(dyn Fn(&[Self::Array]) -> Self::Array + Sync),
    ) -> Self::Array {
        let all: Vec<Self::Array> = arguments.iter().map(|argument| Self::alias(argument)).collect();
        f(&all)
    }
}
