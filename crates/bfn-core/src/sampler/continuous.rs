//! The dynamics of normal beliefs: continuous and discretised data.

use std::f64::consts::PI;

use super::{Advance, Coefficients, Conditional, Motion, Scheme};
use crate::continuous::{Belief, send};
use crate::distribution::{BinDistribution, ContinuousDistribution, RealValued, bin, centre};
use crate::head::{BinHead, Head};
use crate::{
    Backend, BayesianFlow, ContinuousFlow, DiscretisedFlow, Error, Grid, Indices, OutputDistribution, Schedule, Tensor,
    entropy,
};

/// Computes the coefficients of one step of μ.
///
/// # Formula
///
/// With v = 1 − γ = 1/(1 + β), Δ = β' − β and h = ½ ln(β'/β), in which γ'(1 − e^(−2h)) = Δ v' and
/// √(γ'(1−γ')/(γ(1−γ))) = e^h v'/v:
///
/// | scheme | θ | x̂ | x̂ − x̂_other | ε |
/// | --- | --- | --- | --- | --- |
/// | SDE-1 | v'/v | Δ v' | | √Δ v' |
/// | SDE-2 | v'/v | Δ v' | ½ Δ v' h/(λ − λ_other) | √Δ v' |
/// | SDE-Euler | 1 − α v δ | α v δ | | √(α δ) v |
/// | ODE-1 | e^h v'/v | Δ v'/(1 + e^(−h)) | | |
/// | ODE-2 | e^h v'/v | Δ v'/(1 + e^(−h)) | ½ Δ v'/(1 + e^(−h)) h/(λ − λ_other) | |
/// | ODE-Euler | 1 + (α/(2β) − α v) δ | ½ α v δ | | |
/// | redraw | 0 | γ' | | √(γ' v') |
///
/// where α is the accuracy rate at the step's first time, δ its length in t and λ = ½ ln β.
///
/// Source: Xue et al. 2024, sections 4 and 5, for any schedule.
fn coefficients<S: Schedule, B: Backend>(schedule: &S, step: &Advance<'_, B>) -> Coefficients {
    let Advance { scheme, from, to, .. } = *step;
    let (before, after) = (schedule.one_minus_gamma(&from), schedule.one_minus_gamma(&to));
    let accuracy = schedule.step_accuracy(&from, &to);
    // λ' − λ without cancellation; infinite for a first time of t = 0, where the slope then has no effect.
    let growth = |from: f64, to: f64| 0.5 * (schedule.step_accuracy(&from, &to) / schedule.beta(&from)).ln_1p();
    let relative = step.other.map_or(0.0, |other| 0.5 * growth(from, to) / growth(other.t, from));
    let (rate, length) = (schedule.alpha(&from), to - from);
    match scheme {
        Scheme::Sde1 | Scheme::Sde2 => {
            let signal = accuracy * after;
            let slope = if scheme == Scheme::Sde2 { signal * relative } else { 0.0 };
            Coefficients { state: after / before, signal, slope, noise: accuracy.sqrt() * after }
        }
        Scheme::Ode1 | Scheme::Ode2 => {
            let decay = (schedule.beta(&from) / schedule.beta(&to)).sqrt();
            let signal = accuracy * after / (1.0 + decay);
            let slope = if scheme == Scheme::Ode2 { signal * relative } else { 0.0 };
            Coefficients { state: after / before / decay, signal, slope, noise: 0.0 }
        }
        Scheme::SdeEuler => {
            let pull = rate * before * length;
            Coefficients { state: 1.0 - pull, signal: pull, slope: 0.0, noise: (rate * length).sqrt() * before }
        }
        Scheme::OdeEuler => {
            let pull = rate * before * length;
            let push = 0.5 * rate / schedule.beta(&from) * length;
            Coefficients { state: 1.0 + push - pull, signal: 0.5 * pull, slope: 0.0, noise: 0.0 }
        }
        Scheme::Redraw => {
            let gamma = schedule.gamma(&to);
            Coefficients { state: 0.0, signal: gamma, slope: 0.0, noise: (gamma * after).sqrt() }
        }
    }
}

/// Returns μ' and ρ' = 1 + β(t').
fn advance<S: Schedule, B: Backend>(schedule: &S, theta: &Belief<B>, step: &Advance<'_, B>) -> Belief<B> {
    belief(schedule, coefficients(schedule, step).apply(&theta.mu, step), step.to)
}

/// Computes μ' = (γ'/γ) μ + (1 − γ') √(β'(β − β')/β) ε, which is [`Motion::retreat`] for m = ρμ.
fn retreat<S: Schedule, B: Backend>(
    schedule: &S,
    theta: &Belief<B>,
    from: f64,
    to: f64,
    noise: &Tensor<B>,
) -> Belief<B> {
    let kept = schedule.gamma(&to) / schedule.gamma(&from);
    let variance = schedule.beta(&to) / schedule.beta(&from) * schedule.step_accuracy(&to, &from);
    let deviation = schedule.one_minus_gamma(&to) * variance.sqrt();
    belief(schedule, Tensor::weighted_sum(&[kept, deviation], &[&theta.mu, noise]), to)
}

/// Draws μ ~ N(0, γ(1−γ) I).
fn start<S: Schedule, B: Backend>(schedule: &S, t: f64, noise: &Tensor<B>) -> Belief<B> {
    let deviation = (schedule.gamma(&t) * schedule.one_minus_gamma(&t)).sqrt();
    belief(schedule, noise * deviation, t)
}

fn belief<S: Schedule, B: Backend>(schedule: &S, mu: Tensor<B>, t: f64) -> Belief<B> {
    let rho = mu.full(&[1], 1.0 / schedule.one_minus_gamma(&t));
    Belief { mu, rho }
}

/// Returns the time at which ln β is half-way.
fn middle<S: Schedule>(schedule: &S, from: f64, to: f64) -> f64 {
    // The product of the roots cannot overflow where that of the accuracies would.
    schedule.time(&(schedule.beta(&from).sqrt() * schedule.beta(&to).sqrt()))
}

impl<B, S, H> Motion<B> for ContinuousFlow<S, H>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
    H: Head<B>,
    H::Output: ContinuousDistribution<B>,
{
    type State = Belief<B>;
    type Prediction = H::Output;

    fn mean_signal(&self, output: &H::Output) -> Tensor<B> {
        output.mean()
    }

    fn signal(&self, x: &Tensor<B>, _like: &Tensor<B>) -> Tensor<B> {
        x.clone()
    }

    /// Returns x̂, since every real number is a possible value.
    fn nearest(&self, output: &H::Output) -> Tensor<B> {
        output.mean()
    }

    /// Applies [`RealValued::tempered`].
    fn tempered(&self, output: H::Output, temperature: f64) -> H::Output {
        output.tempered(temperature)
    }

    fn start(&self, t: f64, noise: &Tensor<B>) -> Belief<B> {
        start(self.schedule(), t, noise)
    }

    fn advance(&self, theta: &Belief<B>, step: &Advance<'_, B>) -> Belief<B> {
        advance(self.schedule(), theta, step)
    }

    fn retreat(&self, theta: &Belief<B>, from: f64, to: f64, noise: &Tensor<B>) -> Belief<B> {
        retreat(self.schedule(), theta, from, to, noise)
    }

    fn middle(&self, from: f64, to: f64) -> f64 {
        middle(self.schedule(), from, to)
    }

    fn expected_entropy(&self) -> Result<Box<dyn Fn(f64) -> f64 + '_>, Error> {
        Ok(Box::new(|t| entropy::normal(self.schedule().beta(&t))))
    }

    fn entropy_grid(&self, eta: f64, steps: usize) -> Result<Grid, Error> {
        entropy::grid(entropy::normal, self.schedule(), eta, steps)
    }
}

impl<B, S, H> Motion<B> for DiscretisedFlow<S, H>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
    H: BinHead<B>,
    H::Output: BinDistribution<B>,
{
    type State = Belief<B>;
    type Prediction = H::Output;

    /// Returns k̂.
    fn mean_signal(&self, output: &H::Output) -> Tensor<B> {
        output.mean()
    }

    fn signal(&self, x: &Indices<B>, like: &Tensor<B>) -> Tensor<B> {
        centre(&x.to_reals(like), self.bins())
    }

    /// Returns the bin that contains k̂.
    fn nearest(&self, output: &H::Output) -> Indices<B> {
        bin(&output.mean(), self.bins())
    }

    /// Applies [`RealValued::tempered`] before the discretisation.
    fn tempered(&self, output: H::Output, temperature: f64) -> H::Output {
        output.tempered(temperature)
    }

    fn start(&self, t: f64, noise: &Tensor<B>) -> Belief<B> {
        start(self.schedule(), t, noise)
    }

    fn advance(&self, theta: &Belief<B>, step: &Advance<'_, B>) -> Belief<B> {
        advance(self.schedule(), theta, step)
    }

    fn retreat(&self, theta: &Belief<B>, from: f64, to: f64, noise: &Tensor<B>) -> Belief<B> {
        retreat(self.schedule(), theta, from, to, noise)
    }

    fn middle(&self, from: f64, to: f64) -> f64 {
        middle(self.schedule(), from, to)
    }

    fn expected_entropy(&self) -> Result<Box<dyn Fn(f64) -> f64 + '_>, Error> {
        Ok(Box::new(|t| entropy::normal(self.schedule().beta(&t))))
    }

    fn entropy_grid(&self, eta: f64, steps: usize) -> Result<Grid, Error> {
        entropy::grid(entropy::normal, self.schedule(), eta, steps)
    }
}

impl<B, S, H> Conditional<B> for ContinuousFlow<S, H>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
    H: Head<B>,
    H::Output: ContinuousDistribution<B>,
{
    fn spread(&self, per_variable: &Tensor<B>, _like: &Tensor<B>) -> Tensor<B> {
        per_variable.clone()
    }

    /// Compares the blurred output distribution with N(x, 1/α), whose density at y follows from the noise.
    fn message_weight(&self, x: &Tensor<B>, output: &H::Output, from: f64, to: f64, noise: &Tensor<B>) -> Tensor<B> {
        let alpha = self.step_accuracy(from, to);
        let y = send(x, &x.full(&[1], alpha), noise);
        let sender = noise.square() * -0.5 + 0.5 * (alpha / (2.0 * PI)).ln();
        output.blurred(alpha.powf(-0.5)).log_prob(&y) - sender
    }

    fn last_weight(&self, x: &Tensor<B>, output: &H::Output) -> Tensor<B> {
        -self.loss_reconstruction(x, output)
    }

    /// Returns (1 − γ) ∇_μ.
    fn steer(&self, gradient: &Tensor<B>, t: f64) -> Tensor<B> {
        gradient * Schedule::<f64>::one_minus_gamma(self.schedule(), &t)
    }

    fn select(&self, theta: &Belief<B>, examples: &[usize]) -> Belief<B> {
        select(theta, examples)
    }
}

impl<B, S, H> Conditional<B> for DiscretisedFlow<S, H>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
    H: BinHead<B>,
    H::Output: BinDistribution<B>,
{
    fn spread(&self, per_variable: &Tensor<B>, _like: &Tensor<B>) -> Tensor<B> {
        per_variable.clone()
    }

    /// Returns the negative of [`BinDistribution::divergence`], which is computed from one message.
    fn message_weight(&self, x: &Indices<B>, output: &H::Output, from: f64, to: f64, noise: &Tensor<B>) -> Tensor<B> {
        let alpha = noise.full(&[1], self.step_accuracy(from, to));
        -output.divergence(&self.signal(x, noise), &alpha, noise)
    }

    fn last_weight(&self, x: &Indices<B>, output: &H::Output) -> Tensor<B> {
        output.log_prob(x)
    }

    /// Returns (1 − γ) ∇_μ.
    fn steer(&self, gradient: &Tensor<B>, t: f64) -> Tensor<B> {
        gradient * Schedule::<f64>::one_minus_gamma(self.schedule(), &t)
    }

    fn select(&self, theta: &Belief<B>, examples: &[usize]) -> Belief<B> {
        select(theta, examples)
    }
}

/// Selects the belief about some examples; ρ may be one number for all examples.
fn select<B: Backend>(theta: &Belief<B>, examples: &[usize]) -> Belief<B> {
    let Belief { mu, rho } = theta;
    let rho = if rho.shape()[0] == mu.shape()[0] { rho.select_rows(examples) } else { rho.clone() };
    Belief { mu: mu.select_rows(examples), rho }
}
