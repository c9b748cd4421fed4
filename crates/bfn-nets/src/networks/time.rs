//! Sinusoidal features of the time, one convention per published network.
//!
//! They are computed in f32 by the same operations as in the published code: the angles reach thousands, so that a
//! frequency rounded differently would be seen in the output.

use tch::{Device, Kind, Tensor};

/// Features of the time: angles t · f for a fixed set of frequencies f, as cosines and sines.
#[derive(Debug)]
pub(super) struct TimeFeatures {
    /// \[1, width / 2\].
    frequencies: Tensor,
    offset: f64,
    scale: f64,
    order: Order,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    CosineSine,
    SineCosine,
}

impl TimeFeatures {
    /// Creates the features \[cos(4000 t f_i), sin(4000 t f_i)\] with f_i = 10000^(−i/h), i < h = width / 2.
    pub(super) fn unet(width: i64, device: Device) -> Self {
        let half = width / 2;
        let exponents = Tensor::arange(half, (Kind::Float, Device::Cpu));
        let frequencies = (exponents * -(10_000f64.ln()) / half as f64).exp();
        Self {
            frequencies: frequencies.unsqueeze(0).to_device(device),
            offset: 0.0,
            scale: 4000.0,
            order: Order::CosineSine,
        }
    }

    /// Creates the features \[sin(1000 (t + 0.001) f_i), cos(…)\] with f_i = 10000^(−i/(h − 1)), i < h = width / 2.
    pub(super) fn vdm(width: i64, device: Device) -> Self {
        let frequencies = Tensor::logspace(0.0, -4.0, width / 2, 10.0, (Kind::Float, device));
        Self { frequencies: frequencies.unsqueeze(0), offset: 0.001, scale: 1000.0, order: Order::SineCosine }
    }

    /// Computes the features: \[B\] → \[B, width\], in f32.
    pub(super) fn forward(&self, t: &Tensor) -> Tensor {
        let t = (t.to_kind(Kind::Float) + self.offset) * self.scale;
        let angles = t.unsqueeze(-1) * &self.frequencies;
        match self.order {
            Order::CosineSine => Tensor::cat(&[angles.cos(), angles.sin()], -1),
            Order::SineCosine => Tensor::cat(&[angles.sin(), angles.cos()], -1),
        }
    }
}
