//! AdamW on libtorch's fused kernel.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::Error;
use crate::parameter::{NamedTensor, Parameter};
use crate::shim::{self, AdamWStep, Moments};

use super::assert_distinct;

/// The constants of AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// The learning rate η that a schedule starts from.
    pub learning_rate: f64,
    /// The decay β₁ of the mean of the gradients.
    pub beta_1: f64,
    /// The decay β₂ of the mean of their squares.
    pub beta_2: f64,
    /// The number ε that keeps the quotient finite.
    pub epsilon: f64,
    /// The decay λ of those weights that decay.
    pub weight_decay: f64,
}

/// AdamW (Loshchilov and Hutter 2019, algorithm 2) over a network's parameters.
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
/// with g the gradient and t the number of the step, counted from one. A parameter without a gradient stays as it is.
///
/// # Example
///
/// ```
/// use bfn_nets::{AdamW, AdamWConfig, Parameter};
/// use tch::{Device, Kind, Tensor};
///
/// let weight = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let parameters = [Parameter::new("weight", &weight, true)];
/// let config =
///     AdamWConfig { learning_rate: 0.1, beta_1: 0.9, beta_2: 0.98, epsilon: 1e-8, weight_decay: 0.0 };
/// let mut optimiser = AdamW::new(&parameters, config)?;
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
pub struct AdamW {
    config: AdamWConfig,
    groups: [Group; 2],
    /// All parameters again, in the network's order, for what concerns gradients alone.
    parameters: Vec<Tensor>,
    step: Tensor,
}

#[derive(Debug, Default)]
struct Group {
    weight_decay: f64,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
}

impl AdamWConfig {
    /// Checks that each constant lies where the algorithm makes sense.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] with the first key that does not.
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
        Ok(())
    }
}

impl AdamW {
    /// An optimiser that has taken no step yet.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where a constant makes no sense.
    ///
    /// # Panics
    ///
    /// Where two parameters have one name, or there is none.
    pub fn new(parameters: &[Parameter], config: AdamWConfig) -> Result<Self, Error> {
        config.validate()?;
        assert_distinct(parameters);
        let device = parameters[0].tensor.device();
        let mut groups = [Group { weight_decay: config.weight_decay, ..Group::default() }, Group::default()];
        for parameter in parameters {
            let group = &mut groups[usize::from(!parameter.decays)];
            let _no_grad = tch::no_grad_guard();
            group.names.push(parameter.name.clone());
            group.parameters.push(parameter.tensor.shallow_clone());
            group.first.push(parameter.tensor.zeros_like());
            group.second.push(parameter.tensor.zeros_like());
        }
        Ok(Self {
            config,
            groups,
            parameters: parameters.iter().map(|one| one.tensor.shallow_clone()).collect(),
            step: Tensor::zeros([], (Kind::Float, device)),
        })
    }

    /// The constants it was made with.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Takes one step with the given learning rate, from the gradients that the parameters hold.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where the kernel fails.
    pub fn step(&mut self, learning_rate: f64) -> Result<(), Error> {
        self.apply(learning_rate, None)
    }

    /// The same, unless the scalar `skip` holds 1 and not 0: then nothing changes, the count of steps included.
    ///
    /// `skip` is in f32 on the parameters' device, where it is looked at: nothing waits for it. With
    /// [`is_not_finite`](super::is_not_finite) a step from a broken gradient leaves no trace.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn step_unless(&mut self, skip: &Tensor, learning_rate: f64) -> Result<(), Error> {
        self.apply(learning_rate, Some(skip))
    }

    fn apply(&mut self, learning_rate: f64, skip: Option<&Tensor>) -> Result<(), Error> {
        let _ = self.step.g_add_scalar_(1.0);
        for group in &self.groups {
            let constants = AdamWStep {
                learning_rate,
                beta_1: self.config.beta_1,
                beta_2: self.config.beta_2,
                weight_decay: group.weight_decay,
                epsilon: self.config.epsilon,
            };
            let moments = Moments { parameters: &group.parameters, first: &group.first, second: &group.second };
            shim::fused_adamw(&moments, &self.step, skip, constants)?;
        }
        if let Some(skip) = skip {
            let _ = self.step.g_sub_(skip);
        }
        Ok(())
    }

    /// Drops all gradients, so that the next backward pass starts from none.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where libtorch refuses.
    pub fn zero_grad(&mut self) -> Result<(), Error> {
        shim::clear_gradients(&self.parameters)
    }

    /// The 2-norm of all gradients together, a scalar on their device: nothing waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where libtorch refuses.
    pub fn gradient_norm(&self) -> Result<Tensor, Error> {
        shim::gradient_norm(&self.parameters)
    }

    /// Scales the gradients so that their common norm is at most `max_norm`, and returns the norm before that.
    ///
    /// # Formula
    ///
    /// g ← g · min(1, max_norm / (‖g‖ + 10⁻⁶)), computed on the device: nothing waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where libtorch refuses.
    ///
    /// # Panics
    ///
    /// Where `max_norm` is not above zero.
    pub fn clip_gradients(&mut self, max_norm: f64) -> Result<Tensor, Error> {
        shim::clip_gradients(&self.parameters, max_norm)
    }

    /// The state to keep in a checkpoint and to fill from one: for each parameter `exp_avg.NAME` (m) and
    /// `exp_avg_sq.NAME` (v), and `step` (t). The tensors share the optimiser's storage.
    pub fn state(&self) -> Vec<NamedTensor> {
        let mut state = vec![NamedTensor::new("step", &self.step)];
        for group in &self.groups {
            for (index, name) in group.names.iter().enumerate() {
                state.push(NamedTensor::new(format!("exp_avg.{name}"), &group.first[index]));
                state.push(NamedTensor::new(format!("exp_avg_sq.{name}"), &group.second[index]));
            }
        }
        state
    }
}
