//! The common part of the loops for continuous and discretised data.

use bfn_core::{ExponentialSchedule, Schedule};

use super::{constant, values};
use crate::inputs::{ALPHA, BEFORE, FROM, Inputs, Precision, TO};

/// Data, noise and a normal belief about each variable.
pub(super) struct NormalBelief<'a, F: Precision> {
    pub(super) inputs: &'a Inputs<F>,
    pub(super) schedule: ExponentialSchedule,
    pub(super) noise: Vec<F>,
    pub(super) sender_noise: Vec<F>,
    pub(super) network: Vec<F>,
    pub(super) theta: Vec<F>,
    pub(super) last: Vec<F>,
    pub(super) message: Vec<F>,
}

impl<'a, F: Precision> NormalBelief<'a, F> {
    pub(super) fn new(inputs: &'a Inputs<F>, sigma_1: f64, x: impl Fn(usize) -> F) -> Self {
        let mut normal = Self {
            inputs,
            schedule: ExponentialSchedule::new(sigma_1).expect("a schedule"),
            noise: values(&inputs.noise),
            sender_noise: values(&inputs.sender_noise),
            network: values(&inputs.network),
            theta: Vec::new(),
            last: Vec::new(),
            message: Vec::new(),
        };
        let times = inputs.t.to_values();
        normal.theta = normal.flow(|example| times[example], &x);
        normal.last = normal.flow(|_| 1.0, &x);
        let deviation = constant::<F>(ALPHA.powf(-0.5));
        let message = |(i, epsilon): (usize, &F)| x(i) + deviation * *epsilon;
        normal.message = normal.sender_noise.iter().enumerate().map(message).collect();
        normal
    }

    pub(super) fn flow(&self, t: impl Fn(usize) -> f64, x: impl Fn(usize) -> F) -> Vec<F> {
        let variables = self.inputs.size.variables;
        let mut out = Vec::with_capacity(self.noise.len());
        for (example, noise) in self.noise.chunks_exact(variables).enumerate() {
            let gamma = self.schedule.gamma(&t(example));
            let (scale, deviation) = (constant::<F>(gamma), constant::<F>((gamma * (1.0 - gamma)).sqrt()));
            let from = example * variables;
            out.extend(noise.iter().enumerate().map(|(i, epsilon)| scale * x(from + i) + deviation * *epsilon));
        }
        out
    }

    pub(super) fn update(&self) -> Vec<F> {
        let variables = self.inputs.size.variables;
        let times = self.inputs.t.to_values();
        let mut out = Vec::with_capacity(self.theta.len());
        for (example, theta) in self.theta.chunks_exact(variables).enumerate() {
            let rho = 1.0 / self.schedule.one_minus_gamma(&times[example]);
            let (kept, learned) = (constant::<F>(rho / (rho + ALPHA)), constant::<F>(ALPHA / (rho + ALPHA)));
            let message = &self.message[example * variables..];
            out.extend(theta.iter().zip(message).map(|(mu, y)| kept * *mu + learned * *y));
        }
        out
    }

    /// Computes one result per variable; `f` receives its number, μ, and 1/γ, √((1−γ)/γ) and α(t)/2 at its time.
    pub(super) fn each(
        &self,
        mu: &[F],
        t: impl Fn(usize) -> f64,
        mut f: impl FnMut(usize, F, Ratios<F>) -> F,
    ) -> Vec<F> {
        let variables = self.inputs.size.variables;
        let mut out = Vec::with_capacity(mu.len());
        for (example, mu) in mu.chunks_exact(variables).enumerate() {
            let t = t(example);
            let (gamma, rest) = (self.schedule.gamma(&t), self.schedule.one_minus_gamma(&t));
            let rate = constant(0.5 * self.schedule.alpha(&t));
            let ratios = Ratios { scale: constant(1.0 / gamma), ratio: constant((rest / gamma).sqrt()), rate };
            out.extend(mu.iter().enumerate().map(|(i, mu)| f(example * variables + i, *mu, ratios)));
        }
        out
    }

    pub(super) fn sampler_step(&self, other: &[F], mut x_hat: impl FnMut(usize, F, Ratios<F>) -> F) -> Vec<F> {
        let (before, after) = (self.schedule.one_minus_gamma(&FROM), self.schedule.one_minus_gamma(&TO));
        let accuracy = self.schedule.step_accuracy(&FROM, &TO);
        let beta = |t: f64| self.schedule.beta(&t);
        let growth = |from: f64, to: f64| 0.5 * (beta(to) / beta(from)).ln();
        let state = constant::<F>(after / before);
        let signal = constant::<F>(accuracy * after);
        let slope = constant::<F>(accuracy * after * 0.5 * growth(FROM, TO) / growth(BEFORE, FROM));
        let noise = constant::<F>(accuracy.sqrt() * after);
        let times = self.inputs.t.to_values();
        self.each(
            &self.theta,
            |example| times[example],
            |i, mu, ratios| {
                let x_hat = x_hat(i, mu, ratios);
                state * mu + signal * x_hat + slope * (x_hat - other[i]) + noise * self.sender_noise[i]
            },
        )
    }
}

/// The factors 1/γ, √((1−γ)/γ) and α(t)/2.
#[derive(Clone, Copy)]
pub(super) struct Ratios<F> {
    pub(super) scale: F,
    pub(super) ratio: F,
    pub(super) rate: F,
}
