//! The networks Ψ(θ, t, c).
//!
//! They map the parameters of the input distribution, a time and possibly a condition to the parameters of the output
//! distribution.
//!
//! Three architectures have the structure, parameter names, initialisation and weight-decay groups of the published
//! PyTorch code, so that its checkpoints fit:
//!
//! | network | published for | parameters there |
//! | --- | --- | --- |
//! | [`UNet`] | binarised MNIST | 24,808,961 |
//! | [`VdmUNet`] | CIFAR-10 | 30,722,188; discretised 30,722,584 |
//! | [`Transformer`] | text8 | 170,175,003 |
//!
//! [`Mlp`] is for rows of tables. A [`NetworkConfig`] selects a network and its size; [`Variables`] describes what it
//! models. To add another network, implement [`Network`], and call [`register`] if experiment files are to name it.

use tch::{Tensor, nn};

use crate::{NamedTensor, Parameter};

mod arithmetic;
mod attention;
mod condition;
mod config;
mod image;
mod layers;
mod mlp;
mod own;
mod residual;
mod time;
mod transformer;
mod unet;
mod unet_config;
mod vdm_unet;

pub use arithmetic::count_operations;
pub use condition::{Condition, LowResolution};
pub use config::{NetworkConfig, Shape, Variables};
pub use mlp::{Mlp, MlpConfig};
pub use own::{OwnConfig, OwnNetwork, register};
pub use transformer::{Positions, Transformer, TransformerConfig};
pub use unet::UNet;
pub use unet_config::UNetConfig;
pub use vdm_unet::{VdmUNet, VdmUNetConfig};

/// A network Ψ(θ, t, c).
///
/// It owns shallow clones of its parameters, which belong to the [`nn::VarStore`] that it was built in: writing to
/// those trains or loads the network. Build it in a store that is already on its device.
pub trait Network: std::fmt::Debug + Send {
    /// Computes the parameters of the output distribution for a batch of B examples.
    ///
    /// The result has the dtype of `input`, also under autocast.
    ///
    /// # Shapes
    ///
    /// `input`: \[B, D\], one number per variable, used as it is; or \[B, D, K\], the class probabilities θ, which the
    /// network itself maps to 2θ − 1. `t`: \[B\], in [0, 1]. Returns \[B, D, P\]. D runs over height, width, channels
    /// (channels fastest), or over the positions of a sequence. A row of a table has the numbers of all its variables
    /// side by side: \[B, inputs\] → \[B, outputs\]. `condition`: one for each of the B examples, or none at all.
    ///
    /// # Panics
    ///
    /// Panics if a shape is not the one that the network was built for, or if the network does not take such a
    /// condition.
    fn forward(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, mode: Mode) -> Tensor;

    /// Returns whether weight decay applies to the parameter of this name.
    fn decays(&self, name: &str) -> bool;

    /// Returns the fixed tensors that checkpoints of the published code hold beside the parameters, by name.
    ///
    /// They follow from the configuration, so that the project's own checkpoints leave them out.
    fn published_buffers(&self) -> Vec<NamedTensor> {
        Vec::new()
    }
}

/// Whether dropout is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Dropout is active, drawing from libtorch's generator.
    Train,
    /// No dropout: the output is a function of input and parameters.
    Evaluate,
}

/// Returns the learned tensors of a network's store, sorted by name, each with its weight-decay group.
pub fn parameters(network: &dyn Network, store: &nn::VarStore) -> Vec<Parameter> {
    let mut parameters: Vec<Parameter> = store
        .variables()
        .into_iter()
        .filter(|(_, tensor)| tensor.requires_grad())
        .map(|(name, tensor)| Parameter::new(name.as_str(), &tensor, network.decays(&name)))
        .collect();
    parameters.sort_by(|a, b| a.name.cmp(&b.name));
    parameters
}
