//! What a network shows of itself to an optimiser, an average and a checkpoint.

use tch::Tensor;

/// One learned tensor of a network: a leaf that requires a gradient.
///
/// A network lists its parameters in a fixed order, each under a name that no other has.
/// The tensor shares its storage with the network's own, so that writing to it trains the network.
#[derive(Debug)]
pub struct Parameter {
    /// The dotted name, as in the published code.
    pub name: String,
    /// The tensor itself, a shallow clone of the network's.
    pub tensor: Tensor,
    /// Whether weight decay applies to it.
    pub decays: bool,
}

/// A tensor under its name: what a checkpoint holds and fills.
#[derive(Debug)]
pub struct NamedTensor {
    /// The dotted name, without the prefix of its group in a checkpoint.
    pub name: String,
    /// The tensor: a shallow clone, so that filling it fills its owner's.
    pub tensor: Tensor,
}

impl Parameter {
    /// A parameter under its name.
    pub fn new(name: impl Into<String>, tensor: &Tensor, decays: bool) -> Self {
        Self { name: name.into(), tensor: tensor.shallow_clone(), decays }
    }
}

impl Clone for Parameter {
    /// The same tensor under the same name: no data are copied.
    fn clone(&self) -> Self {
        Self::new(self.name.as_str(), &self.tensor, self.decays)
    }
}

impl NamedTensor {
    /// A tensor under its name.
    pub fn new(name: impl Into<String>, tensor: &Tensor) -> Self {
        Self { name: name.into(), tensor: tensor.shallow_clone() }
    }
}

impl Clone for NamedTensor {
    /// The same tensor under the same name: no data are copied.
    fn clone(&self) -> Self {
        Self::new(self.name.as_str(), &self.tensor)
    }
}

impl From<&Parameter> for NamedTensor {
    fn from(parameter: &Parameter) -> Self {
        Self::new(parameter.name.as_str(), &parameter.tensor)
    }
}

/// A network's parameters as a checkpoint takes and fills them.
pub fn named(parameters: &[Parameter]) -> Vec<NamedTensor> {
    parameters.iter().map(NamedTensor::from).collect()
}
