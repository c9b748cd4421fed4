//! Arrays with operators, so that equations read as in the paper.

use std::fmt;

mod operators;

use crate::{Backend, Nd};

/// An array of real numbers on backend `B`, with the operators `+ − · /` and the functions of the equations.
///
/// Operators take tensors by value or by reference, in any combination, and numbers (`f64`) on either side. They
/// broadcast as in NumPy, aligned at the last axis. Cloning shares the data.
///
/// # Examples
///
/// A sample of the flow distribution at γ = 0.75 for three numbers:
///
/// ```
/// use bfn_core::{Nd, Tensor};
/// let x: Tensor = Tensor::from_nd(ndarray::arr1(&[-1.0, 0.0, 1.0]).into_dyn());
/// let noise = x.full_like(0.5);
/// let gamma = x.full_like(0.75);
/// let mu = &gamma * &x + (&gamma * (1.0 - &gamma)).sqrt() * noise;
/// assert!((mu.to_values()[2] - (0.75 + 0.1875_f64.sqrt() * 0.5)).abs() < 1e-15);
/// ```
pub struct Tensor<B: Backend = Nd> {
    array: B::Array,
}

/// An array of class or bin indices on backend `B`, counted from 0.
pub struct Indices<B: Backend = Nd> {
    array: B::Indices,
}

impl<B: Backend> Tensor<B> {
    /// Wraps an array of the backend, which must be in the order that the backend works with.
    ///
    /// On [`Nd`] this is row-major order; with other orders, later operations panic. [`Tensor::from_nd`] takes any
    /// order.
    pub fn new(array: B::Array) -> Self {
        Self { array }
    }

    /// Returns the backend's array.
    pub fn array(&self) -> &B::Array {
        &self.array
    }

    /// Unwraps the backend's array.
    pub fn into_array(self) -> B::Array {
        self.array
    }

    /// Returns the lengths of the axes.
    pub fn shape(&self) -> Vec<usize> {
        B::shape(&self.array)
    }

    /// Returns the number of axes.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// Returns the numbers in row-major order, on the host.
    pub fn to_values(&self) -> Vec<f64> {
        B::to_values(&self.array)
    }

    /// Creates a tensor of the given shape and numbers (row-major), in the precision and on the device of `self`.
    ///
    /// # Panics
    ///
    /// Panics if the number of values does not fit the shape.
    pub fn from_values_like(&self, shape: &[usize], values: &[f64]) -> Self {
        Self::new(B::from_values(&self.array, shape, values))
    }

    /// Creates indices of the given shape (row-major), on the device of `self`.
    ///
    /// # Panics
    ///
    /// Panics if the number of indices does not fit the shape.
    pub fn indices_like(&self, shape: &[usize], indices: &[usize]) -> Indices<B> {
        Indices::new(B::from_indices(&self.array, shape, indices))
    }

    /// Creates a tensor of the shape of `self`, filled with one number.
    pub fn full_like(&self, value: f64) -> Self {
        self.full(&self.shape(), value)
    }

    /// Creates a tensor of the given shape, filled with one number, in the precision and on the device of `self`.
    pub fn full(&self, shape: &[usize], value: f64) -> Self {
        Self::new(B::full(&self.array, shape, value))
    }

    /// Returns the same numbers, in row-major order, with another shape.
    ///
    /// # Panics
    ///
    /// Panics if the shapes hold different numbers of elements.
    pub fn reshape(&self, shape: &[usize]) -> Self {
        Self::new(B::reshape(&self.array, shape))
    }

    /// Appends axes of length 1 until the tensor has `rank` axes.
    ///
    /// One number per example then broadcasts over the example's variables.
    ///
    /// # Panics
    ///
    /// Panics if the tensor has more than `rank` axes.
    pub fn align(&self, rank: usize) -> Self {
        let mut shape = self.shape();
        assert!(shape.len() <= rank, "a tensor of shape {shape:?} cannot be aligned to {rank} axes");
        if shape.len() == rank {
            return self.clone();
        }
        shape.resize(rank, 1);
        self.reshape(&shape)
    }

    /// Returns the same numbers with an additional last axis of length 1.
    pub fn unsqueeze_last(&self) -> Self {
        self.align(self.rank() + 1)
    }

    /// Returns the same numbers without their last axis, which has length 1.
    ///
    /// # Panics
    ///
    /// Panics if the last axis is not of length 1.
    pub fn squeeze_last(&self) -> Self {
        let shape = self.shape();
        assert_eq!(shape.last(), Some(&1), "the last axis of {shape:?} must have length 1 to be removed");
        self.reshape(&shape[..shape.len() - 1])
    }

    /// `scale · self + offset`.
    pub fn affine(&self, scale: f64, offset: f64) -> Self {
        Self::new(B::affine(&self.array, scale, offset))
    }

    /// `self · x + b · y`.
    pub fn combine(&self, x: &Self, b: &Self, y: &Self) -> Self {
        Self::new(B::linear_combination(&self.array, &x.array, &b.array, &y.array))
    }

    /// `self · (x − y)²`.
    pub fn squared_error(&self, x: &Self, y: &Self) -> Self {
        Self::new(B::squared_error(&self.array, &x.array, &y.array))
    }

    /// Computes Σ_i `weights[i]` · `tensors[i]`, for tensors of the same shape.
    ///
    /// # Panics
    ///
    /// Panics if there are no tensors, or if the numbers of weights and tensors differ.
    pub fn weighted_sum(weights: &[f64], tensors: &[&Self]) -> Self {
        let arrays: Vec<&B::Array> = tensors.iter().map(|tensor| &tensor.array).collect();
        Self::new(B::weighted_sum(weights, &arrays))
    }

    /// `self²`.
    pub fn square(&self) -> Self {
        self * self
    }

    /// Limits the numbers to `[low, high]`.
    pub fn clamp(&self, low: f64, high: f64) -> Self {
        Self::new(B::clamp(&self.array, low, high))
    }

    /// Selects `below` where `self < threshold`, else `otherwise`, element by element.
    pub fn where_below(&self, threshold: f64, below: &Self, otherwise: &Self) -> Self {
        Self::new(B::where_below(&self.array, threshold, &below.array, &otherwise.array))
    }

    /// Returns the part `start..start + length` of the last axis.
    pub fn slice_last(&self, start: usize, length: usize) -> Self {
        Self::new(B::slice_last(&self.array, start, length))
    }

    /// Returns one entry of the last axis, which is removed.
    pub fn select_last(&self, index: usize) -> Self {
        self.slice_last(index, 1).squeeze_last()
    }

    /// Selects rows, counted from 0 along the first axis, in the given order.
    ///
    /// # Panics
    ///
    /// Panics if one of the rows does not exist.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        Self::new(B::select_rows(&self.array, rows))
    }

    /// Joins tensors along the last axis.
    pub fn concat_last(parts: &[&Self]) -> Self {
        let arrays: Vec<&B::Array> = parts.iter().map(|part| &part.array).collect();
        Self::new(B::concat_last(&arrays))
    }

    /// Picks one number along the last axis, which is removed: `out[…] = self[…, indices[…]]`.
    pub fn gather_last(&self, indices: &Indices<B>) -> Self {
        Self::new(B::gather_last(&self.array, &indices.array))
    }

    /// Adds `values` to `self` at `[…, indices[…]]`; the memory of `self` may be reused.
    pub fn scatter_add_last(self, indices: &Indices<B>, values: &Self) -> Self {
        Self::new(B::scatter_add_last(self.array, &indices.array, &values.array))
    }

    /// Computes `scale · e^self / Σ e^self + offset` over the last axis.
    pub fn affine_softmax_last(&self, scale: f64, offset: f64) -> Self {
        Self::new(B::affine_softmax_last(&self.array, scale, offset))
    }

    /// Computes the normalised log-probability of one class over the last axis: `self[…, indices[…]] − ln Σ e^self`.
    pub fn log_softmax_at_last(&self, indices: &Indices<B>) -> Self {
        Self::new(B::log_softmax_at_last(&self.array, &indices.array))
    }

    /// Computes ‖softmax(self) − e_x‖² over the last axis, for the classes x; see [`Backend::squared_distance_last`].
    pub fn squared_distance_last(&self, indices: &Indices<B>) -> Self {
        Self::new(B::squared_distance_last(&self.array, &indices.array))
    }

    /// Computes ln Σ softmax(self) e^`exponents` over the last axis, which is removed.
    pub fn log_mean_exp_last(&self, exponents: &Self) -> Self {
        Self::new(B::log_mean_exp_last(&self.array, &exponents.array))
    }

    /// Returns the index of the largest number along the last axis, which is removed.
    pub fn argmax_last(&self) -> Indices<B> {
        Indices::new(B::argmax_last(&self.array))
    }

    /// Converts the integer parts, limited to `0..count`, to indices.
    pub fn to_index(&self, count: usize) -> Indices<B> {
        Indices::new(B::reals_to_indices(&self.array, count))
    }

    /// Computes Σ_j Φ((edges_j − self) · inverse_deviation); see [`Backend::sum_normal_cdf`].
    pub fn sum_normal_cdf(&self, edges: &[f64], inverse_deviation: &Self) -> Self {
        Self::new(B::sum_normal_cdf(edges, &self.array, &inverse_deviation.array))
    }

    /// Computes ln(Φ(self + half_width) − Φ(self − half_width)); see [`Backend::normal_ln_mass`].
    pub fn normal_ln_mass(&self, half_width: &Self) -> Self {
        Self::new(B::normal_ln_mass(&self.array, &half_width.array))
    }

    /// Computes the log-masses of N(self, 1/inverse_deviation²) between `edges`; see [`Backend::normal_ln_masses`].
    pub fn normal_ln_masses(&self, edges: &[f64], inverse_deviation: &Self) -> Self {
        Self::new(B::normal_ln_masses(edges, &self.array, &inverse_deviation.array))
    }

    /// Applies `f` to tensors whose first axis indexes independent rows; see [`Backend::by_rows`].
    ///
    /// # Panics
    ///
    /// Panics if the tensors have different numbers of rows.
    pub fn by_rows(arguments: &[&Self], width: usize, f: impl Fn(&[Self]) -> Self + Sync) -> Self {
        let arrays: Vec<&B::Array> = arguments.iter().map(|argument| &argument.array).collect();
        for argument in arguments {
            let (first, shape) = (arguments[0].shape(), argument.shape());
            assert!(!shape.is_empty() && shape[0] == first[0], "rows of shapes {first:?} and {shape:?}");
        }
        Self::new(B::by_rows(&arrays, width, &|parts: &[B::Array]| {
            let parts: Vec<Self> = parts.iter().map(|part| Self::new(B::alias(part))).collect();
            f(&parts).into_array()
        }))
    }
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident => $primitive:ident;)*) => {
        impl<B: Backend> Tensor<B> {
            $($(#[$doc])* pub fn $name(&self) -> Self { Self::new(B::$primitive(&self.array)) })*
        }
    };
}

functions! {
    /// `e^self`.
    exp => exp;
    /// `e^self − 1`, accurate where the number is small.
    exp_m1 => exp_m1;
    /// `ln self`.
    ln => ln;
    /// `ln(1 + self)`, accurate where the number is small.
    ln_1p => ln_1p;
    /// `√self`.
    sqrt => sqrt;
    /// `1 / self`.
    recip => recip;
    /// `|self|`.
    abs => abs;
    /// Φ(self), the distribution function of the standard normal.
    normal_cdf => normal_cdf;
    /// ln Φ(self), finite far into the lower tail.
    normal_ln_cdf => normal_ln_cdf;
    /// Computes Σ over the last axis, which is removed.
    sum_last => sum_last;
    /// Returns the largest number along the last axis, which is removed. The result carries no gradient.
    max_last => max_last;
    /// Computes Σ self² over the last axis, which is removed.
    sum_of_squares_last => sum_of_squares_last;
    /// Computes the running sums along the last axis.
    cumulative_sum_last => cumulative_sum_last;
    /// Computes ln Σ e^self over the last axis, which is removed.
    log_sum_exp_last => log_sum_exp_last;
    /// Computes normalised log-probabilities over the last axis.
    log_softmax_last => log_softmax_last;
    /// Computes normalised probabilities over the last axis.
    softmax_last => softmax_last;
    /// Returns the same numbers, detached from automatic differentiation where there is any.
    detach => detach;
}

impl<B: Backend> Indices<B> {
    /// Wraps an index array of the backend.
    pub fn new(array: B::Indices) -> Self {
        Self { array }
    }

    /// Returns the backend's index array.
    pub fn array(&self) -> &B::Indices {
        &self.array
    }

    /// Returns the lengths of the axes.
    pub fn shape(&self) -> Vec<usize> {
        B::shape_indices(&self.array)
    }

    /// Returns the indices in row-major order, on the host.
    pub fn to_vec(&self) -> Vec<usize> {
        B::to_indices(&self.array)
    }

    /// Converts the indices to real numbers, in the precision and on the device of `like`.
    pub fn to_reals(&self, like: &Tensor<B>) -> Tensor<B> {
        Tensor::new(B::indices_to_reals(&self.array, &like.array))
    }
}

impl<B: Backend> Clone for Tensor<B> {
    fn clone(&self) -> Self {
        Self::new(B::alias(&self.array))
    }
}

impl<B: Backend> Clone for Indices<B> {
    fn clone(&self) -> Self {
        Self::new(B::alias_indices(&self.array))
    }
}

impl<B: Backend> fmt::Debug for Tensor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.array.fmt(f)
    }
}

impl<B: Backend> fmt::Debug for Indices<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.array.fmt(f)
    }
}
