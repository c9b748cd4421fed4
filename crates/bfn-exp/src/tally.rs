//! What the steps since the last line of the log have measured, kept on the device until it is read.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::engine::Measured;
use crate::table::numbers_or_nan;

/// How many losses before a step are told where it is broken.
const RECENT: usize = 5;

/// Losses and gradient norms of some steps in a row.
#[derive(Debug)]
pub struct Tally {
    losses: Tensor,
    norms: Tensor,
    count: usize,
    /// Those that came before, and no losses or norms.
    before: Readings,
}

/// The same numbers on the host; checkpoints keep them, so that a resumed run writes the lines that it would have
/// written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Readings {
    /// The steps done before the first of these.
    pub first: u64,
    /// The loss of each step, in nats per variable.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub losses: Vec<f64>,
    /// The norm of each step's gradient, before clipping.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub norms: Vec<f64>,
    /// How many steps before the first of these were broken without a sound one among them.
    pub broken_before: usize,
    /// The last few losses before these.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub recent: Vec<f64>,
}

impl Tally {
    /// Goes on after these readings, with room for `capacity` more steps.
    pub fn after(readings: Readings, capacity: u64, device: Device) -> Self {
        let room = Tensor::zeros([capacity as i64], (Kind::Float, Device::Cpu));
        let with_room = |values: &[f64]| {
            Tensor::cat(&[Tensor::from_slice(values).to_kind(Kind::Float), room.shallow_clone()], 0).to_device(device)
        };
        let (losses, norms) = (with_room(&readings.losses), with_room(&readings.norms));
        let count = readings.losses.len();
        Self { losses, norms, count, before: Readings { losses: Vec::new(), norms: Vec::new(), ..readings } }
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
        self.before = Readings {
            first: readings.first + readings.losses.len() as u64,
            broken_before: readings.broken_in_a_row(),
            recent: readings.before(readings.losses.len()),
            ..Readings::default()
        };
        self.count = 0;
    }

    /// Waits for the device and reads what it has measured.
    ///
    /// # Errors
    ///
    /// A device that fails.
    pub fn read(&self) -> Result<Readings> {
        let read = |values: &Tensor| Vec::<f64>::try_from(values.narrow(0, 0, self.count as i64).to_kind(Kind::Double));
        Ok(Readings { losses: read(&self.losses)?, norms: read(&self.norms)?, ..self.before.clone() })
    }
}

impl Readings {
    /// None yet, after so many steps.
    pub fn after(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Whether each step's loss and gradient were finite.
    fn sound(&self) -> impl DoubleEndedIterator<Item = bool> + ExactSizeIterator {
        self.losses.iter().zip(&self.norms).map(|(loss, norm)| loss.is_finite() && norm.is_finite())
    }

    /// The steps, counted from 0, whose loss or gradient was not finite: the optimiser has not taken them.
    pub fn broken(&self) -> Vec<u64> {
        (self.first..).zip(self.sound()).filter(|(_, sound)| !sound).map(|(step, _)| step).collect()
    }

    /// The most steps that were broken one after the other, those before these included.
    pub fn longest_broken(&self) -> usize {
        let (mut longest, mut length) = (0, self.broken_before);
        for sound in self.sound() {
            length = if sound { 0 } else { length + 1 };
            longest = longest.max(length);
        }
        longest
    }

    /// The last few losses before the one at this place.
    pub fn before(&self, place: usize) -> Vec<f64> {
        let all: Vec<f64> = self.recent.iter().chain(&self.losses[..place]).copied().collect();
        all[all.len().saturating_sub(RECENT)..].to_vec()
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

    /// A run of broken steps between sound ones is one, wherever a line of the log comes.
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
