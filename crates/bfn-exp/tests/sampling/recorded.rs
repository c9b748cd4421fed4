//! Recorded training steps and predictions give the same training, evaluation and samples.
//!
//! On a CPU nothing is recorded, but the code path is the same: inputs stay in place, gradients are never dropped, and
//! no changing numbers come from the host.

use std::path::Path;

use bfn_nets::Checkpoint;

use super::{Folder, succeeds};

/// Settings for as many passes as a recording takes, and some repetitions.
const STEPS: [&str; 2] = ["training.steps=4", "training.accumulation=2"];

/// Runs `train` with these settings, with and without recording, and checks that the results are the same.
fn assert_same(folder: &Folder, condition: &[&str], train: impl Fn(&str, &[&str]) -> String) {
    let runs = ["plain", "recorded"].map(|name| {
        let recording = if name == "recorded" { "training.cuda_graphs=true" } else { "training.cuda_graphs=false" };
        train(name, &[&STEPS[..], &[recording]].concat())
    });
    let [plain, recorded] = runs.each_ref().map(|run| {
        let file = Path::new(run).join("checkpoints/step-0000000004.safetensors");
        Checkpoint::read(&file).expect("the last checkpoint")
    });
    assert!(plain.names().count() > 10 && plain.names().eq(recorded.names()));
    for name in plain.names() {
        let [one, other] = [&plain, &recorded].map(|end| end.tensor(name).expect("a tensor"));
        assert!(one.equal(&other), "{name}");
    }
    // Batches of eight, the last of them smaller.
    let tables = runs.each_ref().map(|run| {
        let printed = succeeds(&["evaluate", run, "--steps", "3,inf", "--limit", "41", "--repeats", "3"]);
        printed.lines().filter(|line| line.contains('±')).map(str::to_owned).collect::<Vec<_>>()
    });
    assert!(tables[0].len() >= 2, "{tables:?}");
    assert_eq!(tables[0], tables[1]);
    for solver in ["ancestral", "sde2"] {
        let [one, other] = [0, 1].map(|number| {
            let name = format!("{number}-{solver}.safetensors");
            let file = folder.path(&name);
            let sample = ["sample", &runs[number], "--count", "4", "--steps", "7", "--solver", solver, "--out", &file];
            succeeds(&[&sample, condition].concat());
            folder.samples(&name)
        });
        assert!(one.equal(&other), "{solver}");
    }
}

#[test]
fn bins_of_images_are_modelled_the_same() {
    let folder = Folder::new();
    let condition = ["--class", "3", "--guidance", "0.5"];
    assert_same(&folder, &condition, |run, settings| {
        let labels = ["network.unet.classes=10", "training.condition_dropout=0.2", "training.time_density=[1.0, 0.5]"];
        folder.digits_like(run, &[settings, &labels].concat())
    });
}

#[test]
fn text_is_modelled_the_same() {
    let folder = Folder::new();
    assert_same(&folder, &[], |run, settings| folder.text_like(run, settings));
}

#[test]
fn tables_are_modelled_the_same() {
    let folder = Folder::new();
    assert_same(&folder, &[], |run, settings| folder.table_like(run, settings));
}
