//! The identities of the mathematics, on `ndarray`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like the tests themselves")]

mod conditional;
mod continuous;
mod convergence;
mod discrete;
mod discretised;
mod distributions;
mod entropy;
mod exchange;
mod extremes;
mod fitted;
mod grid;
mod guidance;
mod heads;
mod mistakes;
mod mixed;
mod sampler;
mod schedule;
mod solver_marginals;
mod solver_orders;
mod solvers;
mod statistics;
mod steady;
mod steered;
mod tabulated;
mod times;
mod trajectory;

use bfn_core::{Element, Indices, Nd, Tensor};
use proptest::prelude::*;

/// Builds a tensor in f64.
fn tensor(shape: &[usize], values: &[f64]) -> Tensor {
    like::<f64>().from_values_like(shape, values)
}

/// Builds a tensor of one axis in f64.
fn row(values: &[f64]) -> Tensor {
    tensor(&[values.len()], values)
}

/// Builds indices for tensors in f64.
fn indices(shape: &[usize], values: &[usize]) -> Indices {
    like::<f64>().indices_like(shape, values)
}

/// Returns a tensor that fixes the precision.
fn like<F: Element>() -> Tensor<Nd<F>> {
    Tensor::from_nd(ndarray::ArrayD::from_elem(vec![1], F::of(0.0)))
}

/// Panics unless all values agree to `tolerance`, which is relative, or absolute below magnitude 1.
#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "number of values");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = tolerance * expected.abs().max(1.0);
        assert!((found - expected).abs() <= allowed, "value {i} is {found:e}, expected {expected:e} ± {allowed:e}");
    }
}

/// Generates numbers that a standard normal might give.
fn noise(count: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-4.0..4.0, count)
}

/// Generates a σ₁ in the paper's range and beyond.
fn sigma_1() -> impl Strategy<Value = f64> {
    (-9.0..-0.01_f64).prop_map(f64::exp)
}

/// Generates strictly positive probabilities that sum to one.
fn distribution(count: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-4.0..4.0_f64, count).prop_map(|logits| {
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / total).collect()
    })
}
