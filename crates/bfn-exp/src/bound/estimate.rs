//! Means over draws of a term, with their standard errors.

use serde::{Deserialize, Serialize};

use super::Sample;
use crate::config::Times;
use crate::table::number_or_nan;

/// The largest number of time bins within which the standard error compares examples.
const TIME_BINS: usize = 50;

/// The approximate minimum of draws per bin: with fewer, the bin's mean follows the draws and hides their spread.
const DRAWS_PER_BIN: usize = 20;

/// A mean and its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean, in nats per example.
    pub mean: f64,
    /// Its standard error over examples and draws.
    pub standard_error: f64,
}

/// The mean of a term over the draws whose times lie in a part of [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeBin {
    /// Where the bin begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The number of draws in the bin.
    pub draws: usize,
    /// Their mean, in nats per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub nats_per_dim: f64,
    /// Its standard error over examples and draws.
    #[serde(deserialize_with = "number_or_nan")]
    pub standard_error_nats_per_dim: f64,
}

impl Estimate {
    /// Estimates the mean over examples of the sum of some terms, with its standard error over examples and draws.
    ///
    /// If the times of a repeat are equally spaced, the difference between the mean loss at a time and the mean over
    /// all times is not an error. It is subtracted, in bins of time, before the spread over the examples is measured.
    /// All lists hold the same examples in the same order.
    pub fn of_sum(terms: &[&[Sample]], times: Times) -> Self {
        let first = terms.first().copied().unwrap_or_default();
        let examples = first.iter().map(|sample| sample.example + 1).max().unwrap_or(0);
        let count = first.len() as f64;
        let bins = match times {
            Times::LowDiscrepancy => (first.len() / DRAWS_PER_BIN).clamp(1, TIME_BINS),
            Times::Independent => 1,
        };
        let mut of_example = vec![0.0; examples];
        let mut mean = 0.0;
        for samples in terms {
            let mut sums = vec![0.0; bins];
            let mut counts = vec![0.0; bins];
            for sample in *samples {
                sums[bin(sample.t, bins)] += sample.nats;
                counts[bin(sample.t, bins)] += 1.0;
            }
            for sample in *samples {
                let place = bin(sample.t, bins);
                of_example[sample.example] += sample.nats - sums[place] / counts[place];
            }
            mean += Self::mean(samples);
        }
        let repeats = count / examples as f64;
        let adjusted: Vec<f64> = of_example.iter().map(|sum| sum / repeats).collect();
        let centre = adjusted.iter().sum::<f64>() / examples as f64;
        let squares: f64 = adjusted.iter().map(|value| (value - centre).powi(2)).sum();
        let variance = squares / (examples as f64 - 1.0);
        Self { mean, standard_error: (variance / examples as f64).sqrt() }
    }

    /// Computes the mean of one term, in nats per example.
    pub fn mean(samples: &[Sample]) -> f64 {
        samples.iter().map(|sample| sample.nats).sum::<f64>() / samples.len() as f64
    }
}

impl TimeBin {
    /// Computes the means of one term in equal bins of time.
    ///
    /// # Formula
    ///
    /// Let S_e be the sum and n_e the number of the draws of example e in a bin, and N = Σ n_e. The mean is m =
    /// Σ S_e / N. Its standard error is √(Σ (S_e − m n_e)²) / N, so that draws of the same example do not count as
    /// independent.
    pub fn of(samples: &[Sample], bins: usize, dimensions: usize) -> Vec<Self> {
        let mut members: Vec<Vec<Sample>> = vec![Vec::new(); bins];
        for sample in samples {
            members[bin(sample.t, bins)].push(*sample);
        }
        let of_bin = |(place, mut members): (usize, Vec<Sample>)| {
            let draws = members.len();
            let mean = Estimate::mean(&members);
            members.sort_by_key(|sample| sample.example);
            let examples = members.chunk_by(|a, b| a.example == b.example);
            let deviations = examples.map(|draws| draws.iter().map(|sample| sample.nats - mean).sum::<f64>());
            let error =
                if draws > 1 { deviations.map(|sum| sum * sum).sum::<f64>().sqrt() / draws as f64 } else { f64::NAN };
            Self {
                from: place as f64 / bins as f64,
                to: (place + 1) as f64 / bins as f64,
                draws,
                nats_per_dim: mean / dimensions as f64,
                standard_error_nats_per_dim: error / dimensions as f64,
            }
        };
        members.into_iter().enumerate().map(of_bin).collect()
    }
}

fn bin(t: f64, bins: usize) -> usize {
    ((t * bins as f64) as usize).min(bins - 1)
}

#[cfg(test)]
mod tests {
    use bfn_data::{Permutation, Purpose, Seed};

    use super::*;

    /// Draws samples whose loss is `nats(example, t, noise)`, with equally spaced times in a random order.
    fn samples(count: usize, repeats: u64, seed: u64, nats: impl Fn(usize, f64, f64) -> f64) -> Vec<Sample> {
        let seed = Seed(seed);
        let mut samples = Vec::new();
        for repeat in 0..repeats {
            let order = Permutation::new(seed, Purpose::Order, repeat, count as u64);
            let start = seed.stream(Purpose::Time, repeat, 0).uniform();
            for example in 0..count {
                let t = (start + order.at(example as u64) as f64 / count as f64).fract();
                let mut noise = [0.0];
                seed.stream(Purpose::Noise, repeat, example as u64).fill_standard_normal(&mut noise);
                samples.push(Sample { example, t, nats: nats(example, t, noise[0]) });
            }
        }
        samples
    }

    fn estimate(loss: &[Sample]) -> Estimate {
        Estimate::of_sum(&[loss], Times::LowDiscrepancy)
    }

    /// Returns the part of the loss that is specific to an example, with variance 1 over examples.
    fn share(example: usize) -> f64 {
        let mut value = [0.0];
        Seed(99).stream(Purpose::Other(1), 0, example as u64).fill_standard_normal(&mut value);
        value[0]
    }

    #[test]
    fn what_depends_on_time_alone_is_no_error() {
        let loss = samples(5000, 1, 1, |_, t, _| 30.0 * t);
        let estimate = estimate(&loss);
        assert!((estimate.mean - 15.0).abs() < 0.01, "{estimate:?}");
        assert!(estimate.standard_error < 0.005, "{estimate:?}");
    }

    #[test]
    fn examples_are_an_error_that_repeats_do_not_lessen() {
        for repeats in [1, 8] {
            let loss = samples(2000, repeats, 2, |example, t, _| share(example) + 5.0 * t);
            let estimate = estimate(&loss);
            let expected = 1.0 / 2000_f64.sqrt();
            assert!((estimate.standard_error / expected - 1.0).abs() < 0.06, "{repeats}: {estimate:?}");
        }
    }

    #[test]
    fn few_examples_do_not_hide_their_spread() {
        let claimed = |seed: u64| {
            let loss = samples(40, 1, seed, |example, _, _| share(example + 40 * seed as usize));
            estimate(&loss).standard_error
        };
        let mean = (0..100).map(claimed).sum::<f64>() / 100.0;
        assert!((mean * 40_f64.sqrt() - 1.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn the_spread_of_estimates_over_draws_and_examples_is_the_standard_error() {
        // Each estimate has different examples, so that all of the error shows.
        let estimates: Vec<Estimate> = (0..200)
            .map(|seed| {
                let loss = samples(300, 2, seed, |example, t, noise| {
                    share(example + 300 * seed as usize) + 10.0 * t + 2.0 * t * noise
                });
                estimate(&loss)
            })
            .collect();
        let mean = estimates.iter().map(|estimate| estimate.mean).sum::<f64>() / 200.0;
        let spread = (estimates.iter().map(|e| (e.mean - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        let claimed = estimates.iter().map(|estimate| estimate.standard_error).sum::<f64>() / 200.0;
        assert!((claimed / spread - 1.0).abs() < 0.2, "claimed {claimed}, spread {spread}");
    }

    #[test]
    fn bins_of_time_know_their_means_and_errors() {
        // The loss does not depend on time within a bin, so that only the spread over examples and draws remains.
        let of_seed = |seed: u64| {
            let loss = samples(400, 3, seed, |example, t, noise| {
                5.0 * (8.0 * t).floor() + share(example + 400 * seed as usize) + 0.5 * noise
            });
            TimeBin::of(&loss, 8, 2)
        };
        let all: Vec<Vec<TimeBin>> = (0..200).map(of_seed).collect();
        for place in 0..8 {
            let bins: Vec<TimeBin> = all.iter().map(|bins| bins[place]).collect();
            let average = |number: &dyn Fn(&TimeBin) -> f64| bins.iter().map(number).sum::<f64>() / 200.0;
            assert_eq!((bins[0].from, bins[0].to), (place as f64 / 8.0, (place + 1) as f64 / 8.0));
            let (mean, expected) = (average(&|bin| bin.nats_per_dim), 2.5 * place as f64);
            assert!((mean - expected).abs() < 0.02, "{mean} for {expected}");
            let spread = average(&|bin| (bin.nats_per_dim - mean).powi(2)).sqrt();
            let claimed = average(&|bin| bin.standard_error_nats_per_dim);
            assert!((claimed / spread - 1.0).abs() < 0.2, "claimed {claimed}, spread {spread}");
        }
        assert_eq!(all[0].iter().map(|bin| bin.draws).sum::<usize>(), 1200);
    }
}
