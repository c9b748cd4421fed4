//! Optimisers, with a state that can be saved and restored to the bit.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::parameter::{NamedTensor, Parameter};
use crate::{Error, shim};

mod adamw;
mod muon;

pub use adamw::{AdamW, AdamWConfig};
pub use muon::{Muon, MuonConfig};

/// The constants of an optimiser: AdamW for all parameters, or with `muon` for those that are no matrices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserConfig {
    /// The learning rate η that a schedule starts from.
    pub learning_rate: f64,
    /// AdamW's decay β₁ of the mean of the gradients.
    pub beta_1: f64,
    /// AdamW's decay β₂ of the mean of their squares.
    pub beta_2: f64,
    /// AdamW's number ε that keeps the quotient finite.
    pub epsilon: f64,
    /// The decay λ of those weights that decay.
    pub weight_decay: f64,
    /// Trains the weight matrices by Muon; absent for AdamW throughout, as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muon: Option<MuonConfig>,
}

/// AdamW, or Muon for the matrices and AdamW for the rest: one learning rate, one clipping, one state.
#[derive(Debug)]
pub struct Optimiser {
    config: OptimiserConfig,
    /// All parameters, in the network's order.
    parameters: Vec<Tensor>,
    adamw: Option<AdamW>,
    muon: Option<Muon>,
}

impl OptimiserConfig {
    /// Checks that each constant lies where the algorithm makes sense.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] with the first key that does not.
    pub fn validate(&self) -> Result<(), Error> {
        self.adamw().validate()?;
        self.muon.map_or(Ok(()), |muon| muon.validate())
    }

    fn adamw(&self) -> AdamWConfig {
        let Self { learning_rate, beta_1, beta_2, epsilon, weight_decay, muon: _ } = *self;
        AdamWConfig { learning_rate, beta_1, beta_2, epsilon, weight_decay }
    }
}

impl Optimiser {
    /// An optimiser that has taken no step yet.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where a constant makes no sense.
    ///
    /// # Panics
    ///
    /// Where two parameters have one name, or there is none.
    pub fn new(parameters: &[Parameter], config: OptimiserConfig) -> Result<Self, Error> {
        config.validate()?;
        assert_distinct(parameters);
        let by_muon = |one: &&Parameter| config.muon.is_some() && Muon::is_for(one);
        let (matrices, others): (Vec<&Parameter>, Vec<&Parameter>) = parameters.iter().partition(by_muon);
        let others: Vec<Parameter> = others.into_iter().cloned().collect();
        Ok(Self {
            config,
            parameters: parameters.iter().map(|one| one.tensor.shallow_clone()).collect(),
            adamw: (!others.is_empty()).then(|| AdamW::new(&others, config.adamw())).transpose()?,
            muon: config.muon.map(|muon| Muon::new(&matrices, muon, config.weight_decay)),
        })
    }

    /// The constants it was made with.
    pub fn config(&self) -> &OptimiserConfig {
        &self.config
    }

    /// Takes one step from the gradients that the parameters hold, unless the scalar `skip` holds 1 and not 0: then
    /// nothing changes, the count of steps included.
    ///
    /// `skip` is in f32 on the parameters' device, where it is looked at: nothing waits for it. With
    /// [`is_not_finite`] a step from a broken gradient leaves no trace.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where a kernel fails.
    pub fn step_unless(&mut self, skip: &Tensor, learning_rate: f64) -> Result<(), Error> {
        if let Some(muon) = &mut self.muon {
            muon.step_unless(skip, learning_rate);
        }
        self.adamw.as_mut().map_or(Ok(()), |adamw| adamw.step_unless(skip, learning_rate))
    }

    /// Drops all gradients, so that the next backward pass starts from none. Not for gradients that
    /// [recorded](crate::recorded) work adds to.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where libtorch refuses.
    pub fn zero_grad(&mut self) -> Result<(), Error> {
        shim::clear_gradients(&self.parameters)
    }

    /// Sets all gradients to zero where they lie, for backward passes that are [recorded](crate::recorded) and add to
    /// them there; a parameter without a gradient still has none.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where libtorch refuses.
    pub fn zero_grad_in_place(&mut self) -> Result<(), Error> {
        shim::zero_gradients(&self.parameters)
    }

    /// Scales the gradients so that their common norm is at most `max_norm`, and returns the norm before that; see
    /// [`AdamW::clip_gradients`].
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

    /// The state to keep in a checkpoint and to fill from one: that of [`AdamW::state`] and of [`Muon::state`].
    /// The tensors share the optimiser's storage.
    pub fn state(&self) -> Vec<NamedTensor> {
        let adamw = self.adamw.as_ref().map(AdamW::state).unwrap_or_default();
        let muon = self.muon.as_ref().map(Muon::state).unwrap_or_default();
        adamw.into_iter().chain(muon).collect()
    }
}

/// 1 where a scalar is NaN or infinite, else 0, in f32 on its device.
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
