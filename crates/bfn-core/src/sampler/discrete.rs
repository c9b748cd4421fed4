//! The dynamics of logits: discrete data.

use super::{Advance, Coefficients, Conditional, Motion, Scheme};
use crate::discrete::{Logits, log_ratio, send};
use crate::distribution::Categorical;
use crate::{Backend, DiscreteFlow, Error, Grid, Indices, OutputDistribution, Schedule, Tensor, entropy};

/// Computes the coefficients of one step of the logits z, where the signal is K ê − 1.
///
/// # Formula
///
/// With u = √β, which is √β(1) t under the paper's schedule:
///
/// | scheme | θ | K ê − 1 | K ê − K ê_other | ε |
/// | --- | --- | --- | --- | --- |
/// | SDE-1 | 1 | β' − β | | √(K(β' − β)) |
/// | SDE-2 | 1 | β' − β | ⅓ (u' − u)² (u + 2u')/(u − u_other) | √(K(β' − β)) |
/// | SDE-Euler | 1 | α δ | | √(K α δ) |
/// | ODE-1 | u'/u | u'(u' − u) | | |
/// | ODE-2 | u'/u | u'(u' − u) | ½ u' (u' − u)²/(u − u_other) | |
/// | ODE-Euler | 1 + α δ/(2β) | ½ α δ | | |
/// | redraw | 0 | β' | | √(K β') |
///
/// where α is the accuracy rate at the step's first time and δ its length in t.
///
/// Source: Xue et al. 2024, section 6, for any schedule.
fn coefficients<S: Schedule, B: Backend>(schedule: &S, classes: usize, step: &Advance<'_, B>) -> Coefficients {
    let Advance { scheme, from, to, .. } = *step;
    let classes = classes as f64;
    let (before, after) = (schedule.beta(&from), schedule.beta(&to));
    let accuracy = schedule.step_accuracy(&from, &to);
    let (u, next) = (before.sqrt(), after.sqrt());
    // Differences of u, computed from those of β, which do not cancel.
    let difference = accuracy / (u + next);
    let inverse =
        step.other.map_or(0.0, |other| (u + schedule.beta(&other.t).sqrt()) / schedule.step_accuracy(&other.t, &from));
    let (rate, length) = (schedule.alpha(&from), to - from);
    match scheme {
        Scheme::Sde1 | Scheme::Sde2 => {
            let third = difference * difference * (u + 2.0 * next) / 3.0;
            let slope = if scheme == Scheme::Sde2 { third * inverse } else { 0.0 };
            Coefficients { state: 1.0, signal: accuracy, slope, noise: (classes * accuracy).sqrt() }
        }
        Scheme::Ode1 | Scheme::Ode2 => {
            let half = 0.5 * next * difference * difference;
            let slope = if scheme == Scheme::Ode2 { half * inverse } else { 0.0 };
            Coefficients { state: next / u, signal: next * difference, slope, noise: 0.0 }
        }
        Scheme::SdeEuler => {
            let drift = rate * length;
            Coefficients { state: 1.0, signal: drift, slope: 0.0, noise: (classes * drift).sqrt() }
        }
        Scheme::OdeEuler => {
            let drift = 0.5 * rate * length;
            Coefficients { state: 1.0 + drift / before, signal: drift, slope: 0.0, noise: 0.0 }
        }
        Scheme::Redraw => Coefficients { state: 0.0, signal: after, slope: 0.0, noise: (classes * after).sqrt() },
    }
}

impl<B, S> Motion<B> for DiscreteFlow<S>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
{
    type State = Logits<B>;
    type Prediction = Categorical<B>;

    fn mean_signal(&self, output: &Categorical<B>) -> Tensor<B> {
        output.affine_probabilities(self.classes() as f64, -1.0)
    }

    fn signal(&self, x: &Indices<B>, like: &Tensor<B>) -> Tensor<B> {
        like.full_like(-1.0).scatter_add_last(x, &like.full(&[1], self.classes() as f64))
    }

    /// Returns the mode, which is the e_k nearest to ê.
    fn nearest(&self, output: &Categorical<B>) -> Indices<B> {
        output.mode()
    }

    /// Divides the logits by T.
    fn tempered(&self, output: Categorical<B>, temperature: f64) -> Categorical<B> {
        output.tempered(temperature)
    }

    /// Draws z ~ N(0, K β(t) I).
    fn start(&self, t: f64, noise: &Tensor<B>) -> Logits<B> {
        let beta: f64 = self.schedule().beta(&t);
        Logits(noise * (self.classes() as f64 * beta).sqrt())
    }

    fn advance(&self, theta: &Logits<B>, step: &Advance<'_, B>) -> Logits<B> {
        Logits(coefficients(self.schedule(), self.classes(), step).apply(&theta.0, step))
    }

    /// Computes z' = (β'/β) z + √(K β'(β − β')/β) ε.
    fn retreat(&self, theta: &Logits<B>, from: f64, to: f64, noise: &Tensor<B>) -> Logits<B> {
        let kept = Schedule::<f64>::beta(self.schedule(), &to) / Schedule::<f64>::beta(self.schedule(), &from);
        let deviation = (self.classes() as f64 * kept * self.step_accuracy(to, from)).sqrt();
        Logits(Tensor::weighted_sum(&[kept, deviation], &[&theta.0, noise]))
    }

    /// Returns the time at which √β is half-way; under the paper's schedule, this is the middle in t.
    fn middle(&self, from: f64, to: f64) -> f64 {
        let root = |t: f64| -> f64 { Schedule::<f64>::beta(self.schedule(), &t).sqrt() };
        self.schedule().time(&(0.5 * (root(from) + root(to))).powi(2))
    }

    fn expected_entropy(&self) -> Result<Box<dyn Fn(f64) -> f64 + '_>, Error> {
        let entropy = entropy::Categorical::new(self.classes())?;
        Ok(Box::new(move |t| entropy.at(self.schedule().beta(&t))))
    }

    fn entropy_grid(&self, eta: f64, steps: usize) -> Result<Grid, Error> {
        let entropy = entropy::Categorical::new(self.classes())?;
        entropy::grid(|beta| entropy.at(beta), self.schedule(), eta, steps)
    }
}

impl<B, S> Conditional<B> for DiscreteFlow<S>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
{
    fn spread(&self, per_variable: &Tensor<B>, like: &Tensor<B>) -> Tensor<B> {
        like.full_like(0.0) + per_variable.unsqueeze_last()
    }

    /// Returns the negative of [`log_ratio`].
    fn message_weight(
        &self,
        x: &Indices<B>,
        output: &Categorical<B>,
        from: f64,
        to: f64,
        noise: &Tensor<B>,
    ) -> Tensor<B> {
        let y = send(x, &noise.full(&[1], self.step_accuracy(from, to)), noise);
        -log_ratio(x, &y, output.logits())
    }

    fn last_weight(&self, x: &Indices<B>, output: &Categorical<B>) -> Tensor<B> {
        output.log_prob(x)
    }

    /// Returns K ∇_z.
    fn steer(&self, gradient: &Tensor<B>, _t: f64) -> Tensor<B> {
        gradient * self.classes() as f64
    }

    fn select(&self, theta: &Logits<B>, examples: &[usize]) -> Logits<B> {
        Logits(theta.0.select_rows(examples))
    }
}
