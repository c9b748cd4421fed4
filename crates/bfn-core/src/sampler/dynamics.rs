//! The operations of a flow whose θ follows a differential equation.

use super::Scheme;
use crate::{Backend, BayesianFlow, Error, Grid, OutputDistribution, Tensor};

/// A prediction at a time other than the step's first, which gives second-order schemes their slope.
#[derive(Debug, Clone)]
pub struct Other<B: Backend> {
    /// The time: that of the previous step, or one within the step.
    pub t: f64,
    /// The prediction as a signal.
    pub signal: Tensor<B>,
}

/// One step of a sampler.
#[derive(Debug, Clone, Copy)]
pub struct Advance<'a, B: Backend> {
    /// The rule of the step.
    pub scheme: Scheme,
    /// The time of θ.
    pub from: f64,
    /// The time of the resulting θ'.
    pub to: f64,
    /// The prediction at `from`, as a signal.
    pub signal: &'a Tensor<B>,
    /// Another prediction, for second-order schemes; without it they are of first order.
    pub other: Option<&'a Other<B>>,
    /// Standard normal noise in the shape of a message; `None` for ordinary equations.
    pub noise: Option<&'a Tensor<B>>,
}

/// The coefficients of one step, which is linear in every scheme.
///
/// # Formula
///
/// θ' = `state` · θ + `signal` · x̂ + `slope` · (x̂ − x̂_other) + `noise` · ε, where θ stands for μ or the
/// logits z and x̂ for the signal.
///
/// They are computed in f64 on the host, where small steps do not cancel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// The coefficient of θ.
    pub state: f64,
    /// The coefficient of the signal.
    pub signal: f64,
    /// The coefficient of the difference from the signal of the other time.
    pub slope: f64,
    /// The coefficient of the noise.
    pub noise: f64,
}

/// A flow as a stochastic or an ordinary differential equation, which a [`Sampler`](super::Sampler) solves.
///
/// The *signal* of a value is the mean of the messages about it divided by their accuracy, E\[y\]/α, in the shape of
/// a message: x for continuous data, the bin's centre for discretised data, K e_x − 1 for discrete data, and for
/// mixed data the signals of its parts.
///
/// Source: Xue et al. 2024, sections 4 to 6.
pub trait Motion<B: Backend> {
    /// The parameters θ of the input distribution.
    type State;
    /// The output distribution.
    type Prediction: OutputDistribution<B>;

    /// Returns the mean prediction as a signal: x̂, k̂ or K ê − 1.
    fn mean_signal(&self, output: &Self::Prediction) -> Tensor<B>;

    /// Returns data as a signal, in the shape of the message `like`.
    fn signal(&self, x: &<Self::Prediction as OutputDistribution<B>>::Value, like: &Tensor<B>) -> Tensor<B>;

    /// Returns the possible value of each variable that is nearest to the mean prediction.
    fn nearest(&self, output: &Self::Prediction) -> <Self::Prediction as OutputDistribution<B>>::Value;

    /// Returns the prediction at a temperature T.
    ///
    /// Probabilities of classes are raised to the power 1/T and normalised. For real values and bins, see
    /// [`RealValued::tempered`](crate::distribution::RealValued::tempered).
    fn tempered(&self, output: Self::Prediction, temperature: f64) -> Self::Prediction;

    /// Returns the noise at a temperature T: scaled by √T.
    fn heated(&self, noise: Tensor<B>, temperature: f64) -> Tensor<B> {
        noise * temperature.sqrt()
    }

    /// Draws θ at a first time t from standard normal `noise`: the flow distribution of a signal of 0.
    fn start(&self, t: f64, noise: &Tensor<B>) -> Self::State;

    /// Returns θ' at the end of a step.
    fn advance(&self, theta: &Self::State, step: &Advance<'_, B>) -> Self::State;

    /// Draws θ' at an earlier time `to` from standard normal `noise`, taking messages back.
    ///
    /// # Formula
    ///
    /// Given the sum m of all messages up to β (m = ρμ, or the logits), the sum up to β' < β is normal for any data:
    /// m' ~ N(m β'/β, v β'(β − β')/β), where v is 1, or K for discrete data.
    fn retreat(&self, theta: &Self::State, from: f64, to: f64, noise: &Tensor<B>) -> Self::State;

    /// Returns the time half-way between two others, in the variable in which predictions are extrapolated: ½ ln β
    /// for continuous data, √β for discrete data.
    fn middle(&self, from: f64, to: f64) -> f64;

    /// Returns the expected entropy of a variable's input distribution as a function of time, in nats.
    ///
    /// For mixed data, it is the entropy of all variables.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`entropy`](crate::entropy).
    fn expected_entropy(&self) -> Result<Box<dyn Fn(f64) -> f64 + '_>, Error>;

    /// Returns the grid of n steps from `eta` to 1 that each reduce the expected entropy of the input distribution by
    /// the same amount; see [`entropy`](crate::entropy).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`entropy::grid`](crate::entropy::grid).
    fn entropy_grid(&self, eta: f64, steps: usize) -> Result<Grid, Error>;
}

/// A [`BayesianFlow`] that a [`Sampler`](super::Sampler) can run, such as the flow of each kind of data in this
/// crate.
pub trait Dynamics<B: Backend>:
    BayesianFlow<B> + Motion<B, State = <Self as BayesianFlow<B>>::Theta, Prediction = <Self as BayesianFlow<B>>::Output>
{
}

impl<B, F> Dynamics<B> for F
where
    B: Backend,
    F: BayesianFlow<B>
        + Motion<B, State = <Self as BayesianFlow<B>>::Theta, Prediction = <Self as BayesianFlow<B>>::Output>,
{
}

impl Coefficients {
    /// Computes θ' from θ.
    ///
    /// # Panics
    ///
    /// Panics, naming both shapes, if θ and the step's tensors differ in shape.
    pub fn apply<B: Backend>(&self, theta: &Tensor<B>, step: &Advance<'_, B>) -> Tensor<B> {
        let same = |what: &str, tensor: &Tensor<B>| crate::shape::assert_same(what, &theta.shape(), &tensor.shape());
        same("prediction", step.signal);
        let (mut weights, mut terms) = (vec![self.signal], vec![step.signal]);
        if self.state != 0.0 {
            weights.push(self.state);
            terms.push(theta);
        }
        if let Some(other) = step.other {
            same("other prediction", &other.signal);
            weights[0] += self.slope;
            weights.push(-self.slope);
            terms.push(&other.signal);
        }
        if let Some(noise) = step.noise {
            same("noise", noise);
            weights.push(self.noise);
            terms.push(noise);
        }
        Tensor::weighted_sum(&weights, &terms)
    }
}
