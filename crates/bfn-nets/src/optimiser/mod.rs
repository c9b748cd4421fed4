//! Optimisers, with a state that can be saved and restored to the bit.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::parameter::{NamedTensor, Parameter};
use crate::{Error, shim};

mod adamw;
mod muon;

use adamw::AdamW;
use muon::Muon;
pub use muon::MuonConfig;

/// The constants of an optimiser: AdamW for all parameters or, with `muon`, for those that are not matrices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserConfig {
    /// The learning rate η that a schedule starts from.
    pub learning_rate: f64,
    /// AdamW's decay β₁ of the mean of the gradients.
    pub beta_1: f64,
    /// AdamW's decay β₂ of the mean of their squares.
    pub beta_2: f64,
    /// AdamW's ε, which keeps the quotient finite.
    pub epsilon: f64,
    /// The weight decay λ of the parameters that decay.
    pub weight_decay: f64,
    /// The constants of Muon, which then trains the weight matrices; absent for AdamW throughout, as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muon: Option<MuonConfig>,
}

/// An optimiser: AdamW for all parameters, or Muon for the matrices and AdamW for the rest.
///
/// Both share one learning rate, one clipping and one state. AdamW is that of Loshchilov and Hutter 2019, algorithm 2.
///
/// # Formula
///
/// ```text
/// w ← w − η λ w                                 (λ = 0 for parameters that do not decay)
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// w ← w − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
/// ```
///
/// with g the gradient and t the number of the step, counted from one; Muon's formula is that of [`MuonConfig`]. AdamW
/// leaves a parameter without a gradient unchanged; Muon takes its gradient as zero.
///
/// # Example
///
/// ```
/// use bfn_nets::{Optimiser, OptimiserConfig, Parameter};
/// use tch::{Device, Kind, Tensor};
///
/// let weight = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let parameters = [Parameter::new("weight", &weight, true)];
/// let config =
///     OptimiserConfig { learning_rate: 0.1, beta_1: 0.9, beta_2: 0.98, epsilon: 1e-8, weight_decay: 0.0, muon: None };
/// let mut optimiser = Optimiser::new(&parameters, config)?;
/// for _ in 0..100 {
///     optimiser.zero_grad()?;
///     weight.square().sum(Kind::Float).backward();
///     optimiser.clip_gradients(5.0)?;
///     optimiser.step(config.learning_rate)?;
/// }
/// assert!(weight.abs().max().double_value(&[]) < 0.1);
/// # Ok::<(), bfn_nets::Error>(())
/// ```
#[derive(Debug)]
pub struct Optimiser {
    config: OptimiserConfig,
    /// All parameters, in the network's order.
    parameters: Vec<Tensor>,
    adamw: Option<AdamW>,
    muon: Option<Muon>,
}

impl OptimiserConfig {
    /// Checks that each constant is in the range in which the algorithm makes sense.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Configuration`] with the first key whose constant is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let unit = "a number from 0 up to, but not, 1";
        for (key, value, valid, expected) in [
            ("learning_rate", self.learning_rate, self.learning_rate >= 0.0, "a number from 0 up"),
            ("beta_1", self.beta_1, (0.0..1.0).contains(&self.beta_1), unit),
            ("beta_2", self.beta_2, (0.0..1.0).contains(&self.beta_2), unit),
            ("epsilon", self.epsilon, self.epsilon > 0.0, "a number above 0"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "a number from 0 up"),
        ] {
            if !(valid && value.is_finite()) {
                return Err(Error::Configuration {
                    key: key.to_owned(),
                    expected: expected.to_owned(),
                    found: value.to_string(),
                });
            }
        }
        self.muon.map_or(Ok(()), |muon| muon.validate())
    }
}

impl Optimiser {
    /// Creates an optimiser that has taken no step yet.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Configuration`] if a constant makes no sense.
    ///
    /// # Panics
    ///
    /// Panics if two parameters have the same name, or if there is no parameter.
    pub fn new(parameters: &[Parameter], config: OptimiserConfig) -> Result<Self, Error> {
        config.validate()?;
        assert_distinct(parameters);
        let by_muon = |one: &&Parameter| config.muon.is_some() && Muon::is_for(one);
        let (matrices, others): (Vec<&Parameter>, Vec<&Parameter>) = parameters.iter().partition(by_muon);
        Ok(Self {
            config,
            parameters: parameters.iter().map(|one| one.tensor.shallow_clone()).collect(),
            adamw: (!others.is_empty()).then(|| AdamW::new(&others, config)),
            muon: config.muon.map(|muon| Muon::new(&matrices, muon, config.weight_decay)),
        })
    }

    /// Returns the constants that the optimiser was created with.
    pub fn config(&self) -> &OptimiserConfig {
        &self.config
    }

    /// Takes one step with the gradients that the parameters hold.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if a kernel fails.
    pub fn step(&mut self, learning_rate: f64) -> Result<(), Error> {
        self.apply(learning_rate, None)
    }

    /// Takes one step, unless the scalar `skip` holds 1 rather than 0.
    ///
    /// If `skip` holds 1, nothing changes, including the count of steps. `skip` is in f32 on the parameters' device,
    /// which reads it: nothing waits for it. With [`is_not_finite`], a step with a broken gradient leaves no trace.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if a kernel fails.
    pub fn step_unless(&mut self, skip: &Tensor, learning_rate: f64) -> Result<(), Error> {
        self.apply(learning_rate, Some(skip))
    }

    fn apply(&mut self, learning_rate: f64, skip: Option<&Tensor>) -> Result<(), Error> {
        if let Some(muon) = &mut self.muon {
            muon.step(learning_rate, skip);
        }
        self.adamw.as_mut().map_or(Ok(()), |adamw| adamw.step(learning_rate, skip))
    }

    /// Drops all gradients, so that the next backward pass starts from none.
    ///
    /// It must not be used for gradients that [recorded](crate::recorded) work adds to.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if libtorch refuses.
    pub fn zero_grad(&mut self) -> Result<(), Error> {
        shim::clear_gradients(&self.parameters)
    }

    /// Sets all gradients to zero in place; a parameter without a gradient still has none.
    ///
    /// This is for backward passes that are [recorded](crate::recorded) and add to the gradients where they are.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if libtorch refuses.
    pub fn zero_grad_in_place(&mut self) -> Result<(), Error> {
        shim::zero_gradients(&self.parameters)
    }

    /// Scales the gradients so that their common 2-norm is at most `max_norm`.
    ///
    /// Returns the norm before the scaling, a scalar on their device.
    ///
    /// # Formula
    ///
    /// g ← g · min(1, max_norm / (‖g‖ + 10⁻⁶)), computed on the device: nothing waits for it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if libtorch refuses.
    ///
    /// # Panics
    ///
    /// Panics if `max_norm` is not above zero.
    pub fn clip_gradients(&mut self, max_norm: f64) -> Result<Tensor, Error> {
        shim::clip_gradients(&self.parameters, max_norm)
    }

    /// Returns the state to save to a checkpoint and to fill from one.
    ///
    /// It holds `step` (t) and, for each parameter, `exp_avg.NAME` (m) and `exp_avg_sq.NAME` (v), or `momentum.NAME`
    /// for a matrix of Muon's. The tensors share the optimiser's storage.
    pub fn state(&self) -> Vec<NamedTensor> {
        let adamw = self.adamw.as_ref().map(AdamW::state).unwrap_or_default();
        let muon = self.muon.as_ref().map(Muon::state).unwrap_or_default();
        adamw.into_iter().chain(muon).collect()
    }
}

/// Returns 1 if a scalar is NaN or infinite, else 0, in f32 on its device.
pub fn is_not_finite(scalar: &Tensor) -> Tensor {
    scalar.isfinite().logical_not().to_kind(Kind::Float)
}

fn assert_distinct(parameters: &[Parameter]) {
    assert!(!parameters.is_empty(), "a network without parameters cannot be trained");
    let mut names: Vec<&str> = parameters.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1], "two parameters have one name");
    }
}
