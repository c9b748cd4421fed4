//! What a terminal, or a log file in its place, shows of the work.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The least time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A progress bar where stderr is a terminal, else a plain line now and then.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    started: Instant,
    start: u64,
    last_line: Option<Instant>,
}

impl Progress {
    /// Progress of `what` from `start` to `end`.
    pub fn new(what: &'static str, start: u64, end: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(end), ProgressDrawTarget::hidden());
        if std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let template = "{prefix} {wide_bar} {pos}/{len} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        bar.set_prefix(what);
        bar.set_position(start);
        Self { bar, what, started: Instant::now(), start, last_line: None }
    }

    /// Moves to `position`.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Shows a message beside the bar; as a plain line at most every five seconds.
    pub fn message(&mut self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        let due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if self.bar.is_hidden() && due {
            eprintln!("{} {position}/{} {message}", self.what, self.bar.length().unwrap_or(position));
            self.last_line = Some(Instant::now());
        }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Steps per second since the start.
    pub fn rate(&self, position: u64) -> f64 {
        (position - self.start) as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A duration to the second, such as `3m 12s`.
pub fn short(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().round() as u64)).to_string()
}
