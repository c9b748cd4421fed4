//! The names of the solvers and of their options.

use std::fmt;

/// How θ moves from one time to the next.
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
/// Stochastic and ordinary equations share their marginal distributions, not their paths. With the
/// published settings t₀ is 0.01 for images and 0.001 for text.
///
/// Source: Graves et al. 2023, section 3; Xue et al. 2024, sections 5 and 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Solver {
    /// The paper's sampler: messages about draws from the prediction.
    Ancestral,
    /// Messages about the mean prediction: the stochastic equation with the prediction held over a step.
    Sde1,
    /// The stochastic equation with the prediction extrapolated linearly from the step before.
    Sde2,
    /// The stochastic equation by the rule of Euler and Maruyama.
    SdeEuler,
    /// The ordinary equation with the prediction held over a step.
    Ode1,
    /// The ordinary equation with the prediction extrapolated linearly from the step before.
    Ode2,
    /// The ordinary equation with the prediction's slope from an evaluation half-way.
    Ode2SingleStep,
    /// The ordinary equation by Euler's rule.
    OdeEuler,
    /// θ drawn afresh from the flow distribution of the prediction: noise does not accumulate.
    ///
    /// Exact for an exact predictor with [`Choice::Draw`]; with the mean it follows neither equation, and
    /// more steps need not bring its samples closer to the data.
    Redraw,
    /// As `Redraw`, with one noise for all steps of a sample, which thus depends on that noise alone.
    ///
    /// It repeats the prediction towards a fixed point: with many steps samples gather at few values.
    FixedNoise,
}

/// Which value stands for the prediction when θ moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// x̂, k̂ or ê, the mean.
    Mean,
    /// The most probable value.
    Mode,
    /// A draw from the output distribution.
    Draw,
    /// The possible value nearest to the mean: for few bins, the bin's centre.
    Nearest,
}

/// How a sampler ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Last {
    /// All n steps, then a prediction at the last time: n + 1 evaluations.
    Evaluate,
    /// The last step is the prediction itself: n − 1 steps, and the prediction at t_(n−1) is the
    /// result. The published solvers end so; n evaluations.
    Prediction,
}

/// The rule of one step, which a flow turns into coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Stochastic, exact for a constant prediction.
    Sde1,
    /// Stochastic, for a prediction with a constant slope: exact in the mean for discrete data, where the slope is that
    /// in √β; for continuous data, where it is that in ½ ln β, exact but for terms of third order in the step.
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
    /// Every solver.
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

    /// The rule of its steps.
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

    /// Whether its grid may begin at t = 0.
    pub fn starts_at_zero(self) -> bool {
        !matches!(self.scheme(), Scheme::Ode1 | Scheme::Ode2 | Scheme::OdeEuler)
    }
}

/// The name as on a command line.
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
    /// Whether a step takes noise.
    pub fn is_stochastic(self) -> bool {
        matches!(self, Self::Sde1 | Self::Sde2 | Self::SdeEuler | Self::Redraw)
    }

    /// Whether a step takes the prediction of another time.
    pub fn is_second_order(self) -> bool {
        matches!(self, Self::Sde2 | Self::Ode2)
    }
}
