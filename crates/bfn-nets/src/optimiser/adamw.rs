//! AdamW on libtorch's fused kernel.

use tch::{Kind, Tensor};

use crate::Error;
use crate::parameter::{NamedTensor, Parameter};
use crate::shim::{self, AdamWStep, Moments};

use super::OptimiserConfig;

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
/// with g the gradient and t the number of the step, counted from one. A parameter without a gradient is left
/// unchanged.
#[derive(Debug)]
pub(super) struct AdamW {
    config: OptimiserConfig,
    groups: [Group; 2],
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

impl AdamW {
    /// Creates an optimiser that has taken no step yet, for at least one parameter and valid constants.
    pub(super) fn new(parameters: &[&Parameter], config: OptimiserConfig) -> Self {
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
        Self { config, groups, step: Tensor::zeros([], (Kind::Float, device)) }
    }

    /// Takes one step, unless a scalar `skip` is given that holds 1 rather than 0.
    pub(super) fn step(&mut self, learning_rate: f64, skip: Option<&Tensor>) -> Result<(), Error> {
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

    /// Returns the state to save to a checkpoint and to fill from one.
    ///
    /// It holds `exp_avg.NAME` (m) and `exp_avg_sq.NAME` (v) of each parameter, and `step` (t). The tensors share the
    /// optimiser's storage.
    pub(super) fn state(&self) -> Vec<NamedTensor> {
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
