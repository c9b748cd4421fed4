//! Output distributions p_O(x | θ; t), one variable at a time.
//!
//! | values | distributions |
//! | --- | --- |
//! | real numbers | [`Delta`], [`Normal`], [`NormalMixture`] |
//! | bins of [−1, 1], by index | [`DiscretisedNormal`], [`DiscretisedMixture`], [`BinCategorical`] |
//! | classes, by index | [`Bernoulli`], [`Categorical`] |
//!
//! Each distribution has a mode, log-probabilities and draws ([`OutputDistribution`]). Distributions over finitely
//! many values also have all their probabilities ([`FiniteDistribution`]), which for classes are the mean of the
//! one-hot vector. Distributions whose values are numbers also have a mean ([`RealValued`]). `sample` takes its
//! random numbers as arguments; `draw` takes them from a [`NoiseSource`](crate::NoiseSource).

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

use crate::discretised::log_ratio;
use crate::shape::assert_same;
use crate::{Backend, FiniteDistribution, Indices, OutputDistribution, Tensor};

/// An [`OutputDistribution`] over numbers: real numbers, or bins represented by their centres.
pub trait RealValued<B: Backend>: OutputDistribution<B> + Sized {
    /// Returns the mean, x̂ or k̂ = Σ_k p(k) k_c, in the shape of the data.
    fn mean(&self) -> Tensor<B>;

    /// Returns the distribution at temperature T: logits divided by T, standard deviations multiplied by √T.
    ///
    /// For a normal this is the density to the power 1/T, normalised. The components and weights of a mixture are
    /// tempered separately. A point mass is unchanged.
    #[must_use]
    fn tempered(&self, temperature: f64) -> Self;
}

/// A distribution over the K equal bins of [−1, 1].
pub trait BinDistribution<B: Backend>: FiniteDistribution<B, Value = Indices<B>> + RealValued<B> {
    /// Estimates KL(p_S ‖ p_R) from one message y = x + ε/√α, in nats, per variable.
    ///
    /// The estimate is ln p_S(y | x; α) − ln p_R(y | θ; t, α): [`log_ratio`] of all log-probabilities, or the same
    /// value without an array of them all.
    ///
    /// `x` holds bin centres of shape `[B, D]`, `alpha` is one number per example (or any shape that broadcasts once
    /// axes of length 1 are appended), and `noise` ε is standard normal, in the shape of `x`.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        log_ratio(x, alpha, noise, &self.log_probabilities())
    }
}

/// Computes [`log_ratio`] of the distribution with these parameters, in blocks of variables.
///
/// `parameters` have the shape of `x`, possibly followed by further axes; `width` is the number of intermediate
/// values per variable.
fn divergence_by_rows<B, D, const N: usize>(
    x: &Tensor<B>,
    alpha: &Tensor<B>,
    noise: &Tensor<B>,
    parameters: [&Tensor<B>; N],
    width: usize,
    distribution: impl Fn([&Tensor<B>; N]) -> D + Sync,
) -> Tensor<B>
where
    B: Backend,
    D: FiniteDistribution<B>,
{
    let shape = x.shape();
    assert_same("sender noise", &shape, &noise.shape());
    let variables = shape.iter().product();
    let alpha = x.full_like(0.0) + alpha.align(x.rank());
    let flat = |tensor: &Tensor<B>| {
        let found = tensor.shape();
        assert_same("data and prediction", &shape, &found[..shape.len().min(found.len())]);
        tensor.reshape(&[&[variables], &found[shape.len()..]].concat())
    };
    let rows = [flat(x), flat(&alpha), flat(noise)].into_iter().chain(parameters.map(flat)).collect::<Vec<_>>();
    let divergence = Tensor::by_rows(&rows.iter().collect::<Vec<_>>(), width, |rows| {
        let output = distribution(std::array::from_fn(|n| &rows[3 + n]));
        log_ratio(&rows[0], &rows[1], &rows[2], &output.log_probabilities())
    });
    divergence.reshape(&shape)
}

/// A distribution over real numbers that has a density and can be discretised to bins.
pub trait Density<B: Backend>: RealValued<B> + OutputDistribution<B, Value = Tensor<B>> {
    /// The distribution of the bin that contains the number.
    type Discretised: BinDistribution<B>;

    /// Gathers the mass into `bins` equal bins of [−1, 1]; the mass beyond ±1 belongs to the outermost bins.
    fn discretised(&self, bins: usize, probability: Probability) -> Self::Discretised;
}

/// An output distribution of continuous data.
pub trait ContinuousDistribution<B: Backend>: RealValued<B> + OutputDistribution<B, Value = Tensor<B>> {
    /// The distribution with normal noise added.
    type Blurred: Density<B>;

    /// Returns the distribution of x + ε with independent ε ~ N(0, deviation²): the convolution with a normal.
    ///
    /// The receiver p_R(y | θ; t, α) is this distribution with deviation² = 1/α.
    fn blurred(&self, deviation: f64) -> Self::Blurred;

    /// Computes KL(N(x, α⁻¹) ‖ p_R) of one message about `x`, in nats, per variable.
    ///
    /// This is exact where there is a closed form, else the unbiased estimate ln p_S(y) − ln p_R(y) from the message
    /// y = x + ε/√α.
    ///
    /// `x` and the result have the shape `[B, D]`, `alpha` is one number per example (or any shape that broadcasts
    /// once axes of length 1 are appended), and `noise` ε is standard normal, in the shape of `x`.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B>;
}
