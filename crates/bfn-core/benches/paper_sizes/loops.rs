//! Plain loops: one pass over the arguments, with the same scalar functions and without intermediate arrays.

mod continuous;
mod discrete;
mod discretised;
mod normal;

pub(crate) use continuous::ContinuousLoops;
pub(crate) use discrete::DiscreteLoops;
pub(crate) use discretised::DiscretisedLoops;

use bfn_core::{Element, Nd, Tensor};

use crate::inputs::Precision;

/// The equations of one kind of data.
pub(crate) trait Loops<F> {
    fn flow(&self) -> Vec<F>;
    fn update(&self) -> Vec<F>;
    fn loss_continuous_time(&self) -> Vec<F>;
    fn loss_step(&self) -> Vec<F>;
    fn loss_reconstruction(&self) -> Vec<F>;
    fn sampler_step(&self) -> Vec<F>;
}

fn values<F: Precision>(tensor: &Tensor<Nd<F>>) -> Vec<F> {
    tensor.view().iter().copied().collect()
}

fn constant<F: Element>(value: f64) -> F {
    F::of(value)
}
