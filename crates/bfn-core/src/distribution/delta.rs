//! The point mass: a prediction without uncertainty.

use super::{ContinuousDistribution, Normal, RealValued};
use crate::shape::assert_same;
use crate::{Backend, NoiseSource, OutputDistribution, Tensor};

/// δ(x − x̂), the output distribution of continuous data.
///
/// Source: Graves et al. 2023, section 4.
#[derive(Debug, Clone)]
pub struct Delta<B: Backend> {
    /// x̂, the prediction.
    pub x_hat: Tensor<B>,
}

impl<B: Backend> OutputDistribution<B> for Delta<B> {
    type Value = Tensor<B>;

    fn mode(&self) -> Tensor<B> {
        self.x_hat.clone()
    }

    /// 0 where `x` equals x̂, else −∞.
    fn log_prob(&self, x: &Tensor<B>) -> Tensor<B> {
        let impossible = self.x_hat.full(&[1], f64::NEG_INFINITY);
        let certain = self.x_hat.full(&[1], 0.0);
        (x - &self.x_hat).abs().where_below(f64::from(f32::MIN_POSITIVE), &certain, &impossible)
    }

    fn draw(&self, _noise: &mut dyn NoiseSource<B>) -> Tensor<B> {
        self.x_hat.clone()
    }
}

impl<B: Backend> RealValued<B> for Delta<B> {
    fn mean(&self) -> Tensor<B> {
        self.x_hat.clone()
    }

    fn tempered(&self, _temperature: f64) -> Self {
        self.clone()
    }
}

impl<B: Backend> ContinuousDistribution<B> for Delta<B> {
    type Blurred = Normal<B>;

    fn blurred(&self, deviation: f64) -> Normal<B> {
        Normal { mean: self.x_hat.clone(), deviation: self.x_hat.full(&[1], deviation) }
    }

    /// α/2 · (x − x̂)², the exact divergence of two normals; the noise is not used.
    fn divergence(&self, x: &Tensor<B>, alpha: &Tensor<B>, _noise: &Tensor<B>) -> Tensor<B> {
        assert_same("data and prediction", &self.x_hat.shape(), &x.shape());
        (alpha.align(x.rank()) * 0.5).squared_error(x, &self.x_hat)
    }
}
