//! What the steps since the last line of the log have measured, kept on the device until it is read.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::engine::Measured;

/// Losses and gradient norms of some steps in a row.
#[derive(Debug)]
pub struct Tally {
    losses: Tensor,
    norms: Tensor,
    /// The number of steps that had been done before the first one here.
    first: u64,
    count: usize,
    /// How many steps before the first one here were broken without a sound one among them.
    broken_before: usize,
}

/// The same numbers on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings {
    /// The steps done before the first of these.
    pub first: u64,
    /// The loss of each step, in nats per variable.
    pub losses: Vec<f64>,
    /// The norm of each step's gradient, before clipping.
    pub norms: Vec<f64>,
    /// How many steps before the first of these were broken without a sound one among them.
    pub broken_before: usize,
}

impl Tally {
    /// Room for `capacity` steps from step `first` on.
    pub fn new(first: u64, capacity: u64, device: Device) -> Self {
        let room = || Tensor::zeros([capacity as i64], (Kind::Float, device));
        Self { losses: room(), norms: room(), first, count: 0, broken_before: 0 }
    }

    /// Adds a step; nothing waits for the device.
    ///
    /// # Panics
    ///
    /// Where there is no more room.
    pub fn add(&mut self, measured: &Measured) {
        let _no_grad = tch::no_grad_guard();
        self.losses.get(self.count as i64).copy_(&measured.loss);
        self.norms.get(self.count as i64).copy_(&measured.gradient_norm);
        self.count += 1;
    }

    /// Starts again from the step after these readings of it.
    pub fn restart(&mut self, readings: &Readings) {
        self.broken_before = readings.broken_in_a_row();
        self.first += self.count as u64;
        self.count = 0;
    }

    /// Waits for the device and reads what it has measured.
    ///
    /// # Errors
    ///
    /// A device that fails.
    pub fn read(&self) -> Result<Readings> {
        let read = |values: &Tensor| Vec::<f64>::try_from(values.narrow(0, 0, self.count as i64).to_kind(Kind::Double));
        let Self { first, broken_before, .. } = *self;
        Ok(Readings { first, losses: read(&self.losses)?, norms: read(&self.norms)?, broken_before })
    }
}

impl Readings {
    /// Whether each step's loss and gradient were finite.
    fn sound(&self) -> impl DoubleEndedIterator<Item = bool> + ExactSizeIterator {
        self.losses.iter().zip(&self.norms).map(|(loss, norm)| loss.is_finite() && norm.is_finite())
    }

    /// The steps, counted from 0, whose loss or gradient was not finite: the optimiser has not taken them.
    pub fn broken(&self) -> Vec<u64> {
        (self.first..).zip(self.sound()).filter(|(_, sound)| !sound).map(|(step, _)| step).collect()
    }

    /// How many of the last steps were broken without a sound one among them, those before these included.
    pub fn broken_in_a_row(&self) -> usize {
        let last = self.sound().rev().take_while(|sound| !sound).count();
        if last == self.losses.len() { self.broken_before + last } else { last }
    }

    /// The mean loss of the steps that were not broken; NaN where all were.
    pub fn mean_loss(&self) -> f64 {
        let sound = || self.losses.iter().zip(self.sound()).filter(|(_, sound)| *sound);
        sound().map(|(loss, _)| loss).sum::<f64>() / sound().count() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(loss: f64, norm: f64) -> Measured {
        Measured { loss: Tensor::from(loss as f32), gradient_norm: Tensor::from(norm as f32) }
    }

    #[test]
    fn broken_steps_are_found_and_left_out_of_the_mean() {
        let mut tally = Tally::new(40, 4, Device::Cpu);
        for (loss, norm) in [(1.0, 2.0), (f64::NAN, 1.0), (3.0, 0.5), (7.0, f64::INFINITY)] {
            tally.add(&measured(loss, norm));
        }
        let readings = tally.read().expect("numbers");
        assert_eq!(readings.broken(), [41, 43]);
        assert_eq!(readings.mean_loss(), 2.0);
        assert_eq!(readings.broken_in_a_row(), 1);
        tally.restart(&readings);
        tally.add(&measured(f64::NAN, 1.0));
        let readings = tally.read().expect("numbers");
        assert_eq!((readings.first, readings.broken_in_a_row()), (44, 2));
        tally.restart(&readings);
        tally.add(&measured(5.0, 1.0));
        let readings = tally.read().expect("numbers");
        assert_eq!((readings.first, readings.losses.as_slice()), (45, [5.0].as_slice()));
        assert!(readings.broken().is_empty() && readings.broken_in_a_row() == 0);
    }
}
