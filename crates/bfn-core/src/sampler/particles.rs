//! Sequential Monte Carlo: draws of the unknown variables from their conditional distribution.

use super::{Advance, Conditional, Conditioned, Moment, Observed, Scheme};
use crate::error::{Error, check};
use crate::{Backend, Grid, NoiseSource, OutputDistribution, Tensor};

/// The ancestral sampler with many particles per data point, weighted by how well they predicted the known variables.
///
/// # Formula
///
/// All particles of a data point receive the same messages y about the known variables. In each step, the weight of a
/// particle with parameters θ is multiplied by
///
/// ```text
/// Π_(d known) p_R(y_d | θ; t, α) / p_S(y_d | x_d; α)
/// ```
///
/// and at the end by Π_(d known) p_O(x_d | θ; 1). If the effective sample size (Σ w)²/Σ w² of a data point's
/// particles falls below a given share of their number, they are drawn anew in proportion to their weights
/// (systematic resampling), and the weights become equal again.
///
/// As the number of particles grows, the weighted particles follow the model's p(unknown | known); for a model with
/// short steps this is exact. The product of the mean weights is an unbiased estimate of the model's p(known); its
/// logarithm is [`Filtered::ln_evidence`].
///
/// Source: Graves et al. 2023, section 3, for the model; Doucet, de Freitas and Gordon 2001 for the method.
#[derive(Debug, Clone, PartialEq)]
pub struct Particles {
    grid: Grid,
    count: usize,
    threshold: f64,
}

/// The result of [`Particles::sample`].
#[derive(Debug, Clone)]
pub struct Filtered<Theta, Output> {
    /// θ of every particle at the last time.
    pub theta: Theta,
    /// The last prediction of every particle.
    pub output: Output,
    /// The weight of every particle; the weights of a data point's particles sum to 1.
    pub weights: Vec<f64>,
    /// The effective sample size of each data point's particles, before any resampling, for every step and finally
    /// for the end.
    pub effective: Vec<Vec<f64>>,
    /// An estimate of ln p(known) in nats for each data point.
    pub ln_evidence: Vec<f64>,
    /// The number of evaluations of the predictor for each particle.
    pub evaluations: usize,
}

impl Particles {
    /// Creates a sampler with `count` particles per data point, resampled if fewer than half of them are effective.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless there is at least one particle and the grid begins at 0, before any
    /// message.
    pub fn new(grid: Grid, count: usize) -> Result<Self, Error> {
        check("particles", count as f64, "at least 1", count > 0)?;
        check("the first time of the particles' grid", grid.first(), "0", grid.first() == 0.0)?;
        Ok(Self { grid, count, threshold: 0.5 })
    }

    /// Sets the share of effective particles below which they are resampled: 0 for never, 1 for always.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless the share is from 0 to 1.
    pub fn with_threshold(self, threshold: f64) -> Result<Self, Error> {
        let threshold = check("threshold", threshold, "from 0 to 1", (0.0..=1.0).contains(&threshold))?;
        Ok(Self { threshold, ..self })
    }

    /// Returns the grid of times.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Returns the number of particles per data point.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs the particles of a batch of data points.
    ///
    /// # Shapes
    ///
    /// For G data points with N particles each, the batch has G·N rows. The particles of a data point are adjacent
    /// and share the same `observed`. `like` has the shape of a message. `predict` and `observe` are those of
    /// [`Sampler::sample`](super::Sampler::sample).
    ///
    /// # Errors
    ///
    /// Returns the first error of `predict` or `observe`.
    ///
    /// # Panics
    ///
    /// Panics unless the number of rows is a multiple of the number of particles.
    pub fn sample<B, F, E>(
        &self,
        flow: &F,
        observed: &Observed<B, <F::Prediction as OutputDistribution<B>>::Value>,
        like: &Tensor<B>,
        noise: &mut dyn NoiseSource<B>,
        mut predict: impl FnMut(&F::State, f64) -> Result<F::Prediction, E>,
        mut observe: impl FnMut(Moment<'_, F::State, F::Prediction>) -> Result<(), E>,
    ) -> Result<Filtered<F::State, F::Prediction>, E>
    where
        B: Backend,
        F: Conditional<B>,
    {
        let rows = like.shape()[0];
        assert!(rows.is_multiple_of(self.count), "{rows} rows are not groups of {} particles", self.count);
        let conditioned = Conditioned::new(flow, observed, like);
        let first: Vec<usize> = (0..rows).map(|row| row - row % self.count).collect();
        let nothing = observed.known.full_like(0.0);
        let of_known = |weight: Tensor<B>| observed.known.where_below(0.5, &nothing, &weight).sum_last().to_values();

        let mut population = Population::new(rows, self.count);
        let mut effective = Vec::new();
        let mut theta = flow.start(0.0, &like.full_like(0.0));
        let steps = self.grid.count();
        for (step, interval) in self.grid.steps().enumerate() {
            let (from, to) = (interval.from, interval.to);
            let output = predict(&theta, from)?;
            observe(Moment { step, steps, t: from, theta: &theta, output: &output })?;
            let epsilon = noise.normal(like);
            let epsilon = conditioned.choose(&epsilon.select_rows(&first), &epsilon);
            population.weigh(&of_known(flow.message_weight(&observed.values, &output, from, to, &epsilon)));
            let signal = conditioned.blend(&flow.signal(&output.draw(noise), like));
            let advance =
                Advance { scheme: Scheme::Sde1, from, to, signal: &signal, other: None, noise: Some(&epsilon) };
            theta = flow.advance(&theta, &advance);

            effective.push(population.effective());
            let uniform = noise.uniform(&like.full(&[rows], 0.0)).to_values();
            if let Some(survivors) = population.resample(self.threshold, &uniform) {
                theta = flow.select(&theta, &survivors);
            }
        }
        let t = self.grid.last();
        let output = predict(&theta, t)?;
        observe(Moment { step: steps, steps, t, theta: &theta, output: &output })?;
        population.weigh(&of_known(flow.last_weight(&observed.values, &output)));
        effective.push(population.effective());
        let (weights, ln_evidence) = population.finish();
        Ok(Filtered { theta, output, weights, effective, ln_evidence, evaluations: steps + 1 })
    }
}

impl<Theta, Output> Filtered<Theta, Output> {
    /// Draws a particle of each data point in proportion to its weight, from one uniform number per data point.
    ///
    /// The result is the row of each drawn particle in the batch.
    ///
    /// # Panics
    ///
    /// Panics unless there is one number for each data point.
    pub fn draw(&self, uniform: &[f64]) -> Vec<usize> {
        let (points, numbers) = (self.ln_evidence.len(), uniform.len());
        assert!(numbers == points, "{numbers} uniform numbers for {points} data points");
        let count = self.weights.len() / points;
        let groups = self.weights.chunks_exact(count).zip(uniform).enumerate();
        groups.map(|(group, (weights, uniform))| group * count + systematic(weights, *uniform, 1)[0]).collect()
    }
}

/// The weights of all particles.
struct Population {
    count: usize,
    ln_weights: Vec<f64>,
    ln_evidence: Vec<f64>,
}

impl Population {
    fn new(rows: usize, count: usize) -> Self {
        Self { count, ln_weights: vec![0.0; rows], ln_evidence: vec![0.0; rows / count] }
    }

    fn weigh(&mut self, ln_factors: &[f64]) {
        self.ln_weights.iter_mut().zip(ln_factors).for_each(|(weight, factor)| *weight += factor);
    }

    /// Returns (Σ w)²/Σ w² of each group.
    fn effective(&self) -> Vec<f64> {
        let of_group = |group: &[f64]| {
            let weights = normalised(group).weights;
            1.0 / weights.iter().map(|weight| weight * weight).sum::<f64>()
        };
        self.ln_weights.chunks_exact(self.count).map(of_group).collect()
    }

    /// Resamples every group with too few effective particles, and returns the row that takes the place of each row.
    fn resample(&mut self, threshold: f64, uniform: &[f64]) -> Option<Vec<usize>> {
        let effective = self.effective();
        let needed = threshold * self.count as f64;
        if effective.iter().all(|effective| *effective >= needed) {
            return None;
        }
        let mut survivors: Vec<usize> = (0..self.ln_weights.len()).collect();
        for (group, _) in effective.iter().enumerate().filter(|(_, effective)| **effective < needed) {
            let rows = group * self.count..(group + 1) * self.count;
            let Normalised { weights, ln_mean } = normalised(&self.ln_weights[rows.clone()]);
            let chosen = systematic(&weights, uniform[rows.start], self.count);
            survivors[rows.clone()].iter_mut().zip(chosen).for_each(|(row, chosen)| *row = rows.start + chosen);
            self.ln_evidence[group] += ln_mean;
            self.ln_weights[rows].fill(0.0);
        }
        Some(survivors)
    }

    fn finish(mut self) -> (Vec<f64>, Vec<f64>) {
        let mut weights = Vec::with_capacity(self.ln_weights.len());
        for (group, evidence) in self.ln_weights.chunks_exact(self.count).zip(&mut self.ln_evidence) {
            let normalised = normalised(group);
            weights.extend(normalised.weights);
            *evidence += normalised.ln_mean;
        }
        (weights, self.ln_evidence)
    }
}

struct Normalised {
    weights: Vec<f64>,
    ln_mean: f64,
}

/// Returns weights that sum to 1, and the logarithm of the mean before. Weights that are all 0 become equal.
fn normalised(ln_weights: &[f64]) -> Normalised {
    let count = ln_weights.len() as f64;
    let peak = ln_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if peak == f64::NEG_INFINITY {
        return Normalised { weights: vec![1.0 / count; ln_weights.len()], ln_mean: f64::NEG_INFINITY };
    }
    let total: f64 = ln_weights.iter().map(|weight| (weight - peak).exp()).sum();
    let weights = ln_weights.iter().map(|weight| (weight - peak).exp() / total).collect();
    Normalised { weights, ln_mean: peak + (total / count).ln() }
}

/// Draws `draws` members of a population in proportion to their weights, at equal distances from a uniform start.
///
/// Each member is drawn its expected number of times, rounded up or down.
fn systematic(weights: &[f64], uniform: f64, draws: usize) -> Vec<usize> {
    let (mut member, mut passed) = (0, 0.0);
    let place = |draw: usize| (draw as f64 + uniform) / draws as f64;
    (0..draws)
        .map(|draw| {
            while member + 1 < weights.len() && passed + weights[member] <= place(draw) {
                passed += weights[member];
                member += 1;
            }
            member
        })
        .collect()
}
