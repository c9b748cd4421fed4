//! Texts: spelling, and how often symbols follow each other.

use std::collections::{HashMap, HashSet};

use anyhow::Result;

use super::{Judge, Measure};
use crate::form::Form;
use crate::target::texts;
use crate::task::Source;

/// The number of training windows that are read and split into words at a time.
const WINDOWS: usize = 4096;

/// A judge of texts.
pub(super) struct Texts {
    form: Form,
    words: HashSet<String>,
    reference: [Frequencies; 3],
}

/// The share of each sequence of symbols.
type Frequencies = HashMap<Vec<u32>, f64>;

impl Texts {
    /// Creates a judge that compares words with the training text and frequencies with `reference`.
    pub(super) fn new(form: &Form, train: &Source, reference: &[f64]) -> Result<Self> {
        let mut words_known = HashSet::new();
        for first in (0..train.dataset.len()).step_by(WINDOWS) {
            let windows = texts(&train.values(first..first + WINDOWS)?, form)?;
            words_known.extend(windows.iter().flat_map(|text| words(text)));
        }
        let length = form.dimensions();
        let reference = [1, 2, 3].map(|n| frequencies(reference, length, n));
        Ok(Self { form: form.clone(), words: words_known, reference })
    }
}

impl Judge for Texts {
    fn measures(&self) -> Vec<Measure> {
        vec![Measure::Spelling, Measure::Symbols, Measure::Pairs, Measure::Triples]
    }

    fn basis(&self) -> Vec<String> {
        vec![format!(
            "{} different words in the training text; those cut off by a window's edge count nowhere",
            self.words.len()
        )]
    }

    fn judge(&self, samples: &[f64], _wanted: &[Option<u32>]) -> Result<Vec<f64>> {
        let (mut right, mut all) = (0, 0);
        for word in texts(samples, &self.form)?.iter().flat_map(|text| words(text)) {
            all += 1;
            right += usize::from(self.words.contains(&word));
        }
        let spelling = if all == 0 { 0.0 } else { f64::from(right as u32) / f64::from(all as u32) };
        let of = |n: usize| total_variation(&frequencies(samples, self.form.dimensions(), n), &self.reference[n - 1]);
        Ok(vec![spelling, of(1), of(2), of(3)])
    }
}

/// Returns the words of a text: runs of letters between two characters that are not letters.
fn words(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let is_letter = |symbol: char| symbol.is_alphabetic();
    let pieces: Vec<&str> = text.split(|symbol| !is_letter(symbol)).collect();
    // The first and the last piece touch an edge of the window.
    let inner = pieces.get(1..pieces.len().saturating_sub(1)).unwrap_or_default();
    inner.iter().filter(|piece| !piece.is_empty()).map(|piece| (*piece).to_owned()).collect()
}

fn frequencies(classes: &[f64], length: usize, n: usize) -> Frequencies {
    let mut counts = Frequencies::new();
    let mut total = 0.0;
    for text in classes.chunks_exact(length) {
        for run in text.windows(n) {
            *counts.entry(run.iter().map(|class| *class as u32).collect()).or_default() += 1.0;
            total += 1.0;
        }
    }
    counts.values_mut().for_each(|count| *count /= total);
    counts
}

/// Computes ½ Σ |p − q|.
fn total_variation(p: &Frequencies, q: &Frequencies) -> f64 {
    let of_p: f64 = p.iter().map(|(run, share)| (share - q.get(run).unwrap_or(&0.0)).abs()).sum();
    let of_q_alone: f64 = q.iter().filter(|(run, _)| !p.contains_key(*run)).map(|(_, share)| share).sum();
    0.5 * (of_p + of_q_alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_at_the_edges_are_left_out() {
        assert_eq!(words(b"he cat sat  on th"), ["cat", "sat", "on"]);
        assert_eq!(words(b" the cat "), ["the", "cat"]);
        assert!(words(b"cat").is_empty() && words(b"").is_empty());
    }

    #[test]
    fn total_variation_is_half_the_difference() {
        let (a, b) = (frequencies(&[0.0, 0.0, 1.0, 1.0], 4, 1), frequencies(&[0.0, 0.0, 0.0, 2.0], 4, 1));
        assert!((total_variation(&a, &b) - 0.5).abs() < 1e-12 && total_variation(&a, &a) == 0.0);
        assert_eq!(frequencies(&[0.0, 1.0, 0.0, 1.0], 2, 2).len(), 1);
    }
}
