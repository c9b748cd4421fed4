//! An unconstrained distribution over bins.

use super::bins::every;
use super::{BinDistribution, Categorical, RealValued, centre, divergence_by_rows};
use crate::shape::{assert_same, with_last};
use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// A categorical distribution over the K bins of [−1, 1], whose values are the bin centres.
///
/// # Formula
///
/// p(k) ∝ e^(logits_k); k̂ = Σ_k p(k) k_c.
///
/// Source: Graves et al. 2023, section 5 (any distribution over bins may be chosen).
#[derive(Debug, Clone)]
pub struct BinCategorical<B: Backend>(pub Categorical<B>);

impl<B: Backend> BinCategorical<B> {
    /// Draws every variable's bin from numbers uniform on [0, 1), of shape `[…]`.
    pub fn sample(&self, uniform: &Tensor<B>) -> Indices<B> {
        self.0.sample(uniform)
    }
}

impl<B: Backend> OutputDistribution<B> for BinCategorical<B> {
    type Value = Indices<B>;

    fn mode(&self) -> Indices<B> {
        self.0.mode()
    }

    /// Computed in blocks of variables, like the other losses of K numbers per variable.
    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        let logits = self.0.logits();
        let shape = x.shape();
        let bins = bins(logits);
        assert_same("data and distribution", &with_last(&shape, bins), &logits.shape());
        let rows = [rows(logits), x.to_reals(logits).reshape(&[shape.iter().product()])];
        let chosen =
            Tensor::by_rows(&rows.each_ref(), bins, |rows| rows[0].log_softmax_at_last(&rows[1].to_index(bins)));
        chosen.reshape(&shape)
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        self.0.draw(noise)
    }
}

impl<B: Backend> FiniteDistribution<B> for BinCategorical<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        self.0.log_probabilities()
    }
}

impl<B: Backend> BinDistribution<B> for BinCategorical<B> {
    /// Computed in blocks of variables: only the logits and their gradient exist as whole arrays over all bins.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        let logits = self.0.logits();
        divergence_by_rows(x, alpha, noise, [logits], bins(logits), |[logits]| Categorical::from_logits(logits))
    }
}

impl<B: Backend> RealValued<B> for BinCategorical<B> {
    fn mean(&self) -> Tensor<B> {
        let logits = self.0.logits();
        let shape = logits.shape();
        let bins = bins(logits);
        let mean = Tensor::by_rows(&[&rows(logits)], bins, |rows| {
            let probabilities = rows[0].softmax_last();
            let centres = centre(&every(&probabilities, bins), bins);
            (probabilities * centres).sum_last()
        });
        mean.reshape(&shape[..shape.len() - 1])
    }

    fn tempered(&self, temperature: f64) -> Self {
        Self(self.0.tempered(temperature))
    }
}

/// Returns K, the length of the last axis.
fn bins<B: Backend>(logits: &Tensor<B>) -> usize {
    logits.shape().last().copied().unwrap_or(0)
}

/// Reshapes the logits to one row per variable.
fn rows<B: Backend>(logits: &Tensor<B>) -> Tensor<B> {
    let shape = logits.shape();
    logits.reshape(&[shape[..shape.len() - 1].iter().product(), bins(logits)])
}
