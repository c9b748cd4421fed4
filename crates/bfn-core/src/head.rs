//! Heads: the parametrisations of output distributions by a network's output.
//!
//! A flow of continuous or discretised data takes its output distribution from a *head*, which turns P numbers per
//! variable into a distribution. This module contains the heads of the paper and of the published code; a custom head
//! implements [`Head`].

use std::fmt::Debug;

use crate::continuous::NoiseToData;
use crate::distribution::{BinCategorical, Categorical, Delta, Density, DiscretisedMixture, DiscretisedNormal};
use crate::distribution::{Normal, NormalMixture, Probability};
use crate::error::{Error, check};
use crate::{Backend, Tensor};

/// The quantity that the network predicts, to which its means and deviations refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prediction {
    /// The noise ε of the flow, from which [`NoiseToData`] computes the data.
    #[default]
    Noise,
    /// The data themselves.
    Data,
}

/// The input of a head besides the network's output.
#[derive(Debug, Clone)]
pub struct Context<B: Backend> {
    /// μ of the input distribution, in the shape of the data.
    pub mu: Tensor<B>,
    /// The factors that convert predicted noise into data.
    pub noise_to_data: NoiseToData<B>,
    /// The quantity that the network predicts.
    pub prediction: Prediction,
}

impl<B: Backend> Context<B> {
    /// Computes the mean of the data from the network's mean.
    pub fn mean(&self, predicted: &Tensor<B>) -> Tensor<B> {
        match self.prediction {
            Prediction::Noise => self.noise_to_data.mean(&self.mu, predicted),
            Prediction::Data => predicted.clone(),
        }
    }

    /// Computes the standard deviation of the data from the logarithm of the network's deviation.
    ///
    /// The exponent is limited to [−10, 10] and the deviation to [1e−3, 10], as in the published code.
    pub fn deviation(&self, ln_sigma: &Tensor<B>) -> Tensor<B> {
        match self.prediction {
            Prediction::Noise => self.noise_to_data.deviation(ln_sigma),
            Prediction::Data => ln_sigma.clamp(-10.0, 10.0).exp().clamp(1e-3, 10.0),
        }
    }

    /// Returns the context for parameters with one more axis, that of a mixture's components.
    fn per_component(&self) -> Self {
        Self {
            mu: self.mu.unsqueeze_last(),
            noise_to_data: self.noise_to_data.unsqueeze_last(),
            prediction: self.prediction,
        }
    }
}

/// A map from network output to a distribution over real numbers, for [`ContinuousFlow`](crate::ContinuousFlow).
pub trait Head<B: Backend>: Debug {
    /// The distribution.
    type Output;

    /// Returns the number P of network outputs per variable.
    fn outputs_per_variable(&self) -> usize;

    /// Returns the distribution for network output of shape `[B, D, P]`.
    fn output(&self, context: &Context<B>, network_output: &Tensor<B>) -> Self::Output;
}

/// A head whose distributions have their own deviation, so that a reconstruction need not add one.
pub trait HasDeviation {}

impl HasDeviation for NormalHead {}
impl HasDeviation for MixtureHead {}

/// A map from network output to a distribution over bins, for [`DiscretisedFlow`](crate::DiscretisedFlow).
pub trait BinHead<B: Backend>: Debug {
    /// The distribution.
    type Output;

    /// Returns the number P of network outputs per variable, for K bins.
    fn outputs_per_variable(&self, bins: usize) -> usize;

    /// Returns the distribution over K bins for network output of shape `[B, D, P]`.
    fn output(
        &self,
        context: &Context<B>,
        network_output: &Tensor<B>,
        bins: usize,
        probability: Probability,
    ) -> Self::Output;
}

/// A point mass δ(x − x̂), with one output: the mean. x̂ is clipped to [−1, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeltaHead;

/// A normal, or a normal discretised to bins, with two outputs: the mean and the logarithm of the deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NormalHead;

/// A mixture of M normals, or one discretised to bins, with 3M outputs.
///
/// The outputs are the logits of the weights, then the means, then the logarithms of the deviations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixtureHead {
    components: usize,
}

/// A categorical distribution over the K bins, with K outputs: the logits.
///
/// The logits define the distribution directly, so [`Prediction`] has no effect on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CategoricalHead;

impl MixtureHead {
    /// Creates a head for mixtures of `components` normals.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `components` ≥ 1.
    pub fn new(components: usize) -> Result<Self, Error> {
        check("components", components as f64, "at least 1", components >= 1)?;
        Ok(Self { components })
    }

    /// Returns M, the number of components.
    pub fn components(&self) -> usize {
        self.components
    }
}

impl<B: Backend> Head<B> for DeltaHead {
    type Output = Delta<B>;

    fn outputs_per_variable(&self) -> usize {
        1
    }

    fn output(&self, context: &Context<B>, network_output: &Tensor<B>) -> Delta<B> {
        Delta { x_hat: context.mean(&network_output.squeeze_last()).clamp(-1.0, 1.0) }
    }
}

impl<B: Backend> Head<B> for NormalHead {
    type Output = Normal<B>;

    fn outputs_per_variable(&self) -> usize {
        2
    }

    fn output(&self, context: &Context<B>, network_output: &Tensor<B>) -> Normal<B> {
        Normal {
            mean: context.mean(&network_output.select_last(0)),
            deviation: context.deviation(&network_output.select_last(1)),
        }
    }
}

impl<B: Backend> Head<B> for MixtureHead {
    type Output = NormalMixture<B>;

    fn outputs_per_variable(&self) -> usize {
        3 * self.components
    }

    fn output(&self, context: &Context<B>, network_output: &Tensor<B>) -> NormalMixture<B> {
        let context = context.per_component();
        let part = |number: usize| network_output.slice_last(number * self.components, self.components);
        NormalMixture {
            weights: Categorical::from_logits(&part(0)),
            means: context.mean(&part(1)),
            deviations: context.deviation(&part(2)),
        }
    }
}

/// Implements a head over bins by gathering the density of a head over real numbers into them.
macro_rules! discretised {
    ($Head:ty => $Output:ident) => {
        impl<B: Backend> BinHead<B> for $Head {
            type Output = $Output<B>;

            fn outputs_per_variable(&self, _bins: usize) -> usize {
                Head::<B>::outputs_per_variable(self)
            }

            fn output(
                &self,
                context: &Context<B>,
                network_output: &Tensor<B>,
                bins: usize,
                probability: Probability,
            ) -> $Output<B> {
                Head::output(self, context, network_output).discretised(bins, probability)
            }
        }
    };
}

discretised!(NormalHead => DiscretisedNormal);
discretised!(MixtureHead => DiscretisedMixture);

impl<B: Backend> BinHead<B> for CategoricalHead {
    type Output = BinCategorical<B>;

    fn outputs_per_variable(&self, bins: usize) -> usize {
        bins
    }

    /// Uses the logits unchanged; the distribution is exactly normalised, so `probability` has no effect.
    fn output(
        &self,
        _context: &Context<B>,
        network_output: &Tensor<B>,
        _bins: usize,
        _probability: Probability,
    ) -> BinCategorical<B> {
        BinCategorical(Categorical::from_logits(network_output))
    }
}
