//! The time that a run has spent on training, and the time it still needs.

use std::time::{Duration, Instant};

/// A clock of the time spent on training over all sessions of a run, excluding pauses.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    before: Duration,
    paused: Duration,
}

impl Clock {
    /// Creates the clock of a run that has already trained for `seconds_before` seconds.
    pub fn new(seconds_before: f64) -> Self {
        Self {
            started: Instant::now(),
            before: Duration::from_secs_f64(seconds_before.max(0.0)),
            paused: Duration::ZERO,
        }
    }

    /// Returns the time spent on training.
    pub fn training(&self) -> Duration {
        self.before + self.started.elapsed() - self.paused
    }

    /// Excludes time that was spent on something else.
    pub fn pause(&mut self, time: Duration) {
        self.paused += time;
    }

    /// Returns the time left until `steps` more steps are done at `rate` steps per second, or until `max_time`.
    pub fn left(&self, steps: u64, rate: f64, max_time: Option<Duration>) -> Duration {
        let by_steps = Duration::try_from_secs_f64(steps as f64 / rate.max(1e-3)).unwrap_or(Duration::MAX);
        max_time.map_or(by_steps, |limit| by_steps.min(limit.saturating_sub(self.training())))
    }
}
