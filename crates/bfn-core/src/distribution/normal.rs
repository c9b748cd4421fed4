//! The normal distribution over real numbers.

use std::f64::consts::PI;

use super::{ContinuousDistribution, Density, DiscretisedNormal, Probability, RealValued};
use crate::shape::assert_same;
use crate::{Backend, NoiseSource, OutputDistribution, Tensor};

/// N(mean, deviation²), an output distribution of continuous data.
///
/// # Formula
///
/// ln p(x) = −½((x − mean)/deviation)² − ln deviation − ½ ln 2π.
///
/// `mean` has the shape of the data; `deviation` > 0 has the same shape or one that broadcasts to it.
///
/// Source: Graves et al. 2023, section 4.
#[derive(Debug, Clone)]
pub struct Normal<B: Backend> {
    /// The mean.
    pub mean: Tensor<B>,
    /// The standard deviation.
    pub deviation: Tensor<B>,
}

impl<B: Backend> Normal<B> {
    /// Draws every variable from standard normal numbers ε: mean + deviation · ε.
    pub fn sample(&self, noise: &Tensor<B>) -> Tensor<B> {
        assert_same("noise and distribution", &self.mean.shape(), &noise.shape());
        &self.mean + &self.deviation * noise
    }
}

/// Computes ln N(x; mean, deviation²), where all three broadcast.
pub(super) fn log_density<B: Backend>(x: &Tensor<B>, mean: &Tensor<B>, deviation: &Tensor<B>) -> Tensor<B> {
    let precision = deviation.square().recip();
    (precision * -0.5).squared_error(x, mean) - (deviation.ln() + 0.5 * (2.0 * PI).ln())
}

impl<B: Backend> OutputDistribution<B> for Normal<B> {
    type Value = Tensor<B>;

    fn mode(&self) -> Tensor<B> {
        self.mean.clone()
    }

    fn log_prob(&self, x: &Tensor<B>) -> Tensor<B> {
        assert_same("data and distribution", &self.mean.shape(), &x.shape());
        log_density(x, &self.mean, &self.deviation)
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Tensor<B> {
        self.sample(&noise.normal(&self.mean))
    }
}

impl<B: Backend> RealValued<B> for Normal<B> {
    fn mean(&self) -> Tensor<B> {
        self.mean.clone()
    }

    fn tempered(&self, temperature: f64) -> Self {
        Self { mean: self.mean.clone(), deviation: &self.deviation * temperature.sqrt() }
    }
}

impl<B: Backend> Density<B> for Normal<B> {
    type Discretised = DiscretisedNormal<B>;

    fn discretised(&self, bins: usize, probability: Probability) -> DiscretisedNormal<B> {
        DiscretisedNormal { mean: self.mean.clone(), deviation: self.deviation.clone(), bins, probability }
    }
}

impl<B: Backend> ContinuousDistribution<B> for Normal<B> {
    type Blurred = Self;

    fn blurred(&self, deviation: f64) -> Self {
        let variance = self.deviation.square() + deviation * deviation;
        Self { mean: self.mean.clone(), deviation: variance.sqrt() }
    }

    /// The exact divergence of two normals, ½((1 + α(x − m)²)/(1 + α s²) − 1 + ln(1 + α s²)) for p_O = N(m, s²),
    /// whose receiver is N(m, s² + 1/α); the noise is not used.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, _noise: &Tensor<B>) -> Tensor<B> {
        assert_same("data and prediction", &self.mean.shape(), &x.shape());
        let alpha = alpha.align(x.rank());
        let spread = &alpha * self.deviation.square();
        let surplus = (alpha * (x - &self.mean).square() - &spread) / (&spread + 1.0);
        (surplus + spread.ln_1p()) * 0.5
    }
}
