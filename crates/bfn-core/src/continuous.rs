//! Continuous data: real numbers, normalised to [−1, 1].

use crate::distribution::{Delta, DiscretisedNormal, Probability, bin};
use crate::error::{Error, check, check_count};
use crate::shape::{assert_same, with_last};
use crate::{Backend, BayesianFlow, ExponentialSchedule, OutputDistribution, Schedule, Tensor};

/// Below this time the input distribution says nothing about the data and the prediction is the prior's mean.
pub const T_MIN: f64 = 1e-6;

/// A belief N(μ, ρ⁻¹) about each variable: the parameters θ of the input distribution.
#[derive(Debug, Clone)]
pub struct Belief<B: Backend> {
    /// μ, of the data's shape.
    pub mu: Tensor<B>,
    /// ρ, the precision, of a shape that broadcasts with μ.
    pub rho: Tensor<B>,
}

/// The Bayesian update of a normal belief with a message.
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

/// A sender sample.
///
/// # Formula
///
/// y = x + ε/√α with ε standard normal: y ~ N(x, α⁻¹ I).
///
/// `alpha` is one number per example; `x`, `noise` ε and the result have the data's shape.
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

/// A sample of the Bayesian flow distribution.
///
/// # Formula
///
/// μ = γ x + √(γ(1−γ)) ε with ε standard normal: μ ~ N(γ x, γ(1−γ) I); ρ = 1 + β(t) = 1/(1−γ).
///
/// # Shapes
///
/// `t` one number per example; `x` and `noise` ε of the data's shape.
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

/// How μ and the network's noise prediction determine a prediction of the data: x̂ = scale · μ − ratio · ε̂.
///
/// # Formula
///
/// scale = 1/γ(t), ratio = √((1−γ)/γ).
#[derive(Debug, Clone)]
pub struct NoiseToData<B: Backend> {
    /// 1/γ(t).
    pub scale: Tensor<B>,
    /// √((1−γ)/γ).
    pub ratio: Tensor<B>,
    t: Tensor<B>,
}

impl<B: Backend> NoiseToData<B> {
    /// The factors at times `t`, aligned to data of `rank` axes.
    pub fn new<S: Schedule<Tensor<B>>>(schedule: &S, t: &Tensor<B>, rank: usize) -> Self {
        let t = t.align(rank);
        // Taken at T_MIN before it, so that no infinity enters the branch that is not chosen.
        let late = t.clamp(T_MIN, 1.0);
        let gamma = schedule.gamma(&late);
        let ratio = (schedule.one_minus_gamma(&late) / &gamma).sqrt();
        Self { scale: gamma.recip(), ratio, t }
    }

    /// x̂ = μ/γ − √((1−γ)/γ) ε̂, and 0 where t < [`T_MIN`].
    pub fn mean(&self, mu: &Tensor<B>, epsilon_hat: &Tensor<B>) -> Tensor<B> {
        let x_hat = self.scale.combine(mu, &-&self.ratio, epsilon_hat);
        self.before_t_min(0.0, &x_hat)
    }

    /// σ_x = √((1−γ)/γ) e^(ln σ_ε) limited to [1e−3, 10], and 1 where t < [`T_MIN`].
    ///
    /// The exponent is limited to [−10, 10], as in the published code.
    pub fn deviation(&self, ln_sigma: &Tensor<B>) -> Tensor<B> {
        let sigma = (&self.ratio * ln_sigma.clamp(-10.0, 10.0).exp()).clamp(1e-3, 10.0);
        self.before_t_min(1.0, &sigma)
    }

    fn before_t_min(&self, value: f64, otherwise: &Tensor<B>) -> Tensor<B> {
        self.t.where_below(T_MIN, &otherwise.full(&[1], value), otherwise)
    }
}

/// What the last message of continuous data is measured against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reconstruction {
    /// Data that was rounded to `bins` equal bins of [−1, 1]: −ln of N(x̂, deviation²) discretised to
    /// them. The total then compares with that of discretised data.
    Bins {
        /// The number of bins.
        bins: usize,
        /// The standard deviation; σ₁ unless a published figure asks for another.
        deviation: f64,
        /// How logarithms of probabilities are computed.
        probability: Probability,
    },
    /// Real numbers: −ln of the density N(x; x̂, deviation²). The total bounds a density and may be negative.
    Density {
        /// The standard deviation.
        deviation: f64,
    },
}

/// The Bayesian flow of continuous data, x ∈ R^D normalised to [−1, 1], with a network that predicts
/// the noise.
///
/// Source: Graves et al. 2023, section 4.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuousFlow<S = ExponentialSchedule> {
    schedule: S,
    reconstruction: Reconstruction,
}

impl ContinuousFlow<ExponentialSchedule> {
    /// The flow under the paper's schedule, which ends at standard deviation `sigma_1`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless 0 < `sigma_1` < 1, the deviation is above 0 and there are two bins or more.
    pub fn new(sigma_1: f64, reconstruction: Reconstruction) -> Result<Self, Error> {
        Self::with_schedule(ExponentialSchedule::new(sigma_1)?, reconstruction)
    }
}

impl<S> ContinuousFlow<S> {
    /// The flow under a schedule of one's own.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless the deviation is above 0 and there are two bins or more.
    pub fn with_schedule(schedule: S, reconstruction: Reconstruction) -> Result<Self, Error> {
        let (Reconstruction::Bins { deviation, .. } | Reconstruction::Density { deviation }) = reconstruction;
        check("deviation", deviation, "finite and above 0", deviation > 0.0 && deviation.is_finite())?;
        if let Reconstruction::Bins { bins, .. } = reconstruction {
            check_count("bins", bins)?;
        }
        Ok(Self { schedule, reconstruction })
    }

    /// The accuracy schedule.
    pub fn schedule(&self) -> &S {
        &self.schedule
    }
}

impl<B, S> BayesianFlow<B> for ContinuousFlow<S>
where
    B: Backend,
    S: Schedule<f64> + Schedule<Tensor<B>>,
{
    type Data = Tensor<B>;
    type Theta = Belief<B>;
    type Output = Delta<B>;

    fn outputs_per_variable(&self) -> usize {
        1
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

    /// μ; the network knows ρ from t.
    fn network_input(&self, theta: &Belief<B>) -> Tensor<B> {
        theta.mu.clone()
    }

    /// δ(x − x̂) with x̂ from the predicted noise ([`NoiseToData::mean`]), clipped to [−1, 1].
    fn output(&self, theta: &Belief<B>, network_output: &Tensor<B>, t: &Tensor<B>) -> Delta<B> {
        assert_same("network output", &with_last(&theta.mu.shape(), 1), &network_output.shape());
        let to_data = NoiseToData::new(&self.schedule, t, theta.mu.rank());
        Delta { x_hat: to_data.mean(&theta.mu, &network_output.squeeze_last()).clamp(-1.0, 1.0) }
    }

    fn step_accuracy(&self, from: f64, to: f64) -> f64 {
        self.schedule.step_accuracy(&from, &to)
    }

    fn send(&self, x: &Tensor<B>, alpha: &Tensor<B>, noise: &Tensor<B>) -> Tensor<B> {
        send(x, alpha, noise)
    }

    fn update(&self, theta: &Belief<B>, y: &Tensor<B>, alpha: f64) -> Belief<B> {
        update(theta, y, alpha)
    }

    /// α(t)/2 · (x − x̂)², which is −ln σ₁ · σ₁^(−2t) (x − x̂)² under the paper's schedule.
    fn loss_continuous_time(&self, x: &Tensor<B>, output: &Delta<B>, t: &Tensor<B>) -> Tensor<B> {
        assert_same("data and prediction", &output.x_hat.shape(), &x.shape());
        let rate = self.schedule.alpha(t).align(x.rank()) * 0.5;
        rate * (x - &output.x_hat).square()
    }

    /// α/2 · (x − x̂)², the exact divergence of two normals; the noise is not needed.
    fn loss_step(&self, x: &Tensor<B>, output: &Delta<B>, alpha: &Tensor<B>, _noise: &Tensor<B>) -> Tensor<B> {
        assert_same("data and prediction", &output.x_hat.shape(), &x.shape());
        alpha.align(x.rank()) * 0.5 * (x - &output.x_hat).square()
    }

    fn loss_reconstruction(&self, x: &Tensor<B>, output: &Delta<B>) -> Tensor<B> {
        let x_hat = &output.x_hat;
        assert_same("data and prediction", &x_hat.shape(), &x.shape());
        match self.reconstruction {
            Reconstruction::Bins { bins, deviation, probability } => {
                let deviation = x_hat.full_like(deviation);
                let normal = DiscretisedNormal { mean: x_hat.clone(), deviation, bins, probability };
                -normal.log_prob(&bin(x, bins))
            }
            Reconstruction::Density { deviation } => {
                let constant = deviation.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln();
                ((x - x_hat) / deviation).square() * 0.5 + constant
            }
        }
    }
}
