//! Discretised data.

use bfn_core::special::{normal_cdf, normal_ln_cdf, normal_ln_mass};

use super::normal::{NormalBelief, Ratios};
use super::{Loops, constant};
use crate::inputs::{ALPHA, Inputs, Precision};

/// Discretised data with the discretised normal as output distribution.
pub(crate) struct DiscretisedLoops<'a, F: Precision> {
    normal: NormalBelief<'a, F>,
    x: Vec<usize>,
    other: Vec<F>,
}

impl<'a, F: Precision> DiscretisedLoops<'a, F> {
    pub(crate) fn new(inputs: &'a Inputs<F>, sigma_1: f64) -> Self {
        let x = inputs.indices.to_vec();
        let bins = inputs.size.classes;
        let normal = NormalBelief::new(inputs, sigma_1, |i| centre(x[i], bins));
        let mut loops = Self { normal, x, other: Vec::new() };
        loops.other = loops.normal.each(&loops.normal.last, |_| 1.0, |i, mu, ratios| loops.k_hat(i, mu, ratios));
        loops
    }

    fn bins(&self) -> usize {
        self.normal.inputs.size.classes
    }

    /// Computes the mean and the deviation of the data, in f64 like the functions of the normal distribution.
    fn prediction(&self, i: usize, mu: F, ratios: Ratios<F>) -> (f64, f64) {
        let (mean, ln_sigma) = (self.normal.network[2 * i], self.normal.network[2 * i + 1]);
        let limit = |x: F, low: f64, high: f64| x.max(constant(low)).min(constant(high));
        let deviation = limit(ratios.ratio * limit(ln_sigma, -10.0, 10.0).exp(), 1e-3, 10.0);
        ((ratios.scale * mu - ratios.ratio * mean).widen(), deviation.widen())
    }

    fn k_hat(&self, i: usize, mu: F, ratios: Ratios<F>) -> F {
        let (mean, deviation) = self.prediction(i, mu, ratios);
        let bins = self.bins();
        let inverse = 1.0 / deviation;
        let edge = |j: usize| 2.0 * j as f64 / bins as f64 - 1.0;
        let sum: f64 = (1..bins).map(|j| normal_cdf((edge(j) - mean) * inverse)).sum();
        constant(1.0 - 1.0 / bins as f64 - 2.0 / bins as f64 * sum)
    }

    /// Computes ln p_O(k).
    fn ln_p(&self, k: usize, mean: f64, deviation: f64) -> f64 {
        let bins = self.bins();
        let half = 1.0 / bins as f64;
        let offset = (2 * k + 1) as f64 * half - 1.0 - mean;
        match k {
            0 => normal_ln_cdf((offset + half) / deviation),
            k if k + 1 == bins => normal_ln_cdf((half - offset) / deviation),
            _ => normal_ln_mass(offset / deviation, half / deviation),
        }
    }

    fn times(&self) -> Vec<f64> {
        self.normal.inputs.t.to_values()
    }
}

fn centre<F: Precision>(k: usize, bins: usize) -> F {
    constant((2 * k + 1) as f64 / bins as f64 - 1.0)
}

impl<F: Precision> Loops<F> for DiscretisedLoops<'_, F> {
    fn flow(&self) -> Vec<F> {
        let (times, bins) = (self.times(), self.bins());
        self.normal.flow(|example| times[example], |i| centre(self.x[i], bins))
    }

    fn update(&self) -> Vec<F> {
        self.normal.update()
    }

    fn loss_continuous_time(&self) -> Vec<F> {
        let (times, bins) = (self.times(), self.bins());
        self.normal.each(
            &self.normal.theta,
            |example| times[example],
            |i, mu, ratios| {
                let error = centre::<F>(self.x[i], bins) - self.k_hat(i, mu, ratios);
                ratios.rate * error * error
            },
        )
    }

    fn loss_step(&self) -> Vec<F> {
        let (times, bins) = (self.times(), self.bins());
        let root_alpha = ALPHA.sqrt();
        let mut terms = vec![F::zero(); bins];
        self.normal.each(
            &self.normal.theta,
            |example| times[example],
            |i, mu, ratios| {
                let (mean, deviation) = self.prediction(i, mu, ratios);
                let epsilon = self.normal.sender_noise[i];
                let x = centre::<F>(self.x[i], bins);
                let mut top = F::neg_infinity();
                for (k, term) in terms.iter_mut().enumerate() {
                    let distance = constant::<F>(root_alpha) * (x - centre(k, bins)) + epsilon;
                    *term = constant::<F>(self.ln_p(k, mean, deviation)) - distance * distance * constant(0.5);
                    top = top.max(*term);
                }
                let sum = terms.iter().fold(F::zero(), |sum, term| sum + (*term - top).exp());
                epsilon * epsilon * constant(-0.5) - (sum.ln() + top)
            },
        )
    }

    fn loss_reconstruction(&self) -> Vec<F> {
        self.normal.each(
            &self.normal.last,
            |_| 1.0,
            |i, mu, ratios| {
                let (mean, deviation) = self.prediction(i, mu, ratios);
                constant(-self.ln_p(self.x[i], mean, deviation))
            },
        )
    }

    fn sampler_step(&self) -> Vec<F> {
        self.normal.sampler_step(&self.other, |i, mu, ratios| self.k_hat(i, mu, ratios))
    }
}
