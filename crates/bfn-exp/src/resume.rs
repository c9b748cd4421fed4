//! Resuming a run: the settings that make it the same run must not change.

use std::path::Path;

use anyhow::{Result, bail};
use bfn_nets::device;
use tch::Device;

use crate::config::{Decay, Experiment};
use crate::progress::tell;
use crate::run::{Lock, Run};

/// Opens a run to resume it, provided that the experiment still describes the same run.
///
/// Changed settings are not written yet.
/// # Errors
///
/// Returns an error if the folder is not a run, if another process trains in it, or if a key has changed that would
/// make it another run.
pub fn resumed(folder: &Path, experiment: &Experiment) -> Result<(Run, Lock)> {
    let run = Run::open(folder)?;
    let lock = run.lock()?;
    let before = run.experiment()?;
    let changed = differing_keys(&before, experiment)?;
    // How long to train, and how often to log and save, may change; what is trained may not.
    let free = [
        "training.steps",
        "training.max_time",
        "training.log_every",
        "training.tensorboard",
        "training.not_finite",
        "data.root",
    ];
    let free_tables = ["checkpoint", "validation"];
    // With a cosine decay, the learning rate of every step depends on the number of steps.
    let by_steps = before.training.decay == Decay::Cosine;
    let frozen = |key: &&String| {
        // A table that is added or removed appears as a single key.
        let table = key.split('.').next().unwrap_or_default();
        let is_free = free.contains(&key.as_str()) || free_tables.contains(&table);
        !is_free || (by_steps && *key == "training.steps")
    };
    if let Some(key) = changed.iter().find(frozen) {
        let cosine = if by_steps && key == "training.steps" {
            ": under training.decay = \"cosine\" the learning rate of every step depends on their number"
        } else {
            ""
        };
        bail!(
            "{key} differs from the run in {0}, which would not be the same run any more{cosine}; train into another \
             --out, with --from {0} to begin with its weights",
            folder.display()
        );
    }
    Ok((run, lock))
}

/// Prints a note if a run continues on hardware with other arithmetic, whose last digits differ.
pub fn compare_machines(run: &Run, device: Device) {
    let Ok(record) = run.record() else { return };
    let here = device::describe(device);
    if record.device != here {
        tell(format_args!(
            "note: the run was begun on {}, and goes on on {here}: it ends well, but not to the bit as it would have \
             there",
            record.device
        ));
    }
}

/// Returns the dotted keys whose values differ between two experiments.
///
/// # Errors
///
/// Returns an error if a value cannot be represented in TOML.
pub fn differing_keys(one: &Experiment, other: &Experiment) -> Result<Vec<String>> {
    Ok(changed_keys("", &one.to_toml()?.parse()?, &other.to_toml()?.parse()?))
}

fn changed_keys(prefix: &str, before: &toml::Table, after: &toml::Table) -> Vec<String> {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut changed = Vec::new();
    for key in keys {
        let path = format!("{prefix}{key}");
        match (before.get(key), after.get(key)) {
            (Some(toml::Value::Table(before)), Some(toml::Value::Table(after))) => {
                changed.extend(changed_keys(&format!("{path}."), before, after));
            }
            (before, after) if before != after => changed.push(path),
            _ => {}
        }
    }
    changed
}
