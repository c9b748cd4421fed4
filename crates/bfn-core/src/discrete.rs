//! Discrete data: one of K classes per variable.

use crate::distribution::Categorical;
use crate::error::{Error, check_count};
use crate::shape::{assert_same, with_last};
use crate::{Backend, BayesianFlow, FiniteDistribution, Indices, OutputDistribution};
use crate::{QuadraticSchedule, Schedule, Tensor};

/// The Bayesian flow of discrete data, x ∈ {0..K−1}^D.
///
/// The input distribution is categorical. Its parameters are stored as logits z, θ = softmax(z), which never
/// saturate. They are exponentiated once, for the network.
///
/// Source: Graves et al. 2023, section 6.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscreteFlow<S = QuadraticSchedule> {
    schedule: S,
    classes: usize,
    readout: Readout,
    receiver: Receiver,
}

/// The way in which the network's output determines the output distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readout {
    /// p_O = softmax(net): the network predicts the class, as in the paper.
    #[default]
    Direct,
    /// p_O = softmax(net + z), that is p_O(k) ∝ θ_k e^(net_k).
    ///
    /// The network predicts a variable from the other variables, and Bayes' rule adds the information that θ itself
    /// holds about it.
    ///
    /// An exact posterior has this form, because messages about different variables are independent given the data. A
    /// network whose output starts at 0 starts with p_O = θ, not with random predictions.
    Posterior,
}

/// The distribution p_R of the messages that Bob expects, for the n-step loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receiver {
    /// A mixture of K joint normals, one per class: [`log_ratio`]. The exact predictive distribution.
    #[default]
    Joint,
    /// The product of the K marginals of that mixture: [`log_ratio_factorised`].
    ///
    /// This is also a valid code, and that of the published PyTorch code. Use it to compare with published n-step
    /// figures. It agrees with the joint receiver as n → ∞, but not for finite n.
    Factorised,
}

/// Logits z of the categorical input distribution, θ = softmax(z), of shape `[B, D, K]`.
///
/// Logits that differ by a constant over the classes describe the same distribution.
#[derive(Debug, Clone)]
pub struct Logits<B: Backend>(pub Tensor<B>);

impl<B: Backend> Logits<B> {
    /// Returns the class probabilities θ = softmax(z).
    pub fn probabilities(&self) -> Tensor<B> {
        self.0.softmax_last()
    }
}

/// Updates a categorical belief with a message by Bayes' rule.
///
/// # Formula
///
/// θ' ∝ e^y θ; in logits z' = z + y.
///
/// `logits` z and the message y have shape `[…, K]`. The scale of y carries the accuracy, so it is not an argument.
///
/// # Panics
///
/// Panics if y and z differ in shape.
///
/// Source: Graves et al. 2023, section 6.
pub fn update<B: Backend>(logits: &Logits<B>, y: &Tensor<B>) -> Logits<B> {
    assert_same("message y", &logits.0.shape(), &y.shape());
    Logits(&logits.0 + y)
}

/// Returns a sender sample or, with α = β(t), the sum of all messages up to time t.
///
/// # Formula
///
/// y = α (K e_x − 1) + √(α K) ε, with ε standard normal: y ~ N(α(K e_x − 1), α K I).
///
/// # Shapes
///
/// `x` is `[B, D]`, `alpha` is one number per example, `noise` ε and the result are `[B, D, K]`.
///
/// Source: Graves et al. 2023, section 6.
pub fn send<B: Backend>(x: &Indices<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
    let shape = noise.shape();
    let classes = shape[shape.len() - 1] as f64;
    let alpha = alpha.align(shape.len());
    let total = &alpha * classes;
    let background = total.sqrt().combine(noise, &alpha, &alpha.full(&[1], -1.0));
    background.scatter_add_last(x, &total.squeeze_last())
}

/// Computes ln p_S(y | x; α) − ln p_R(y | θ; t, α) for the joint mixture receiver.
///
/// # Formula
///
/// ln p_S/p_R = y_x − ln Σ_k p_O(k) e^(y_k).
///
/// The normals of the mixture share their covariance, and ‖K e_k − 1‖² is the same for every k. Everything else
/// therefore cancels, including α.
///
/// # Shapes
///
/// `x` is `[B, D]`; `y` and `logits` are `[B, D, K]`; the result is `[B, D]`, in nats. p_O = softmax(logits), so
/// `logits` may also be ln p_O.
///
/// # Panics
///
/// Panics if the shapes do not fit.
///
/// Source: Graves et al. 2023, section 6.
pub fn log_ratio<B: Backend>(x: &Indices<B>, y: &Tensor<B>, logits: &Tensor<B>) -> Tensor<B> {
    assert_same("message and probabilities", &logits.shape(), &y.shape());
    y.gather_last(x) - logits.log_mean_exp_last(y)
}

/// Computes ln p_S(y | x; α) − ln p_R(y | θ; t, α) for the factorised receiver.
///
/// # Formula
///
/// p_R = Π_j (p_O(j) N(y_j; α(K−1), αK) + (1 − p_O(j)) N(y_j; −α, αK)), so that with r_j = y_j − α(K−2)/2, the
/// log-ratio of the two normals at y_j,
///
/// ln p_S/p_R = r_x − Σ_j ln(1 − p_O(j) + p_O(j) e^(r_j)).
///
/// # Shapes
///
/// `x` is `[B, D]`; `y` and `log_probabilities` ln p_O are `[B, D, K]`; `alpha` is one number per example; the result
/// is `[B, D]`, in nats.
///
/// # Panics
///
/// Panics if the shapes do not fit.
///
/// Source: the published PyTorch code of Graves et al. 2023.
pub fn log_ratio_factorised<B: Backend>(
    x: &Indices<B>,
    y: &Tensor<B>,
    alpha: &Tensor<B>,
    log_probabilities: &Tensor<B>,
) -> Tensor<B> {
    let shape = log_probabilities.shape();
    assert_same("message and probabilities", &shape, &y.shape());
    let classes = shape[shape.len() - 1] as f64;
    let ratio = y - alpha.align(shape.len()) * (0.5 * (classes - 2.0));
    // ln(1 − p) is kept finite where p rounds to 1; the other term dominates there.
    let complement = (-log_probabilities.clamp(f64::NEG_INFINITY, -1e-30).exp_m1()).ln();
    let present = (log_probabilities + &ratio).unsqueeze_last();
    let marginals = Tensor::concat_last(&[&complement.unsqueeze_last(), &present]).log_sum_exp_last();
    ratio.gather_last(x) - marginals.sum_last()
}

impl DiscreteFlow<QuadraticSchedule> {
    /// Creates the flow of `classes` classes with the paper's schedule β(t) = β(1) t².
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `classes` ≥ 2 and `beta_1` is finite and above 0.
    pub fn new(classes: usize, beta_1: f64) -> Result<Self, Error> {
        Self::with_schedule(classes, QuadraticSchedule::new(beta_1)?)
    }
}

impl<S> DiscreteFlow<S> {
    /// Creates the flow of `classes` classes with a custom schedule.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `classes` ≥ 2.
    pub fn with_schedule(classes: usize, schedule: S) -> Result<Self, Error> {
        let (readout, receiver) = (Readout::Direct, Receiver::Joint);
        Ok(Self { schedule, classes: check_count("classes", classes)?, readout, receiver })
    }

    /// Replaces the way in which the network's output determines the output distribution.
    #[must_use]
    pub fn with_readout(self, readout: Readout) -> Self {
        Self { readout, ..self }
    }

    /// Replaces the receiver of the n-step loss.
    #[must_use]
    pub fn with_receiver(self, receiver: Receiver) -> Self {
        Self { receiver, ..self }
    }

    /// Returns the accuracy schedule.
    pub fn schedule(&self) -> &S {
        &self.schedule
    }

    /// Returns K, the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the number of network outputs per variable: K logits, or for K = 2 the single logit of class 1.
    pub fn outputs_per_variable(&self) -> usize {
        if self.classes == 2 { 1 } else { self.classes }
    }

    /// Returns the accuracy β(to) − β(from) of the message sent between two times; see [`Schedule::step_accuracy`].
    pub fn step_accuracy(&self, from: f64, to: f64) -> f64
    where
        S: Schedule<f64>,
    {
        self.schedule.step_accuracy(&from, &to)
    }
}

impl<B, S> BayesianFlow<B> for DiscreteFlow<S>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
{
    type Data = Indices<B>;
    type Theta = Logits<B>;
    type Output = Categorical<B>;

    /// K logits, or for K = 2 the single logit of class 1.
    fn outputs_per_variable(&self) -> usize {
        self.outputs_per_variable()
    }

    fn message_shape(&self, data_shape: &[usize]) -> Vec<usize> {
        let mut shape = data_shape.to_vec();
        shape.push(self.classes);
        shape
    }

    /// The uniform distribution: all logits 0. Source: Graves et al. 2023, section 6.
    fn prior(&self, like: &Tensor<B>) -> Logits<B> {
        Logits(like.full_like(0.0))
    }

    /// z ~ N(β(t)(K e_x − 1), β(t) K I). Source: Graves et al. 2023, section 6.
    fn flow(&self, x: &Indices<B>, t: &Tensor<B>, noise: &Tensor<B>) -> Logits<B> {
        assert_same("flow noise", &with_last(&x.shape(), self.classes), &noise.shape());
        Logits(send(x, &self.schedule.beta(t), noise))
    }

    /// For K > 2, the class probabilities θ of shape `[B, D, K]`, which the network maps to 2θ − 1. For K = 2, the
    /// single number 2θ₀ − 1 per variable, of shape `[B, D]`, where θ₀ is the probability of class 0, as in the
    /// published binary code.
    fn network_input(&self, theta: &Logits<B>) -> Tensor<B> {
        if self.classes == 2 {
            return theta.probabilities().select_last(0) * 2.0 - 1.0;
        }
        theta.probabilities()
    }

    /// The softmax of K logits, or for K = 2 the sigmoid of the logit of class 1 against class 0. See [`Readout`].
    fn output(&self, theta: &Logits<B>, network_output: &Tensor<B>, _t: &Tensor<B>) -> Categorical<B> {
        let shape = theta.0.shape();
        let per_variable = self.outputs_per_variable();
        assert_same("network output", &with_last(&shape[..shape.len() - 1], per_variable), &network_output.shape());
        match (self.classes, self.readout) {
            (2, Readout::Direct) => Categorical::from_binary_logit(&network_output.squeeze_last()),
            (2, Readout::Posterior) => {
                let known = theta.0.select_last(1) - theta.0.select_last(0);
                Categorical::from_binary_logit(&(network_output.squeeze_last() + known))
            }
            (_, Readout::Direct) => Categorical::from_logits(network_output),
            (_, Readout::Posterior) => Categorical::from_logits(&(network_output + &theta.0)),
        }
    }

    fn step_accuracy(&self, from: f64, to: f64) -> f64 {
        self.step_accuracy(from, to)
    }

    fn send(&self, x: &Indices<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        assert_same("sender noise", &with_last(&x.shape(), self.classes), &noise.shape());
        send(x, alpha, noise)
    }

    fn update(&self, theta: &Logits<B>, y: &Tensor<B>, _alpha: f64) -> Logits<B> {
        update(theta, y)
    }

    /// K α(t)/2 · ‖e_x − ê‖² with ê = p_O; see [`Categorical::squared_distance`].
    ///
    /// With β(t) = β(1) t² the factor is K β(1) t. Source: Graves et al. 2023, section 6.
    fn loss_continuous_time(&self, x: &Indices<B>, output: &Categorical<B>, t: &Tensor<B>) -> Tensor<B> {
        let distance = output.squared_distance(x);
        let rate = self.schedule.alpha(t) * (0.5 * self.classes as f64);
        rate.align(distance.rank()) * distance
    }

    /// [`log_ratio`] of one message, or the log-ratio of the chosen [`Receiver`].
    ///
    /// Source: Graves et al. 2023, section 6.
    fn loss_step(&self, x: &Indices<B>, output: &Categorical<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        let y = BayesianFlow::send(self, x, alpha, noise);
        match self.receiver {
            Receiver::Joint => log_ratio(x, &y, output.logits()),
            Receiver::Factorised => log_ratio_factorised(x, &y, alpha, &output.log_probabilities()),
        }
    }

    fn loss_reconstruction(&self, x: &Indices<B>, output: &Categorical<B>) -> Tensor<B> {
        -output.log_prob(x)
    }
}
