//! The common interface of the three kinds of Bayesian flow.

use crate::{Backend, NoiseSource, Tensor};

/// An output distribution p_O(x | θ; t), independent over the variables.
pub trait OutputDistribution<B: Backend> {
    /// A batch of data: [`Tensor`] for real numbers, [`Indices`](crate::Indices) for classes and bins.
    type Value;

    /// Returns the most probable value of every variable.
    fn mode(&self) -> Self::Value;

    /// Returns ln p_O(x), in nats, per variable: the logarithm of a density where the values are real numbers.
    fn log_prob(&self, x: &Self::Value) -> Tensor<B>;

    /// Draws a value of every variable.
    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> Self::Value;
}

/// An [`OutputDistribution`] over finitely many values.
pub trait FiniteDistribution<B: Backend>: OutputDistribution<B> {
    /// Returns the normalised ln p_O(k) of every value k, in nats, along a new last axis.
    fn log_probabilities(&self) -> Tensor<B>;

    /// Returns p_O(k) of every value k, along a new last axis.
    fn probabilities(&self) -> Tensor<B> {
        self.log_probabilities().exp()
    }
}

/// A Bayesian flow: the game between sender and receiver for one kind of data.
///
/// The flow owns the accuracy schedule and all equations of one kind of data; the network is separate. A training
/// step is
///
/// ```text
/// theta  = flow.flow(x, t, noise)                      θ ~ p_F(θ | x; t)
/// net    = Ψ(flow.network_input(theta), t)
/// output = flow.output(theta, net, t)                  p_O(· | θ; t)
/// loss   = flow.loss_continuous_time(x, output, t)     nats, per variable
/// ```
///
/// # Shapes
///
/// A batch of B examples of D variables: data `[B, D]`; times `t` `[B]` (or any shape that
/// broadcasts with the data once axes of length 1 are appended); messages, noise and θ `[B, D]` for
/// continuous and discretised data and `[B, D, K]` for discrete data; network output `[B, D, P]`
/// with P parameters per variable; losses `[B, D]`, never averaged.
pub trait BayesianFlow<B: Backend> {
    /// A batch of data.
    type Data;
    /// The parameters θ of the input distribution.
    type Theta;
    /// The output distribution.
    type Output: OutputDistribution<B, Value = Self::Data>;

    /// Returns the number P of network outputs per variable.
    fn outputs_per_variable(&self) -> usize;

    /// Returns the shape of a message and of its noise, for data of the given shape.
    fn message_shape(&self, data_shape: &[usize]) -> Vec<usize>;

    /// Returns θ₀, Bob's belief before the first message, in the shape of the message `like`.
    fn prior(&self, like: &Tensor<B>) -> Self::Theta;

    /// Draws θ ~ p_F(θ | x; t) from standard normal `noise` in the shape of a message.
    fn flow(&self, x: &Self::Data, t: &Tensor<B>, noise: &Tensor<B>) -> Self::Theta;

    /// Computes the network's input from θ.
    fn network_input(&self, theta: &Self::Theta) -> Tensor<B>;

    /// Computes p_O(· | θ; t) from the network's output.
    fn output(&self, theta: &Self::Theta, network_output: &Tensor<B>, t: &Tensor<B>) -> Self::Output;

    /// Returns the accuracy β(to) − β(from) of the message sent between two times.
    fn step_accuracy(&self, from: f64, to: f64) -> f64;

    /// Draws y ~ p_S(y | x; α) from standard normal `noise` in the shape of a message.
    ///
    /// `alpha` is one number per example (or any shape that broadcasts, as for `t`).
    fn send(&self, x: &Self::Data, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B>;

    /// Computes the Bayesian update θ' = h(θ, y, α).
    fn update(&self, theta: &Self::Theta, y: &Tensor<B>, alpha: f64) -> Self::Theta;

    /// Computes the integrand of L^∞(x) at time t, in nats, per variable.
    ///
    /// Its mean over uniform t and over θ is L^∞.
    fn loss_continuous_time(&self, x: &Self::Data, output: &Self::Output, t: &Tensor<B>) -> Tensor<B>;

    /// Computes KL(p_S(·|x; α) ‖ p_R(·|θ; t, α)) of one message, in nats, per variable.
    ///
    /// Where the divergence is estimated from one message, drawn with standard normal `noise`, the estimate is
    /// unbiased. The sum over the steps of a grid is the n-step loss; n times the mean over uniformly drawn steps of
    /// the uniform grid is L^n.
    fn loss_step(&self, x: &Self::Data, output: &Self::Output, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B>;

    /// Computes [`loss_step`](Self::loss_step) averaged over the noise and its negative.
    ///
    /// The mean is the same and, at any accuracy, the variance is no larger.
    ///
    /// # Formula
    ///
    /// ½ (`loss_step`(ε) + `loss_step`(−ε)).
    ///
    /// All odd orders of the noise cancel. The most important is the first: √α ε·(x − x̂) for discretised data and
    /// √(Kα) ε·(e_x − ê) for discrete data, where x̂ and ê are the means of p_O. As α → 0, the standard deviation of
    /// the odd orders falls as √α, and that of the remaining orders as α. Scaled to n steps, the error of `loss_step`
    /// grows as √n, while the error of this method stays near that of the continuous-time loss. At large α the loss
    /// is not a polynomial of low degree in ε. The variance is still at most that of `loss_step`, as for every mean
    /// of two numbers with the same distribution. Where the divergence has a closed form, both methods agree.
    ///
    /// Source: antithetic variates, Hammersley and Morton 1956.
    fn loss_step_steady(
        &self,
        x: &Self::Data,
        output: &Self::Output,
        alpha: &Tensor<B>,
        noise: &Tensor<B>,
    ) -> Tensor<B> {
        (self.loss_step(x, output, alpha, noise) + self.loss_step(x, output, alpha, &-noise)) * 0.5
    }

    /// Computes the integrand of L^r(x), −ln p_O(x | θ; 1), in nats, per variable; `output` is the one at t = 1.
    fn loss_reconstruction(&self, x: &Self::Data, output: &Self::Output) -> Tensor<B>;
}
