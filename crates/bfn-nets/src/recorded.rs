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
/// The work must do the same each time: operations on tensors of its inputs and on tensors that stay where they are,
/// weights and their gradients, all on one device, without looking at a number or waiting. It may draw from
/// libtorch's generator. On the CPU, where nothing is recorded, it is simply done again; that it uploads no numbers
/// other than before is checked there too.
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
    /// None on the CPU.
    graph: Option<Graph>,
    /// Where the work finds what it takes, every time.
    inputs: Vec<Tensor>,
    constants: Constants,
    runs: u32,
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
        Ok(Self { results: None, graph, inputs: Vec::new(), constants: Constants::default(), runs: 0 })
    }

    /// Whether tensors have the shapes and types of those that the work was first done with.
    pub fn fits(&self, inputs: &mut impl Inputs) -> bool {
        let tensors = inputs.tensors();
        self.runs == 0
            || self.inputs.len() == tensors.len()
                && self.inputs.iter().zip(tensors).all(|(own, other)| {
                    own.size() == other.size() && own.kind() == other.kind() && own.device() == other.device()
                })
    }

    /// Does the work with these inputs. Its results stay as they are until the next run, which writes into them.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`] where the device cannot record the work.
    ///
    /// # Panics
    ///
    /// Inputs that do not [fit](Self::fits), work that uploads numbers that change from run to run.
    pub fn run<I: Inputs>(&mut self, mut inputs: I, work: impl FnOnce(&I) -> T) -> Result<&T, Error> {
        assert!(self.fits(&mut inputs), "recorded work gets inputs of other shapes or types");
        for (place, tensor) in inputs.tensors().into_iter().enumerate() {
            match self.inputs.get_mut(place) {
                Some(own) => own.copy_(tensor),
                None => self.inputs.push(tensor.copy()),
            }
            *tensor = self.inputs[place].shallow_clone();
        }
        let is_rehearsal = self.runs < REHEARSALS;
        let is_recorded = self.runs > REHEARSALS && self.graph.is_some();
        if !is_recorded {
            self.results = None;
            let graph = &mut self.graph;
            self.results = Some(constants::with(&mut self.constants, !is_rehearsal, || match graph {
                None => Ok(work(&inputs)),
                Some(graph) if is_rehearsal => graph.rehearse(|| work(&inputs)),
                Some(graph) => graph.record(|| work(&inputs)),
            })?);
        }
        if let (Some(graph), false) = (&mut self.graph, is_rehearsal) {
            graph.replay()?;
        }
        self.runs = self.runs.saturating_add(1);
        Ok(self.results.as_ref().expect("the work has been done"))
    }
}
