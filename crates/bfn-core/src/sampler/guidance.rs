//! Guidance: amplifying the effect of a condition.

use crate::distribution::{BinCategorical, Categorical, Delta, DiscretisedNormal, Normal};
use crate::mixed::{MixedOutput, PartOutput};
use crate::{Backend, FiniteDistribution, Tensor};

/// Extrapolates a network's output under a condition in the direction in which the condition moved it.
///
/// # Formula
///
/// (1 + w) Ψ(θ, t, c) − w Ψ(θ, t, ∅) with the weight w: 0 gives the conditional prediction, −1 the unconditional one.
///
/// Both outputs have the shape of the result. For discrete data they are logits, so that probabilities become
/// p(x | c)^(1+w) p(x)^(−w), normalised. For continuous data they are the noise ε̂.
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

/// An output distribution whose own parameters can be extrapolated, instead of the network's output.
///
/// The parameters of the result are valid for every weight: probabilities are not negative and sum to one, and a
/// point prediction stays within [−1, 1]. With the weight 0 the result is the conditional prediction.
pub trait Guided {
    /// Extrapolates this prediction, made under a condition, away from the unconditional one.
    ///
    /// # Panics
    ///
    /// Panics if the two differ in shape or in kind.
    #[must_use]
    fn guided(&self, unconditional: &Self, weight: f64) -> Self;
}

/// The lower limit of probabilities, which keeps their logarithms finite.
const LEAST_PROBABILITY: f64 = 1e-12;

/// Computes m_c + w (clip m_c − clip m_∅). clip limits to [−1, 1], so that values far outside count as ±1 there.
fn mean<B: Backend>(conditional: &Tensor<B>, unconditional: &Tensor<B>, weight: f64) -> Tensor<B> {
    crate::shape::assert_same("unconditional mean", &conditional.shape(), &unconditional.shape());
    let (with, without) = (conditional.clamp(-1.0, 1.0), unconditional.clamp(-1.0, 1.0));
    Tensor::weighted_sum(&[1.0, weight, -weight], &[conditional, &with, &without])
}

/// The point mass of continuous data.
///
/// # Formula
///
/// x̂ = clip(x̂_c + w (x̂_c − x̂_∅)), where clip limits to [−1, 1]; both predictions already lie in this range.
///
/// [`guided`] on the network's output gives another result where x̂ = μ/γ − √((1−γ)/γ) ε̂ had to be clipped: there
/// the difference of the noises is multiplied by √((1−γ)/γ), which is large at early times.
impl<B: Backend> Guided for Delta<B> {
    fn guided(&self, unconditional: &Self, weight: f64) -> Self {
        Self { x_hat: mean(&self.x_hat, &unconditional.x_hat, weight).clamp(-1.0, 1.0) }
    }
}

/// The normal of continuous data.
///
/// # Formula
///
/// m = m_c + w (clip m_c − clip m_∅); the deviation is the conditional one.
impl<B: Backend> Guided for Normal<B> {
    fn guided(&self, unconditional: &Self, weight: f64) -> Self {
        Self { mean: mean(&self.mean, &unconditional.mean, weight), deviation: self.deviation.clone() }
    }
}

/// The discretised normal.
///
/// # Formula
///
/// m = m_c + w (clip m_c − clip m_∅); the deviation is the conditional one. Mass beyond ±1 belongs to the outermost
/// bins.
///
/// [`guided`] on the network's output gives m = m_c + w (m_c − m_∅), unclipped, and σ = σ_c^(1+w) σ_∅^(−w).
impl<B: Backend> Guided for DiscretisedNormal<B> {
    fn guided(&self, unconditional: &Self, weight: f64) -> Self {
        Self { mean: mean(&self.mean, &unconditional.mean, weight), ..self.clone() }
    }
}

/// Classes.
///
/// # Formula
///
/// p ∝ max(p_c + w (p_c − p_∅), 10⁻¹²).
///
/// [`guided`] on the network's output gives p ∝ p_c^(1+w) p_∅^(−w).
impl<B: Backend> Guided for Categorical<B> {
    fn guided(&self, unconditional: &Self, weight: f64) -> Self {
        let probabilities = guided(&self.probabilities(), &unconditional.probabilities(), weight);
        Self::from_logits(&probabilities.clamp(LEAST_PROBABILITY, f64::INFINITY).ln())
    }
}

/// Probabilities of bins, guided like [`Categorical`].
impl<B: Backend> Guided for BinCategorical<B> {
    fn guided(&self, unconditional: &Self, weight: f64) -> Self {
        Self(self.0.guided(&unconditional.0, weight))
    }
}

/// Guides each part according to its kind.
impl<C: Guided, X: Guided, D: Guided> Guided for MixedOutput<C, X, D> {
    fn guided(&self, unconditional: &Self, weight: f64) -> Self {
        assert_eq!(self.0.len(), unconditional.0.len(), "parts of the conditional and the unconditional prediction");
        let parts = self.0.iter().zip(&unconditional.0).map(|parts| match parts {
            (PartOutput::Continuous(with), PartOutput::Continuous(without)) => {
                PartOutput::Continuous(with.guided(without, weight))
            }
            (PartOutput::Discretised(with), PartOutput::Discretised(without)) => {
                PartOutput::Discretised(with.guided(without, weight))
            }
            (PartOutput::Discrete(with), PartOutput::Discrete(without)) => {
                PartOutput::Discrete(with.guided(without, weight))
            }
            _ => panic!("the conditional and the unconditional prediction of a part are of different kinds"),
        });
        Self(parts.collect())
    }
}
