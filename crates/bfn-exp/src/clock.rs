//! How long a run has trained, and how long it still will.

use std::time::{Duration, Instant};

/// The time spent on training, pauses left out, over all sessions of a run.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    before: Duration,
    paused: Duration,
}

impl Clock {
    /// A clock of a run that has trained for this long already.
    pub fn new(seconds_before: f64) -> Self {
        Self {
            started: Instant::now(),
            before: Duration::from_secs_f64(seconds_before.max(0.0)),
            paused: Duration::ZERO,
        }
    }

    /// The time spent on training.
    pub fn training(&self) -> Duration {
        self.before + self.started.elapsed() - self.paused
    }

    /// Leaves out a time that was spent on something else.
    pub fn pause(&mut self, time: Duration) {
        self.paused += time;
    }

    /// The time left until the last step at this many steps per second, or until `max_time`.
    pub fn left(&self, steps: u64, rate: f64, max_time: Option<Duration>) -> Duration {
        let by_steps = Duration::try_from_secs_f64(steps as f64 / rate.max(1e-3)).unwrap_or(Duration::MAX);
        max_time.map_or(by_steps, |limit| by_steps.min(limit.saturating_sub(self.training())))
    }
}
