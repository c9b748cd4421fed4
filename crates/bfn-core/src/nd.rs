//! The `ndarray` backend.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Range;

mod broadcast;
mod normal;
mod pieces;
mod rows;
mod softmax;

use broadcast::{broadcast_shape, fused, stretched};
use ndarray::{ArcArray, ArrayD, ArrayViewD, Axis, IxDyn};
use normal::Edges;
use num_traits::Float;
use pieces::collected;
use rows::{mapped, reduced, rows};

use crate::special;
use crate::special::exponential::{exp_f32, exp_f64};
use crate::{Backend, Indices, Tensor};

/// The `ndarray` backend in precision `F` (f64 by default, or f32), on the CPU, without automatic differentiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nd<F = f64>(PhantomData<F>);

/// The precisions of [`Nd`].
pub trait Element: Float + Debug + Send + Sync + 'static {
    /// Rounds a number to this precision.
    fn of(value: f64) -> Self;
    /// Converts the number to f64.
    fn widen(self) -> f64;
    /// Computes `e^self` within 2 units in the last place, in a form that compiles to vector instructions in loops.
    fn exponential(self) -> Self;
}

impl Element for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn widen(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exponential(self) -> Self {
        exp_f64(self)
    }
}

impl Element for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn widen(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn exponential(self) -> Self {
        exp_f32(self)
    }
}

type Array<F> = ArcArray<F, IxDyn>;
type IndexArray = ArcArray<usize, IxDyn>;

impl<F: Element> Tensor<Nd<F>> {
    /// Wraps an array of `ndarray`.
    pub fn from_nd(array: ArrayD<F>) -> Self {
        Self::new(standard(array))
    }

    /// Returns a view of the array for reading with `ndarray`.
    pub fn view(&self) -> ArrayViewD<'_, F> {
        self.array().view()
    }
}

impl<F: Element> Indices<Nd<F>> {
    /// Wraps an array of indices.
    pub fn from_nd(array: ArrayD<usize>) -> Self {
        Self::new(array.as_standard_layout().into_owned().into_shared())
    }
}

/// Converts an array to row-major order, the order of every array of this backend.
///
/// Reshaping is therefore free and flat loops are allowed.
fn standard<F: Element>(array: ArrayD<F>) -> Array<F> {
    if array.is_standard_layout() { array.into_shared() } else { array.as_standard_layout().into_owned().into_shared() }
}

fn map<F: Element>(a: &Array<F>, f: impl Fn(F) -> F + Copy + Sync) -> Array<F> {
    let values = flat(a);
    // `f` is moved, so that its captures are not read again from memory after every number that is written.
    let append = |range: Range<usize>, out: &mut Vec<F>| out.extend(values[range].iter().map(move |x| f(*x)));
    from_vec(a.shape(), collected(values.len(), 1, append))
}

fn flat<F>(a: &ArcArray<F, IxDyn>) -> &[F] {
    a.as_slice().expect("arrays of this backend are in row-major order")
}

fn from_vec<T: Clone>(shape: &[usize], values: Vec<T>) -> ArcArray<T, IxDyn> {
    let count = values.len();
    match ArrayD::from_shape_vec(IxDyn(shape), values) {
        Ok(array) => array.into_shared(),
        Err(_) => panic!("{count} values do not fill the shape {shape:?}"),
    }
}

fn check_indices(name: &str, a: &[usize], indices: &[usize]) {
    assert!(a[..a.len() - 1] == *indices, "{name}: indices of shape {indices:?} do not fit an array of shape {a:?}");
}

impl<F: Element> Backend for Nd<F> {
    type Array = Array<F>;
    type Indices = IndexArray;

    fn alias(a: &Self::Array) -> Self::Array {
        a.clone()
    }
    fn alias_indices(a: &Self::Indices) -> Self::Indices {
        a.clone()
    }
    fn shape(a: &Self::Array) -> Vec<usize> {
        a.shape().to_vec()
    }
    fn shape_indices(a: &Self::Indices) -> Vec<usize> {
        a.shape().to_vec()
    }
    fn reshape(a: &Self::Array, shape: &[usize]) -> Self::Array {
        match a.clone().into_shape_with_order(IxDyn(shape)) {
            Ok(array) => array,
            Err(_) => panic!("an array of shape {:?} cannot take the shape {shape:?}", a.shape()),
        }
    }
    fn from_values(_like: &Self::Array, shape: &[usize], values: &[f64]) -> Self::Array {
        from_vec(shape, values.iter().map(|value| F::of(*value)).collect())
    }
    fn full(_like: &Self::Array, shape: &[usize], value: f64) -> Self::Array {
        ArrayD::from_elem(IxDyn(shape), F::of(value)).into_shared()
    }
    fn to_values(a: &Self::Array) -> Vec<f64> {
        flat(a).iter().map(|value| value.widen()).collect()
    }
    fn to_indices(a: &Self::Indices) -> Vec<usize> {
        a.iter().copied().collect()
    }
    fn from_indices(_like: &Self::Array, shape: &[usize], indices: &[usize]) -> Self::Indices {
        from_vec(shape, indices.to_vec())
    }

    fn add(a: &Self::Array, b: &Self::Array) -> Self::Array {
        fused("a + b", [a, b], |[x, y]| x + y)
    }
    fn sub(a: &Self::Array, b: &Self::Array) -> Self::Array {
        fused("a - b", [a, b], |[x, y]| x - y)
    }
    fn mul(a: &Self::Array, b: &Self::Array) -> Self::Array {
        fused("a * b", [a, b], |[x, y]| x * y)
    }
    fn div(a: &Self::Array, b: &Self::Array) -> Self::Array {
        fused("a / b", [a, b], |[x, y]| x / y)
    }
    fn affine(a: &Self::Array, scale: f64, offset: f64) -> Self::Array {
        let (scale, offset) = (F::of(scale), F::of(offset));
        map(a, move |x| x * scale + offset)
    }

    fn exp(a: &Self::Array) -> Self::Array {
        map(a, F::exponential)
    }
    fn exp_m1(a: &Self::Array) -> Self::Array {
        map(a, F::exp_m1)
    }
    fn ln(a: &Self::Array) -> Self::Array {
        map(a, F::ln)
    }
    fn ln_1p(a: &Self::Array) -> Self::Array {
        map(a, F::ln_1p)
    }
    fn sqrt(a: &Self::Array) -> Self::Array {
        map(a, F::sqrt)
    }
    fn recip(a: &Self::Array) -> Self::Array {
        map(a, F::recip)
    }
    fn abs(a: &Self::Array) -> Self::Array {
        map(a, F::abs)
    }
    fn normal_cdf(a: &Self::Array) -> Self::Array {
        map(a, |x| F::of(special::normal_cdf(x.widen())))
    }
    fn normal_ln_cdf(a: &Self::Array) -> Self::Array {
        map(a, |x| F::of(special::normal_ln_cdf(x.widen())))
    }
    fn clamp(a: &Self::Array, low: f64, high: f64) -> Self::Array {
        let (low, high) = (F::of(low), F::of(high));
        // Not `max` and `min`, which would hide a NaN, but two selections without a branch.
        map(a, move |x| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        })
    }
    fn where_below(a: &Self::Array, threshold: f64, below: &Self::Array, otherwise: &Self::Array) -> Self::Array {
        let threshold = F::of(threshold);
        fused(
            "where_below",
            [below, otherwise, a],
            |[below, otherwise, x]| if x < threshold { below } else { otherwise },
        )
    }

    fn sum_last(a: &Self::Array) -> Self::Array {
        reduced(a, rows::sum)
    }
    fn max_last(a: &Self::Array) -> Self::Array {
        reduced(a, rows::peak)
    }
    fn cumulative_sum_last(a: &Self::Array) -> Self::Array {
        mapped(a, rows::cumulative_sum)
    }
    fn slice_last(a: &Self::Array, start: usize, length: usize) -> Self::Array {
        let (outer, axis) = rows(a.shape());
        let end = start + length;
        assert!(end <= axis, "slice_last: part {start}..{end} lies outside the last axis of shape {:?}", a.shape());
        let values = flat(a);
        let parts = (0..outer.iter().product()).flat_map(|row: usize| &values[row * axis + start..][..length]);
        from_vec(&[outer, &[length]].concat(), parts.copied().collect())
    }
    fn concat_last(parts: &[&Self::Array]) -> Self::Array {
        let (outer, _) = rows(parts[0].shape());
        let shapes: Vec<&[usize]> = parts.iter().map(|part| part.shape()).collect();
        let fits = shapes.iter().all(|shape| rows(shape).0 == outer);
        assert!(fits, "arrays of shapes {shapes:?} cannot be joined along their last axis");
        rows::joined(outer, parts)
    }
    fn gather_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        check_indices("gather_last", a.shape(), indices.shape());
        let (outer, length) = rows(a.shape());
        let values = flat(a).chunks_exact(length).zip(flat(indices)).map(|(row, index)| row[*index]).collect();
        from_vec(outer, values)
    }
    fn scatter_add_last(a: Self::Array, indices: &Self::Indices, values: &Self::Array) -> Self::Array {
        check_indices("scatter_add_last", a.shape(), indices.shape());
        let (_, length) = rows(a.shape());
        let (values_shape, shape) = (values.shape(), indices.shape());
        let fits = broadcast_shape("scatter_add_last", values_shape, shape) == shape;
        assert!(fits, "values of shape {values_shape:?} do not broadcast to indices of shape {shape:?}");
        let values = stretched(values, shape);
        let mut out = a.into_owned();
        if let Some(rows) = out.as_slice_mut() {
            for ((row, index), value) in rows.chunks_exact_mut(length).zip(flat(indices)).zip(flat(&values)) {
                row[*index] = row[*index] + *value;
            }
        }
        out.into_shared()
    }
    fn select_rows(a: &Self::Array, rows: &[usize]) -> Self::Array {
        assert!(rows.iter().all(|row| *row < a.shape()[0]), "rows {rows:?} of an array of shape {:?}", a.shape());
        a.select(Axis(0), rows).into_shared()
    }

    fn argmax_last(a: &Self::Array) -> Self::Indices {
        let (outer, length) = rows(a.shape());
        let best = |row: &[F]| (1..length).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        from_vec(outer, flat(a).chunks_exact(length).map(best).collect())
    }

    fn indices_to_reals(indices: &Self::Indices, _like: &Self::Array) -> Self::Array {
        indices.mapv(|index| F::of(index as f64)).into_shared()
    }
    fn reals_to_indices(a: &Self::Array, count: usize) -> Self::Indices {
        // `as` saturates: negative numbers and NaN give 0.
        a.mapv(|x| (x.widen() as usize).min(count - 1)).into_shared()
    }

    fn linear_combination(a: &Self::Array, x: &Self::Array, b: &Self::Array, y: &Self::Array) -> Self::Array {
        fused("a · x + b · y", [a, x, b, y], |[a, x, b, y]| a * x + b * y)
    }
    fn weighted_sum(weights: &[f64], arrays: &[&Self::Array]) -> Self::Array {
        /// The number of elements that stay in the fastest memory from one array to the next.
        const PART: usize = 1024;
        assert!(
            !arrays.is_empty() && weights.len() == arrays.len(),
            "{} weights, {} arrays",
            weights.len(),
            arrays.len()
        );
        let shape = arrays[0].shape();
        for array in arrays {
            assert!(array.shape() == shape, "weighted_sum: shapes {shape:?} and {:?} differ", array.shape());
        }
        let out = collected(arrays[0].len(), 1, |range, out| {
            for start in range.clone().step_by(PART) {
                let part = start..range.end.min(start + PART);
                let (first, rest) = (F::of(weights[0]), out.len());
                out.extend(flat(arrays[0])[part.clone()].iter().map(|x| first * *x));
                for (weight, array) in weights.iter().zip(arrays).skip(1) {
                    let weight = F::of(*weight);
                    for (out, x) in out[rest..].iter_mut().zip(&flat(array)[part.clone()]) {
                        *out = *out + weight * *x;
                    }
                }
            }
        });
        from_vec(shape, out)
    }
    fn squared_error(scale: &Self::Array, a: &Self::Array, b: &Self::Array) -> Self::Array {
        fused("scale · (a - b)²", [scale, a, b], |[scale, a, b]| scale * ((a - b) * (a - b)))
    }
    fn sum_of_squares_last(a: &Self::Array) -> Self::Array {
        reduced(a, rows::sum_of_squares)
    }
    fn log_sum_exp_last(a: &Self::Array) -> Self::Array {
        softmax::log_sum_exp(a)
    }
    fn log_mean_exp_last(a: &Self::Array, b: &Self::Array) -> Self::Array {
        let joint = broadcast_shape("log_mean_exp_last", a.shape(), b.shape());
        assert!(joint == a.shape(), "log_mean_exp_last: shape {:?} does not broadcast to {:?}", b.shape(), a.shape());
        softmax::log_mean_exp(a, &stretched(b, &joint))
    }
    fn log_softmax_last(a: &Self::Array) -> Self::Array {
        softmax::log_softmax(a)
    }
    fn softmax_last(a: &Self::Array) -> Self::Array {
        softmax::affine_softmax(a, F::one(), F::zero())
    }
    fn affine_softmax_last(a: &Self::Array, scale: f64, offset: f64) -> Self::Array {
        softmax::affine_softmax(a, F::of(scale), F::of(offset))
    }
    fn log_softmax_at_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        check_indices("log_softmax_at_last", a.shape(), indices.shape());
        softmax::log_softmax_at(a, indices)
    }
    fn squared_distance_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        check_indices("squared_distance_last", a.shape(), indices.shape());
        softmax::squared_distance(a, indices)
    }
    fn sum_normal_cdf(edges: &[f64], mean: &Self::Array, inverse_deviation: &Self::Array) -> Self::Array {
        let edges = Edges::new(edges);
        fused("sum_normal_cdf", [mean, inverse_deviation], |[mean, inverse]| edges.sum_normal_cdf(mean, inverse))
    }
    fn normal_ln_mass(offset: &Self::Array, half_width: &Self::Array) -> Self::Array {
        let mass = |[offset, half]: [F; 2]| F::of(special::normal_ln_mass(offset.widen(), half.widen()));
        fused("normal_ln_mass", [offset, half_width], mass)
    }
    fn normal_ln_masses(edges: &[f64], mean: &Self::Array, inverse_deviation: &Self::Array) -> Self::Array {
        assert!(!edges.is_empty(), "the intervals of no edges are not known");
        let joint = broadcast_shape("normal_ln_masses", mean.shape(), inverse_deviation.shape());
        let (mean, inverse) = (stretched(mean, &joint), stretched(inverse_deviation, &joint));
        let (mean, inverse, edges) = (flat(&mean), flat(&inverse), Edges::new(edges));
        let intervals = edges.intervals();
        let out = collected(mean.len() * intervals, intervals, |range, out| {
            for i in range.start / intervals..range.end / intervals {
                edges.normal_ln_masses(mean[i], inverse[i], out);
            }
        });
        from_vec(&[&joint[..], &[intervals]].concat(), out)
    }
    fn by_rows(
        arguments: &[&Self::Array],
        width: usize,
        f: &(dyn Fn(&[Self::Array]) -> Self::Array + Sync),
    ) -> Self::Array {
        /// The numbers per array that `f` creates, few enough to fit into the caches.
        const BLOCK: usize = 1 << 13;
        let count = arguments[0].shape()[0];
        let per_block = (BLOCK / width.max(1)).max(1);
        let out = collected(count, per_block, |range, out| {
            for start in range.clone().step_by(per_block) {
                let rows = per_block.min(range.end - start);
                let parts: Vec<Self::Array> = arguments.iter().map(|argument| part(argument, start, rows)).collect();
                out.extend_from_slice(flat(&f(&parts)));
            }
        });
        from_vec(&[count], out)
    }
}

/// Returns some rows of an array, along its first axis, without a copy.
fn part<F: Element>(a: &Array<F>, start: usize, count: usize) -> Array<F> {
    let mut part = a.clone();
    part.slice_axis_inplace(Axis(0), (start..start + count).into());
    part
}
