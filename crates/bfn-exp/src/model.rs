//! A network with its weights, on its device, in its precision.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bfn_data::{Purpose, Seed};
use bfn_nets::networks::{Condition, Mode, Network, NetworkConfig, Variables, parameters};
use bfn_nets::{Inputs, Parameter, Precision, Recorded, Tensor, device};
use rand::RngCore;
use tch::{Device, Kind, nn};

use crate::config::Experiment;

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
    /// Predictions for inputs of different shapes, the latest last; present where predictions are recorded.
    recorded: Option<RefCell<Vec<Recorded<tch::Tensor>>>>,
    /// Owns the weights.
    _store: nn::VarStore,
}

/// How many recordings of predictions there are at one time, each of them with memory of its own.
const MOST_RECORDINGS: usize = 4;

fn refuse<T>(error: bfn_nets::Error) -> T {
    panic!("predictions cannot be recorded (training.cuda_graphs): {error}")
}

/// What the network is asked.
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
    /// The network of an experiment with fresh weights, which follow from the experiment's seed.
    ///
    /// # Errors
    ///
    /// A setting of the network that does not fit the data, a device that cannot record what is to be recorded.
    pub fn of(experiment: &Experiment, variables: &Variables, device: Device) -> Result<Self> {
        let training = &experiment.training;
        let model = Self::new(&experiment.network, variables, device, training.precision, Seed(training.seed))?;
        if !training.cuda_graphs {
            return Ok(model);
        }
        // Tried at once: a prediction has no way to say that it cannot.
        Recorded::<tch::Tensor>::new(device).context("training.cuda_graphs is true")?;
        Ok(Self { recorded: Some(RefCell::default()), ..model })
    }

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
            recorded: None,
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
    ///
    /// # Panics
    ///
    /// Where predictions are recorded, and the network does what cannot be.
    pub fn predict(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor {
        let wait = || {
            if self.waits {
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

    /// The same for evaluation, by the recording for inputs of these shapes.
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
