//! Stopping a run from outside: signals, and the time limit of a batch queue.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// A request to stop, which the training loop can poll at no cost.
#[derive(Debug)]
pub struct Stop {
    signals: Vec<(Reason, Arc<AtomicBool>)>,
    deadline: Option<Instant>,
}

/// The reason why a run stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// SIGINT, which is sent by Ctrl-C.
    Interrupted,
    /// SIGTERM, which batch queues send before they kill a job.
    Terminated,
    /// SIGHUP, which is sent when the terminal or the connection closes.
    HungUp,
    /// The time limit of `--max-time` was reached.
    OutOfTime,
}

impl Stop {
    /// Starts to listen for signals, and for the end of `time` since `start`.
    ///
    /// The signals are SIGINT, SIGTERM and, unless it is ignored as under nohup, SIGHUP. The first signal asks the
    /// loop to stop; a second one ends the program at once, with 128 plus the signal's number.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not allow signals to be caught.
    pub fn listen(start: Instant, time: Option<Duration>) -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let listen = |signal, reason| -> Result<(Reason, Arc<AtomicBool>)> {
            let flagged = Arc::new(AtomicBool::new(false));
            // The order matters: at the first signal, `asked` is still unset and the first action does nothing.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .and_then(|_| flag::register(signal, Arc::clone(&flagged)))
                .context("cannot listen for signals")?;
            Ok((reason, flagged))
        };
        let mut signals = vec![listen(SIGINT, Reason::Interrupted)?, listen(SIGTERM, Reason::Terminated)?];
        if !is_ignored(SIGHUP) {
            signals.push(listen(SIGHUP, Reason::HungUp)?);
        }
        Ok(Self { signals, deadline: time.map(|time| start + time) })
    }

    /// Returns the reason to stop now, if there is one.
    pub fn reason(&self) -> Option<Reason> {
        let signalled = self.signals.iter().find(|(_, flagged)| flagged.load(Ordering::Relaxed));
        let late = || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        signalled.map(|(reason, _)| *reason).or_else(|| late().then_some(Reason::OutOfTime))
    }
}

/// Returns whether the program was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

impl fmt::Display for Reason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Interrupted => "SIGINT",
            Self::Terminated => "SIGTERM",
            Self::HungUp => "SIGHUP",
            Self::OutOfTime => "--max-time",
        })
    }
}

/// The error of a command that was stopped and can be resumed; the program then exits with [`EXIT_CODE`].
#[derive(Debug)]
pub struct Stopped {
    reason: Reason,
    how_to_go_on: String,
}

/// The exit code of a program that was stopped and can be resumed: EX_TEMPFAIL of `sysexits.h`.
pub const EXIT_CODE: u8 = 75;

impl Stopped {
    /// Creates the error; `how_to_go_on` states what is done so far and which command continues it.
    pub fn new(reason: Reason, how_to_go_on: impl Into<String>) -> Self {
        Self { reason, how_to_go_on: how_to_go_on.into() }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "stopped by {}: {}", self.reason, self.how_to_go_on)
    }
}

impl std::error::Error for Stopped {}
