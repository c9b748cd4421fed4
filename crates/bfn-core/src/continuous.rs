//! Continuous data: real numbers, normalised to [−1, 1].

use crate::distribution::{ContinuousDistribution, Density, Probability, RealValued, bin};
use crate::error::{Error, check, check_count};
use crate::head::{Context, DeltaHead, HasDeviation, Head, Prediction};
use crate::shape::{assert_same, with_last};
use crate::{Backend, BayesianFlow, ExponentialSchedule, OutputDistribution, Schedule, Tensor};

/// The time below which the input distribution carries no information and the prediction is the prior's mean.
pub const T_MIN: f64 = 1e-6;

/// A belief N(μ, ρ⁻¹) about each variable: the parameters θ of the input distribution.
#[derive(Debug, Clone)]
pub struct Belief<B: Backend> {
    /// The mean μ, in the shape of the data.
    pub mu: Tensor<B>,
    /// The precision ρ, in a shape that broadcasts with μ.
    pub rho: Tensor<B>,
}

/// Updates a normal belief with a message by Bayes' rule.
///
/// # Formula
///
/// ρ' = ρ + α, μ' = (ρ μ + α y)/ρ'.
///
/// The message y has accuracy α and the shape of μ.
///
/// # Panics
///
/// Panics if y and μ differ in shape.
///
/// Source: Graves et al. 2023, section 4.
pub fn update<B: Backend>(belief: &Belief<B>, y: &Tensor<B>, alpha: f64) -> Belief<B> {
    let Belief { mu, rho } = belief;
    assert_same("message y", &mu.shape(), &y.shape());
    let updated = rho + alpha;
    let kept = rho / &updated;
    let learned = alpha / &updated;
    Belief { mu: kept.combine(mu, &learned, y), rho: updated }
}

/// Returns a sample of the sender distribution.
///
/// # Formula
///
/// y = x + ε/√α with ε standard normal: y ~ N(x, α⁻¹ I).
///
/// `alpha` is one number per example; `x`, `noise` ε and the result have the shape of the data.
///
/// # Panics
///
/// Panics if `x` and `noise` differ in shape.
///
/// Source: Graves et al. 2023, section 4.
pub fn send<B: Backend>(x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
    assert_same("sender noise", &x.shape(), &noise.shape());
    x + noise / alpha.align(x.rank()).sqrt()
}

/// Returns a sample of the Bayesian flow distribution.
///
/// # Formula
///
/// μ = γ x + √(γ(1−γ)) ε with ε standard normal: μ ~ N(γ x, γ(1−γ) I); ρ = 1 + β(t) = 1/(1−γ).
///
/// # Shapes
///
/// `t` is one number per example; `x` and `noise` ε have the shape of the data.
///
/// # Panics
///
/// Panics if `x` and `noise` differ in shape.
///
/// Source: Graves et al. 2023, section 4.
pub fn flow<B, S>(schedule: &S, x: &Tensor<B>, t: &Tensor<B>, noise: &Tensor<B>) -> Belief<B>
where
    B: Backend,
    S: Schedule<Tensor<B>>,
{
    assert_same("flow noise", &x.shape(), &noise.shape());
    let gamma = schedule.gamma(t).align(x.rank());
    let variance = schedule.one_minus_gamma(t).align(x.rank());
    let deviation = (&gamma * &variance).sqrt();
    Belief { mu: gamma.combine(x, &deviation, noise), rho: variance.recip() }
}

/// The factors that turn μ and the predicted noise ε̂ into predicted data: x̂ = scale · μ − ratio · ε̂.
///
/// # Formula
///
/// scale = 1/γ(t), ratio = √((1−γ)/γ); both are 0 where t < [`T_MIN`].
#[derive(Debug, Clone)]
pub struct NoiseToData<B: Backend> {
    /// 1/γ(t), or 0 before [`T_MIN`].
    pub scale: Tensor<B>,
    /// √((1−γ)/γ), or 0 before [`T_MIN`].
    pub ratio: Tensor<B>,
    t: Tensor<B>,
}

impl<B: Backend> NoiseToData<B> {
    /// Computes the factors at times `t`, aligned to data of `rank` axes.
    pub fn new<S: Schedule<Tensor<B>>>(schedule: &S, t: &Tensor<B>, rank: usize) -> Self {
        let t = t.align(rank);
        // Earlier times are replaced by T_MIN, so that no infinity enters the branch that is not selected.
        let late = t.clamp(T_MIN, 1.0);
        let gamma = schedule.gamma(&late);
        let ratio = (schedule.one_minus_gamma(&late) / &gamma).sqrt();
        let known = |factor: &Tensor<B>| t.where_below(T_MIN, &t.full(&[1], 0.0), factor);
        Self { scale: known(&gamma.recip()), ratio: known(&ratio), t }
    }

    /// Computes the mean of the data, x̂ = μ/γ − √((1−γ)/γ) ε̂, which is 0 where t < [`T_MIN`].
    pub fn mean(&self, mu: &Tensor<B>, epsilon_hat: &Tensor<B>) -> Tensor<B> {
        self.scale.combine(mu, &-&self.ratio, epsilon_hat)
    }

    /// Computes the deviation of the data, σ_x = √((1−γ)/γ) e^(ln σ_ε).
    ///
    /// The deviation is limited to [1e−3, 10], and is 1 where t < [`T_MIN`].
    ///
    /// The exponent is limited to [−10, 10], as in the published code.
    pub fn deviation(&self, ln_sigma: &Tensor<B>) -> Tensor<B> {
        let sigma = (&self.ratio * ln_sigma.clamp(-10.0, 10.0).exp()).clamp(1e-3, 10.0);
        self.t.where_below(T_MIN, &sigma.full(&[1], 1.0), &sigma)
    }

    /// Returns the same factors for parameters with one more axis.
    pub(crate) fn unsqueeze_last(&self) -> Self {
        let Self { scale, ratio, t } = self;
        Self { scale: scale.unsqueeze_last(), ratio: ratio.unsqueeze_last(), t: t.unsqueeze_last() }
    }
}

/// The form of the reconstruction loss of continuous data.
///
/// # Formula
///
/// −ln p̃(x), where p̃ = p_O * N(0, deviation²) is the output distribution blurred by convolution with a normal. For
/// the point mass, p̃ = N(x̂, deviation²). For a head that has its own deviation, `deviation` may be 0, which gives
/// −ln p_O(x).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reconstruction {
    /// For data rounded to `bins` equal bins of [−1, 1]: −ln of p̃ discretised to these bins. The total loss is then
    /// comparable with that of discretised data.
    Bins {
        /// The number of bins.
        bins: usize,
        /// The standard deviation; σ₁, unless a published figure requires another value.
        deviation: f64,
        /// How logarithms of probabilities are computed.
        probability: Probability,
    },
    /// For real numbers: −ln of the density p̃(x). The total loss bounds −ln of a density and may be negative.
    Density {
        /// The standard deviation.
        deviation: f64,
    },
}

/// The Bayesian flow of continuous data, x ∈ R^D normalised to [−1, 1].
///
/// By default the network predicts the noise and the output distribution is a point mass; see
/// [`Self::with_head`] and [`Self::with_prediction`].
///
/// Source: Graves et al. 2023, section 4.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuousFlow<S = ExponentialSchedule, H = DeltaHead> {
    schedule: S,
    reconstruction: Reconstruction,
    head: H,
    prediction: Prediction,
}

impl ContinuousFlow<ExponentialSchedule> {
    /// Creates the flow with the paper's schedule, which ends at standard deviation `sigma_1`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless 0 < `sigma_1` < 1, the deviation is finite and above 0, and `bins`, where
    /// given, is at least 2.
    pub fn new(sigma_1: f64, reconstruction: Reconstruction) -> Result<Self, Error> {
        Self::with_schedule(ExponentialSchedule::new(sigma_1)?, reconstruction)
    }
}

impl<S> ContinuousFlow<S> {
    /// Creates the flow with a custom schedule.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless the deviation is finite and above 0 and `bins`, where given, is
    /// at least 2.
    pub fn with_schedule(schedule: S, reconstruction: Reconstruction) -> Result<Self, Error> {
        let deviation = reconstruction.deviation();
        check("deviation", deviation, "finite and above 0", deviation > 0.0 && deviation.is_finite())?;
        reconstruction.check_bins()?;
        Ok(Self { schedule, reconstruction, head: DeltaHead, prediction: Prediction::Noise })
    }
}

impl<S, H> ContinuousFlow<S, H> {
    /// Replaces the head, and with it the output distribution.
    ///
    /// Examples are [`NormalHead`](crate::head::NormalHead) and [`MixtureHead`](crate::head::MixtureHead).
    ///
    /// The receiver is the output distribution convolved with the sender's normal: N(x̂, α⁻¹) for the point mass,
    /// N(m, s² + α⁻¹) for a normal, and a mixture of such normals for a mixture. As α → 0 only the mean matters, so
    /// the continuous-time loss is α(t)/2 · (x − mean)² for all of them.
    pub fn with_head<G>(self, head: G) -> ContinuousFlow<S, G> {
        let Self { schedule, reconstruction, prediction, .. } = self;
        ContinuousFlow { schedule, reconstruction, head, prediction }
    }

    /// Replaces the quantity that the network predicts.
    #[must_use]
    pub fn with_prediction(self, prediction: Prediction) -> Self {
        Self { prediction, ..self }
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
}

impl<S, H: HasDeviation> ContinuousFlow<S, H> {
    /// Replaces the reconstruction loss, whose `deviation` may be 0 because the head has its own deviation.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless the deviation is finite and at least 0 and `bins`, where given, is
    /// at least 2.
    pub fn with_reconstruction(self, reconstruction: Reconstruction) -> Result<Self, Error> {
        let deviation = reconstruction.deviation();
        check("deviation", deviation, "finite and at least 0", deviation >= 0.0 && deviation.is_finite())?;
        reconstruction.check_bins()?;
        Ok(Self { reconstruction, ..self })
    }
}

impl Reconstruction {
    fn deviation(self) -> f64 {
        let (Self::Bins { deviation, .. } | Self::Density { deviation }) = self;
        deviation
    }

    fn check_bins(self) -> Result<(), Error> {
        match self {
            Self::Bins { bins, .. } => check_count("bins", bins).map(|_| ()),
            Self::Density { .. } => Ok(()),
        }
    }
}

impl<B, S, H> BayesianFlow<B> for ContinuousFlow<S, H>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
    H: Head<B>,
    H::Output: ContinuousDistribution<B>,
{
    type Data = Tensor<B>;
    type Theta = Belief<B>;
    type Output = H::Output;

    fn outputs_per_variable(&self) -> usize {
        self.head.outputs_per_variable()
    }

    fn message_shape(&self, data_shape: &[usize]) -> Vec<usize> {
        data_shape.to_vec()
    }

    /// μ = 0, ρ = 1.
    fn prior(&self, like: &Tensor<B>) -> Belief<B> {
        Belief { mu: like.full_like(0.0), rho: like.full(&[1], 1.0) }
    }

    fn flow(&self, x: &Tensor<B>, t: &Tensor<B>, noise: &Tensor<B>) -> Belief<B> {
        flow(&self.schedule, x, t, noise)
    }

    /// μ; the network can derive ρ from t.
    fn network_input(&self, theta: &Belief<B>) -> Tensor<B> {
        theta.mu.clone()
    }

    /// The distribution that the head computes; by default δ(x − x̂) with x̂ from the predicted noise
    /// ([`NoiseToData::mean`]), clipped to [−1, 1].
    fn output(&self, theta: &Belief<B>, network_output: &Tensor<B>, t: &Tensor<B>) -> H::Output {
        let mu = theta.mu.clone();
        let expected = with_last(&mu.shape(), self.head.outputs_per_variable());
        assert_same("network output", &expected, &network_output.shape());
        let noise_to_data = NoiseToData::new(&self.schedule, t, mu.rank());
        self.head.output(&Context { mu, noise_to_data, prediction: self.prediction }, network_output)
    }

    fn step_accuracy(&self, from: f64, to: f64) -> f64 {
        self.step_accuracy(from, to)
    }

    fn send(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        send(x, alpha, noise)
    }

    fn update(&self, theta: &Belief<B>, y: &Tensor<B>, alpha: f64) -> Belief<B> {
        update(theta, y, alpha)
    }

    /// α(t)/2 · (x − x̂)², where x̂ is the mean; under the paper's schedule −ln σ₁ · σ₁^(−2t) (x − x̂)².
    fn loss_continuous_time(&self, x: &Tensor<B>, output: &H::Output, t: &Tensor<B>) -> Tensor<B> {
        let x_hat = output.mean();
        assert_same("data and prediction", &x_hat.shape(), &x.shape());
        let rate = self.schedule.alpha(t).align(x.rank()) * 0.5;
        rate.squared_error(x, &x_hat)
    }

    /// [`ContinuousDistribution::divergence`]: α/2 · (x − x̂)² for the point mass.
    fn loss_step(&self, x: &Tensor<B>, output: &H::Output, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        output.divergence(x, alpha, noise)
    }

    /// −ln of the blurred output distribution; see [`Reconstruction`].
    fn loss_reconstruction(&self, x: &Tensor<B>, output: &H::Output) -> Tensor<B> {
        let blurred = output.blurred(self.reconstruction.deviation());
        match self.reconstruction {
            Reconstruction::Bins { bins, probability, .. } => {
                -blurred.discretised(bins, probability).log_prob(&bin(x, bins))
            }
            Reconstruction::Density { .. } => -blurred.log_prob(x),
        }
    }
}
