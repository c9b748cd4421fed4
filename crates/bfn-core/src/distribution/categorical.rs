//! The categorical distribution over classes.

use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// A categorical distribution, stored as logits of shape `[…, K]`, which are normalised on demand.
#[derive(Debug, Clone)]
pub struct Categorical<B: Backend> {
    logits: Tensor<B>,
}

impl<B: Backend> Categorical<B> {
    /// Creates the distribution p(k) ∝ e^(logits_k) over the last axis.
    pub fn from_logits(logits: &Tensor<B>) -> Self {
        Self { logits: logits.clone() }
    }

    /// Creates a two-class distribution from the logit of class 1: p(1) = 1 / (1 + e^(−logit)).
    ///
    /// `logit` has no class axis.
    pub fn from_binary_logit(logit: &Tensor<B>) -> Self {
        let logit = logit.unsqueeze_last();
        Self::from_logits(&Tensor::concat_last(&[&logit.full_like(0.0), &logit]))
    }

    /// Returns the logits, of shape `[…, K]`: ln p(k) up to a constant per variable.
    pub fn logits(&self) -> &Tensor<B> {
        &self.logits
    }

    /// Returns the distribution at temperature T: p(k)^(1/T), normalised.
    #[must_use]
    pub fn tempered(&self, temperature: f64) -> Self {
        Self::from_logits(&(self.log_probabilities() / temperature))
    }

    /// Computes the squared distance of the probabilities from the one-hot vector of `x`.
    ///
    /// ‖e_x − p‖² = 1 − 2 p(x) + Σ_k p(k)²; `x` and the result have the shape `[…]`.
    pub fn squared_distance(&self, x: &Indices<B>) -> Tensor<B> {
        self.logits.squared_distance_last(x)
    }

    /// Computes `scale` · p(k) + `offset` of every class k, along a new last axis.
    pub fn affine_probabilities(&self, scale: f64, offset: f64) -> Tensor<B> {
        self.logits.affine_softmax_last(scale, offset)
    }

    /// Draws every variable from numbers uniform on [0, 1), of shape `[…]`.
    ///
    /// The draw is the first class at which the cumulative probability exceeds `uniform`.
    ///
    /// A class of probability 0 is never drawn, not even if `uniform` is rounded to 1 or if the cumulative
    /// probability ends below `uniform` because of rounding.
    pub fn sample(&self, uniform: &Tensor<B>) -> Indices<B> {
        let shape = self.logits.shape();
        let classes = shape[shape.len() - 1];
        let cumulative = self.probabilities().cumulative_sum_last();
        let (zero, one) = (cumulative.full(&[1], 0.0), cumulative.full(&[1], 1.0));
        let passed = (uniform.unsqueeze_last() - &cumulative).where_below(0.0, &zero, &one);
        let total = cumulative.slice_last(classes - 1, 1);
        let unfinished = (cumulative - total).where_below(0.0, &one, &zero);
        (passed * unfinished).sum_last().to_index(classes)
    }
}

impl<B: Backend> OutputDistribution<B> for Categorical<B> {
    type Value = Indices<B>;

    fn mode(&self) -> Indices<B> {
        self.logits.argmax_last()
    }

    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        self.logits.log_softmax_at_last(x)
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        let shape = self.logits.shape();
        let like = self.logits.full(&shape[..shape.len() - 1], 0.0);
        self.sample(&noise.uniform(&like))
    }
}

impl<B: Backend> FiniteDistribution<B> for Categorical<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        self.logits.log_softmax_last()
    }

    fn probabilities(&self) -> Tensor<B> {
        self.logits.softmax_last()
    }
}
