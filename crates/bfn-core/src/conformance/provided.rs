//! A backend with the primitives of another one and the provided bodies of all composites.

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::{Backend, Tensor};

/// The primitives of `B` without its overrides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Provided<B>(PhantomData<B>);

/// Returns the same numbers, for further computation with the provided bodies.
pub(super) fn provided<B: Backend>(tensor: &Tensor<B>) -> Tensor<Provided<B>> {
    Tensor::new(B::alias(tensor.array()))
}

/// Returns the same numbers on the backend itself.
pub(super) fn overridden<B: Backend>(tensor: &Tensor<Provided<B>>) -> Tensor<B> {
    Tensor::new(B::alias(tensor.array()))
}

macro_rules! primitives {
    ($($name:ident($($argument:ident: $Type:ty),*) -> $Output:ty;)*) => {
        $(fn $name($($argument: $Type),*) -> $Output { B::$name($($argument),*) })*
    };
}

impl<B: Backend> Backend for Provided<B> {
    type Array = B::Array;
    type Indices = B::Indices;

    primitives! {
        alias(a: &B::Array) -> B::Array;
        alias_indices(a: &B::Indices) -> B::Indices;
        shape(a: &B::Array) -> Vec<usize>;
        shape_indices(a: &B::Indices) -> Vec<usize>;
        reshape(a: &B::Array, shape: &[usize]) -> B::Array;
        from_values(like: &B::Array, shape: &[usize], values: &[f64]) -> B::Array;
        full(like: &B::Array, shape: &[usize], value: f64) -> B::Array;
        to_values(a: &B::Array) -> Vec<f64>;
        to_indices(a: &B::Indices) -> Vec<usize>;
        from_indices(like: &B::Array, shape: &[usize], indices: &[usize]) -> B::Indices;
        add(a: &B::Array, b: &B::Array) -> B::Array;
        sub(a: &B::Array, b: &B::Array) -> B::Array;
        mul(a: &B::Array, b: &B::Array) -> B::Array;
        div(a: &B::Array, b: &B::Array) -> B::Array;
        affine(a: &B::Array, scale: f64, offset: f64) -> B::Array;
        exp(a: &B::Array) -> B::Array;
        exp_m1(a: &B::Array) -> B::Array;
        ln(a: &B::Array) -> B::Array;
        ln_1p(a: &B::Array) -> B::Array;
        sqrt(a: &B::Array) -> B::Array;
        recip(a: &B::Array) -> B::Array;
        abs(a: &B::Array) -> B::Array;
        normal_cdf(a: &B::Array) -> B::Array;
        normal_ln_cdf(a: &B::Array) -> B::Array;
        clamp(a: &B::Array, low: f64, high: f64) -> B::Array;
        where_below(a: &B::Array, threshold: f64, below: &B::Array, otherwise: &B::Array) -> B::Array;
        sum_last(a: &B::Array) -> B::Array;
        max_last(a: &B::Array) -> B::Array;
        cumulative_sum_last(a: &B::Array) -> B::Array;
        slice_last(a: &B::Array, start: usize, length: usize) -> B::Array;
        concat_last(parts: &[&B::Array]) -> B::Array;
        gather_last(a: &B::Array, indices: &B::Indices) -> B::Array;
        scatter_add_last(a: B::Array, indices: &B::Indices, values: &B::Array) -> B::Array;
        argmax_last(a: &B::Array) -> B::Indices;
        indices_to_reals(indices: &B::Indices, like: &B::Array) -> B::Array;
        reals_to_indices(a: &B::Array, count: usize) -> B::Indices;
    }
}
