//! Continuous data.

use super::normal::{NormalBelief, Ratios};
use super::{Loops, constant, values};
use crate::inputs::{ALPHA, Inputs, Precision};

/// Continuous data with the point mass as output distribution.
pub(crate) struct ContinuousLoops<'a, F: Precision> {
    normal: NormalBelief<'a, F>,
    sigma_1: f64,
    x: Vec<F>,
    other: Vec<F>,
}

impl<'a, F: Precision> ContinuousLoops<'a, F> {
    pub(crate) fn new(inputs: &'a Inputs<F>, sigma_1: f64) -> Self {
        let x = values(&inputs.reals);
        let normal = NormalBelief::new(inputs, sigma_1, |i| x[i]);
        let mut loops = Self { normal, sigma_1, x, other: Vec::new() };
        loops.other = loops.normal.each(&loops.normal.last, |_| 1.0, |i, mu, ratios| loops.x_hat(i, mu, ratios));
        loops
    }

    fn x_hat(&self, i: usize, mu: F, ratios: Ratios<F>) -> F {
        let x_hat = ratios.scale * mu - ratios.ratio * self.normal.network[i];
        x_hat.max(-F::one()).min(F::one())
    }

    fn times(&self) -> Vec<f64> {
        self.normal.inputs.t.to_values()
    }
}

impl<F: Precision> Loops<F> for ContinuousLoops<'_, F> {
    fn flow(&self) -> Vec<F> {
        let times = self.times();
        self.normal.flow(|example| times[example], |i| self.x[i])
    }

    fn update(&self) -> Vec<F> {
        self.normal.update()
    }

    fn loss_continuous_time(&self) -> Vec<F> {
        let times = self.times();
        self.normal.each(
            &self.normal.theta,
            |example| times[example],
            |i, mu, ratios| {
                let error = self.x[i] - self.x_hat(i, mu, ratios);
                ratios.rate * error * error
            },
        )
    }

    fn loss_step(&self) -> Vec<F> {
        let times = self.times();
        let half = constant::<F>(0.5 * ALPHA);
        self.normal.each(
            &self.normal.theta,
            |example| times[example],
            |i, mu, ratios| {
                let error = self.x[i] - self.x_hat(i, mu, ratios);
                half * error * error
            },
        )
    }

    fn loss_reconstruction(&self) -> Vec<F> {
        let normaliser = constant::<F>(self.sigma_1.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln());
        let inverse = constant::<F>(1.0 / self.sigma_1);
        self.normal.each(
            &self.normal.last,
            |_| 1.0,
            |i, mu, ratios| {
                let error = (self.x[i] - self.x_hat(i, mu, ratios)) * inverse;
                constant::<F>(0.5) * error * error + normaliser
            },
        )
    }

    fn sampler_step(&self) -> Vec<F> {
        self.normal.sampler_step(&self.other, |i, mu, ratios| self.x_hat(i, mu, ratios))
    }
}
