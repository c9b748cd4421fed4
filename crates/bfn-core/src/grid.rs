//! Grids of times, for samplers and n-step losses.

mod fitted;

pub use fitted::{FittedGrid, StepCosts};

use crate::Schedule;
use crate::error::{Error, check};

/// Times t₀ < t₁ < … < t_n in [0, 1]: n steps.
///
/// Every grid is valid: its times lie in [0, 1] and increase strictly, and it has at least one step.
///
/// # Examples
///
/// ```
/// use bfn_core::Grid;
/// let grid = Grid::new(vec![0.0, 0.5, 1.0])?;
/// assert_eq!(grid, Grid::uniform(2)?);
/// assert!(grid.steps().all(|step| step.to - step.from == 0.5));
/// assert!(Grid::new(vec![0.0, 0.5, 0.5]).is_err());
/// # Ok::<(), bfn_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    times: Vec<f64>,
}

/// One step of a [`Grid`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// t_(i−1), where the step begins.
    pub from: f64,
    /// t_i, where the step ends.
    pub to: f64,
}

impl Grid {
    /// Creates the grid of the given times.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] for fewer than two times or a time outside [0, 1]; [`Error::Grid`] if the times
    /// do not increase strictly.
    pub fn new(times: Vec<f64>) -> Result<Self, Error> {
        check("the number of times in a grid", times.len() as f64, "at least 2", times.len() >= 2)?;
        for time in &times {
            check("a time of a grid", *time, "between 0 and 1", (0.0..=1.0).contains(time))?;
        }
        match times.windows(2).position(|pair| pair[0] >= pair[1]) {
            None => Ok(Self { times }),
            Some(i) => Err(Error::Grid { grid: "times", index: i + 1, value: times[i + 1], previous: times[i] }),
        }
    }

    /// Creates n equal steps from 0 to 1: t_i = i/n.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] if `n` is 0.
    pub fn uniform(n: usize) -> Result<Self, Error> {
        Self::uniform_from(0.0, n)
    }

    /// Creates n equal steps from `eta` to 1: t_i = η + (1 − η) i/n.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `n` ≥ 1 and 0 ≤ `eta` < 1.
    pub fn uniform_from(eta: f64, n: usize) -> Result<Self, Error> {
        check_steps(n)?;
        check("eta", eta, "at least 0 and below 1", (0.0..1.0).contains(&eta))?;
        // The last time is exactly 1, whatever the sum rounds to.
        let time = |i: usize| if i == n { 1.0 } else { eta + (1.0 - eta) * (i as f64 / n as f64) };
        Self::new((0..=n).map(time).collect())
    }

    /// Creates n steps from `eta` to 1 that are equal in λ(t) = ½ ln β(t).
    ///
    /// # Formula
    ///
    /// β(t_i) = β(η) (β(1)/β(η))^(i/n).
    ///
    /// For continuous and discretised data, λ = ln(γ/√(γ(1−γ))) is the logarithm of the signal-to-noise ratio of μ.
    /// The solvers of higher order expand the prediction in this variable.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `n` ≥ 1 and 0 < `eta` < 1; [`Error::Grid`] if the steps are so small that
    /// two times coincide.
    ///
    /// Source: Xue et al. 2024, section 5.
    pub fn uniform_in_lambda<S: Schedule + ?Sized>(schedule: &S, eta: f64, n: usize) -> Result<Self, Error> {
        check_steps(n)?;
        check("eta", eta, "between 0 and 1, both excluded", eta > 0.0 && eta < 1.0)?;
        let first = schedule.beta(&eta);
        let growth = (schedule.beta(&1.0) / first).ln();
        let time = |i: usize| match i {
            0 => eta,
            i if i == n => 1.0,
            i => schedule.time(&(first * (growth * (i as f64 / n as f64)).exp())),
        };
        Self::new((0..=n).map(time).collect())
    }

    /// Returns the times t₀ … t_n.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Returns t₀, where the grid begins.
    pub fn first(&self) -> f64 {
        self.times[0]
    }

    /// Returns t_n, where the grid ends.
    pub fn last(&self) -> f64 {
        self.times[self.times.len() - 1]
    }

    /// Returns the number of steps n.
    pub fn count(&self) -> usize {
        self.times.len() - 1
    }

    /// Returns an iterator over the steps, in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Interval> + '_ {
        self.times.windows(2).map(|pair| Interval { from: pair[0], to: pair[1] })
    }
}

fn check_steps(n: usize) -> Result<f64, Error> {
    check("the number of steps", n as f64, "at least 1", n > 0)
}
