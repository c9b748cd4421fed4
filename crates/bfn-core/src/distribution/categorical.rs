//! The categorical distribution over classes.

use crate::{Backend, FiniteDistribution, Indices, NoiseSource, OutputDistribution, Tensor};

/// A categorical distribution, kept as normalised log-probabilities of shape `[…, K]`.
#[derive(Debug, Clone)]
pub struct Categorical<B: Backend> {
    log_probabilities: Tensor<B>,
}

impl<B: Backend> Categorical<B> {
    /// p(k) ∝ e^(logits_k) over the last axis.
    pub fn from_logits(logits: &Tensor<B>) -> Self {
        Self { log_probabilities: logits.log_softmax_last() }
    }

    /// Two classes from the logit of class 1: p(1) = 1 / (1 + e^(−logit)). `logit` has no class axis.
    pub fn from_binary_logit(logit: &Tensor<B>) -> Self {
        let logit = logit.unsqueeze_last();
        Self::from_logits(&Tensor::concat_last(&[&logit.full_like(0.0), &logit]))
    }

    /// The distribution at a temperature T: p(k)^(1/T), normalised.
    #[must_use]
    pub fn tempered(&self, temperature: f64) -> Self {
        Self::from_logits(&(&self.log_probabilities / temperature))
    }

    /// A draw of every variable from numbers uniform on [0, 1), of shape `[…]`: the first class at
    /// which the cumulative probability exceeds `uniform`.
    ///
    /// A class of probability 0 is never drawn, not even where rounding takes `uniform` to 1 or the
    /// cumulative probability ends below it.
    pub fn sample(&self, uniform: &Tensor<B>) -> Indices<B> {
        let shape = self.log_probabilities.shape();
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
        self.log_probabilities.argmax_last()
    }

    fn log_prob(&self, x: &Indices<B>) -> Tensor<B> {
        self.log_probabilities.gather_last(x)
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Indices<B> {
        let shape = self.log_probabilities.shape();
        let like = self.log_probabilities.full(&shape[..shape.len() - 1], 0.0);
        self.sample(&noise.uniform(&like))
    }
}

impl<B: Backend> FiniteDistribution<B> for Categorical<B> {
    fn log_probabilities(&self) -> Tensor<B> {
        self.log_probabilities.clone()
    }
}
