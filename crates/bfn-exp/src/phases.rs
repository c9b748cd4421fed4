//! Where the time of a training step goes.

use std::time::{Duration, Instant};

use bfn_nets::device;
use serde::{Deserialize, Serialize};
use tch::Device;

/// A part of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the batch, and moving it to the device.
    Data,
    /// The network's forward pass.
    Network,
    /// The flow before the network and the loss after it.
    Loss,
    /// The backward pass; if steps are recorded, both passes, which then run as one unit.
    Backward,
    /// Clipping, the optimiser's step, and the moving average.
    Optimiser,
    /// Everything else: logs, checkpoints.
    Other,
}

/// A stopwatch for the consecutive phases of a training step.
///
/// A GPU works asynchronously. There, each phase measures the time to submit its work, unless the stopwatch waits for
/// the device, which only benchmarks do.
#[derive(Debug)]
pub struct Phases {
    spent: [Duration; 6],
    last: Instant,
    wait: Option<Device>,
}

/// The shares of the phases in the total time, which add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// The share of [`Phase::Data`].
    pub data: f64,
    /// The share of [`Phase::Network`].
    pub network: f64,
    /// The share of [`Phase::Loss`].
    pub loss: f64,
    /// The share of [`Phase::Backward`].
    pub backward: f64,
    /// The share of [`Phase::Optimiser`].
    pub optimiser: f64,
    /// The share of [`Phase::Other`].
    pub other: f64,
}

impl Phases {
    /// Creates a stopwatch that starts now.
    pub fn new() -> Self {
        Self { spent: [Duration::ZERO; 6], last: Instant::now(), wait: None }
    }

    /// Creates a stopwatch that waits at the end of each phase until the device has finished it.
    pub fn waiting_for(device: Device) -> Self {
        Self { wait: Some(device), ..Self::new() }
    }

    /// Ends a phase, which receives the time since the end of the previous one.
    pub fn end(&mut self, phase: Phase) {
        if let Some(device) = self.wait {
            device::synchronise(device);
        }
        let now = Instant::now();
        self.spent[phase as usize] += now - self.last;
        self.last = now;
    }

    /// Moves some of the time of a phase to another phase that ran inside it.
    pub fn transfer(&mut self, from: Phase, to: Phase, time: Duration) {
        let time = time.min(self.spent[from as usize]);
        self.spent[from as usize] -= time;
        self.spent[to as usize] += time;
    }

    /// Returns the shares since the start or the last call, and resets them.
    pub fn take_shares(&mut self) -> Shares {
        self.end(Phase::Other);
        let spent = std::mem::take(&mut self.spent);
        let total = spent.iter().sum::<Duration>().as_secs_f64().max(f64::MIN_POSITIVE);
        let share = |phase: Phase| spent[phase as usize].as_secs_f64() / total;
        Shares {
            data: share(Phase::Data),
            network: share(Phase::Network),
            loss: share(Phase::Loss),
            backward: share(Phase::Backward),
            optimiser: share(Phase::Optimiser),
            other: share(Phase::Other),
        }
    }

    /// Excludes the time since the end of the last phase.
    pub fn skip(&mut self) {
        self.last = Instant::now();
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_follow_transfers() {
        let mut phases = Phases::new();
        std::thread::sleep(Duration::from_millis(4));
        phases.end(Phase::Loss);
        phases.transfer(Phase::Loss, Phase::Network, Duration::from_millis(2));
        phases.transfer(Phase::Data, Phase::Network, Duration::from_secs(1));
        let shares = phases.take_shares();
        let Shares { data, network, loss, backward, optimiser, other } = shares;
        assert!((data + network + loss + backward + optimiser + other - 1.0).abs() < 1e-12, "{shares:?}");
        assert!(network > 0.0 && loss > 0.0 && data == 0.0 && backward == 0.0 && optimiser == 0.0, "{shares:?}");
    }
}
