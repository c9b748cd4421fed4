//! What lies between gradients and a resumable run: optimiser, moving average, checkpoints.

#![allow(clippy::unwrap_used)]

mod checkpoint;
mod ema;
mod optimiser;

use bfn_nets::Parameter;
use tch::{Device, Kind, Tensor};

/// Returns the parameters of a small made-up network: some decay, some do not, one is a scalar, one is empty.
fn parameters(kind: Kind, device: Device) -> Vec<Parameter> {
    let shapes: [(&str, &[i64], bool); 5] = [
        ("layer.weight", &[5, 7], true),
        ("layer.bias", &[5], false),
        ("norm.scale", &[], false),
        ("out.weight", &[3, 5, 2], true),
        ("out.nothing", &[0, 4], true),
    ];
    shapes
        .into_iter()
        .enumerate()
        .map(|(index, (name, shape, decays))| {
            let count: i64 = shape.iter().product();
            let values = Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.7 + index as f64;
            let tensor = values.sin().reshape(shape).to_kind(kind).to_device(device);
            Parameter::new(name, &tensor.set_requires_grad(true), decays)
        })
        .collect()
}

/// Gives every parameter the gradient of a smooth function that changes from step to step.
fn backward(parameters: &[Parameter], step: u64) {
    let total = parameters
        .iter()
        .map(|one| ((&one.tensor * (1.3 + 0.1 * step as f64)).cos() + one.tensor.square() * 0.2).sum(Kind::Double))
        .reduce(|a, b| a + b);
    total.unwrap().backward();
}

/// Returns all values of a tensor, in f64.
fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double).flatten(0, -1);
    Vec::try_from(flat).unwrap()
}

/// Checks whether two lists of parameters are equal to the bit.
fn same_bits(left: &[Parameter], right: &[Parameter]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.tensor.equal(&b.tensor))
}
