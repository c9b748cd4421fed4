//! The numbers that an accuracy schedule computes with: one number, or a tensor of them.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::{Backend, Tensor};

/// A real number (`f64`) or a tensor of real numbers.
///
/// A schedule is written once over this trait, for the step grids on the host and for the times of a batch.
pub trait Real:
    Clone
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
{
    /// `e^self`.
    fn exp(&self) -> Self;
    /// `e^self − 1`, accurate where the number is small.
    fn exp_m1(&self) -> Self;
    /// `ln self`.
    fn ln(&self) -> Self;
    /// `ln(1 + self)`, accurate where the number is small.
    fn ln_1p(&self) -> Self;
    /// `√self`.
    fn sqrt(&self) -> Self;
    /// Limits the number to `[low, high]`.
    fn clamp(&self, low: f64, high: f64) -> Self;
    /// Selects `below` where `self < threshold`, else `otherwise`.
    fn where_below(&self, threshold: f64, below: &Self, otherwise: &Self) -> Self;
    /// Returns `value` everywhere, in the form of `self`.
    fn constant(&self, value: f64) -> Self;
    /// Looks up, for each number, the entries of `columns` for the interval of `edges` that contains it.
    ///
    /// `edges` increase. Interval i, from `edges[i]` up to `edges[i + 1]`, belongs to entry i of each column. Numbers
    /// before the first edge belong to the first interval, numbers after the last edge to the last. No gradient flows
    /// through the choice of the interval.
    ///
    /// # Panics
    ///
    /// Panics if a column has fewer entries than there are intervals.
    fn look_up<const N: usize>(&self, edges: &[f64], columns: [&[f64]; N]) -> [Self; N];
}

impl Real for f64 {
    fn exp(&self) -> Self {
        f64::exp(*self)
    }
    fn exp_m1(&self) -> Self {
        f64::exp_m1(*self)
    }
    fn ln(&self) -> Self {
        f64::ln(*self)
    }
    fn ln_1p(&self) -> Self {
        f64::ln_1p(*self)
    }
    fn sqrt(&self) -> Self {
        f64::sqrt(*self)
    }
    fn clamp(&self, low: f64, high: f64) -> Self {
        f64::clamp(*self, low, high)
    }
    fn where_below(&self, threshold: f64, below: &Self, otherwise: &Self) -> Self {
        if *self < threshold { *below } else { *otherwise }
    }
    fn constant(&self, value: f64) -> Self {
        value
    }
    fn look_up<const N: usize>(&self, edges: &[f64], columns: [&[f64]; N]) -> [Self; N] {
        let inner = inner_edges(edges);
        let interval = inner.iter().filter(|edge| *self >= **edge || self.is_nan()).count();
        columns.map(|column| column[interval])
    }
}

impl<B: Backend> Real for Tensor<B> {
    fn exp(&self) -> Self {
        Tensor::exp(self)
    }
    fn exp_m1(&self) -> Self {
        Tensor::exp_m1(self)
    }
    fn ln(&self) -> Self {
        Tensor::ln(self)
    }
    fn ln_1p(&self) -> Self {
        Tensor::ln_1p(self)
    }
    fn sqrt(&self) -> Self {
        Tensor::sqrt(self)
    }
    fn clamp(&self, low: f64, high: f64) -> Self {
        Tensor::clamp(self, low, high)
    }
    fn where_below(&self, threshold: f64, below: &Self, otherwise: &Self) -> Self {
        Tensor::where_below(self, threshold, below, otherwise)
    }
    fn constant(&self, value: f64) -> Self {
        self.full_like(value)
    }
    fn look_up<const N: usize>(&self, edges: &[f64], columns: [&[f64]; N]) -> [Self; N] {
        let inner = inner_edges(edges);
        let intervals = inner.len() + 1;
        let row = |values: &[f64]| self.from_values_like(&[values.len()], values);
        if inner.is_empty() {
            return columns.map(|column| self.constant(column[0]));
        }
        // An interval's index is the number of inner edges that are not above the number.
        let distance = self.detach().unsqueeze_last() - row(inner);
        let passed = distance.where_below(0.0, &self.full(&[1], 0.0), &self.full(&[1], 1.0));
        let interval = passed.sum_last().to_index(intervals);
        let mut shape = self.shape();
        shape.push(intervals);
        columns.map(|column| (self.full(&shape, 0.0) + row(&column[..intervals])).gather_last(&interval))
    }
}

/// Returns the edges between intervals.
fn inner_edges(edges: &[f64]) -> &[f64] {
    assert!(edges.len() >= 2, "a table needs an interval, but has {} edges", edges.len());
    &edges[1..edges.len() - 1]
}
