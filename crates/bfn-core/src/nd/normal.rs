//! Functions of the normal distribution for many edges.

use super::Element;
use crate::special::{Width, is_narrow, normal_cdf, normal_ln_cdf, normal_ln_mass};

/// The distance from the mean, in deviations, beyond which Φ is 0 or 1 to 1e−19.
const SATURATED: f64 = 9.0;

/// The distance from the mean, in deviations, beyond which the difference of two values of Φ may underflow.
const MOST: f64 = 37.0;

/// The edges of bins.
pub(super) struct Edges<'a> {
    edges: &'a [f64],
    sorted: bool,
}

impl<'a> Edges<'a> {
    pub(super) fn new(edges: &'a [f64]) -> Self {
        Self { edges, sorted: edges.is_sorted() }
    }

    /// Returns the number of intervals that the edges separate.
    pub(super) fn intervals(&self) -> usize {
        self.edges.len() + 1
    }

    /// Computes Σ_j Φ((edges_j − mean) · inverse_deviation), with absolute accuracy.
    ///
    /// If the edges are sorted, only those within nine deviations of the mean are evaluated; the others count 0 or 1.
    pub(super) fn sum_normal_cdf<F: Element>(&self, mean: F, inverse_deviation: F) -> F {
        let (mean, inverse) = (mean.widen(), inverse_deviation.widen());
        let reach = SATURATED / inverse;
        if !(self.sorted && reach > 0.0 && mean.is_finite()) {
            return F::of(self.edges.iter().map(|edge| normal_cdf((edge - mean) * inverse)).sum());
        }
        let first = self.edges.partition_point(|edge| *edge < mean - reach);
        let last = self.edges.partition_point(|edge| *edge <= mean + reach);
        let inside: f64 = self.edges[first..last].iter().map(|edge| normal_cdf((edge - mean) * inverse)).sum();
        F::of(inside + (self.edges.len() - last) as f64)
    }

    /// Appends the logarithms of the masses of the edges + 1 intervals.
    ///
    /// Narrow bins need no Φ; for the other bins, it is computed once per edge.
    pub(super) fn normal_ln_masses<F: Element>(&self, mean: F, inverse_deviation: F, out: &mut Vec<F>) {
        let (mean, inverse) = (mean.widen(), inverse_deviation.widen());
        let edge = |j: usize| Edge { z: (self.edges[j] - mean) * inverse, tail: None };
        let (mut left, mut width) = (edge(0), Width::new(f64::NAN));
        out.push(F::of(normal_ln_cdf(left.z)));
        out.extend(self.edges.windows(2).zip(1..).map(|(pair, j)| {
            let mut right = edge(j);
            let offset = (0.5 * (pair[0] + pair[1]) - mean) * inverse;
            let (delta, near) = ((pair[1] - pair[0]) * inverse, left.z.abs().min(right.z.abs()));
            let mass = if is_narrow(offset, delta) {
                // Most bins are as wide as the one before.
                if width.delta != delta {
                    width = Width::new(delta);
                }
                width.ln_mass(offset)
            } else if near > MOST {
                normal_ln_mass(offset, 0.5 * delta)
            } else if left.z < 0.0 && right.z > 0.0 {
                (-(left.tail() + right.tail())).ln_1p()
            } else {
                (left.tail() - right.tail()).abs().ln()
            };
            left = right;
            F::of(mass)
        }));
        out.push(F::of(normal_ln_cdf(-left.z)));
    }
}

/// An edge in units of the deviation from the mean, and Φ(−|z|) once it has been computed.
struct Edge {
    z: f64,
    tail: Option<f64>,
}

impl Edge {
    fn tail(&mut self) -> f64 {
        *self.tail.get_or_insert_with(|| normal_cdf(-self.z.abs()))
    }
}
