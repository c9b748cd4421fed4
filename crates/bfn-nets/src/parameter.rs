//! A network's tensors, as an optimiser, a moving average and a checkpoint see them.

use tch::Tensor;

/// One learned tensor of a network: a leaf that requires a gradient.
///
/// A network lists its parameters in a fixed order, each under a unique name. The tensor shares its storage with the
/// network's own tensor, so that writing to it trains the network.
#[derive(Debug)]
pub struct Parameter {
    /// The dotted name, as in the published code.
    pub name: String,
    /// The tensor itself, a shallow clone of the network's.
    pub tensor: Tensor,
    /// Whether weight decay applies to the parameter.
    pub decays: bool,
}

/// A named tensor, as a checkpoint holds and fills it.
#[derive(Debug)]
pub struct NamedTensor {
    /// The dotted name, without the prefix of its group in a checkpoint.
    pub name: String,
    /// The tensor: a shallow clone, so that filling it fills the owner's tensor.
    pub tensor: Tensor,
}

impl Parameter {
    /// Creates a parameter from a shallow clone of `tensor`.
    pub fn new(name: impl Into<String>, tensor: &Tensor, decays: bool) -> Self {
        Self { name: name.into(), tensor: tensor.shallow_clone(), decays }
    }
}

impl Clone for Parameter {
    /// Returns the same tensor under the same name, without copying data.
    fn clone(&self) -> Self {
        Self::new(self.name.as_str(), &self.tensor, self.decays)
    }
}

impl NamedTensor {
    /// Creates a named tensor from a shallow clone of `tensor`.
    pub fn new(name: impl Into<String>, tensor: &Tensor) -> Self {
        Self { name: name.into(), tensor: tensor.shallow_clone() }
    }
}

impl Clone for NamedTensor {
    /// Returns the same tensor under the same name, without copying data.
    fn clone(&self) -> Self {
        Self::new(self.name.as_str(), &self.tensor)
    }
}

impl From<&Parameter> for NamedTensor {
    fn from(parameter: &Parameter) -> Self {
        Self::new(parameter.name.as_str(), &parameter.tensor)
    }
}

/// Returns a network's parameters as the named tensors that a checkpoint takes and fills.
pub fn named(parameters: &[Parameter]) -> Vec<NamedTensor> {
    parameters.iter().map(NamedTensor::from).collect()
}
