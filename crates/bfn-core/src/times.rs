//! Which times and which steps a loss is measured at: sampling with weights that keep it unbiased.
//!
//! The continuous-time loss is an expectation over uniform t, the loss of a grid a sum over its steps. Both
//! are estimated from few draws, and how these are spread decides the variance: [`Spread`] turns independent
//! uniform numbers into evenly spread ones, [`TimeDensity`] turns uniform numbers into times of another
//! density with the weight 1/p(t), and [`Steps`] turns them into steps of any grid, with the weight that
//! makes the mean of the draws the sum over the steps.
//!
//! # Examples
//!
//! An estimate of ∫₀¹ t² dt from 64 draws, more of them late:
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

/// How numbers in [0, 1] are spread over a batch.
///
/// Under each the mean of f over the batch is an unbiased estimate of ∫₀¹ f. Its variance with n numbers and
/// a smooth f falls as 1/n for independent numbers and as 1/n³ for stratified ones; antithetic pairs lose
/// all of f's odd part about ½.
///
/// Apart from the independent ones the numbers are in order, so the examples of the batch should not be.
///
/// Source: Kingma et al. 2021, "Variational Diffusion Models", for the low-discrepancy rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// u_j.
    Independent,
    /// (j + u_j)/n: one number in each of n equal strata.
    Stratified,
    /// u_j and 1 − u_j: pairs about ½; of an odd batch the last number is alone.
    Antithetic,
    /// The fractional part of u + j/n: equal distances from one random start. Each number by itself is uniform.
    LowDiscrepancy,
}

impl Spread {
    /// How many independent uniform numbers a batch of `count` takes.
    pub fn uniforms(self, count: usize) -> usize {
        match self {
            Self::Independent | Self::Stratified => count,
            Self::Antithetic => count.div_ceil(2),
            Self::LowDiscrepancy => count.min(1),
        }
    }

    /// `count` numbers in [0, 1] from independent ones, uniform on [0, 1).
    ///
    /// # Panics
    ///
    /// Panics if there are not [`uniforms`](Self::uniforms) of them.
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
    /// 1/p(t), the factor of a loss at this time.
    pub weight: f64,
}

/// A density of times on [0, 1], constant on each interval of a table.
///
/// # Formula
///
/// p(t) = m_i / ((t_(i+1) − t_i) Σ_j m_j) on interval i of mass m_i. With t of density p, E[f(t)/p(t)] = ∫₀¹
/// f, and its variance is least with m_i ∝ (t_(i+1) − t_i) √E(f²) on interval i: a training loop may keep
/// such an average.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeDensity {
    edges: Vec<f64>,
    /// The share of the mass before each edge.
    cumulative: Vec<f64>,
}

impl TimeDensity {
    /// The density 1.
    pub fn uniform() -> Self {
        Self { edges: vec![0.0, 1.0], cumulative: vec![0.0, 1.0] }
    }

    /// The density with the given masses between the given edges; the masses need not sum to 1.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless the edges run from 0 to 1 and each mass is finite and above 0 (a time
    /// that is never drawn would bias the loss); [`Error::Grid`] where the edges do not increase.
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

    /// p(t).
    pub fn at(&self, t: f64) -> f64 {
        self.on_interval(interval(&self.edges, t))
    }

    /// The time below which the share `uniform` of the mass lies, with its weight 1/p(t).
    ///
    /// Evenly spread numbers stay evenly spread.
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
    /// The time t at which it ends; its message has accuracy β(t) − β(s).
    pub to: f64,
    /// The factor of the step's loss: 1/p with p the probability of drawing it.
    pub weight: f64,
}

/// The steps of a grid of times, to be drawn at random.
///
/// # Formula
///
/// Σ_i f_i = E[f_i / p_i] with step i drawn with probability p_i. Where all steps are equally likely the
/// weight is n, and with the uniform grid the estimate is that of L^n.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    grid: Grid,
    /// The probability of the steps before each grid point.
    cumulative: Vec<f64>,
}

impl Steps {
    /// The steps of a grid, all equally likely.
    pub fn new(grid: Grid) -> Self {
        let n = grid.count();
        Self { grid, cumulative: (0..=n).map(|i| i as f64 / n as f64).collect() }
    }

    /// The steps of a grid, each drawn in proportion to its mass; least variance is at masses proportional
    /// to √E(f_i²).
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless each mass is finite and above 0; [`Error::Grid`] where one vanishes beside the others.
    ///
    /// # Panics
    ///
    /// Panics unless there is one mass for each step.
    pub fn weighted(grid: Grid, masses: &[f64]) -> Result<Self, Error> {
        let cumulative = cumulative_shares(grid.count(), masses)?;
        Ok(Self { grid, cumulative })
    }

    /// Every step once, with weight 1: their losses sum to the loss of the grid.
    pub fn all(&self) -> Vec<Step> {
        self.grid.steps().map(|Interval { from, to }| Step { from, to, weight: 1.0 }).collect()
    }

    /// The step at which the share `uniform` of the probability is reached.
    pub fn draw(&self, uniform: f64) -> Step {
        let i = interval(&self.cumulative, uniform);
        let weight = 1.0 / (self.cumulative[i + 1] - self.cumulative[i]);
        Step { from: self.grid.times()[i], to: self.grid.times()[i + 1], weight }
    }
}

/// The loss of a grid, estimated from one step per example, in nats, per variable.
///
/// # Formula
///
/// weight · KL(p_S(·|x; β(t) − β(s)) ‖ p_R(·|θ; s, β(t) − β(s))) with θ ~ p_F(θ | x; s), for each example's
/// step from s to t. Its mean over steps drawn from [`Steps`] is the sum over the grid; over uniform steps
/// of the uniform grid it is L^n.
///
/// # Shapes
///
/// B `steps` for B examples; `flow_noise` and `sender_noise` in the shape of a message; the result `[B, D]`.
/// `predict` maps θ and the times `[B]` to the output distribution.
///
/// # Errors
///
/// Whatever `predict` returns.
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

/// The interval of increasing `edges` that holds `value`; outside, the first or the last.
fn interval(edges: &[f64], value: f64) -> usize {
    edges[1..edges.len() - 1].partition_point(|edge| *edge <= value)
}

/// 0, and the shares of the total that are reached after each mass.
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
    // Exact, so that no draw falls behind the last interval.
    shares[intervals] = 1.0;
    // A mass that vanishes beside the others would be drawn never and divided by.
    check_increasing("shares of the masses", &shares)?;
    Ok(shares)
}
