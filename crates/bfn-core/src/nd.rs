//! The `ndarray` backend.

use std::fmt::Debug;
use std::marker::PhantomData;

use ndarray::{ArcArray, ArrayD, ArrayViewD, Axis, IxDyn, Zip};
use num_traits::Float;

use crate::special;
use crate::{Backend, Indices, Tensor};

/// The `ndarray` backend in precision `F` (f64 by default, or f32), on the CPU, without automatic
/// differentiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nd<F = f64>(PhantomData<F>);

/// The precisions of [`Nd`].
pub trait Element: Float + Debug + Send + Sync + 'static {
    /// Rounds a number to this precision.
    fn of(value: f64) -> Self;
    /// The number as f64.
    fn widen(self) -> f64;
}

impl Element for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn widen(self) -> f64 {
        self
    }
}

impl Element for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

type Array<F> = ArcArray<F, IxDyn>;

impl<F: Element> Tensor<Nd<F>> {
    /// Wraps an array of `ndarray`.
    pub fn from_nd(array: ArrayD<F>) -> Self {
        Self::new(standard(array))
    }

    /// The array, to be read with `ndarray`.
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

/// Every array of this backend is in row-major order, so that reshaping is free and flat loops are allowed.
fn standard<F: Element>(array: ArrayD<F>) -> Array<F> {
    if array.is_standard_layout() { array.into_shared() } else { array.as_standard_layout().into_owned().into_shared() }
}

fn map<F: Element>(a: &Array<F>, f: impl Fn(F) -> F) -> Array<F> {
    a.mapv(f).into_shared()
}

fn zip<F: Element>(name: &str, a: &Array<F>, b: &Array<F>, f: impl Fn(F, F) -> F) -> Array<F> {
    if a.shape() == b.shape() {
        let mut out = a.to_owned();
        out.zip_mut_with(b, |x, y| *x = f(*x, *y));
        return out.into_shared();
    }
    let shape = IxDyn(&broadcast_shape(name, a.shape(), b.shape()));
    let mut out = ArrayD::from_elem(shape.clone(), F::zero());
    if let (Some(a), Some(b)) = (a.broadcast(shape.clone()), b.broadcast(shape)) {
        Zip::from(&mut out).and(&a).and(&b).for_each(|out, x, y| *out = f(*x, *y));
    }
    out.into_shared()
}

/// NumPy's rule: aligned at the last axis, an axis of length 1 stretches.
fn broadcast_shape(name: &str, a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let joint = |axis| match (length(a, axis), length(b, axis)) {
        (1, n) | (n, 1) => n,
        (m, n) => {
            assert!(m == n, "{name}: shapes {a:?} and {b:?} do not broadcast");
            n
        }
    };
    (0..rank).map(joint).collect()
}

/// Rows along the last axis: their number, and their length.
fn rows(shape: &[usize]) -> Rows {
    let length = *shape.last().expect("an operation over the last axis needs an axis");
    Rows { outer: shape[..shape.len() - 1].to_vec(), length }
}

struct Rows {
    outer: Vec<usize>,
    length: usize,
}

fn flat<F: Element>(a: &Array<F>) -> &[F] {
    a.as_slice().expect("arrays of this backend are in row-major order")
}

fn from_vec<T: Clone>(shape: &[usize], values: Vec<T>) -> ArcArray<T, IxDyn> {
    let count = values.len();
    match ArrayD::from_shape_vec(IxDyn(shape), values) {
        Ok(array) => array.into_shared(),
        Err(_) => panic!("{count} values do not fill the shape {shape:?}"),
    }
}

fn reduce<F: Element>(a: &Array<F>, f: impl Fn(&[F]) -> F) -> Array<F> {
    let Rows { outer, length } = rows(a.shape());
    let values = flat(a).chunks_exact(length.max(1)).map(f).collect();
    from_vec(&outer, values)
}

fn check_indices(name: &str, a: &[usize], indices: &[usize]) {
    assert!(a[..a.len() - 1] == *indices, "{name}: indices of shape {indices:?} do not fit an array of shape {a:?}");
}

impl<F: Element> Backend for Nd<F> {
    type Array = Array<F>;
    type Indices = ArcArray<usize, IxDyn>;

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
        zip("a + b", a, b, |x, y| x + y)
    }
    fn sub(a: &Self::Array, b: &Self::Array) -> Self::Array {
        zip("a - b", a, b, |x, y| x - y)
    }
    fn mul(a: &Self::Array, b: &Self::Array) -> Self::Array {
        zip("a * b", a, b, |x, y| x * y)
    }
    fn div(a: &Self::Array, b: &Self::Array) -> Self::Array {
        zip("a / b", a, b, |x, y| x / y)
    }
    fn affine(a: &Self::Array, scale: f64, offset: f64) -> Self::Array {
        let (scale, offset) = (F::of(scale), F::of(offset));
        map(a, |x| x * scale + offset)
    }

    fn exp(a: &Self::Array) -> Self::Array {
        map(a, F::exp)
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
        // Not `max` and `min`, which would hide a NaN.
        map(a, |x| {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        })
    }
    fn where_below(a: &Self::Array, threshold: f64, below: &Self::Array, otherwise: &Self::Array) -> Self::Array {
        let threshold = F::of(threshold);
        let branches = broadcast_shape("where_below", below.shape(), otherwise.shape());
        let shape = IxDyn(&broadcast_shape("where_below", a.shape(), &branches));
        let mut out = ArrayD::from_elem(shape.clone(), F::zero());
        let views = (a.broadcast(shape.clone()), below.broadcast(shape.clone()), otherwise.broadcast(shape));
        if let (Some(a), Some(below), Some(otherwise)) = views {
            Zip::from(&mut out)
                .and(&a)
                .and(&below)
                .and(&otherwise)
                .for_each(|out, x, below, otherwise| *out = if *x < threshold { *below } else { *otherwise });
        }
        out.into_shared()
    }

    fn sum_last(a: &Self::Array) -> Self::Array {
        reduce(a, |row| row.iter().fold(F::zero(), |sum, x| sum + *x))
    }
    fn max_last(a: &Self::Array) -> Self::Array {
        reduce(a, |row| row.iter().fold(F::neg_infinity(), |peak, x| if *x > peak || x.is_nan() { *x } else { peak }))
    }
    fn cumulative_sum_last(a: &Self::Array) -> Self::Array {
        let Rows { length, .. } = rows(a.shape());
        let mut out = a.to_owned();
        if let Some(values) = out.as_slice_mut() {
            for row in values.chunks_exact_mut(length.max(1)) {
                let mut sum = F::zero();
                for x in row {
                    sum = sum + *x;
                    *x = sum;
                }
            }
        }
        out.into_shared()
    }
    fn slice_last(a: &Self::Array, start: usize, length: usize) -> Self::Array {
        let Rows { length: axis, .. } = rows(a.shape());
        let end = start + length;
        assert!(end <= axis, "slice_last: part {start}..{end} lies outside the last axis of shape {:?}", a.shape());
        let last = Axis(a.ndim() - 1);
        standard(a.slice_axis(last, (start..start + length).into()).into_owned())
    }
    fn concat_last(parts: &[&Self::Array]) -> Self::Array {
        let views: Vec<ArrayViewD<'_, F>> = parts.iter().map(|part| part.view()).collect();
        let last = Axis(views[0].ndim() - 1);
        match ndarray::concatenate(last, &views) {
            Ok(joined) => standard(joined),
            Err(_) => {
                let shapes: Vec<&[usize]> = parts.iter().map(|part| part.shape()).collect();
                panic!("arrays of shapes {shapes:?} cannot be joined along their last axis")
            }
        }
    }
    fn gather_last(a: &Self::Array, indices: &Self::Indices) -> Self::Array {
        check_indices("gather_last", a.shape(), indices.shape());
        let Rows { outer, length } = rows(a.shape());
        let values = flat(a).chunks_exact(length).zip(indices.iter()).map(|(row, index)| row[*index]).collect();
        from_vec(&outer, values)
    }
    fn scatter_add_last(a: &Self::Array, indices: &Self::Indices, values: &Self::Array) -> Self::Array {
        check_indices("scatter_add_last", a.shape(), indices.shape());
        let Rows { length, .. } = rows(a.shape());
        let Some(values) = values.broadcast(indices.raw_dim()) else {
            panic!("values of shape {:?} do not broadcast to indices of shape {:?}", values.shape(), indices.shape());
        };
        let mut out = a.to_owned();
        if let Some(flat) = out.as_slice_mut() {
            for ((row, index), value) in flat.chunks_exact_mut(length).zip(indices.iter()).zip(values.iter()) {
                row[*index] = row[*index] + *value;
            }
        }
        out.into_shared()
    }
    fn argmax_last(a: &Self::Array) -> Self::Indices {
        let Rows { outer, length } = rows(a.shape());
        let best = |row: &[F]| (1..length).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        from_vec(&outer, flat(a).chunks_exact(length).map(best).collect())
    }

    fn indices_to_reals(indices: &Self::Indices, _like: &Self::Array) -> Self::Array {
        indices.mapv(|index| F::of(index as f64)).into_shared()
    }
    fn reals_to_indices(a: &Self::Array, count: usize) -> Self::Indices {
        // `as` saturates: below 0 and NaN give 0.
        a.mapv(|x| (x.widen() as usize).min(count - 1)).into_shared()
    }
}
