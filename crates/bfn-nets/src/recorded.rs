//! Work that is the same each time, recorded once on a GPU and then repeated as a whole.
//!
//! A step of a small network is hundreds of kernels that each run shorter than it takes to ask for them. A CUDA graph
//! asks for all of them at once.

use tch::{Device, Tensor};

use crate::constants::{self, Constants};
use crate::shim::Graph;
use crate::{Error, device};

/// How often work is done before it is recorded: libtorch searches for kernels and lays out memory meanwhile.
const REHEARSALS: u32 = 3;

/// What some work takes anew each time.
pub trait Inputs {
    /// All its tensors, in one order.
    fn tensors(&mut self) -> Vec<&mut Tensor>;
}

/// Work on a device that is recorded and repeated, with its results.
///
/// The work must do the same each time: operations on tensors of its inputs and on tensors that outlive it and stay
/// where they are, weights and their gradients, all on one device, without looking at a number or waiting. It may draw
/// from libtorch's generator. Numbers of the host go to the device by [`upload`](device::upload), which refuses others
/// than before; those that an operation takes as they are, such as the factor of a product, are repeated as they were
/// recorded. On the CPU, where nothing is recorded, the work is simply done again; what it uploads is checked there too.
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
    /// Before the graph, whose memory they may lie in.
    results: Option<T>,
    device: Device,
    /// None on the CPU.
    graph: Option<Graph>,
    /// Where the work finds what it takes, every time.
    inputs: Vec<Tensor>,
    constants: Constants,
    runs: u32,
    is_recorded: bool,
}

impl<T> Recorded<T> {
    /// Of work that has not been done yet.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] for a GPU whose libtorch cannot record.
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

    /// Whether tensors are on the device, and have the shapes and types of those that the work was first done with.
    pub fn fits(&self, inputs: &mut impl Inputs) -> bool {
        let tensors = inputs.tensors();
        let is_same = |(own, other): (&Tensor, &&mut Tensor)| own.size() == other.size() && own.kind() == other.kind();
        let as_before = || self.inputs.len() == tensors.len() && self.inputs.iter().zip(&tensors).all(is_same);
        tensors.iter().all(|tensor| tensor.device() == self.device) && (self.runs == 0 || as_before())
    }

    /// Does the work with these inputs. Its results stay as they are until the next run, which writes into them.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where the device cannot record.
    ///
    /// # Panics
    ///
    /// Inputs that do not [fit](Self::fits), work that uploads numbers that change from run to run. An operation that
    /// cannot be recorded panics as well; libtorch records no more in such a process, which should end.
    pub fn run<I: Inputs>(&mut self, mut inputs: I, work: impl FnOnce(&I) -> T) -> Result<&T, Error> {
        assert!(self.fits(&mut inputs), "recorded work gets inputs of other shapes or types, or on another device");
        if self.runs == 0 {
            // What a first run that failed has left.
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
