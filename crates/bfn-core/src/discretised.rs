//! Discretised data: real numbers in [−1, 1], each known only to lie in one of K equal bins.

use crate::continuous::{self, Belief, NoiseToData};
use crate::distribution::{BinDistribution, Probability, RealValued, centre};
use crate::error::{Error, check_count};
use crate::head::{BinHead, Context, NormalHead, Prediction};
use crate::shape::{assert_same, with_last};
use crate::{Backend, BayesianFlow, ExponentialSchedule, Indices};
use crate::{OutputDistribution, Schedule, Tensor};

/// The Bayesian flow of discretised data: bin indices 0..K−1 externally, bin centres in [−1, 1] internally.
///
/// The input distribution, sender, update and flow are those of continuous data at the bin centres. By default the
/// output distribution is a discretised normal; the network predicts the mean and the logarithm of the deviation of
/// the noise. See [`Self::with_head`] and [`Self::with_prediction`].
///
/// Source: Graves et al. 2023, section 5.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscretisedFlow<S = ExponentialSchedule, H = NormalHead> {
    schedule: S,
    bins: usize,
    probability: Probability,
    head: H,
    prediction: Prediction,
}

/// Computes ln p_S(y | x; α) − ln p_R(y | θ; t, α) of a message about bin centres.
///
/// # Formula
///
/// ln p_S/p_R = −½ε² − ln Σ_k p_O(k) e^(−α(y − k_c)²/2), where y = x + ε/√α.
///
/// # Shapes
///
/// `x` (bin centres) and `noise` ε are `[B, D]`, `alpha` is one number per example, `log_probabilities` ln p_O are
/// `[B, D, K]`; the result is `[B, D]`, in nats.
///
/// # Panics
///
/// Panics if the shapes do not fit each other.
///
/// Source: Graves et al. 2023, section 5.
pub fn log_ratio<B: Backend>(
    x: &Tensor<B>,
    alpha: &Tensor<B>,
    noise: &Tensor<B>,
    log_probabilities: &Tensor<B>,
) -> Tensor<B> {
    let shape = log_probabilities.shape();
    let bins = shape[shape.len() - 1];
    assert_same("sender noise", &x.shape(), &noise.shape());
    assert_same("data and probabilities", &shape[..shape.len() - 1], &x.shape());
    let every: Vec<f64> = (0..bins).map(|k| k as f64).collect();
    let centres = centre(&x.from_values_like(&[bins], &every), bins);
    let root_alpha = alpha.align(x.rank()).sqrt();
    // √α (y − k_c) = √α (x − k_c) + ε preserves the digits of ε where α is large.
    let distance = root_alpha.unsqueeze_last() * (x.unsqueeze_last() - centres) + noise.unsqueeze_last();
    let receiver = (log_probabilities - distance.square() * 0.5).log_sum_exp_last();
    noise.square() * -0.5 - receiver
}

impl DiscretisedFlow<ExponentialSchedule> {
    /// Creates the flow of `bins` bins with the paper's schedule, which ends at standard deviation `sigma_1`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `bins` ≥ 2 and 0 < `sigma_1` < 1.
    pub fn new(bins: usize, sigma_1: f64) -> Result<Self, Error> {
        Self::with_schedule(bins, ExponentialSchedule::new(sigma_1)?)
    }
}

impl<S> DiscretisedFlow<S> {
    /// Creates the flow of `bins` bins with a custom schedule.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `bins` ≥ 2.
    pub fn with_schedule(bins: usize, schedule: S) -> Result<Self, Error> {
        let bins = check_count("bins", bins)?;
        let (probability, prediction) = (Probability::Exact, Prediction::Noise);
        Ok(Self { schedule, bins, probability, head: NormalHead, prediction })
    }
}

impl<S, H> DiscretisedFlow<S, H> {
    /// Replaces the head, and with it the output distribution.
    ///
    /// Examples are [`MixtureHead`](crate::head::MixtureHead) and [`CategoricalHead`](crate::head::CategoricalHead).
    pub fn with_head<G>(self, head: G) -> DiscretisedFlow<S, G> {
        let Self { schedule, bins, probability, prediction, .. } = self;
        DiscretisedFlow { schedule, bins, probability, head, prediction }
    }

    /// Replaces the quantity that the network predicts.
    #[must_use]
    pub fn with_prediction(self, prediction: Prediction) -> Self {
        Self { prediction, ..self }
    }

    /// Replaces the method for computing logarithms of probabilities.
    #[must_use]
    pub fn with_probability(self, probability: Probability) -> Self {
        Self { probability, ..self }
    }

    /// Returns the accuracy schedule.
    pub fn schedule(&self) -> &S {
        &self.schedule
    }

    /// Returns the accuracy β(to) − β(from) of the message sent between two times; see [`Schedule::step_accuracy`].
    pub fn step_accuracy(&self, from: f64, to: f64) -> f64
    where
        S: Schedule<f64>,
    {
        self.schedule.step_accuracy(&from, &to)
    }

    /// Returns K, the number of bins.
    pub fn bins(&self) -> usize {
        self.bins
    }

    fn centres<B: Backend>(&self, x: &Indices<B>, like: &Tensor<B>) -> Tensor<B> {
        centre(&x.to_reals(like), self.bins)
    }
}

impl<B, S, H> BayesianFlow<B> for DiscretisedFlow<S, H>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
    H: BinHead<B>,
    H::Output: BinDistribution<B>,
{
    type Data = Indices<B>;
    type Theta = Belief<B>;
    type Output = H::Output;

    /// The outputs of the head; by default two, the mean and the logarithm of the deviation.
    fn outputs_per_variable(&self) -> usize {
        self.head.outputs_per_variable(self.bins)
    }

    fn message_shape(&self, data_shape: &[usize]) -> Vec<usize> {
        data_shape.to_vec()
    }

    /// μ = 0, ρ = 1.
    fn prior(&self, like: &Tensor<B>) -> Belief<B> {
        Belief { mu: like.full_like(0.0), rho: like.full(&[1], 1.0) }
    }

    /// [`continuous::flow`] at the bin centres.
    fn flow(&self, x: &Indices<B>, t: &Tensor<B>, noise: &Tensor<B>) -> Belief<B> {
        continuous::flow(&self.schedule, &self.centres(x, noise), t, noise)
    }

    /// μ; the network can derive ρ from t.
    fn network_input(&self, theta: &Belief<B>) -> Tensor<B> {
        theta.mu.clone()
    }

    /// The distribution that the head computes from the network's output.
    ///
    /// By default this is the discretised normal of mean μ/γ − √((1−γ)/γ) μ_ε and deviation √((1−γ)/γ) σ_ε, where the
    /// network predicts (μ_ε, ln σ_ε); see [`NoiseToData`].
    fn output(&self, theta: &Belief<B>, network_output: &Tensor<B>, t: &Tensor<B>) -> H::Output {
        let mu = theta.mu.clone();
        let expected = with_last(&mu.shape(), self.head.outputs_per_variable(self.bins));
        assert_same("network output", &expected, &network_output.shape());
        let noise_to_data = NoiseToData::new(&self.schedule, t, mu.rank());
        let context = Context { mu, noise_to_data, prediction: self.prediction };
        self.head.output(&context, network_output, self.bins, self.probability)
    }

    fn step_accuracy(&self, from: f64, to: f64) -> f64 {
        self.step_accuracy(from, to)
    }

    /// [`continuous::send`] at the bin centres.
    fn send(&self, x: &Indices<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        continuous::send(&self.centres(x, noise), alpha, noise)
    }

    fn update(&self, theta: &Belief<B>, y: &Tensor<B>, alpha: f64) -> Belief<B> {
        continuous::update(theta, y, alpha)
    }

    /// α(t)/2 · (x − k̂)²; under the paper's schedule −ln σ₁ · σ₁^(−2t) (x − k̂)².
    fn loss_continuous_time(&self, x: &Indices<B>, output: &H::Output, t: &Tensor<B>) -> Tensor<B> {
        let k_hat = output.mean();
        assert_same("data and prediction", &k_hat.shape(), &x.shape());
        let rate = self.schedule.alpha(t).align(k_hat.rank()) * 0.5;
        rate.squared_error(&self.centres(x, &k_hat), &k_hat)
    }

    /// [`log_ratio`] of one message, computed by [`BinDistribution::divergence`].
    fn loss_step(&self, x: &Indices<B>, output: &H::Output, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        output.divergence(&self.centres(x, noise), alpha, noise)
    }

    fn loss_reconstruction(&self, x: &Indices<B>, output: &H::Output) -> Tensor<B> {
        -output.log_prob(x)
    }
}
