//! Sampling options, as named on the command line.

use anyhow::{Context, Result, ensure};
use bfn_core::Grid;
use bfn_core::sampler::{Choice, Last, Sampler, Solver};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::fitted::{MeasuredCosts, fitted_grid};
use crate::form::Arrangement;
use crate::run::Trained;

/// The default start times of ordinary differential equations: the published settings.
const START_OF_IMAGES: f64 = 0.01;
const START_OF_TEXT: f64 = 0.001;

/// The sampling options, except for the number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct SolverArgs {
    /// The solver, which moves the belief from one time to the next.
    #[arg(long, value_enum, default_value_t = SolverName::Ancestral)]
    pub solver: SolverName,
    /// The time of the first step, from 0 to below 1. By default 0; for ode1, ode2 and ode2-single, which cannot
    /// start there, 0.01 for images and 0.001 for all other data.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub start_time: Option<f64>,
    /// How the times of the steps are spread.
    #[arg(long, value_enum, default_value_t = GridName::Uniform)]
    pub grid: GridName,
    /// The temperature: above 1 for more variety, below 1 for less. Logits are divided by it, and noise is scaled by
    /// its square root.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f64,
    /// The value that represents the prediction in a step. By default a draw for ancestral, otherwise the mean.
    #[arg(long, value_enum)]
    pub choice: Option<ChoiceName>,
    /// How sampling ends.
    #[arg(long, value_enum, default_value_t = LastName::Evaluate)]
    pub last: LastName,
}

/// A solver of `bfn-core`; see [`Solver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum SolverName {
    /// The paper's sampler: messages about draws from the prediction.
    Ancestral,
    /// Messages about the mean prediction.
    #[value(name = "sde1")]
    Sde1,
    /// As sde1, with the prediction extrapolated from the previous step.
    #[value(name = "sde2")]
    Sde2,
    /// The ordinary differential equation, of first order.
    #[value(name = "ode1")]
    Ode1,
    /// As ode1, but of second order through the previous step.
    #[value(name = "ode2")]
    Ode2,
    /// As ode1, but of second order through an evaluation half-way: two evaluations per step.
    #[value(name = "ode2-single")]
    Ode2Single,
    /// The belief is drawn afresh from the prediction at each step.
    Redraw,
    /// As redraw, with the same noise for all steps.
    FixedNoise,
}

/// A grid of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum GridName {
    /// Equal steps.
    Uniform,
    /// Steps that each reduce the expected entropy of the input distribution by the same amount.
    Entropy,
    /// The steps that cost least under this network, as measured by `bfn grid`.
    Fitted,
}

/// A value that represents the prediction; see [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum ChoiceName {
    /// The mean.
    Mean,
    /// The most probable value.
    Mode,
    /// A draw.
    Draw,
    /// The possible value nearest to the mean.
    Nearest,
}

/// An end of sampling; see [`Last`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastName {
    /// All steps, then one more evaluation at t = 1.
    Evaluate,
    /// The prediction at the start of the last step is the result, which saves one evaluation.
    Prediction,
}

impl SolverArgs {
    /// Creates the sampler with `steps` steps for a trained network.
    ///
    /// # Errors
    ///
    /// Returns an error if the start or the temperature is outside its domain, or if the grid has not been measured.
    pub fn sampler(&self, trained: &Trained, steps: usize) -> Result<Sampler> {
        let solver = Solver::from(self.solver);
        let start = self.start_time.unwrap_or_else(|| default_start(solver, &trained.task.form.arrangement));
        ensure!((0.0..1.0).contains(&start), "--start-time is {start}; it must be at least 0 and below 1");
        let grid = self.grid.of(trained, start, steps)?;
        let sampler = Sampler::new(solver, grid).context("in --start-time")?.with_last(self.last.into());
        let sampler = sampler.with_temperature(self.temperature).context("in --temperature")?;
        Ok(match self.choice {
            Some(choice) => sampler.with_choice(choice.into()),
            None => sampler,
        })
    }
}

impl GridName {
    /// Creates the grid of `steps` steps from `start` to 1 for a trained network.
    ///
    /// # Errors
    ///
    /// Returns an error if the grid has not been measured, or if the steps are too small to be distinguished.
    pub fn of(self, trained: &Trained, start: f64, steps: usize) -> Result<Grid> {
        let grid = match self {
            Self::Uniform => Grid::uniform_from(start, steps),
            Self::Entropy => trained.task.objective.entropy_grid(start, steps),
            Self::Fitted => {
                let costs = MeasuredCosts::read(trained)?;
                return Ok(fitted_grid(&costs, start, steps)?.grid);
            }
        };
        grid.with_context(|| format!("there is no {self} grid of {steps} steps from {start} to 1"))
    }
}

fn default_start(solver: Solver, arrangement: &Arrangement) -> f64 {
    match arrangement {
        _ if solver.starts_at_zero() => 0.0,
        Arrangement::Image { .. } => START_OF_IMAGES,
        _ => START_OF_TEXT,
    }
}

impl From<SolverName> for Solver {
    fn from(name: SolverName) -> Self {
        match name {
            SolverName::Ancestral => Self::Ancestral,
            SolverName::Sde1 => Self::Sde1,
            SolverName::Sde2 => Self::Sde2,
            SolverName::Ode1 => Self::Ode1,
            SolverName::Ode2 => Self::Ode2,
            SolverName::Ode2Single => Self::Ode2SingleStep,
            SolverName::Redraw => Self::Redraw,
            SolverName::FixedNoise => Self::FixedNoise,
        }
    }
}

impl From<ChoiceName> for Choice {
    fn from(name: ChoiceName) -> Self {
        match name {
            ChoiceName::Mean => Self::Mean,
            ChoiceName::Mode => Self::Mode,
            ChoiceName::Draw => Self::Draw,
            ChoiceName::Nearest => Self::Nearest,
        }
    }
}

impl From<LastName> for Last {
    fn from(name: LastName) -> Self {
        match name {
            LastName::Evaluate => Self::Evaluate,
            LastName::Prediction => Self::Prediction,
        }
    }
}

impl std::fmt::Display for GridName {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Self::Uniform => "uniform",
            Self::Entropy => "entropy",
            Self::Fitted => "fitted",
        })
    }
}
