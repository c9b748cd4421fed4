//! The normal distribution's functions of many edges, each edge's Φ once.

use super::Element;
use crate::special::{NARROW, normal_cdf, normal_ln_cdf, normal_ln_mass};

/// Beyond this Φ is 0 or 1 to 1e−19.
const SATURATED: f64 = 9.0;

/// Below this the difference of two values of Φ may underflow.
const LEAST: f64 = -37.0;

/// The edges of bins.
pub(super) struct Edges<'a> {
    edges: &'a [f64],
    sorted: bool,
}

impl<'a> Edges<'a> {
    pub(super) fn new(edges: &'a [f64]) -> Self {
        Self { edges, sorted: edges.is_sorted() }
    }

    /// The number of intervals that the edges part.
    pub(super) fn intervals(&self) -> usize {
        self.edges.len() + 1
    }

    /// Σ_j Φ((edges_j − mean) · inverse_deviation); absolute accuracy.
    ///
    /// Of edges in order only those within nine deviations of the mean are looked at, the others count 0 or 1.
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
    pub(super) fn normal_ln_masses<F: Element>(&self, mean: F, inverse_deviation: F, out: &mut Vec<F>) {
        let (mean, inverse) = (mean.widen(), inverse_deviation.widen());
        let edge = |j: usize| {
            let z = (self.edges[j] - mean) * inverse;
            Edge { z, tail: normal_cdf(-z.abs()) }
        };
        let last = self.edges.len() - 1;
        let mut left = edge(0);
        out.push(F::of(normal_ln_cdf(left.z)));
        out.extend((1..=last).map(|j| {
            let right = edge(j);
            let whole = || {
                let middle = 0.5 * (self.edges[j - 1] + self.edges[j]);
                let half = 0.5 * (self.edges[j] - self.edges[j - 1]);
                normal_ln_mass((middle - mean) * inverse, half * inverse)
            };
            let mass = ln_mass(left, right, whole);
            left = right;
            F::of(mass)
        }));
        out.push(F::of(normal_ln_cdf(-left.z)));
    }
}

/// An edge in units of the deviation from the mean, and Φ(−|z|).
#[derive(Clone, Copy)]
struct Edge {
    z: f64,
    tail: f64,
}

/// The logarithm of the mass between two edges, by `whole` where a difference of tails would not do.
fn ln_mass(left: Edge, right: Edge, whole: impl Fn() -> f64) -> f64 {
    let near = left.z.abs().min(right.z.abs());
    let narrow = (right.z - left.z) * near.max(1.0) < 1.1 * NARROW;
    if narrow || -near < LEAST {
        return whole();
    }
    if left.z < 0.0 && right.z > 0.0 {
        return (-(left.tail + right.tail)).ln_1p();
    }
    (left.tail - right.tail).abs().ln()
}
