//! The exponential moving average of a network's weights.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::parameter::{NamedTensor, Parameter};
use crate::{Error, shim};

/// Settings of the moving average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// The share d of the old average that is kept at each step, below one.
    pub decay: f64,
    /// Whether the decay starts small and grows to `decay`, so that the first weights are soon forgotten.
    #[serde(default)]
    pub warm_up: bool,
}

/// The exponential moving average of a network's weights.
///
/// # Formula
///
/// a ← a + (1 − dₜ)(w − a), where dₜ = d or, with warm-up, dₜ = min(d, (1 + t)/(10 + t)), and t is the number of the
/// step, counted from one. The average starts at the weights as they are when it is created.
#[derive(Debug)]
pub struct Ema {
    config: EmaConfig,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    averages: Vec<Tensor>,
}

/// A guard during which the network holds the averages; on drop its own weights come back, to the bit.
#[derive(Debug)]
#[must_use = "the network's own weights come back when the guard is dropped"]
pub struct Averaged<'a> {
    ema: &'a mut Ema,
}

impl EmaConfig {
    /// Checks that the decay is valid: at least 0 and below 1.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Configuration`] if it is not.
    pub fn validate(&self) -> Result<(), Error> {
        if (0.0..1.0).contains(&self.decay) {
            return Ok(());
        }
        Err(Error::Configuration {
            key: "decay".to_owned(),
            expected: "a number from 0 up to, but not, 1".to_owned(),
            found: self.decay.to_string(),
        })
    }

    /// Returns the decay dₜ at a step, counted from one.
    pub fn decay_at(&self, step: u64) -> f64 {
        if !self.warm_up {
            return self.decay;
        }
        // Exact below 2⁵³ steps.
        let t = step as f64;
        self.decay.min((1.0 + t) / (10.0 + t))
    }
}

impl Ema {
    /// Creates an average that starts at the present weights.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Configuration`] if the decay is not valid.
    pub fn new(parameters: &[Parameter], config: EmaConfig) -> Result<Self, Error> {
        config.validate()?;
        let _no_grad = tch::no_grad_guard();
        Ok(Self {
            config,
            names: parameters.iter().map(|one| one.name.clone()).collect(),
            parameters: parameters.iter().map(|one| one.tensor.shallow_clone()).collect(),
            averages: parameters.iter().map(|one| one.tensor.detach().copy()).collect(),
        })
    }

    /// Updates the average with the weights after the step of this number, counted from one.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if libtorch refuses.
    pub fn update(&mut self, step: u64) -> Result<(), Error> {
        shim::foreach_lerp(&self.averages, &self.parameters, 1.0 - self.config.decay_at(step))
    }

    /// Puts the averages into the network for as long as the returned guard lives.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if libtorch refuses.
    pub fn averaged(&mut self) -> Result<Averaged<'_>, Error> {
        shim::foreach_swap(&self.averages, &self.parameters)?;
        Ok(Averaged { ema: self })
    }

    /// Returns the averages under their parameters' names, to save to a checkpoint and to fill from one.
    ///
    /// The tensors share the average's storage.
    pub fn state(&self) -> Vec<NamedTensor> {
        let pairs = self.names.iter().zip(&self.averages);
        pairs.map(|(name, average)| NamedTensor::new(name.as_str(), average)).collect()
    }
}

impl Drop for Averaged<'_> {
    fn drop(&mut self) {
        let swapped = shim::foreach_swap(&self.ema.averages, &self.ema.parameters);
        // Otherwise training would silently continue from averages; only a second panic while unwinding is worse.
        if let Err(error) = swapped
            && !std::thread::panicking()
        {
            panic!("{error}");
        }
    }
}
