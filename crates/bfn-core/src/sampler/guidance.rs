//! Guidance: more of what a condition says.

use crate::{Backend, Tensor};

/// A network's output under a condition, taken further in the direction in which the condition moved it.
///
/// # Formula
///
/// (1 + w) Ψ(θ, t, c) − w Ψ(θ, t, ∅), with the weight w: 0 for the conditional prediction as it is, −1 for the
/// unconditional one.
///
/// Both outputs have one shape, which is that of the result. For discrete data they are logits, so that probabilities
/// become p(x | c)^(1+w) p(x)^(−w), normalised; for continuous data the noise ε̂.
///
/// # Panics
///
/// Panics if the outputs differ in shape.
///
/// Source: Ho and Salimans 2022 (arXiv:2207.12598), for diffusion models.
pub fn guided<B: Backend>(conditional: &Tensor<B>, unconditional: &Tensor<B>, weight: f64) -> Tensor<B> {
    crate::shape::assert_same("unconditional output", &conditional.shape(), &unconditional.shape());
    Tensor::weighted_sum(&[1.0 + weight, -weight], &[conditional, unconditional])
}
