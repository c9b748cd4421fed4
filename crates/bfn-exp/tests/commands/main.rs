//! The commands around training, run as users run them, on the embedded digits.

#[path = "../support/mod.rs"]
mod support;

mod evaluate;
mod hidden;
mod set_up;
mod statistics;
mod sweep;

use std::fs;
use std::process::Output;

use support::{Folder, experiments, program, text};

/// Settings of a network and a run that are small enough for a test.
const TINY: [&str; 10] = [
    "network.unet.width=8",
    "network.unet.multipliers=[1]",
    "network.unet.norm_groups=4",
    "network.unet.heads=1",
    "training.batch=32",
    "training.log_every=2",
    "training.warm_up=0",
    "training.steps=4",
    "checkpoint.every=100",
    "training.deterministic=true",
];

fn digits() -> String {
    experiments().join("digits.toml").display().to_string()
}

fn bfn(arguments: &[&str]) -> Output {
    // Tests run in parallel: with more threads each, they would wait for one another.
    let mut command = program();
    command.args(arguments).env("OMP_NUM_THREADS", "1").output().expect("bfn runs")
}

fn succeeds(arguments: &[&str]) -> String {
    let output = bfn(arguments);
    assert!(output.status.success(), "{arguments:?}\n{}", text(&output.stderr));
    text(&output.stdout)
}

/// Checks that a command exits with this code, without a panic, and that its error contains all of `expected`.
fn ends_with(code: i32, arguments: &[&str], expected: &[&str]) {
    let output = bfn(arguments);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{errors}");
    for expected in expected {
        assert!(errors.contains(expected), "{arguments:?}: no {expected:?} in\n{errors}");
    }
}

impl Folder {
    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).expect("it can be written");
        self.path(name)
    }

    /// Trains a tiny network on the digits.
    fn trained(&self, run: &str, settings: &[&str]) -> String {
        self.trained_as(&digits(), run, settings)
    }

    /// Trains a tiny network from another experiment.
    fn trained_as(&self, experiment: &str, run: &str, settings: &[&str]) -> String {
        let run = self.path(run);
        let mut arguments = vec!["train", experiment, "--out", &run];
        TINY.iter().chain(settings).for_each(|setting| arguments.extend(["--set", setting]));
        succeeds(&arguments);
        run
    }
}
