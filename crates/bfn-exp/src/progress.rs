//! Progress messages, on a terminal or in a log file in its place.

use std::fmt;
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The minimum time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Whether `--quiet` was given; it applies to the whole program, as stderr does.
static QUIET: AtomicBool = AtomicBool::new(false);

/// A progress bar if stderr is a terminal, otherwise an occasional plain line; nothing under `--quiet`.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    started: Instant,
    interval_started: Instant,
    start: u64,
    last_line: Option<Instant>,
}

/// Limits stderr to warnings and errors from now on.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Prints a status message to stderr, except under `--quiet`.
pub fn say(text: impl fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        tell(text);
    }
}

/// Prints a message to stderr, even under `--quiet`. A failed write is ignored, since it must not stop a run.
pub fn tell(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Progress {
    /// Creates a display of the progress of `what` from `start` to `end`.
    pub fn new(what: &'static str, start: u64, end: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(end), ProgressDrawTarget::hidden());
        if std::io::stderr().is_terminal() && !QUIET.load(Ordering::Relaxed) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let template = "{prefix} {wide_bar} {pos}/{len} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        bar.set_prefix(what);
        bar.set_position(start);
        let now = Instant::now();
        Self { bar, what, started: now, interval_started: now, start, last_line: None }
    }

    /// Moves to `position`.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Sets the end, once it is known.
    pub fn lengthen(&self, end: u64) {
        self.bar.set_length(end);
    }

    /// Shows a message beside the bar, or as a plain line at most every five seconds.
    pub fn message(&mut self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        let due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if self.bar.is_hidden() && due {
            say(format_args!("{} {position}/{} {message}", self.what, self.bar.length().unwrap_or(position)));
            self.last_line = Some(Instant::now());
        }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            say(text);
        } else {
            self.bar.println(text);
        }
    }

    /// Prints a warning above the bar, even under `--quiet`.
    pub fn warn(&self, text: &str) {
        self.bar.suspend(|| tell(format_args!("warning: {text}")));
    }

    /// Returns the time since the start or the last call, excluding pauses.
    pub fn interval(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.interval_started, now)
    }

    /// Excludes time that was spent on something else.
    pub fn pause(&mut self, time: Duration) {
        self.started += time;
        self.interval_started += time;
    }

    /// Returns the number of steps per second since the start, excluding pauses.
    pub fn rate(&self, position: u64) -> f64 {
        (position - self.start) as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Formats a duration to the second, such as `3m 12s`.
pub fn short(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().round() as u64)).to_string()
}
