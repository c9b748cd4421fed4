//! Drawing data: the paper's sampler, and fast solvers of the same flow as a differential equation.
//!
//! [`ancestral`] needs only a [`BayesianFlow`](crate::BayesianFlow). A [`Sampler`] runs every [`Solver`] on a flow
//! with a [`Motion`], which this crate provides for each kind of data and for mixed data. [`Conditioned`] is a flow
//! with some known variables. [`Particles`] draw the unknown variables from their exact conditional distribution.
//! [`Steered`] is a flow guided by a custom score.
//!
//! ```
//! use bfn_core::continuous::{Belief, Reconstruction};
//! use bfn_core::distribution::Delta;
//! use bfn_core::sampler::{Sampler, Solver};
//! use bfn_core::{ContinuousFlow, Error, Grid, Nd, RngNoise, Tensor};
//! use rand::SeedableRng;
//! use rand_xoshiro::Xoshiro256PlusPlus;
//!
//! let flow = ContinuousFlow::new(0.1, Reconstruction::Density { deviation: 0.1 })?;
//! let sampler = Sampler::new(Solver::Ode2, Grid::uniform_from(0.01, 10)?)?;
//! let like: Tensor = Tensor::from_nd(ndarray::ArrayD::zeros(vec![4, 2]));
//! let mut noise = RngNoise(Xoshiro256PlusPlus::seed_from_u64(7));
//! // All data are 0.3; a network would be evaluated here.
//! let predict = |theta: &Belief<Nd>, _t: f64| Ok::<_, Error>(Delta { x_hat: theta.mu.full_like(0.3) });
//! let sample = sampler.sample(&flow, &like, &mut noise, predict, |_| Ok(()))?;
//! assert_eq!(sample.output.x_hat.to_values(), [0.3; 8]);
//! # Ok::<(), Error>(())
//! ```

mod ancestral;
mod conditional;
mod continuous;
mod discrete;
mod dynamics;
mod guidance;
mod particles;
mod passes;
mod solver;
mod steered;

pub use ancestral::ancestral;
pub(crate) use ancestral::exchange;
pub use conditional::{Conditional, Conditioned, Observed};
pub use dynamics::{Advance, Coefficients, Dynamics, Motion, Other};
pub use guidance::{Guided, guided};
pub use particles::{Filtered, Particles};
pub use passes::Passes;
pub use solver::{Choice, Last, Scheme, Solver};
pub use steered::{Score, Steered};

use self::passes::Leg;
use crate::error::{Error, check};
use crate::{Backend, Grid, Interval, NoiseSource, OutputDistribution, Tensor};

/// A moment of a generative loop, passed to an observer for progress bars and pictures.
#[derive(Debug)]
pub struct Moment<'a, Theta, Output> {
    /// The number of completed steps: 0 at the start, `steps` at the final prediction.
    pub step: usize,
    /// The total number of steps.
    pub steps: usize,
    /// The time t of θ.
    pub t: f64,
    /// The parameters of the input distribution.
    pub theta: &'a Theta,
    /// The output distribution predicted from them.
    pub output: &'a Output,
}

/// The result of a [`Sampler`].
#[derive(Debug, Clone)]
pub struct Sample<Theta, Output> {
    /// The parameters of the input distribution at the time `t`.
    pub theta: Theta,
    /// The time of the last prediction: the last of the grid, or the one before it under [`Last::Prediction`].
    pub t: f64,
    /// The last prediction; callers use its mode, a draw from it, or [`Motion::nearest`].
    pub output: Output,
    /// The number of evaluations of the predictor.
    pub evaluations: usize,
}

/// A generative loop: a solver on a grid of times, with its options.
///
/// # Formula
///
/// θ at t₀ is drawn from the start distribution p_F(θ | x = 0; t₀). Each step of the grid then computes
///
/// ```text
/// θ' = a θ + b x̂ + c (x̂ − x̂_other) + √T d ε
/// ```
///
/// with the solver's coefficients a, b, c, d ([`Coefficients`]), standard normal ε and a temperature T
/// (1 by default). x̂ is the mean prediction unless another [`Choice`] is made.
///
/// Source: Graves et al. 2023, section 3; Xue et al. 2024, section 5.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    solver: Solver,
    grid: Grid,
    choice: Choice,
    temperature: f64,
    last: Last,
    passes: Passes,
}

impl Sampler {
    /// Creates a sampler at temperature 1 that ends with a prediction at the last time of the grid.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] if the grid begins at 0 and the solver is one of an ordinary differential
    /// equation, because all its paths start from the same point there.
    pub fn new(solver: Solver, grid: Grid) -> Result<Self, Error> {
        if !solver.starts_at_zero() {
            check("the first time of an ODE solver's grid", grid.first(), "above 0", grid.first() > 0.0)?;
        }
        let choice = if solver == Solver::Ancestral { Choice::Draw } else { Choice::Mean };
        Ok(Self { solver, grid, choice, temperature: 1.0, last: Last::Evaluate, passes: Passes::ONCE })
    }

    /// Sets the temperature T: logits of the output distribution are divided by T.
    ///
    /// Noise is scaled by √T ([`Motion::heated`]), except that of known variables ([`Conditioned`]).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `temperature` is finite and above 0.
    pub fn with_temperature(self, temperature: f64) -> Result<Self, Error> {
        let allowed = temperature > 0.0 && temperature.is_finite();
        Ok(Self { temperature: check("temperature", temperature, "finite and above 0", allowed)?, ..self })
    }

    /// Sets the value that represents the prediction.
    #[must_use]
    pub fn with_choice(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    /// Sets how sampling ends.
    #[must_use]
    pub fn with_last(self, last: Last) -> Self {
        Self { last, ..self }
    }

    /// Sets how often the sampler goes through each stretch of its grid.
    #[must_use]
    pub fn with_passes(self, passes: Passes) -> Self {
        Self { passes, ..self }
    }

    /// Returns the number of steps taken, including those of further passes.
    pub fn steps(&self) -> usize {
        self.passes.legs(&self.grid, self.grid_steps()).filter(|leg| matches!(leg, Leg::Advance(_))).count()
    }

    /// Returns the solver.
    pub fn solver(&self) -> Solver {
        self.solver
    }

    /// Returns the grid of times.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Draws a batch of samples.
    ///
    /// `like` has the shape of a message ([`BayesianFlow::message_shape`](crate::BayesianFlow::message_shape), or
    /// `[B, W]` for mixed data), and the precision and device of the result. `predict` maps (θ, t) to the output
    /// distribution; it usually evaluates a network, or in a test an exact posterior. `observe` is called at the
    /// beginning of every step and at the end; an error that it returns ends the sampling.
    ///
    /// # Errors
    ///
    /// Returns the first error of `predict` or `observe`.
    pub fn sample<B, F, E>(
        &self,
        flow: &F,
        like: &Tensor<B>,
        noise: &mut dyn NoiseSource<B>,
        predict: impl FnMut(&F::State, f64) -> Result<F::Prediction, E>,
        mut observe: impl FnMut(Moment<'_, F::State, F::Prediction>) -> Result<(), E>,
    ) -> Result<Sample<F::State, F::Prediction>, E>
    where
        B: Backend,
        F: Motion<B>,
    {
        let mut predictor = Predictor { flow, temperature: self.temperature, predict, evaluations: 0 };
        let steps = self.steps();
        let scheme = self.solver.scheme();
        // At t = 0 the start is a point and needs no noise.
        let initial = if self.grid.first() > 0.0 || self.solver == Solver::FixedNoise {
            self.heated(flow, noise.normal(like))
        } else {
            like.full_like(0.0)
        };
        let mut theta = flow.start(self.grid.first(), &initial);
        let mut other = None;
        let mut step = 0;
        for leg in self.passes.legs(&self.grid, self.grid_steps()) {
            let interval = match leg {
                Leg::Advance(interval) => interval,
                Leg::Retreat(Interval { from, to }) => {
                    theta = flow.retreat(&theta, from, to, &self.heated(flow, noise.normal(like)));
                    other = None;
                    continue;
                }
            };
            let output = predictor.at(&theta, interval.from)?;
            observe(Moment { step, steps, t: interval.from, theta: &theta, output: &output })?;
            let signal = self.signal(flow, &output, like, noise);
            if self.solver == Solver::Ode2SingleStep {
                let middle = flow.middle(interval.from, interval.to);
                let half = Advance {
                    scheme: Scheme::Ode1,
                    from: interval.from,
                    to: middle,
                    signal: &signal,
                    other: None,
                    noise: None,
                };
                let between = flow.advance(&theta, &half);
                let output = predictor.at(&between, middle)?;
                other = Some(Other { t: middle, signal: self.signal(flow, &output, like, noise) });
            }
            let epsilon = match self.solver {
                Solver::FixedNoise => Some(initial.clone()),
                _ => scheme.is_stochastic().then(|| self.heated(flow, noise.normal(like))),
            };
            let advance = Advance {
                scheme,
                from: interval.from,
                to: interval.to,
                signal: &signal,
                other: other.as_ref(),
                noise: epsilon.as_ref(),
            };
            theta = flow.advance(&theta, &advance);
            other = scheme.is_second_order().then_some(Other { t: interval.from, signal });
            step += 1;
        }
        let t = self.grid.times()[self.grid_steps()];
        let output = predictor.at(&theta, t)?;
        observe(Moment { step: steps, steps, t, theta: &theta, output: &output })?;
        Ok(Sample { theta, t, output, evaluations: predictor.evaluations })
    }

    /// Returns the number of steps of the grid that one pass takes.
    fn grid_steps(&self) -> usize {
        match self.last {
            Last::Evaluate => self.grid.count(),
            Last::Prediction => self.grid.count() - 1,
        }
    }

    /// Returns the signal of the value that represents the prediction.
    fn signal<B, F>(
        &self,
        flow: &F,
        output: &F::Prediction,
        like: &Tensor<B>,
        noise: &mut dyn NoiseSource<B>,
    ) -> Tensor<B>
    where
        B: Backend,
        F: Motion<B>,
    {
        match self.choice {
            Choice::Mean => flow.mean_signal(output),
            Choice::Mode => flow.signal(&output.mode(), like),
            Choice::Draw => flow.signal(&output.draw(noise), like),
            Choice::Nearest => flow.signal(&flow.nearest(output), like),
        }
    }

    /// Scales noise to the sampler's temperature.
    fn heated<B: Backend, F: Motion<B>>(&self, flow: &F, noise: Tensor<B>) -> Tensor<B> {
        if self.temperature == 1.0 { noise } else { flow.heated(noise, self.temperature) }
    }
}

/// A predictor at a temperature, which counts its evaluations.
struct Predictor<'a, F, P> {
    flow: &'a F,
    temperature: f64,
    predict: P,
    evaluations: usize,
}

impl<F, P> Predictor<'_, F, P> {
    fn at<B, E>(&mut self, theta: &F::State, t: f64) -> Result<F::Prediction, E>
    where
        B: Backend,
        F: Motion<B>,
        P: FnMut(&F::State, f64) -> Result<F::Prediction, E>,
    {
        self.evaluations += 1;
        let output = (self.predict)(theta, t)?;
        Ok(if self.temperature == 1.0 { output } else { self.flow.tempered(output, self.temperature) })
    }
}
