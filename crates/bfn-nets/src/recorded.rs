//! Work that is the same each time: recorded once on a GPU and then replayed as a whole.
//!
//! A step of a small network consists of hundreds of kernels, each of which runs for less time than its launch takes.
//! A CUDA graph launches all of them at once.

use tch::{Device, Tensor};

use crate::constants::{self, Constants};
use crate::shim::Graph;
use crate::{Error, device};

/// The number of runs before the recording, in which libtorch searches for kernels and lays out memory.
const REHEARSALS: u32 = 3;

/// The inputs of recorded work, which may change from run to run.
pub trait Inputs {
    /// Returns all tensors of the inputs, always in the same order.
    fn tensors(&mut self) -> Vec<&mut Tensor>;
}

/// Work on a device that is recorded once and then replayed, with its results.
///
/// The work must do the same each time. It consists of operations on tensors of its inputs and on tensors that outlive
/// it and stay in place, such as weights and their gradients, all on one device. It must not read back a number or
/// wait for the device. It may draw from libtorch's generator.
///
/// Host numbers go to the device by [`upload`](device::upload), which panics if they differ from those of the first
/// run. Numbers that an operation takes directly, such as the factor of a product, are replayed as they were recorded.
/// On the CPU, where nothing is recorded, the work simply runs again; its uploads are checked there too.
///
/// ```
/// use bfn_nets::{Inputs, Recorded, device};
/// use tch::{Device, Kind, Tensor};
///
/// struct Numbers(Tensor);
/// impl Inputs for Numbers {
///     fn tensors(&mut self) -> Vec<&mut Tensor> {
///         vec![&mut self.0]
///     }
/// }
///
/// let mut squares = Recorded::new(Device::Cpu)?;
/// for number in 0..10 {
///     let numbers = Numbers(Tensor::full([4], number, (Kind::Float, Device::Cpu)));
///     let found = squares.run(numbers, |Numbers(x)| x.square())?;
///     assert_eq!(found.double_value(&[0]), (number * number) as f64);
/// }
/// # Ok::<(), bfn_nets::Error>(())
/// ```
#[derive(Debug)]
pub struct Recorded<T> {
    /// Declared before the graph, and so dropped before it: the results may lie in the graph's memory.
    results: Option<T>,
    device: Device,
    /// None on the CPU.
    graph: Option<Graph>,
    /// The tensors in which the work finds its inputs, in every run.
    inputs: Vec<Tensor>,
    constants: Constants,
    runs: u32,
    is_recorded: bool,
}

impl<T> Recorded<T> {
    /// Creates a recording for work that has not run yet.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if the device is a GPU whose libtorch cannot record.
    pub fn new(device: Device) -> Result<Self, Error> {
        device::initialise();
        let graph = device.is_cuda().then(|| Graph::new(device)).transpose()?;
        Ok(Self {
            results: None,
            device,
            graph,
            inputs: Vec::new(),
            constants: Constants::default(),
            runs: 0,
            is_recorded: false,
        })
    }

    /// Returns whether all inputs are on the device and have the shapes and types of the first run's inputs.
    pub fn fits(&self, inputs: &mut impl Inputs) -> bool {
        let tensors = inputs.tensors();
        let is_same = |(own, other): (&Tensor, &&mut Tensor)| own.size() == other.size() && own.kind() == other.kind();
        let as_before = || self.inputs.len() == tensors.len() && self.inputs.iter().zip(&tensors).all(is_same);
        tensors.iter().all(|tensor| tensor.device() == self.device) && (self.runs == 0 || as_before())
    }

    /// Runs the work with these inputs. The results stay as they are until the next run, which overwrites them.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Libtorch`] if the device cannot record.
    ///
    /// # Panics
    ///
    /// Panics if the inputs do not [fit](Self::fits), if the work uploads numbers that change from run to run, or if
    /// an operation cannot be recorded. After the last, libtorch records nothing more in the process, which should
    /// end.
    pub fn run<I: Inputs>(&mut self, mut inputs: I, work: impl FnOnce(&I) -> T) -> Result<&T, Error> {
        assert!(self.fits(&mut inputs), "recorded work gets inputs of other shapes or types, or on another device");
        if self.runs == 0 {
            // Discards what a failed first run has left.
            (self.inputs, self.constants) = (Vec::new(), Constants::default());
        }
        for (place, tensor) in inputs.tensors().into_iter().enumerate() {
            match self.inputs.get_mut(place) {
                Some(own) => own.copy_(tensor),
                None => self.inputs.push(tensor.copy()),
            }
            *tensor = self.inputs[place].shallow_clone();
        }
        let (constants, is_complete) = (&mut self.constants, self.runs > 0);
        let work = || constants::with(constants, is_complete, || work(&inputs));
        match &mut self.graph {
            None => self.results = Some(work()),
            Some(graph) if self.runs < REHEARSALS => {
                self.results = None;
                self.results = Some(graph.rehearse(work)?);
            }
            Some(graph) => {
                if !self.is_recorded {
                    self.results = None;
                    self.results = Some(graph.record(work)?);
                    self.is_recorded = true;
                }
                graph.replay()?;
            }
        }
        self.runs = self.runs.saturating_add(1);
        Ok(self.results.as_ref().expect("the work has been done"))
    }
}
