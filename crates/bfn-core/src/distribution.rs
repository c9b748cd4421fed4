//! Output distributions p_O(x | θ; t), one variable at a time.
//!
//! | values | distributions |
//! | --- | --- |
//! | real numbers | [`Delta`], [`Normal`], [`NormalMixture`] |
//! | bins of [−1, 1], by index | [`DiscretisedNormal`], [`DiscretisedMixture`], [`BinCategorical`] |
//! | classes, by index | [`Bernoulli`], [`Categorical`] |
//!
//! Each has a mode, log-probabilities and draws ([`OutputDistribution`]); those over finitely many
//! values all their probabilities ([`FiniteDistribution`]), which for classes are the mean of the
//! one-hot vector; those whose values are numbers a mean ([`RealValued`]). `sample` takes its random
//! numbers as arguments, `draw` from a [`NoiseSource`](crate::NoiseSource).

mod bernoulli;
mod bin_categorical;
mod bins;
mod categorical;
mod delta;
mod discretised_mixture;
mod discretised_normal;
mod mixture;
mod normal;

pub use bernoulli::Bernoulli;
pub use bin_categorical::BinCategorical;
pub use bins::{Probability, bin, centre};
pub use categorical::Categorical;
pub use delta::Delta;
pub use discretised_mixture::DiscretisedMixture;
pub use discretised_normal::DiscretisedNormal;
pub use mixture::NormalMixture;
pub use normal::Normal;

use crate::{Backend, FiniteDistribution, Indices, OutputDistribution, Tensor};

/// An [`OutputDistribution`] over numbers: over real numbers, or over bins that stand for their centres.
pub trait RealValued<B: Backend>: OutputDistribution<B> + Sized {
    /// The mean, x̂ or k̂ = Σ_k p(k) k_c, of the shape of the data.
    fn mean(&self) -> Tensor<B>;

    /// The distribution at a temperature T: logits divided by T, standard deviations times √T.
    ///
    /// For a normal that is the density to the power 1/T, normalised; a mixture's components and
    /// weights are tempered each on their own. A point mass stays.
    #[must_use]
    fn tempered(&self, temperature: f64) -> Self;
}

/// A distribution over the K equal bins of [−1, 1].
pub trait BinDistribution<B: Backend>: FiniteDistribution<B, Value = Indices<B>> + RealValued<B> {}

impl<B, O> BinDistribution<B> for O
where
    B: Backend,
    O: FiniteDistribution<B, Value = Indices<B>> + RealValued<B>,
{
}

/// A distribution over real numbers that has a density and can be gathered into bins.
pub trait Density<B: Backend>: RealValued<B> + OutputDistribution<B, Value = Tensor<B>> {
    /// The distribution of the bin that holds the number.
    type Discretised: BinDistribution<B>;

    /// The mass gathered into `bins` equal bins of [−1, 1]; the mass beyond ±1 belongs to the outermost bins.
    fn discretised(&self, bins: usize, probability: Probability) -> Self::Discretised;
}

/// An output distribution of continuous data.
pub trait ContinuousDistribution<B: Backend>: RealValued<B> + OutputDistribution<B, Value = Tensor<B>> {
    /// The distribution after normal noise was added.
    type Blurred: Density<B>;

    /// The distribution of x + ε with independent ε ~ N(0, deviation²): the convolution with a normal.
    ///
    /// The receiver p_R(y | θ; t, α) is this with deviation² = 1/α.
    fn blurred(&self, deviation: f64) -> Self::Blurred;

    /// KL(N(x, α⁻¹) ‖ p_R) of one message about `x`, in nats, per variable: in closed form where there
    /// is one, else the unbiased estimate ln p_S(y) − ln p_R(y) from the message y = x + ε/√α.
    ///
    /// `x` and the result have the shape `[B, D]`, `alpha` is one number per example (or any shape that
    /// broadcasts once axes of length 1 are appended), `noise` ε standard normal of the shape of `x`.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B>;
}
