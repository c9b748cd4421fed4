//! The log of a run, `metrics.jsonl`: the contents of its lines, and reading them back.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::bound::TimeBin;
use crate::phases::Shares;
use crate::table::number_or_nan;

/// A log line about training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrainingLine {
    /// Optimiser steps done.
    pub step: u64,
    /// The mean loss L^∞ since the previous line, in nats per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss_nats_per_dim: f64,
    /// The same in bits per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss_bits_per_dim: f64,
    /// The norm of the last step's gradient before clipping.
    #[serde(deserialize_with = "number_or_nan")]
    pub gradient_norm: f64,
    /// Steps since the previous line that were not finite and were skipped.
    pub skipped_steps: usize,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Examples per second since the previous line, excluding pauses.
    pub examples_per_second: f64,
    /// The share of the time spent in each phase.
    pub shares: Shares,
    /// The peak memory use so far, in bytes.
    pub peak_memory_bytes: u64,
    /// Seconds of training so far, over all sessions.
    pub seconds: f64,
}

/// A log line about a validation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValidationLine {
    /// Optimiser steps done.
    pub step: u64,
    /// The continuous-time bound, in nats per example.
    #[serde(deserialize_with = "number_or_nan")]
    pub validation_nats_per_example: f64,
    /// The same in bits per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub validation_bits_per_dim: f64,
    /// The standard error of the bound over examples and draws, in bits per variable.
    #[serde(deserialize_with = "number_or_nan")]
    pub validation_standard_error_bits_per_dim: f64,
    /// The integrand of L^∞ in time bins.
    #[serde(default)]
    pub loss_by_time: Vec<TimeBin>,
    /// Seconds of training so far, over all sessions.
    pub seconds: f64,
}

/// The contents of a log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The lines about training, in order.
    pub training: Vec<TrainingLine>,
    /// The lines about validations, in order.
    pub validation: Vec<ValidationLine>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Training(TrainingLine),
    Validation(ValidationLine),
}

impl Log {
    /// Reads a log.
    ///
    /// The log of a run that has logged nothing yet is empty. A last line that is still being written is left out.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or a line is not a log line.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.with_context(|| format!("cannot read {shown}"))?,
        };
        let mut log = Self::default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in (1..).zip(whole.lines()) {
            let line = serde_json::from_str(line).with_context(|| {
                format!("line {number} of {shown} is none of a log of this version; if it was damaged, remove it")
            })?;
            match line {
                Line::Training(line) => log.training.push(line),
                Line::Validation(line) => log.validation.push(line),
            }
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_up_to_a_line_that_is_being_written() {
        let shares = Shares { data: 0.1, network: 0.2, loss: 0.1, backward: 0.4, optimiser: 0.1, other: 0.1 };
        let training = TrainingLine {
            step: 2,
            loss_nats_per_dim: f64::NAN,
            loss_bits_per_dim: 1.5,
            gradient_norm: 0.5,
            skipped_steps: 1,
            learning_rate: 1e-3,
            examples_per_second: 10.0,
            shares,
            peak_memory_bytes: 5,
            seconds: 0.25,
        };
        let validation = ValidationLine {
            step: 2,
            validation_nats_per_example: 64.0,
            validation_bits_per_dim: 1.25,
            validation_standard_error_bits_per_dim: 0.1,
            loss_by_time: Vec::new(),
            seconds: 0.5,
        };
        let training = serde_json::to_string(&training).expect("JSON");
        let text = format!("{training}\n{}\n", serde_json::to_string(&validation).expect("JSON"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        assert!(Log::read(&path).expect("no log yet").training.is_empty());
        std::fs::write(&path, format!("{text}{{\"step\":4,\"loss")).expect("it can be written");
        let log = Log::read(&path).expect("a log");
        assert_eq!((log.training.len(), log.validation.len()), (1, 1));
        assert!(log.training[0].loss_nats_per_dim.is_nan() && log.training[0].shares == shares);
        assert_eq!(log.validation[0].validation_bits_per_dim, 1.25);
        std::fs::write(&path, format!("{text}nonsense\n{text}")).expect("it can be written");
        let error = format!("{:#}", Log::read(&path).expect_err("a damaged line"));
        assert!(error.contains("line 3") && error.contains("metrics.jsonl"), "{error}");
    }
}
