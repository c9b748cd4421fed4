//! The times and steps at which a loss is measured: sampling with weights that keep it unbiased.
//!
//! The continuous-time loss is an expectation over uniform t; the loss of a grid is a sum over its steps. Both are
//! estimated from few draws, and the spread of these draws determines the variance. [`Spread`] turns independent
//! uniform numbers into evenly spread ones. [`TimeDensity`] turns uniform numbers into times of another density, with
//! the weight 1/p(t). [`Steps`] turns them into steps of any grid, with the weight that makes the mean of the draws
//! equal to the sum over the steps.
//!
//! # Examples
//!
//! The example estimates ∫₀¹ t² dt from 64 draws, more of them late than early:
//!
//! ```
//! use bfn_core::times::{Spread, TimeDensity};
//! let density = TimeDensity::new(&[0.0, 0.5, 1.0], &[1.0, 3.0])?;
//! let uniforms = Spread::LowDiscrepancy.spread(64, &[0.3]);
//! let estimate: f64 = uniforms.iter().map(|u| density.draw(*u)).map(|time| time.weight * time.t * time.t / 64.0).sum();
//! assert!((estimate - 1.0 / 3.0).abs() < 0.01);
//! # Ok::<(), bfn_core::Error>(())
//! ```

use crate::error::{Error, check, check_count, check_increasing};
use crate::{Backend, BayesianFlow, Grid, Interval, Tensor};

/// The rule by which numbers in [0, 1] are spread over a batch.
///
/// Under every rule, the mean of f over the batch is an unbiased estimate of ∫₀¹ f. With n numbers and a smooth f,
/// its variance falls as 1/n for independent numbers and as 1/n³ for stratified ones. Antithetic pairs cancel the
/// part of f that is odd about ½.
///
/// Except for independent numbers, the order is systematic, so the order of the examples in the batch should not be.
///
/// Source: Kingma et al. 2021, "Variational Diffusion Models", for the low-discrepancy rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// u_j.
    Independent,
    /// (j + u_j)/n: one number in each of n equal strata.
    Stratified,
    /// u_j and 1 − u_j: pairs about ½; in a batch of odd size, the last number has no partner.
    Antithetic,
    /// The fractional part of u + j/n: equal distances from one random start. Each number on its own is uniform.
    LowDiscrepancy,
}

impl Spread {
    /// Returns the number of independent uniform numbers that a batch of `count` needs.
    pub fn uniforms(self, count: usize) -> usize {
        match self {
            Self::Independent | Self::Stratified => count,
            Self::Antithetic => count.div_ceil(2),
            Self::LowDiscrepancy => count.min(1),
        }
    }

    /// Spreads independent numbers, uniform on [0, 1), to `count` numbers in [0, 1].
    ///
    /// # Panics
    ///
    /// Panics unless there are as many numbers as [`uniforms`](Self::uniforms) returns.
    pub fn spread(self, count: usize, uniforms: &[f64]) -> Vec<f64> {
        let needed = self.uniforms(count);
        assert!(
            uniforms.len() == needed,
            "{self:?} spreads {needed} uniform numbers to {count}, not {}",
            uniforms.len()
        );
        let n = count as f64;
        let number = |j: usize| match self {
            Self::Independent => uniforms[j],
            Self::Stratified => (j as f64 + uniforms[j]) / n,
            Self::Antithetic if j % 2 == 1 => 1.0 - uniforms[j / 2],
            Self::Antithetic => uniforms[j / 2],
            Self::LowDiscrepancy => (uniforms[0] + j as f64 / n).fract(),
        };
        (0..count).map(number).collect()
    }
}

/// A time with its importance weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightedTime {
    /// The time t.
    pub t: f64,
    /// 1/p(t), the factor for a loss at this time.
    pub weight: f64,
}

/// A density of times on [0, 1], constant on each interval of a table.
///
/// # Formula
///
/// p(t) = m_i / ((t_(i+1) − t_i) Σ_j m_j) on interval i of mass m_i. For t of density p, E[f(t)/p(t)] = ∫₀¹ f. The
/// variance is lowest with m_i ∝ (t_(i+1) − t_i) √E(f²) on interval i; a training loop may keep such an average.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeDensity {
    edges: Vec<f64>,
    /// The share of the mass that lies before each edge.
    cumulative: Vec<f64>,
}

impl TimeDensity {
    /// Returns the uniform density, p(t) = 1.
    pub fn uniform() -> Self {
        Self { edges: vec![0.0, 1.0], cumulative: vec![0.0, 1.0] }
    }

    /// Creates the density with the given masses between the given edges; the masses need not sum to 1.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless the edges run from 0 to 1 and each mass is finite and above 0 (a time that
    /// is never drawn would bias the loss); [`Error::Grid`] if the edges do not increase or a mass vanishes next to
    /// the others.
    ///
    /// # Panics
    ///
    /// Panics unless there is one mass for each interval.
    pub fn new(edges: &[f64], masses: &[f64]) -> Result<Self, Error> {
        check_count("edges", edges.len())?;
        check_increasing("edges", edges)?;
        check("first edge", edges[0], "0", edges[0] == 0.0)?;
        let last = edges[edges.len() - 1];
        check("last edge", last, "1", last == 1.0)?;
        Ok(Self { edges: edges.to_vec(), cumulative: cumulative_shares(edges.len() - 1, masses)? })
    }

    /// Returns p(t).
    pub fn at(&self, t: f64) -> f64 {
        self.on_interval(interval(&self.edges, t))
    }

    /// Returns the time below which the share `uniform` of the mass lies, with its weight 1/p(t).
    ///
    /// Evenly spread numbers give evenly spread draws.
    pub fn draw(&self, uniform: f64) -> WeightedTime {
        let i = interval(&self.cumulative, uniform);
        let density = self.on_interval(i);
        let t = self.edges[i] + (uniform - self.cumulative[i]) / density;
        WeightedTime { t: t.clamp(self.edges[i], self.edges[i + 1]), weight: 1.0 / density }
    }

    fn on_interval(&self, i: usize) -> f64 {
        (self.cumulative[i + 1] - self.cumulative[i]) / (self.edges[i + 1] - self.edges[i])
    }
}

/// One step of a grid with its importance weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The time s at which the step starts and the receiver predicts.
    pub from: f64,
    /// The time t at which the step ends; its message has accuracy β(t) − β(s).
    pub to: f64,
    /// The factor for the step's loss: 1/p, where p is the probability of drawing the step.
    pub weight: f64,
}

/// The steps of a grid of times, for random draws.
///
/// # Formula
///
/// Σ_i f_i = E[f_i / p_i] with step i drawn with probability p_i. If all steps are equally likely, the weight is n;
/// with the uniform grid, the estimate is that of L^n.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    grid: Grid,
    /// The total probability of the steps before each grid point.
    cumulative: Vec<f64>,
}

impl Steps {
    /// Creates the steps of a grid, all equally likely.
    pub fn new(grid: Grid) -> Self {
        let n = grid.count();
        Self { grid, cumulative: (0..=n).map(|i| i as f64 / n as f64).collect() }
    }

    /// Creates the steps of a grid, each drawn in proportion to its mass.
    ///
    /// The variance is lowest for masses proportional to √E(f_i²).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless each mass is finite and above 0; [`Error::Grid`] if a mass vanishes next
    /// to the others.
    ///
    /// # Panics
    ///
    /// Panics unless there is one mass for each step.
    pub fn weighted(grid: Grid, masses: &[f64]) -> Result<Self, Error> {
        let cumulative = cumulative_shares(grid.count(), masses)?;
        Ok(Self { grid, cumulative })
    }

    /// Returns every step once, with weight 1: their losses sum to the loss of the grid.
    pub fn all(&self) -> Vec<Step> {
        self.grid.steps().map(|Interval { from, to }| Step { from, to, weight: 1.0 }).collect()
    }

    /// Returns the step at which the cumulative probability reaches the share `uniform`.
    pub fn draw(&self, uniform: f64) -> Step {
        let i = interval(&self.cumulative, uniform);
        let weight = 1.0 / (self.cumulative[i + 1] - self.cumulative[i]);
        Step { from: self.grid.times()[i], to: self.grid.times()[i + 1], weight }
    }
}

/// Estimates the loss of a grid from one step per example, in nats, per variable.
///
/// # Formula
///
/// weight · KL(p_S(·|x; β(t) − β(s)) ‖ p_R(·|θ; s, β(t) − β(s))) with θ ~ p_F(θ | x; s), for each example's step from
/// s to t. The mean over steps drawn from [`Steps`] is the sum over the grid; over uniform steps of the uniform grid
/// it is L^n.
///
/// # Shapes
///
/// There are B `steps` for B examples; `flow_noise` and `sender_noise` have the shape of a message; the result is
/// `[B, D]`. `predict` maps θ and the times `[B]` to the output distribution.
///
/// # Errors
///
/// Returns an error if `predict` does.
///
/// Source: Graves et al. 2023, section 3.
pub fn loss_of_steps<B, F, E>(
    flow: &F,
    x: &F::Data,
    steps: &[Step],
    flow_noise: &Tensor<B>,
    sender_noise: &Tensor<B>,
    predict: impl FnOnce(&F::Theta, &Tensor<B>) -> Result<F::Output, E>,
) -> Result<Tensor<B>, E>
where
    B: Backend,
    F: BayesianFlow<B>,
{
    let column = |number: &dyn Fn(&Step) -> f64| {
        let numbers: Vec<f64> = steps.iter().map(number).collect();
        flow_noise.from_values_like(&[steps.len()], &numbers)
    };
    let s = column(&|step| step.from);
    let alpha = column(&|step| flow.step_accuracy(step.from, step.to));
    let theta = flow.flow(x, &s, flow_noise);
    let output = predict(&theta, &s)?;
    let loss = flow.loss_step_steady(x, &output, &alpha, sender_noise);
    Ok(column(&|step| step.weight).align(loss.rank()) * loss)
}

/// Returns the interval of increasing `edges` that contains `value`; for values outside, the first or the last.
fn interval(edges: &[f64], value: f64) -> usize {
    edges[1..edges.len() - 1].partition_point(|edge| *edge <= value)
}

/// Returns 0, followed by the share of the total that is reached after each mass.
fn cumulative_shares(intervals: usize, masses: &[f64]) -> Result<Vec<f64>, Error> {
    assert!(masses.len() == intervals, "{} masses do not fit {intervals} intervals", masses.len());
    for mass in masses {
        check("mass", *mass, "finite and above 0", *mass > 0.0 && mass.is_finite())?;
    }
    let total: f64 = masses.iter().sum();
    check("total mass", total, "finite", total.is_finite())?;
    let mut sum = 0.0;
    let mut shares = vec![0.0];
    for mass in masses {
        sum += mass;
        shares.push(sum / total);
    }
    // Exactly 1, so that no draw falls beyond the last interval.
    shares[intervals] = 1.0;
    // A mass that vanishes next to the others would never be drawn, and its share of 0 would be a divisor.
    check_increasing("shares of the masses", &shares)?;
    Ok(shares)
}
