//! The names of the solvers and of their options.

use std::fmt;

/// A method that moves θ from one time to the next.
///
/// | solver | order | noise | first time | evaluations per step |
/// | --- | --- | --- | --- | --- |
/// | `Ancestral` | 1 (weak) | each step | t₀ ≥ 0 | 1 |
/// | `Sde1`, `SdeEuler` | 1 (weak) | each step | t₀ ≥ 0 | 1 |
/// | `Sde2` | 2 (weak) | each step | t₀ ≥ 0 | 1 |
/// | `Ode1`, `OdeEuler` | 1 | start only | t₀ > 0 | 1 |
/// | `Ode2` | 2 | start only | t₀ > 0 | 1 |
/// | `Ode2SingleStep` | 2 | start only | t₀ > 0 | 2 |
/// | `Redraw` | | each step | t₀ ≥ 0 | 1 |
/// | `FixedNoise` | | start only | t₀ ≥ 0 | 1 |
///
/// Stochastic and ordinary equations share their marginal distributions, but not their paths. In the published
/// settings, t₀ is 0.01 for images and 0.001 for text.
///
/// Source: Graves et al. 2023, section 3; Xue et al. 2024, sections 5 and 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Solver {
    /// The paper's sampler: messages about draws from the prediction.
    Ancestral,
    /// Messages about the mean prediction: the stochastic equation with the prediction held constant over a step.
    Sde1,
    /// The stochastic equation with the prediction extrapolated linearly from the previous step.
    Sde2,
    /// The stochastic equation by the Euler–Maruyama rule.
    SdeEuler,
    /// The ordinary equation with the prediction held constant over a step.
    Ode1,
    /// The ordinary equation with the prediction extrapolated linearly from the previous step.
    Ode2,
    /// The ordinary equation with the slope of the prediction from an evaluation half-way.
    Ode2SingleStep,
    /// The ordinary equation by Euler's rule.
    OdeEuler,
    /// θ drawn afresh from the flow distribution of the prediction: noise does not accumulate.
    ///
    /// Exact for an exact predictor with [`Choice::Draw`]. With the mean, it follows neither equation, and more steps
    /// do not necessarily bring its samples closer to the data.
    Redraw,
    /// Like `Redraw`, but with one noise for all steps of a sample, which therefore depends on that noise alone.
    ///
    /// It iterates the prediction towards a fixed point: with many steps, samples gather at few values.
    FixedNoise,
}

/// The value that represents the prediction when θ moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The mean: x̂, k̂ or ê.
    Mean,
    /// The most probable value.
    Mode,
    /// A draw from the output distribution.
    Draw,
    /// The possible value nearest to the mean; with few bins, the centre of a bin.
    Nearest,
}

/// The end of a sampler's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Last {
    /// All n steps, then a prediction at the last time: n + 1 evaluations.
    Evaluate,
    /// The prediction replaces the last step: n − 1 steps, and the prediction at t_(n−1) is the result. This takes n
    /// evaluations, and the published solvers end in this way.
    Prediction,
}

/// The rule of one step, from which a flow computes coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Stochastic, exact for a constant prediction.
    Sde1,
    /// Stochastic, for a prediction with a constant slope. For discrete data, where the slope is that in √β, it is
    /// exact in the mean; for continuous data, where it is that in ½ ln β, exact except for terms of third order in
    /// the step.
    Sde2,
    /// Stochastic, with a constant drift.
    SdeEuler,
    /// Ordinary, exact for a constant prediction.
    Ode1,
    /// Ordinary, for a prediction with a constant slope.
    Ode2,
    /// Ordinary, with a constant velocity.
    OdeEuler,
    /// The flow distribution of the prediction.
    Redraw,
}

impl Solver {
    /// All solvers.
    pub const ALL: [Self; 10] = [
        Self::Ancestral,
        Self::Sde1,
        Self::Sde2,
        Self::SdeEuler,
        Self::Ode1,
        Self::Ode2,
        Self::Ode2SingleStep,
        Self::OdeEuler,
        Self::Redraw,
        Self::FixedNoise,
    ];

    /// Returns the rule of the solver's steps.
    pub fn scheme(self) -> Scheme {
        match self {
            Self::Ancestral | Self::Sde1 => Scheme::Sde1,
            Self::Sde2 => Scheme::Sde2,
            Self::SdeEuler => Scheme::SdeEuler,
            Self::Ode1 => Scheme::Ode1,
            Self::Ode2 | Self::Ode2SingleStep => Scheme::Ode2,
            Self::OdeEuler => Scheme::OdeEuler,
            Self::Redraw | Self::FixedNoise => Scheme::Redraw,
        }
    }

    /// Returns whether the grid of this solver may begin at t = 0.
    pub fn starts_at_zero(self) -> bool {
        !matches!(self.scheme(), Scheme::Ode1 | Scheme::Ode2 | Scheme::OdeEuler)
    }
}

/// Writes the name used on the command line.
impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ancestral => "ancestral",
            Self::Sde1 => "sde1",
            Self::Sde2 => "sde2",
            Self::SdeEuler => "sde-euler",
            Self::Ode1 => "ode1",
            Self::Ode2 => "ode2",
            Self::Ode2SingleStep => "ode2-single",
            Self::OdeEuler => "ode-euler",
            Self::Redraw => "redraw",
            Self::FixedNoise => "fixed-noise",
        })
    }
}

impl Scheme {
    /// Returns whether a step uses noise.
    pub fn is_stochastic(self) -> bool {
        matches!(self, Self::Sde1 | Self::Sde2 | Self::SdeEuler | Self::Redraw)
    }

    /// Returns whether a step uses the prediction at another time.
    pub fn is_second_order(self) -> bool {
        matches!(self, Self::Sde2 | Self::Ode2)
    }
}
