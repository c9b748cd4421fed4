//! Mixtures of normals over real numbers.

use super::normal::log_density;
use super::{Categorical, ContinuousDistribution, Density, DiscretisedMixture, Probability, RealValued};
use crate::shape::assert_same;
use crate::{Backend, FiniteDistribution, NoiseSource, OutputDistribution, Tensor};

/// The number of steps of the ascent to a mixture's mode.
const MODE_STEPS: usize = 64;

/// Σ_m w_m N(mean_m, deviation_m²), an output distribution of continuous data.
///
/// `weights`, `means` and `deviations` > 0 have shape `[…, M]` for M components.
///
/// Source: Graves et al. 2023, section 4 (any output distribution may be chosen).
#[derive(Debug, Clone)]
pub struct NormalMixture<B: Backend> {
    /// The probabilities w of the components.
    pub weights: Categorical<B>,
    /// The means of the components.
    pub means: Tensor<B>,
    /// The standard deviations of the components.
    pub deviations: Tensor<B>,
}

impl<B: Backend> NormalMixture<B> {
    /// Draws every variable from numbers of shape `[…]`.
    ///
    /// `uniform` on [0, 1) selects the component, standard normal `noise` the position in it.
    pub fn sample(&self, uniform: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        let component = self.weights.sample(uniform);
        self.means.gather_last(&component) + self.deviations.gather_last(&component) * noise
    }

    /// Computes ln(w_m N(x; mean_m, deviation_m²)) of every component, for `x` that broadcasts with `[…, M]`.
    fn log_joint(&self, x: &Tensor<B>) -> Tensor<B> {
        self.weights.log_probabilities() + log_density(x, &self.means, &self.deviations)
    }

    /// Takes one step of the ascent from `x`, of shape `[…]`; the step never lowers the density.
    ///
    /// The result is the mean of the components' means, weighted by their share in the density's slope at x.
    fn ascend(&self, x: &Tensor<B>) -> Tensor<B> {
        let share = self.log_joint(&x.unsqueeze_last()) - self.deviations.ln() * 2.0;
        (share.softmax_last() * &self.means).sum_last()
    }
}

impl<B: Backend> OutputDistribution<B> for NormalMixture<B> {
    type Value = Tensor<B>;

    /// The highest of the maxima that 64 steps of an ascent reach from each component's mean.
    ///
    /// A mixture's mode has no closed form. Well-separated components are resolved to rounding error. Where two
    /// components are about to merge, the ascent is slow and ends near the maximum.
    fn mode(&self) -> Tensor<B> {
        let components = self.means.shape().last().copied().unwrap_or(0);
        let tops: Vec<Tensor<B>> = (0..components)
            .map(|m| (0..MODE_STEPS).fold(self.means.select_last(m), |x, _| self.ascend(&x)).unsqueeze_last())
            .collect();
        let heights: Vec<Tensor<B>> =
            tops.iter().map(|x| self.log_joint(x).log_sum_exp_last().unsqueeze_last()).collect();
        let highest = Tensor::concat_last(&heights.iter().collect::<Vec<_>>()).argmax_last();
        Tensor::concat_last(&tops.iter().collect::<Vec<_>>()).gather_last(&highest)
    }

    fn log_prob(&self, x: &Tensor<B>) -> Tensor<B> {
        let shape = self.means.shape();
        assert_same("data and distribution", &shape[..shape.len() - 1], &x.shape());
        self.log_joint(&x.unsqueeze_last()).log_sum_exp_last()
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Tensor<B> {
        let shape = self.means.shape();
        let like = self.means.full(&shape[..shape.len() - 1], 0.0);
        self.sample(&noise.uniform(&like), &noise.normal(&like))
    }
}

impl<B: Backend> RealValued<B> for NormalMixture<B> {
    /// Σ_m w_m mean_m.
    fn mean(&self) -> Tensor<B> {
        (self.weights.probabilities() * &self.means).sum_last()
    }

    fn tempered(&self, temperature: f64) -> Self {
        Self {
            weights: self.weights.tempered(temperature),
            deviations: &self.deviations * temperature.sqrt(),
            ..self.clone()
        }
    }
}

impl<B: Backend> Density<B> for NormalMixture<B> {
    type Discretised = DiscretisedMixture<B>;

    fn discretised(&self, bins: usize, probability: Probability) -> DiscretisedMixture<B> {
        DiscretisedMixture {
            weights: self.weights.clone(),
            means: self.means.clone(),
            deviations: self.deviations.clone(),
            bins,
            probability,
        }
    }
}

impl<B: Backend> ContinuousDistribution<B> for NormalMixture<B> {
    type Blurred = Self;

    fn blurred(&self, deviation: f64) -> Self {
        let variances = self.deviations.square() + deviation * deviation;
        Self { weights: self.weights.clone(), means: self.means.clone(), deviations: variances.sqrt() }
    }

    /// The estimate −½ε² − ln Σ_m w_m (1 + α s_m²)^(−½) e^(−z_m²/(2 (1 + α s_m²))) with z_m = √α (x − m_m) + ε,
    /// for the receiver Σ_m w_m N(m_m, s_m² + 1/α).
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        let shape = self.means.shape();
        assert_same("data and prediction", &shape[..shape.len() - 1], &x.shape());
        assert_same("sender noise", &x.shape(), &noise.shape());
        let alpha = alpha.align(x.rank()).unsqueeze_last();
        let spread = &alpha * self.deviations.square();
        let z = alpha.sqrt() * (x.unsqueeze_last() - &self.means) + noise.unsqueeze_last();
        let exponent = (z.square() / (&spread + 1.0) + spread.ln_1p()) * -0.5;
        let receiver = (self.weights.log_probabilities() + exponent).log_sum_exp_last();
        noise.square() * -0.5 - receiver
    }
}
