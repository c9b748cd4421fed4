//! Discrete data.

use bfn_core::{QuadraticSchedule, Schedule};

use super::{Loops, constant, values};
use crate::inputs::{ALPHA, BEFORE, FROM, Inputs, Precision, TO};

/// Discrete data in terms of logits.
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

    /// Writes the logits of a variable; for two classes the network outputs only one.
    fn logits(&self, variable: usize, logits: &mut [F]) {
        match self.inputs.size.network_outputs {
            1 => (logits[0], logits[1]) = (F::zero(), self.network[variable]),
            outputs => logits.copy_from_slice(&self.network[variable * outputs..(variable + 1) * outputs]),
        }
    }

    /// Writes e^(logits − their largest), and returns their sum and the largest logit.
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
