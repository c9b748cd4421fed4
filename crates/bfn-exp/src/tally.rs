//! The measurements of the steps since the last log line, kept on the device until they are read.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::engine::Measured;
use crate::table::numbers_or_nan;

/// The number of losses before a broken step that are reported.
const RECENT: usize = 5;

/// The losses and gradient norms of consecutive steps.
#[derive(Debug)]
pub struct Tally {
    losses: Tensor,
    norms: Tensor,
    count: usize,
    /// The readings before these steps, with empty losses and norms.
    before: Readings,
}

/// The measurements of consecutive steps, on the host.
///
/// Checkpoints store them, so that a resumed run writes the same log lines as an uninterrupted one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Readings {
    /// The number of steps done before the first of these.
    pub first: u64,
    /// The loss of each step, in nats per variable.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub losses: Vec<f64>,
    /// The norm of each step's gradient, before clipping.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub norms: Vec<f64>,
    /// The number of consecutive broken steps immediately before the first of these.
    pub broken_before: usize,
    /// The last few losses before these steps.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub recent: Vec<f64>,
}

impl Tally {
    /// Creates a tally that continues these readings, with room for `capacity` more steps.
    pub fn after(readings: Readings, capacity: u64, device: Device) -> Self {
        let room = Tensor::zeros([capacity as i64], (Kind::Float, Device::Cpu));
        let with_room = |values: &[f64]| {
            Tensor::cat(&[Tensor::from_slice(values).to_kind(Kind::Float), room.shallow_clone()], 0).to_device(device)
        };
        let (losses, norms) = (with_room(&readings.losses), with_room(&readings.norms));
        let count = readings.losses.len();
        Self { losses, norms, count, before: Readings { losses: Vec::new(), norms: Vec::new(), ..readings } }
    }

    /// Adds a step, without waiting for the device.
    ///
    /// # Panics
    ///
    /// Panics if there is no more room.
    pub fn add(&mut self, measured: &Measured) {
        let _no_grad = tch::no_grad_guard();
        self.losses.get(self.count as i64).copy_(&measured.loss);
        self.norms.get(self.count as i64).copy_(&measured.gradient_norm);
        self.count += 1;
    }

    /// Starts again at the step after these readings of the tally.
    pub fn restart(&mut self, readings: &Readings) {
        self.before = Readings {
            first: readings.first + readings.losses.len() as u64,
            broken_before: readings.broken_in_a_row(),
            recent: readings.before(readings.losses.len()),
            ..Readings::default()
        };
        self.count = 0;
    }

    /// Waits for the device and reads the measurements.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    pub fn read(&self) -> Result<Readings> {
        let read = |values: &Tensor| Vec::<f64>::try_from(values.narrow(0, 0, self.count as i64).to_kind(Kind::Double));
        Ok(Readings { losses: read(&self.losses)?, norms: read(&self.norms)?, ..self.before.clone() })
    }
}

impl Readings {
    /// Creates empty readings after `first` steps.
    pub fn after(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Returns whether the loss and the gradient of each step were finite.
    fn sound(&self) -> impl DoubleEndedIterator<Item = bool> + ExactSizeIterator {
        self.losses.iter().zip(&self.norms).map(|(loss, norm)| loss.is_finite() && norm.is_finite())
    }

    /// Returns the steps, counted from 0, whose loss or gradient was not finite; the optimiser has skipped them.
    pub fn broken(&self) -> Vec<u64> {
        (self.first..).zip(self.sound()).filter(|(_, sound)| !sound).map(|(step, _)| step).collect()
    }

    /// Returns the length of the longest run of consecutive broken steps, including those before these steps.
    pub fn longest_broken(&self) -> usize {
        let (mut longest, mut length) = (0, self.broken_before);
        for sound in self.sound() {
            length = if sound { 0 } else { length + 1 };
            longest = longest.max(length);
        }
        longest
    }

    /// Returns the last few losses before the one at index `place`.
    pub fn before(&self, place: usize) -> Vec<f64> {
        let all: Vec<f64> = self.recent.iter().chain(&self.losses[..place]).copied().collect();
        all[all.len().saturating_sub(RECENT)..].to_vec()
    }

    /// Returns the number of consecutive broken steps at the end, including those before these steps.
    pub fn broken_in_a_row(&self) -> usize {
        let last = self.sound().rev().take_while(|sound| !sound).count();
        if last == self.losses.len() { self.broken_before + last } else { last }
    }

    /// Returns the mean loss of the steps that were not broken, or NaN if all were.
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
        let mut tally = Tally::after(Readings::after(40), 4, Device::Cpu);
        for (loss, norm) in [(1.0, 2.0), (f64::NAN, 1.0), (3.0, 0.5), (7.0, f64::INFINITY)] {
            tally.add(&measured(loss, norm));
        }
        let readings = tally.read().expect("numbers");
        assert_eq!(readings.broken(), [41, 43]);
        assert_eq!(readings.mean_loss(), 2.0);
        assert_eq!((readings.broken_in_a_row(), readings.longest_broken()), (1, 1));
        assert_eq!(readings.before(1), [1.0]);
        tally.restart(&readings);
        tally.add(&measured(f64::NAN, 1.0));
        let readings = tally.read().expect("numbers");
        assert_eq!((readings.first, readings.broken_in_a_row(), readings.longest_broken()), (44, 2, 2));
        assert_eq!((readings.before(0).len(), readings.before(0)[3]), (4, 7.0));
        tally.restart(&readings);
        tally.add(&measured(5.0, 1.0));
        let readings = tally.read().expect("numbers");
        assert_eq!((readings.first, readings.losses.as_slice()), (45, [5.0].as_slice()));
        assert!(readings.broken().is_empty() && readings.broken_in_a_row() == 0 && readings.longest_broken() == 0);
        assert_eq!((readings.before(1).len(), readings.before(1)[4]), (RECENT, 5.0));
    }

    /// A run of broken steps between sound ones counts as one, wherever a log line falls.
    #[test]
    fn the_longest_run_of_broken_steps_is_found() {
        let nan = f64::NAN;
        let losses = vec![nan, nan, 1.0, nan, nan, nan, 2.0, nan];
        let readings = Readings { norms: vec![1.0; losses.len()], losses, broken_before: 2, ..Readings::default() };
        assert_eq!((readings.longest_broken(), readings.broken_in_a_row()), (4, 1));
    }

    #[test]
    fn what_a_checkpoint_keeps_goes_on() {
        let mut tally = Tally::after(Readings::after(7), 3, Device::Cpu);
        for (loss, norm) in [(0.1, 2.0), (f64::NAN, f64::INFINITY)] {
            tally.add(&measured(loss, norm));
        }
        let readings = tally.read().expect("numbers");
        let text = serde_json::to_string(&readings).expect("JSON");
        let mut resumed = Tally::after(serde_json::from_str(&text).expect("readings"), 3, Device::Cpu);
        for tally in [&mut tally, &mut resumed] {
            tally.add(&measured(0.7, 1.0));
        }
        let [whole, resumed] = [tally, resumed].map(|tally| tally.read().expect("numbers"));
        assert_eq!(whole.mean_loss().to_bits(), resumed.mean_loss().to_bits());
        assert_eq!((resumed.first, resumed.broken(), resumed.losses.len()), (7, whole.broken(), 3));
    }
}
