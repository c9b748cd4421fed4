//! The spread of the times of an evaluation over examples and repeats.

use bfn_data::{Permutation, Purpose, Seed};

/// A generator of the times at which one term is evaluated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    /// The seed of the evaluation.
    pub(super) seed: Seed,
    /// A number that differs for each term and, if times are independent, for each repeat.
    pub(super) number: u64,
    /// The number of examples.
    pub(super) examples: u64,
}

impl Spread {
    /// Draws times that are independent and uniform on [0, 1).
    pub(super) fn independent(self) -> Vec<f64> {
        (0..self.examples).map(|example| self.uniform(example)).collect()
    }

    /// Draws the times of repeat r of R, equally spaced over examples and repeats.
    ///
    /// The spacing is exact over the examples of a repeat, and exact up to 1/N over the repeats of an example. The
    /// variation of an example's cost over time therefore adds little to the error of its mean.
    ///
    /// # Formula
    ///
    /// t = frac(u + π(e)/N + r/R + r/(R N)), u uniform, π a random permutation of the N examples. The last addend makes
    /// all N R times different.
    pub(super) fn equally_spaced(self, repeat: u64, repeats: u32) -> Vec<f64> {
        let start = self.uniform(0);
        let order = Permutation::new(self.seed, Purpose::Order, self.number, self.examples);
        let count = self.examples as f64;
        let shift = repeat as f64 / f64::from(repeats) * (1.0 + 1.0 / count);
        (0..self.examples).map(|example| (start + shift + order.at(example) as f64 / count).fract()).collect()
    }

    fn uniform(self, index: u64) -> f64 {
        self.seed.stream(Purpose::Time, self.number, index).uniform()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the sorted gaps between times on a circle of length 1.
    fn gaps(mut times: Vec<f64>) -> Vec<f64> {
        times.sort_by(f64::total_cmp);
        let next = times.iter().skip(1).copied().chain([times[0] + 1.0]);
        let mut gaps: Vec<f64> = times.iter().zip(next).map(|(time, next)| next - time).collect();
        gaps.sort_by(f64::total_cmp);
        gaps
    }

    #[test]
    fn times_are_equally_spaced_over_examples_and_over_repeats() {
        let spread = Spread { seed: Seed(5), number: 3, examples: 40 };
        let all: Vec<Vec<f64>> = (0..4).map(|repeat| spread.equally_spaced(repeat, 4)).collect();
        for times in &all {
            assert!(times.iter().all(|t| (0.0..1.0).contains(t)));
            assert!(gaps(times.clone()).iter().all(|gap| (gap - 1.0 / 40.0).abs() < 1e-12));
        }
        assert!(gaps(all.concat()).iter().all(|gap| (gap - 1.0 / 160.0).abs() < 1e-12));
        for example in 0..40 {
            let of_example = all.iter().map(|times| times[example]).collect();
            assert!(gaps(of_example).iter().all(|gap| (gap - 0.25).abs() <= 1.0 / 40.0), "{example}");
        }
        // The assignment of times to examples is random.
        assert_ne!(all[0], Spread { number: 4, ..spread }.equally_spaced(0, 4));
    }

    #[test]
    fn independent_times_fill_the_interval_and_are_not_spaced() {
        let times = Spread { seed: Seed(5), number: 3, examples: 2000 }.independent();
        let mean = times.iter().sum::<f64>() / 2000.0;
        assert!((mean - 0.5).abs() < 0.03, "{mean}");
        assert!(gaps(times)[1999] > 2.0 / 2000.0);
    }
}
