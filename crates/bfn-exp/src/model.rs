//! A network with its weights, on its device and in its precision.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bfn_data::{Purpose, Seed};
use bfn_nets::networks::{Condition, Mode, Network, NetworkConfig, Variables, parameters};
use bfn_nets::{Inputs, Parameter, Precision, Recorded, Tensor, device};
use rand::RngCore;
use tch::{Device, Kind, nn};

use crate::config::Experiment;
use crate::progress::tell;

/// A network with its weights, on its device and in its precision.
#[derive(Debug)]
pub struct Model {
    network: Box<dyn Network>,
    parameters: Vec<Parameter>,
    variables: usize,
    device: Device,
    precision: Precision,
    time: Cell<Duration>,
    waits: Cell<bool>,
    /// Recorded predictions for inputs of different shapes, the latest last; present if predictions are recorded.
    recorded: Option<RefCell<Vec<Recorded<tch::Tensor>>>>,
    /// Owns the weights.
    _store: nn::VarStore,
}

/// The maximum number of recorded predictions held at one time; each has its own memory.
const MOST_RECORDINGS: usize = 4;

fn refuse<T>(error: bfn_nets::Error) -> T {
    panic!("predictions cannot be recorded (training.cuda_graphs): {error}")
}

/// The inputs of the network for one prediction.
struct Question {
    input: tch::Tensor,
    t: tch::Tensor,
    condition: Option<Condition>,
}

impl Inputs for Question {
    fn tensors(&mut self) -> Vec<&mut tch::Tensor> {
        let Self { input, t, condition } = self;
        [input, t].into_iter().chain(condition.iter_mut().flat_map(Inputs::tensors)).collect()
    }
}

impl Model {
    /// Builds the network of an experiment with fresh weights, which are determined by the experiment's seed.
    ///
    /// # Errors
    ///
    /// Returns an error if a setting of the network does not fit the data, or if recording is requested and the
    /// device does not support it.
    pub fn of(experiment: &Experiment, variables: &Variables, device: Device) -> Result<Self> {
        let training = &experiment.training;
        let model = Self::new(&experiment.network, variables, device, training.precision, Seed(training.seed))?;
        if training.precision == Precision::Bf16
            && let Some(reason) = device::without_fused_layers(device)
        {
            tell(format_args!("warning: bf16 is slower than it could be, without layers of its own: {reason}"));
        }
        if !training.cuda_graphs {
            return Ok(model);
        }
        // Recording is tried here because a prediction cannot return an error.
        Recorded::<tch::Tensor>::new(device).context("training.cuda_graphs is true")?;
        Ok(Self { recorded: Some(RefCell::default()), ..model })
    }

    /// Builds the network with fresh weights, which are determined by the seed.
    ///
    /// # Errors
    ///
    /// Returns an error if a setting of the network does not fit the data.
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
            waits: Cell::new(false),
            recorded: None,
            _store: store,
        })
    }

    /// Returns the network.
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    /// Returns the learned tensors.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the total number of learned parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.tensor.numel()).sum()
    }

    /// Returns D, the number of variables in an example.
    pub fn variables(&self) -> usize {
        self.variables
    }

    /// Returns the device on which the network computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Computes Ψ(θ, t, c): the network runs in its precision, inputs and outputs are in f32.
    ///
    /// # Panics
    ///
    /// Panics if predictions are recorded and the network performs an operation that cannot be recorded.
    pub fn predict(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor {
        let wait = || {
            if self.waits.get() {
                device::synchronise(self.device)
            }
        };
        wait();
        let started = Instant::now();
        let output = match &self.recorded {
            Some(recorded) if mode == Mode::Evaluate && !device::gradients_enabled() => {
                self.repeat(&mut recorded.borrow_mut(), input.array(), t.array(), condition)
            }
            _ => self.forward(input.array(), t.array(), condition, mode),
        };
        wait();
        self.time.set(self.time.get() + started.elapsed());
        Tensor::new(output)
    }

    fn forward(&self, input: &tch::Tensor, t: &tch::Tensor, condition: Option<&Condition>, mode: Mode) -> tch::Tensor {
        let _precision = self.precision.guard(self.device);
        self.network.forward(input, t, condition, mode).to_kind(Kind::Float)
    }

    /// Computes a prediction for evaluation, through the recording for inputs of these shapes.
    fn repeat(
        &self,
        recordings: &mut Vec<Recorded<tch::Tensor>>,
        input: &tch::Tensor,
        t: &tch::Tensor,
        condition: Option<&Condition>,
    ) -> tch::Tensor {
        let (input, t, condition) = (input.shallow_clone(), t.shallow_clone(), condition.map(Condition::alias));
        let mut question = Question { input, t, condition };
        let mut recorded = match recordings.iter().position(|recorded| recorded.fits(&mut question)) {
            Some(place) => recordings.remove(place),
            None => Recorded::new(self.device).unwrap_or_else(refuse),
        };
        let ask =
            |Question { input, t, condition }: &Question| self.forward(input, t, condition.as_ref(), Mode::Evaluate);
        let output = recorded.run(question, ask).unwrap_or_else(refuse).copy();
        if recordings.len() == MOST_RECORDINGS {
            recordings.remove(0);
        }
        recordings.push(recorded);
        output
    }

    /// Sets whether each later prediction waits for the GPU before and after, so that its time is measured.
    pub fn wait_for_device(&self, waits: bool) {
        self.waits.set(waits);
    }

    /// Returns the time spent in [`predict`](Self::predict) since the last call. On a GPU, this is the time to submit
    /// the work, unless the model waits for the device.
    pub fn take_time(&self) -> Duration {
        self.time.take()
    }
}
