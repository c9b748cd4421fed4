//! A network with its weights, on its device, in its precision.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bfn_data::{Purpose, Seed};
use bfn_nets::networks::{Condition, Mode, Network, NetworkConfig, Variables, parameters};
use bfn_nets::{Parameter, Precision, Tensor, device};
use rand::RngCore;
use tch::{Device, Kind, nn};

/// A network with its weights, on its device, in its precision.
#[derive(Debug)]
pub struct Model {
    network: Box<dyn Network>,
    parameters: Vec<Parameter>,
    variables: usize,
    device: Device,
    precision: Precision,
    time: Cell<Duration>,
    waits: bool,
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
        let variables = variables.shape.dimensions();
        Ok(Self {
            network,
            parameters,
            variables,
            device,
            precision,
            time: Cell::default(),
            waits: false,
            _store: store,
        })
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    /// The learned tensors.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The number of learned numbers.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.tensor.numel()).sum()
    }

    /// D, the number of variables of an example.
    pub fn variables(&self) -> usize {
        self.variables
    }

    /// Where the network computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Ψ(θ, t, c): the network in its precision; in and out in f32.
    pub fn predict(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor {
        let wait = || {
            if self.waits {
                device::synchronise(self.device)
            }
        };
        wait();
        let started = Instant::now();
        let _precision = self.precision.guard(self.device);
        let output = self.network.forward(input.array(), t.array(), condition, mode);
        let output = Tensor::new(output.to_kind(Kind::Float));
        wait();
        self.time.set(self.time.get() + started.elapsed());
        output
    }

    /// From now on waits for a GPU before and after each prediction, so that its time is known.
    pub fn wait_for_device(&mut self) {
        self.waits = true;
    }

    /// The time spent in [`predict`](Self::predict) since the last call; on a GPU that
    /// of handing the work over, unless it waits.
    pub fn take_time(&self) -> Duration {
        self.time.take()
    }
}
