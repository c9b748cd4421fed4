//! A network with its weights, on its device, in its precision.

use anyhow::{Context, Result};
use bfn_data::{Purpose, Seed};
use bfn_nets::networks::{Mode, Network, NetworkConfig, Variables, parameters};
use bfn_nets::{Parameter, Precision, Tensor};
use rand::RngCore;
use tch::{Device, Kind, nn};

/// A network with its weights, on its device, in its precision.
#[derive(Debug)]
pub struct Model {
    network: Box<dyn Network>,
    parameters: Vec<Parameter>,
    device: Device,
    precision: Precision,
    /// Owns the weights.
    _store: nn::VarStore,
}

impl Model {
    /// Builds the network with fresh weights, which follow from the seed.
    ///
    /// # Errors
    ///
    /// A setting of the network that does not fit the data.
    pub fn new(
        config: &NetworkConfig,
        variables: &Variables,
        device: Device,
        precision: Precision,
        seed: Seed,
    ) -> Result<Self> {
        config.check(variables).context("the network does not fit the data")?;
        let store = nn::VarStore::new(device);
        tch::manual_seed(seed.stream(Purpose::Weights, 0, 0).next_u64() as i64);
        let network = config.build(variables, &store.root()).context("the network does not fit the data")?;
        let parameters = parameters(network.as_ref(), &store);
        Ok(Self { network, parameters, device, precision, _store: store })
    }

    /// The learned tensors.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The number of learned numbers.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.tensor.numel()).sum()
    }

    /// Where the network computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Ψ(θ, t): the network in its precision; in and out in f32.
    pub fn predict(&self, input: &Tensor, t: &Tensor, mode: Mode) -> Tensor {
        let _precision = self.precision.guard(self.device);
        Tensor::new(self.network.forward(input.array(), t.array(), mode).to_kind(Kind::Float))
    }
}
