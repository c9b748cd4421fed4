//! The input of a loss: examples with all of their random draws.

use bfn_nets::networks::Condition;
use bfn_nets::{Inputs, Tensor, device};
use tch::{Device, Kind};

/// Examples with all random draws of a loss, `[B]` or `[B, …]`, on the model's device.
#[derive(Debug)]
pub struct Examples {
    /// The values, `[B, D]`: bins or classes as integers; if there are real numbers among them, all in f32.
    pub x: tch::Tensor,
    /// The times.
    pub t: Column,
    /// The weight of each example's loss, if times are not drawn uniformly.
    pub weights: Option<Column>,
    /// Standard normal noise of the flow, `[B, W]` with W numbers in a message.
    pub noise: tch::Tensor,
    /// Standard normal noise of the sender, likewise; only a step of finite n needs it.
    pub sender_noise: Option<tch::Tensor>,
    /// What the network is conditioned on besides θ and t.
    pub condition: Option<Condition>,
}

/// One number for each example: as it was drawn, and in f32 where the network computes.
#[derive(Debug)]
pub struct Column {
    exact: Vec<f64>,
    /// `[B]`.
    rounded: tch::Tensor,
}

impl Column {
    /// Creates a column on the CPU.
    pub fn new(exact: Vec<f64>) -> Self {
        Self { rounded: tch::Tensor::from_slice(&exact).to_kind(Kind::Float), exact }
    }

    /// Returns the numbers as they were drawn.
    pub fn exact(&self) -> &[f64] {
        &self.exact
    }

    /// Returns the numbers as a tensor `[B]` in f32.
    pub fn on_device(&self) -> Tensor {
        Tensor::new(self.rounded.shallow_clone())
    }

    fn first(&self, count: usize) -> Self {
        Self { exact: self.exact[..count].to_vec(), rounded: self.rounded.narrow(0, 0, count as i64) }
    }
}

impl Examples {
    /// Returns the first `count` examples.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let first = |tensor: &tch::Tensor| tensor.narrow(0, 0, count as i64);
        Self {
            x: first(&self.x),
            t: self.t.first(count),
            weights: self.weights.as_ref().map(|weights| weights.first(count)),
            noise: first(&self.noise),
            sender_noise: self.sender_noise.as_ref().map(first),
            condition: self.condition.as_ref().map(|condition| condition.first(count)),
        }
    }

    /// Moves the examples, for a GPU, into memory that it can read from while the program continues.
    #[must_use]
    pub fn ready_for(mut self, device: Device) -> Self {
        if device.is_cuda() {
            self.replace(device::pinned);
        }
        self
    }

    /// Moves the examples to a device; nothing waits for the copy from memory that is ready for it.
    #[must_use]
    pub fn on(mut self, device: Device) -> Self {
        self.replace(|tensor| device::move_to(tensor, device));
        self
    }

    fn replace(&mut self, new: impl Fn(&tch::Tensor) -> tch::Tensor) {
        for tensor in self.tensors() {
            *tensor = new(tensor);
        }
    }
}

impl Inputs for Examples {
    fn tensors(&mut self) -> Vec<&mut tch::Tensor> {
        let Self { x, t, weights, noise, sender_noise, condition } = self;
        let columns = [Some(t), weights.as_mut()].into_iter().flatten().map(|column| &mut column.rounded);
        let of_condition = condition.iter_mut().flat_map(Condition::tensors);
        [Some(x), Some(noise), sender_noise.as_mut()].into_iter().flatten().chain(columns).chain(of_condition).collect()
    }
}
