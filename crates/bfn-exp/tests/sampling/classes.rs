//! Networks conditioned on classes: training without some labels, samples of a class, guidance.

use std::fs;

use crate::{Folder, TINY, experiments, fails, succeeds};

/// Trains a run on the digits whose network is conditioned on labels.
fn trained(folder: &Folder, run: &str, more: &[&str]) -> String {
    let experiment = fs::read_to_string(experiments().join("small/digits_classes.toml")).expect("the experiment");
    folder.trained(run, &experiment, more)
}

#[test]
fn classes_and_guidance_change_samples() {
    let folder = Folder::new();
    let run = trained(&folder, "run", &["training.steps=40", "checkpoint.every=40"]);
    let draw = |more: &[&str]| {
        let out = folder.path("samples.safetensors");
        let common = ["sample", &run, "--steps", "6", "--count", "20", "--out", &out];
        let printed = succeeds(&[&common[..], more].concat());
        (folder.samples("samples.safetensors"), printed)
    };
    let (each, message) = draw(&["--class", "each"]);
    assert!(message.contains("in 7 evaluations"), "{message}");
    let (three, _) = draw(&["--class", "3"]);
    let (none, _) = draw(&[]);
    assert_eq!(none, draw(&["--class", "none"]).0);
    assert!(three != none && three != each);
    // Sample 13 has class 3 under `each` and is drawn from the same noise.
    let differing = |a: &tch::Tensor, b: &tch::Tensor, sample: i64| {
        a.get(sample)
            .not_equal_tensor(&b.get(sample))
            .to_kind(tch::Kind::Float)
            .mean(tch::Kind::Float)
            .double_value(&[])
    };
    assert!(differing(&each, &three, 13) < 0.02 && differing(&each, &three, 14) > 0.02);
    assert_eq!(three, draw(&["--class", "3", "--guidance", "0"]).0);
    let (guided, message) = draw(&["--class", "3", "--guidance", "2"]);
    assert!(guided != three && message.contains("in 14 evaluations"), "{message}");
    assert_eq!(guided, draw(&["--class", "3", "--guidance", "2", "--guide", "output"]).0);
    let (on_parameters, message) = draw(&["--class", "3", "--guidance", "2", "--guide", "parameters"]);
    assert!(on_parameters != three && on_parameters != guided && message.contains("in 14 evaluations"), "{message}");
    assert_eq!(three, draw(&["--class", "3", "--guidance", "0", "--guide", "parameters"]).0);

    let out = folder.path("filled.png");
    let inpaint = ["inpaint", &run, "--example", "1", "--hide", "left", "--steps", "3", "--count", "2", "--out", &out];
    succeeds(&inpaint);
    succeeds(&[&inpaint[..], &["--class", "7", "--particles", "3", "--guidance", "1"]].concat());
    let quality = ["quality", &run, "--count", "20", "--steps", "2", "--solver", "sde2", "--classifier-steps", "100"];
    succeeds(&[&quality[..], &["--class", "each"]].concat());
    let kept: serde_json::Value = serde_json::from_slice(&folder.bytes("run/quality.json")).expect("JSON");
    assert_eq!(kept["measures"][3], "classifier_agreement");
    assert!(kept["data"][3].as_f64().expect("a number") > 0.5, "the classifier agrees with the labels: {kept}");
    let alone = kept["rows"][0].clone();
    for guide in ["output", "parameters"] {
        succeeds(&[&quality[..], &["--class", "each", "--guidance", "1", "--guide", guide]].concat());
        let kept: serde_json::Value = serde_json::from_slice(&folder.bytes("run/quality.json")).expect("JSON");
        let row = &kept["rows"][0];
        assert!(row["values"] != alone["values"] && row["evaluations"] == 6 && alone["evaluations"] == 3, "{row}");
        assert!((0.0..=1.0).contains(&row["values"][3].as_f64().expect("a share")), "{row}");
    }

    let refused = |more: &[&str], expected: &[&str]| {
        fails(&[&["sample", &run, "--out", &folder.path("x.png")][..], more].concat(), expected);
    };
    refused(&["--class", "10"], &["--class 10", "10 classes", "0 to 9"]);
    refused(&["--class", "seven"], &["--class", "each or none"]);
    refused(&["--guidance", "1"], &["--guidance 1", "--class"]);
    refused(&["--class", "3", "--guidance", "-1"], &["--guidance", "above −1"]);
    refused(&["--class", "3", "--guidance", "NaN"], &["--guidance"]);
    refused(&["--class", "3", "--guidance", "1", "--guide", "theta"], &["--guide", "output", "parameters"]);
    refused(&["--like", "test:0"], &["without small images", "low_resolution"]);
}

#[test]
fn labels_are_dropped_in_training_alone() {
    let folder = Folder::new();
    let always = trained(&folder, "always", &["training.condition_dropout=0.0"]);
    let often = trained(&folder, "often", &["training.condition_dropout=0.9"]);
    let weights = |run: &str| {
        let name = format!("{run}.safetensors");
        succeeds(&["export", &folder.path(run), "--out", &folder.path(&name)]);
        folder.bytes(&name)
    };
    assert_ne!(weights("always"), weights("often"));
    let out = folder.path("x.png");
    for (more, expected) in [
        (&[][..], &["which class?", "condition_dropout is 0", "--class each"][..]),
        (&["--class", "none"], &["--class none", "condition_dropout is 0"]),
        (&["--class", "1", "--guidance", "0.5"], &["--guidance 0.5", "condition_dropout is 0"]),
    ] {
        fails(&[&["sample", &always, "--out", &out][..], more].concat(), expected);
    }
    succeeds(&["sample", &always, "--steps", "2", "--count", "2", "--class", "each", "--out", &out]);
    succeeds(&["evaluate", &often, "--limit", "8"]);

    let experiment = folder.path("none.toml");
    fs::write(&experiment, fs::read_to_string(experiments().join("digits.toml")).expect("a file")).expect("a file");
    let mut arguments = vec!["train", &experiment, "--set", "training.condition_dropout=0.1"];
    TINY.iter().for_each(|setting| arguments.extend(["--set", setting]));
    fails(&arguments, &["condition_dropout", "no labels", "classes"]);
    *arguments.get_mut(3).expect("a setting") = "training.condition_dropout=1.5";
    fails(&arguments, &["condition_dropout", "from 0 to 1"]);
}
