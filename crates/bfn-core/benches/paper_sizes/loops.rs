//! Plain loops: one pass over the arguments, with the same functions of numbers and without arrays in between.

use bfn_core::special::{normal_cdf, normal_ln_cdf, normal_ln_mass};
use bfn_core::{Element, ExponentialSchedule, Nd, QuadraticSchedule, Schedule, Tensor};

use crate::inputs::{ALPHA, BEFORE, FROM, Inputs, Precision, TO};

/// The equations of one kind of data.
pub(crate) trait Loops<F> {
    fn flow(&self) -> Vec<F>;
    fn update(&self) -> Vec<F>;
    fn loss_continuous_time(&self) -> Vec<F>;
    fn loss_step(&self) -> Vec<F>;
    fn loss_reconstruction(&self) -> Vec<F>;
    fn sampler_step(&self) -> Vec<F>;
}

fn values<F: Precision>(tensor: &Tensor<Nd<F>>) -> Vec<F> {
    tensor.view().iter().copied().collect()
}

fn constant<F: Element>(value: f64) -> F {
    F::of(value)
}

/// Discrete data.
pub(crate) struct DiscreteLoops<'a, F: Precision> {
    inputs: &'a Inputs<F>,
    schedule: QuadraticSchedule,
    x: Vec<usize>,
    noise: Vec<F>,
    sender_noise: Vec<F>,
    network: Vec<F>,
    theta: Vec<F>,
    message: Vec<F>,
    other: Vec<F>,
}

impl<'a, F: Precision> DiscreteLoops<'a, F> {
    pub(crate) fn new(inputs: &'a Inputs<F>, beta_1: f64) -> Self {
        let mut loops = Self {
            inputs,
            schedule: QuadraticSchedule::new(beta_1).expect("a schedule"),
            x: inputs.indices.to_vec(),
            noise: values(&inputs.noise),
            sender_noise: values(&inputs.sender_noise),
            network: values(&inputs.network),
            theta: Vec::new(),
            message: Vec::new(),
            other: Vec::new(),
        };
        loops.theta = loops.flow();
        loops.message = loops.send(&loops.sender_noise, |_| ALPHA);
        let mut other = vec![F::zero(); loops.noise.len()];
        for (variable, signal) in other.chunks_exact_mut(inputs.size.classes).enumerate() {
            loops.signal(variable, signal);
        }
        loops.other = other;
        loops
    }

    fn times(&self) -> Vec<f64> {
        self.inputs.t.to_values()
    }

    fn send(&self, noise: &[F], alpha: impl Fn(usize) -> f64) -> Vec<F> {
        let classes = self.inputs.size.classes;
        let mut out = Vec::with_capacity(noise.len());
        for (variable, noise) in noise.chunks_exact(classes).enumerate() {
            let alpha = alpha(self.inputs.example(variable));
            let (deviation, peak) = (constant::<F>((alpha * classes as f64).sqrt()), constant(alpha * classes as f64));
            let background = constant::<F>(-alpha);
            out.extend(noise.iter().map(|epsilon| deviation * *epsilon + background));
            let class = variable * classes + self.x[variable];
            out[class] = out[class] + peak;
        }
        out
    }

    /// The logits of a variable; for two classes the network has one.
    fn logits(&self, variable: usize, logits: &mut [F]) {
        match self.inputs.size.network_outputs {
            1 => (logits[0], logits[1]) = (F::zero(), self.network[variable]),
            outputs => logits.copy_from_slice(&self.network[variable * outputs..(variable + 1) * outputs]),
        }
    }

    /// e^(logits − their largest), their sum, and the largest.
    fn exponentials(&self, variable: usize, p: &mut [F]) -> (F, F) {
        self.logits(variable, p);
        let peak = p.iter().fold(F::neg_infinity(), |peak, logit| peak.max(*logit));
        let mut total = F::zero();
        for p in p.iter_mut() {
            *p = (*p - peak).exp();
            total = total + *p;
        }
        (total, peak)
    }

    fn signal(&self, variable: usize, signal: &mut [F]) {
        let classes = constant::<F>(self.inputs.size.classes as f64);
        let (total, _) = self.exponentials(variable, signal);
        for p in signal {
            *p = classes * (*p / total) - F::one();
        }
    }
}

impl<F: Precision> Loops<F> for DiscreteLoops<'_, F> {
    fn flow(&self) -> Vec<F> {
        let times = self.times();
        self.send(&self.noise, |example| self.schedule.beta(&times[example]))
    }

    fn update(&self) -> Vec<F> {
        self.theta.iter().zip(&self.message).map(|(z, y)| *z + *y).collect()
    }

    fn loss_continuous_time(&self) -> Vec<F> {
        let classes = self.inputs.size.classes;
        let times = self.times();
        let mut p = vec![F::zero(); classes];
        let mut loss = |variable: usize| {
            let (total, _) = self.exponentials(variable, &mut p);
            let squares = p.iter().fold(F::zero(), |sum, p| sum + *p * *p) / (total * total);
            let distance = F::one() - constant::<F>(2.0) * p[self.x[variable]] / total + squares;
            constant::<F>(0.5 * classes as f64 * self.schedule.alpha(&times[self.inputs.example(variable)])) * distance
        };
        (0..self.x.len()).map(&mut loss).collect()
    }

    fn loss_step(&self) -> Vec<F> {
        let classes = self.inputs.size.classes;
        let (deviation, peak) = (constant::<F>((ALPHA * classes as f64).sqrt()), constant::<F>(ALPHA * classes as f64));
        let (mut p, mut y) = (vec![F::zero(); classes], vec![F::zero(); classes]);
        let mut loss = |variable: usize| {
            let noise = &self.sender_noise[variable * classes..(variable + 1) * classes];
            for (y, epsilon) in y.iter_mut().zip(noise) {
                *y = deviation * *epsilon - constant(ALPHA);
            }
            let x = self.x[variable];
            y[x] = y[x] + peak;
            // ln Σ p e^y with ln p = logit − ln Σ e^logit.
            let (total, largest) = self.exponentials(variable, &mut p);
            self.logits(variable, &mut p);
            let normaliser = largest + total.ln();
            let top = p.iter().zip(&y).fold(F::neg_infinity(), |top, (p, y)| top.max(*p + *y));
            let receiver = p.iter().zip(&y).fold(F::zero(), |sum, (p, y)| sum + (*p + *y - top).exp());
            y[x] - (receiver.ln() + top - normaliser)
        };
        (0..self.x.len()).map(&mut loss).collect()
    }

    fn loss_reconstruction(&self) -> Vec<F> {
        let mut p = vec![F::zero(); self.inputs.size.classes];
        let mut loss = |variable: usize| {
            let (total, peak) = self.exponentials(variable, &mut p);
            self.logits(variable, &mut p);
            peak + total.ln() - p[self.x[variable]]
        };
        (0..self.x.len()).map(&mut loss).collect()
    }

    fn sampler_step(&self) -> Vec<F> {
        let classes = self.inputs.size.classes;
        let beta = |t: f64| self.schedule.beta(&t);
        let (u, next, before) = (beta(FROM).sqrt(), beta(TO).sqrt(), beta(BEFORE).sqrt());
        let signal = constant::<F>(beta(TO) - beta(FROM));
        let slope = constant::<F>((next - u).powi(2) * (u + 2.0 * next) / 3.0 / (u - before));
        let noise = constant::<F>((classes as f64 * (beta(TO) - beta(FROM))).sqrt());
        let mut p = vec![F::zero(); classes];
        let mut out = Vec::with_capacity(self.theta.len());
        for variable in 0..self.x.len() {
            self.signal(variable, &mut p);
            let part = variable * classes..(variable + 1) * classes;
            let rest = self.other[part.clone()].iter().zip(&self.sender_noise[part.clone()]);
            out.extend(
                self.theta[part]
                    .iter()
                    .zip(&p)
                    .zip(rest)
                    .map(|((z, p), (other, epsilon))| *z + signal * *p + slope * (*p - *other) + noise * *epsilon),
            );
        }
        out
    }
}

/// Continuous data, by the point mass.
pub(crate) struct ContinuousLoops<'a, F: Precision> {
    normal: NormalBelief<'a, F>,
    sigma_1: f64,
    x: Vec<F>,
    other: Vec<F>,
}

/// What continuous and discretised data have in common.
struct NormalBelief<'a, F: Precision> {
    inputs: &'a Inputs<F>,
    schedule: ExponentialSchedule,
    noise: Vec<F>,
    sender_noise: Vec<F>,
    network: Vec<F>,
    theta: Vec<F>,
    last: Vec<F>,
    message: Vec<F>,
}

impl<'a, F: Precision> NormalBelief<'a, F> {
    fn new(inputs: &'a Inputs<F>, sigma_1: f64, x: impl Fn(usize) -> F) -> Self {
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

    fn flow(&self, t: impl Fn(usize) -> f64, x: impl Fn(usize) -> F) -> Vec<F> {
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

    fn update(&self) -> Vec<F> {
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

    /// One result per variable from μ, t and the variable's number; `f` is given 1/γ and √((1−γ)/γ).
    fn each(&self, mu: &[F], t: impl Fn(usize) -> f64, mut f: impl FnMut(usize, F, Ratios<F>) -> F) -> Vec<F> {
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

    fn sampler_step(&self, other: &[F], mut x_hat: impl FnMut(usize, F, Ratios<F>) -> F) -> Vec<F> {
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

/// 1/γ, √((1−γ)/γ) and α(t)/2.
#[derive(Clone, Copy)]
struct Ratios<F> {
    scale: F,
    ratio: F,
    rate: F,
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

/// Discretised data, by the discretised normal.
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

    /// The mean and the deviation of the data, in f64 like the functions of the normal distribution.
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

    /// ln p_O(k).
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
