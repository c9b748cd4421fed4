//! Grids fitted to a predictor: the n steps with the lowest cost.

use super::Grid;
use crate::error::{Error, check};
use crate::{Backend, BayesianFlow, Interval, Tensor};

/// The expected costs of steps between any two times of a fine grid.
///
/// # Formula
///
/// c(s, t) = E_{θ ~ p_F(·|x; s)} KL(p_S(·|x; β(t) − β(s)) ‖ p_R(·|θ; s, β(t) − β(s))), in nats, for s < t.
///
/// The bound of any grid t₀ = 0 < … < t_n = 1 is the sum of the costs of its steps. Among all grids whose times lie
/// on the fine grid, the best grid of n steps is therefore the shortest path of n edges. Dynamic programming finds it
/// exactly:
///
/// V_k(t) = min_{s < t} V_(k−1)(s) + c(s, t), V_0(0) = 0.
///
/// Source: Graves et al. 2023, section 3, for the bound of a grid; the search is Bellman's.
#[derive(Debug, Clone, PartialEq)]
pub struct StepCosts {
    fine: Grid,
    /// c(s, t): one row for each s, with an entry for each later t.
    costs: Vec<f64>,
}

/// The grid with the lowest cost for its number of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedGrid {
    /// The grid.
    pub grid: Grid,
    /// The cost of the grid, Σ_i c(t_(i−1), t_i), in nats, without the reconstruction loss.
    pub cost: f64,
}

impl StepCosts {
    /// Creates the table of the given costs.
    ///
    /// The costs of the steps from the fine grid's first time to each later time come first, then those of the steps
    /// from its second time, and so on.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless there are n(n + 1)/2 finite costs for n fine steps.
    pub fn new(fine: Grid, costs: Vec<f64>) -> Result<Self, Error> {
        let pairs = fine.count() * (fine.count() + 1) / 2;
        check("the number of costs", costs.len() as f64, "n (n + 1)/2 for n fine steps", costs.len() == pairs)?;
        for cost in &costs {
            check("the cost of a step", *cost, "finite", cost.is_finite())?;
        }
        Ok(Self { fine, costs })
    }

    /// Measures the costs on a batch of examples, summed over its examples and variables.
    ///
    /// θ is drawn once for each time s of the fine grid, with the same `flow_noise` for all times. Each step from s
    /// is estimated from two messages, one with `sender_noise` and one with its negative. Common noise makes costs
    /// comparable. Opposite noise removes the part of a message's loss that is odd in the noise; for short steps this
    /// part is nearly all of the variation.
    ///
    /// # Shapes
    ///
    /// Both noises are standard normal, in the shape of a message. `predict` maps θ and a time to the output
    /// distribution; it is called once for each fine time except the last.
    ///
    /// # Errors
    ///
    /// Returns an error if `predict` does.
    pub fn measured<B, F, E>(
        flow: &F,
        x: &F::Data,
        fine: &Grid,
        flow_noise: &Tensor<B>,
        sender_noise: &Tensor<B>,
        mut predict: impl FnMut(&F::Theta, f64) -> Result<F::Output, E>,
    ) -> Result<Self, E>
    where
        B: Backend,
        F: BayesianFlow<B>,
    {
        let output = |s: f64| predict(&flow.flow(x, &flow_noise.full(&[1], s), flow_noise), s);
        Self::measured_by(fine, output, |output, Interval { from, to }| {
            let alpha = sender_noise.full(&[1], flow.step_accuracy(from, to));
            flow.loss_step_steady(x, output, &alpha, sender_noise)
        })
    }

    /// Measures the costs of a model that is not a [`BayesianFlow`], such as mixed data.
    ///
    /// `output` draws θ at a time and predicts from it; `loss` is the n-step loss of a step given this prediction, in
    /// any shape.
    ///
    /// # Errors
    ///
    /// Returns an error if `output` does.
    pub fn measured_by<B, O, E>(
        fine: &Grid,
        mut output: impl FnMut(f64) -> Result<O, E>,
        loss: impl Fn(&O, Interval) -> Tensor<B>,
    ) -> Result<Self, E>
    where
        B: Backend,
    {
        let mut costs = Vec::with_capacity(fine.count() * (fine.count() + 1) / 2);
        for (number, Interval { from, .. }) in fine.steps().enumerate() {
            let output = output(from)?;
            for to in &fine.times()[number + 1..] {
                costs.push(loss(&output, Interval { from, to: *to }).to_values().iter().sum());
            }
        }
        Ok(Self { fine: fine.clone(), costs })
    }

    /// Adds the costs of other examples on the same fine grid.
    ///
    /// # Panics
    ///
    /// Panics if the fine grids differ.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        assert!(self.fine == other.fine, "costs on different fine grids cannot be added");
        self.costs.iter_mut().zip(&other.costs).for_each(|(sum, cost)| *sum += cost);
        self
    }

    /// Multiplies all costs by a number, such as 1 over the number of examples.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.costs.iter_mut().for_each(|cost| *cost *= factor);
        self
    }

    /// Returns the fine grid.
    pub fn fine(&self) -> &Grid {
        &self.fine
    }

    /// Returns the costs in the order of [`new`](Self::new).
    pub fn costs(&self) -> &[f64] {
        &self.costs
    }

    /// Returns c(s, t) of the fine times with these indices.
    ///
    /// # Panics
    ///
    /// Panics unless `from` < `to` and both lie on the fine grid.
    pub fn cost(&self, from: usize, to: usize) -> f64 {
        let n = self.fine.count();
        assert!(from < to && to <= n, "no step leads from fine time {from} to {to} of {n}");
        // Rows have n, n − 1, … entries.
        self.costs[from * (2 * n + 1 - from) / 2 + to - from - 1]
    }

    /// Finds the n-step grid with the lowest cost from the fine grid's first time to its last.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless 1 ≤ `steps` ≤ the number of fine steps and all costs are finite.
    pub fn best(&self, steps: usize) -> Result<FittedGrid, Error> {
        self.best_from(0, steps)
    }

    /// Finds the n-step grid with the lowest cost from the fine time with index `start` to the last.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `start` lies before the last fine time, 1 ≤ `steps` ≤ the number of fine
    /// steps from `start` on, and all costs are finite.
    pub fn best_from(&self, start: usize, steps: usize) -> Result<FittedGrid, Error> {
        let n = self.fine.count();
        check("the start on the fine grid", start as f64, "before the last fine time", start < n)?;
        let allowed = (1..=n - start).contains(&steps);
        check("steps", steps as f64, "from 1 to the number of fine steps", allowed)?;
        for cost in &self.costs {
            check("the cost of a step", *cost, "finite", cost.is_finite())?;
        }
        // For paths with k steps: the cost to reach each fine time, and the time before it.
        let mut value = vec![f64::INFINITY; n + 1];
        value[start] = 0.0;
        let mut before = Vec::with_capacity(steps);
        for _ in 0..steps {
            let arrive = |to: usize| {
                let through = (start..to).map(|from| (from, value[from] + self.cost(from, to)));
                through.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((to, f64::INFINITY))
            };
            let arrivals: Vec<(usize, f64)> = (0..=n).map(arrive).collect();
            before.push(arrivals.iter().map(|arrival| arrival.0).collect::<Vec<usize>>());
            value = arrivals.iter().map(|arrival| arrival.1).collect();
        }
        let mut path = vec![n];
        for from in before.iter().rev() {
            path.push(from[path[path.len() - 1]]);
        }
        let times = path.iter().rev().map(|index| self.fine.times()[*index]).collect();
        Ok(FittedGrid { grid: Grid::new(times)?, cost: value[n] })
    }
}
