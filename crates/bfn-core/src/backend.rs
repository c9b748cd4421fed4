//! The array library behind the equations.

use std::f64::consts::PI;
use std::fmt::Debug;

use crate::special::NARROW;

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
    ///
    /// `a` is given away, so that its memory may be used again.
    fn scatter_add_last(a: Self::Array, indices: &Self::Indices, values: &Self::Array) -> Self::Array;
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

    /// These rows of `a`, counted from 0 along its first axis, in this order: the particles that go on.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    fn select_rows(a: &Self::Array, rows: &[usize]) -> Self::Array {
        let mut shape = Self::shape(a);
        assert!(rows.iter().all(|row| *row < shape[0]), "rows {rows:?} of an array of shape {shape:?}");
        let (values, width) = (Self::to_values(a), shape[1..].iter().product::<usize>());
        let selected: Vec<f64> = rows.iter().flat_map(|row| values[row * width..][..width].iter().copied()).collect();
        shape[0] = rows.len();
        Self::from_values(a, &shape, &selected)
    }

    /// `a · x + b · y`, the shape of every flow and every update.
    fn linear_combination(a: &Self::Array, x: &Self::Array, b: &Self::Array, y: &Self::Array) -> Self::Array {
        Self::add(&Self::mul(a, x), &Self::mul(b, y))
    }

    /// Σ_i `weights[i]` · `arrays[i]`, for arrays of one shape: the steps of a sampler.
    ///
    /// # Panics
    ///
    /// Panics if there are no arrays, or not as many weights.
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

    /// `scale · (a − b)²`, the loss of a message about numbers.
    fn squared_error(scale: &Self::Array, a: &Self::Array, b: &Self::Array) -> Self::Array {
        let difference = Self::sub(a, b);
        Self::mul(scale, &Self::mul(&difference, &difference))
    }

    /// Σ a² over the last axis, which is removed.
    fn sum_of_squares_last(a: &Self::Array) -> Self::Array {
        Self::sum_last(&Self::mul(a, a))
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

    /// ln Σ_k p_k e^(b_k) with p = e^a / Σ e^a over the last axis, which is removed: the receivers of the n-step losses.
    ///
    /// `b` broadcasts to the shape of `a`.
    fn log_mean_exp_last(a: &Self::Array, b: &Self::Array) -> Self::Array {
        Self::log_sum_exp_last(&Self::add(&Self::log_softmax_last(a), b))
    }

    /// `scale · e^a / Σ e^a + offset` over the last axis: what messages say on average where `a` are the logits of the
    /// output distribution.
    fn affine_softmax_last(a: &Self::Array, scale: f64, offset: f64) -> Self::Array {
        Self::affine(&Self::softmax_last(a), scale, offset)
    }

    /// `a[…, x] − ln Σ e^a` over the last axis, which is removed, for the x that `indices` hold: one of the normalised
    /// log-probabilities.
    fn log_softmax_at_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        Self::gather_last(&Self::log_softmax_last(a), indices)
    }

    /// Σ_k (p_k − \[k = x\])² = 1 − 2 p_x + Σ_k p_k² with p = e^a / Σ e^a over the last axis, which is removed, for the x
    /// that `indices` hold: the squared distance of the probabilities from a one-hot vector.
    fn squared_distance_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        let p = Self::softmax_last(a);
        let rest = Self::affine(&Self::gather_last(&p, indices), -2.0, 1.0);
        Self::add(&rest, &Self::sum_of_squares_last(&p))
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

    /// ln(Φ(offset + half_width) − Φ(offset − half_width)), element by element: the logarithm of a standard
    /// normal's mass in a bin whose middle is at `offset`.
    ///
    /// Accurate relative to the larger of 1 and the result, for wide bins, for narrow ones, and far into the
    /// tails; see [`normal_ln_mass`](crate::special::normal_ln_mass). `half_width` is above 0.
    fn normal_ln_mass(offset: &Self::Array, half_width: &Self::Array) -> Self::Array {
        let limit = NARROW * NARROW;
        let square = Self::mul(offset, offset);
        let squared_width = Self::affine(&Self::mul(half_width, half_width), 4.0, 0.0);
        let scaled = Self::mul(&square, &squared_width);
        let size = Self::mul(&Self::clamp(&square, 1.0, f64::INFINITY), &squared_width);

        // Both branches are limited to where they are chosen, so that neither has an infinite slope elsewhere.
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

    /// ln(Φ(z_(k+1)) − Φ(z_k)) for each interval of increasing `edges`, along a new last axis, with
    /// z_k = (edges_k − mean) · inverse_deviation, and what lies beyond the outermost edges in the first and the
    /// last of the edges + 1 intervals.
    ///
    /// All log-probabilities of a discretised normal. An implementation may compute each edge's Φ once.
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

    /// `f` of arrays whose first axis are independent rows, of one number of them each.
    ///
    /// `f` makes arrays of about `width` numbers per row on its way to a result of one number per row. An
    /// implementation may call it for some of the rows at a time, so that these arrays never exist as a whole, and
    /// may take first derivatives alone.
    fn by_rows(
        arguments: &[&Self::Array],
        _width: usize,
        f: &(dyn Fn(&[Self::Array]) -> Self::Array + Sync),
    ) -> Self::Array {
        let all: Vec<Self::Array> = arguments.iter().map(|argument| Self::alias(argument)).collect();
        f(&all)
    }
}
