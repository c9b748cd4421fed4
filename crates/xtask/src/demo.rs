//! `cargo xtask demo`: trains, evaluates and samples a Bayesian Flow Network on the embedded digits.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::arguments::Training;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::process::{run as run_process, say, show, spoken};
use crate::setup;

const EXPERIMENT: &str = "experiments/digits.toml";

/// Builds, trains, evaluates, draws samples, and prints where the results are.
pub(crate) fn run(machine: &Machine, training: Training) -> Result<(), Failure> {
    setup::run(machine)?;
    let started = Instant::now();
    let bfn = build(machine, training)?;
    let folder = fresh_folder(&machine.root);
    let samples = format!("{folder}/samples.png");
    let evaluation = format!("{folder}/evaluation.json");

    let mut train = vec!["train", EXPERIMENT, "--out", &folder];
    let max_time = max_time(training);
    if let Some(setting) = &max_time {
        train.extend(["--set", setting]);
    }
    for (what, arguments) in [
        ("train", train),
        ("evaluate", vec!["evaluate", &folder, "--json", &evaluation]),
        ("sample", vec!["sample", &folder, "--out", &samples]),
    ] {
        let mut command = machine.command(&bfn);
        command.args(arguments);
        say(format!("\n{what}: {}", show(&command)));
        run_process(&mut command, "see the messages above")?;
    }
    say(closing(&folder));
    say(format!("the demonstration took {}", spoken(started.elapsed())));
    Ok(())
}

/// Builds `bfn` in release mode and returns its path.
///
/// A short training uses the tests' build instead: to optimise all dependencies takes far longer than it saves, since
/// nearly all work of a training step is libtorch's.
fn build(machine: &Machine, training: Training) -> Result<PathBuf, Failure> {
    let (option, program) = match training {
        Training::AsConfigured => ("--release", "release/bfn"),
        Training::For(_) => ("--profile=dev", "debug/bfn"),
    };
    let mut command = machine.cargo();
    command.args(["build", option, "--package", "bfn-exp"]);
    say(format!("\nbuild: {} (the first time takes some minutes)", show(&command)));
    run_process(&mut command, "see the compiler's messages above")?;
    // This program lies in the same target folder, wherever cargo's configuration puts it.
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    let bfn = target.map(|target| target.join(program)).filter(|path| path.is_file());
    bfn.ok_or_else(|| {
        Failure::new(
            format!("expected the built program `{program}` in cargo's target folder, found none"),
            "run this as `cargo xtask demo`, with the same target folder for all of cargo's commands",
        )
    })
}

/// Returns a folder under `runs/` that does not exist yet, so that no run is ever overwritten.
fn fresh_folder(root: &Path) -> String {
    let names = std::iter::once("runs/demo".to_string()).chain((2_u64..).map(|number| format!("runs/demo-{number}")));
    let mut fresh = names.filter(|name| root.join(name).symlink_metadata().is_err());
    fresh.next().unwrap_or_else(|| "runs/demo".into())
}

fn max_time(training: Training) -> Option<String> {
    match training {
        Training::AsConfigured => None,
        Training::For(duration) => Some(format!("training.max_time=\"{}s\"", duration.as_secs())),
    }
}

fn closing(folder: &str) -> String {
    format!(
        "
the run      {folder}  (configuration, weights, metrics)
samples      {folder}/samples.png
evaluation   {folder}/evaluation.json  (the table above)
experiment   {EXPERIMENT}

to try next:
  cargo run --release -- sample {folder} --count 100 --steps 20 --out digits.png
  cargo run --release -- train {EXPERIMENT} --set training.seed=2
  cargo run --release -- train experiments/small/mnist.toml     (needs MNIST; the file says where)
  cargo xtask install                                           (puts `bfn` on PATH)
"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::testing::Sandbox;

    #[test]
    fn an_existing_run_is_never_chosen() {
        let sandbox = Sandbox::new();
        let root = sandbox.path("root");
        assert_eq!(fresh_folder(&root), "runs/demo");
        fs::create_dir_all(root.join("runs/demo")).unwrap();
        assert_eq!(fresh_folder(&root), "runs/demo-2");
        fs::write(root.join("runs/demo-2"), "a file counts too").unwrap();
        assert_eq!(fresh_folder(&root), "runs/demo-3");
    }

    #[test]
    fn seconds_become_the_key_of_the_training_time() {
        assert_eq!(max_time(Training::AsConfigured), None);
        let setting = max_time(Training::For(Duration::from_secs(10)));
        assert_eq!(setting.as_deref(), Some("training.max_time=\"10s\""));
    }

    #[test]
    fn the_closing_words_name_all_places() {
        let words = closing("runs/demo-2");
        for part in ["runs/demo-2/samples.png", "runs/demo-2/evaluation.json", EXPERIMENT, "cargo xtask install"] {
            assert!(words.contains(part), "{part} in {words}");
        }
    }
}
