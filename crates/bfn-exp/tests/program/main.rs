//! The program, run as users run it, on the embedded digits.

#[path = "../support/mod.rs"]
mod support;

mod data;

use std::fs;
use std::path::Path;

use support::{Folder, bfn, experiments, fails, text};

/// Settings of a network and a run that are small enough for a test.
const TINY: [&str; 7] = [
    "network.unet.width=16",
    "network.unet.norm_groups=4",
    "network.unet.heads=2",
    "training.batch=8",
    "training.log_every=2",
    "training.precision=\"f32\"",
    "training.warm_up=0",
];

fn succeeds(arguments: &[&str]) -> String {
    let output = bfn(arguments);
    assert!(output.status.success(), "{arguments:?}\n{}", text(&output.stderr));
    text(&output.stdout)
}

impl Folder {
    fn train(&self, run: &str, settings: &[&str], more: &[&str]) -> Vec<String> {
        let experiment = experiments().join("digits.toml").display().to_string();
        let mut arguments = vec!["train".to_owned(), experiment, "--out".to_owned(), self.path(run)];
        for setting in TINY.iter().chain(settings) {
            arguments.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        arguments
    }

    fn trained(&self, run: &str, settings: &[&str], more: &[&str]) {
        let arguments = self.train(run, settings, more);
        succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn training_fails(&self, run: &str, settings: &[&str], more: &[&str], expected: &[&str]) {
        let arguments = self.train(run, settings, more);
        fails(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn trains_evaluates_and_samples() {
    let folder = Folder::new();
    folder.trained("run", &["training.steps=4", "checkpoint.every=2"], &[]);
    let run = folder.path("run");
    for file in ["experiment.toml", "run.json", "metrics.jsonl"] {
        assert!(Path::new(&run).join(file).is_file(), "no {file}");
    }

    let json = folder.path("evaluation.json");
    let table = succeeds(&["evaluate", &run, "--steps", "10,inf", "--repeats", "2", "--limit", "20", "--json", &json]);
    assert!(table.contains("nats/example") && table.contains("bits/dim") && table.contains("histogram"), "{table}");
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).expect("a file")).expect("JSON");
    assert_eq!(
        (&report["split"], &report["examples"], &report["dimensions"]),
        (&"test".into(), &20.into(), &64.into())
    );
    let results = report["results"].as_array().expect("a list");
    assert_eq!((&results[0]["steps"], &results[1]["steps"]), (&10.into(), &"inf".into()));
    for result in results {
        let number = |key: &str| result[key].as_f64().unwrap_or_else(|| panic!("no {key} in {result}"));
        let total = number("loss_nats_per_dim") + number("reconstruction_nats_per_dim");
        assert!((number("total_nats_per_dim") - total).abs() < 1e-9, "{result}");
        assert!((number("total_nats_per_example") - 64.0 * total).abs() < 1e-6, "{result}");
        assert!((number("total_bits_per_dim") - total / std::f64::consts::LN_2).abs() < 1e-9, "{result}");
        assert!(number("standard_error_bits_per_dim") > 0.0, "{result}");
    }

    let floored = folder.path("floored.json");
    let arguments = ["--steps", "10,inf", "--repeats", "2", "--limit", "20", "--probability-floor", "--json", &floored];
    succeeds(&[&["evaluate", &run], &arguments[..]].concat());
    let floored: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&floored).expect("a file")).expect("JSON");
    // After so little training no bin's probability is below the floor: only the order of operations differs.
    for (row, floored) in results.iter().zip(floored["results"].as_array().expect("a list")) {
        let total = |row: &serde_json::Value| row["total_nats_per_dim"].as_f64().expect("a number");
        assert!((total(row) / total(floored) - 1.0).abs() < 1e-5, "{row} {floored}");
    }

    let picture = folder.path("samples.png");
    succeeds(&["sample", &run, "--steps", "3", "--count", "5", "--out", &picture]);
    assert!(fs::read(&picture).expect("a picture").starts_with(b"\x89PNG"));
    // A sample does not depend on how many others are drawn with it.
    let (few, many) = (folder.path("few.safetensors"), folder.path("many.safetensors"));
    succeeds(&["sample", &run, "--steps", "3", "--count", "5", "--out", &few]);
    succeeds(&["sample", &run, "--steps", "3", "--count", "5", "--out", &many]);
    assert_eq!(fs::read(&few).expect("samples"), fs::read(&many).expect("samples"));
}

#[test]
fn a_run_that_ends_by_time_logs_its_last_step() {
    let folder = Folder::new();
    let settings = ["training.steps=1000000", "training.log_every=1000000", "training.max_time=\"1s\""];
    folder.trained("run", &settings, &[]);
    let log = fs::read_to_string(folder.path("run/metrics.jsonl")).expect("a log");
    let line: serde_json::Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    let checkpoints = fs::read_dir(folder.path("run/checkpoints")).expect("a folder").flatten();
    let newest = checkpoints.map(|entry| entry.file_name().display().to_string()).max().expect("a checkpoint");
    let step: u64 = newest.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a number");
    assert!(step > 0 && line["step"] == step, "{line} {newest}");
    let listed = succeeds(&["list", &folder.path("")]);
    assert!(listed.contains("complete"), "{listed}");
}

#[test]
fn the_factorised_receiver_changes_finite_n_alone() {
    let folder = Folder::new();
    let path = folder.path("classes.toml");
    let text = fs::read_to_string(experiments().join("digits.toml")).expect("the experiment");
    let (before, flow) = text.split_once("[flow.discretised]").expect("a discretised flow");
    let (_, after) = flow.split_once("\n\n").expect("more after it");
    fs::write(&path, format!("{before}[flow.discrete]\nbeta_1 = 1.0\n\n{after}")).expect("it can be written");
    let run = folder.path("run");
    let mut train = vec!["train", &path, "--out", &run, "--set", "training.steps=2"];
    for setting in TINY {
        train.extend(["--set", setting]);
    }
    succeeds(&train);
    let rows = |more: &[&str]| -> Vec<String> {
        let evaluate = ["evaluate", &run, "--steps", "2,inf", "--limit", "20"];
        let table = succeeds(&[&evaluate, more].concat());
        table.lines().filter(|line| line.contains('±')).map(str::to_owned).collect()
    };
    let (joint, factorised) = (rows(&[]), rows(&["--factorised-receiver"]));
    // Two rows per variable, two per example.
    assert_eq!((joint.len(), factorised.len()), (4, 4));
    for (finite, infinite) in [(0, 1), (2, 3)] {
        assert_ne!(joint[finite], factorised[finite]);
        assert_eq!(joint[infinite], factorised[infinite]);
    }
}

#[test]
fn a_resumed_run_ends_with_the_weights_of_one_that_never_stopped() {
    let folder = Folder::new();
    let settings = [
        "training.decay=\"constant\"",
        "checkpoint.every=3",
        "network.unet.dropout=0.3",
        "training.deterministic=true",
    ];
    let with = |steps: &'static str| -> Vec<&str> { settings.iter().copied().chain([steps]).collect() };
    folder.trained("whole", &with("training.steps=7"), &[]);
    folder.trained("parts", &with("training.steps=3"), &[]);
    folder.trained("parts", &with("training.steps=7"), &["--resume"]);
    let tensors = |run: &str| {
        let path = Path::new(&folder.path(run)).join("checkpoints/step-0000000007.safetensors");
        let checkpoint = bfn_nets::Checkpoint::read(&path).expect("a checkpoint");
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        assert!(names.len() > 100, "{names:?}");
        names.into_iter().map(|name| checkpoint.tensor(&name).expect("a tensor")).collect::<Vec<_>>()
    };
    for (whole, parts) in tensors("whole").iter().zip(tensors("parts")) {
        assert!(whole.equal(&parts));
    }
}

#[test]
fn a_run_is_never_overwritten_and_changes_are_refused() {
    let folder = Folder::new();
    folder.trained("run", &["training.steps=2"], &[]);
    folder.training_fails("run", &["training.steps=2"], &[], &["exists already", "--resume"]);
    let changed = ["training.steps=2", "optimiser.learning_rate=0.5"];
    folder.training_fails("run", &changed, &["--resume"], &["optimiser.learning_rate"]);
    // With an experiment, `--resume` can begin a new run; without one, there is nothing to begin.
    folder.trained("new", &["training.steps=2"], &["--resume"]);
    fails(&["train", "--resume", &folder.path("none")], &["no run in", "none"]);
    fails(&["train", "--resume"], &["which experiment"]);
    folder.training_fails("a", &[], &["--resume", &folder.path("b")], &["name two runs"]);
    fails(&["train", "--resume", &folder.path("run"), "--out", &folder.path("b")], &["name two runs"]);
    // The interval between validations may change, even from never.
    folder.trained("never", &["training.steps=2", "training.decay=\"constant\""], &[]);
    let experiment = Path::new(&folder.path("never")).join("experiment.toml");
    let text = fs::read_to_string(&experiment).expect("the experiment");
    let start = text.find("[validation]").expect("a table");
    let end = text[start + 1..].find("\n[").map_or(text.len(), |place| start + 1 + place);
    fs::write(&experiment, text[..start].to_owned() + &text[end..]).expect("it can be written");
    let more = [
        "training.decay=\"constant\"",
        "training.steps=4",
        "validation.every=2",
        "validation.examples=8",
        "validation.samples=0",
    ];
    folder.trained("never", &more, &["--resume"]);
    assert!(fs::read_to_string(&experiment).expect("the experiment").contains("[validation]"));
    // A refused command changes nothing.
    let before = fs::read_to_string(&experiment).expect("the experiment");
    folder.training_fails("never", &["training.batch=3"], &["--resume"], &["training.batch"]);
    assert_eq!(fs::read_to_string(&experiment).expect("the experiment"), before);
}

#[test]
fn a_run_without_a_whole_checkpoint_says_so() {
    let folder = Folder::new();
    folder.trained("run", &["training.steps=2"], &[]);
    let run = folder.path("run");
    let checkpoint = Path::new(&run).join("checkpoints/step-0000000002.safetensors");
    let bytes = fs::read(&checkpoint).expect("a checkpoint");
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).expect("it can be cut");
    fails(&["evaluate", &run], &["step-0000000002.safetensors", "no complete checkpoint"]);
    // Such a run starts again at step 0.
    folder.trained("run", &["training.steps=2"], &["--resume"]);
    succeeds(&["evaluate", &run, "--limit", "4"]);
    fs::remove_file(Path::new(&run).join("experiment.toml")).expect("it can be removed");
    fails(&["evaluate", &run], &["experiment.toml"]);
}

#[test]
fn bad_arguments_and_settings_are_named() {
    let folder = Folder::new();
    let missing = folder.path("missing");
    fails(&["evaluate", &missing], &["missing", "no such folder"]);
    fails(&["sample", &missing], &["missing"]);
    fails(&["train", &folder.path("none.toml")], &["none.toml"]);
    fails(&["evaluate", &missing, "--steps", "0"], &["--steps"]);
    fails(&["evaluate", &missing, "--steps", "ten"], &["--steps"]);
    folder.training_fails(
        "a",
        &["training.stepz=3"],
        &[],
        &["training.stepz", "unknown field `stepz`", "did you mean `steps`?"],
    );
    folder.training_fails("b", &["training.steps=0"], &[], &["training.steps"]);
    folder.training_fails("c", &["training.steps=\"many\""], &[], &["training.steps", "invalid type"]);
    folder.training_fails("d", &["training.max_time=\"soon\""], &[], &["soon", "10m"]);
    folder.training_fails("e", &["flow.discretised.sigma_1=1.5"], &[], &["sigma_1", "1.5"]);
    folder.training_fails("f", &["network.unet.width=15"], &[], &["network.unet.width", "15"]);
    folder.training_fails("g", &["data.mnist.pixels=\"binarised\""], &[], &["data.digits", "data.mnist"]);
    folder.training_fails("h", &[], &["--device", "cuda:99"], &["cuda:99"]);
    folder.training_fails("i", &[], &["--device", "tpu"], &["tpu"]);
    folder.training_fails("j", &["training.time_density=[1.0, 0.0]"], &[], &["training.time_density", "0"]);
    folder.training_fails("k", &["validation.examples=0"], &[], &["validation.examples", "at least 1"]);
    for run in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] {
        assert!(!Path::new(&folder.path(run)).exists(), "a refused experiment left the folder {run}");
    }
}

#[test]
fn a_wrong_key_in_a_file_is_named_with_its_line() {
    let folder = Folder::new();
    let path = folder.path("wrong.toml");
    let text = fs::read_to_string(experiments().join("digits.toml")).expect("the experiment");
    let wrong = text.replace("weight_decay", "weight_decoy");
    let line = wrong.lines().position(|line| line.starts_with("weight_decoy")).expect("the key is there") + 1;
    fs::write(&path, wrong).expect("it can be written");
    fails(&["train", &path], &["wrong.toml", &format!("line {line}"), "weight_decoy", "did you mean `weight_decay`?"]);
}

#[test]
fn output_files_of_the_wrong_kind_are_refused_before_sampling() {
    let folder = Folder::new();
    folder.trained("run", &["training.steps=1"], &[]);
    let run = folder.path("run");
    fails(&["sample", &run, "--out", &folder.path("samples.txt")], &["samples.txt", ".png"]);
    fails(&["sample", &run, "--out", &folder.path("samples.gif")], &["samples.gif", ".png"]);
}

#[test]
fn benchmarks_measure_and_leave_no_run() {
    let folder = Folder::new();
    let experiment = experiments().join("digits.toml").display().to_string();
    let json = folder.path("figures.json");
    for (what, shares) in [("train", "shares"), ("sample", "network_share")] {
        let mut arguments = vec!["bench", what, &experiment, "--steps", "3", "--warm-up", "1", "--json", &json];
        for setting in TINY {
            arguments.extend(["--set", setting]);
        }
        let shown = succeeds(&arguments);
        assert!(shown.contains("steps/s") && shown.contains("network"), "{shown}");
        let figures: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&json).expect("a file")).expect("JSON");
        let (rate, time) = (&figures["steps_per_second"], &figures["seconds_per_step"]["median"]);
        let product = rate.as_f64().expect("a number") * time.as_f64().expect("a number");
        assert!((product - 1.0).abs() < 1e-9 && !figures[shares].is_null(), "{figures}");
        assert_eq!(figures["steps"], 3);
    }
    let files = fs::read_dir(folder.0.path()).expect("a folder").count();
    assert_eq!(files, 1, "a benchmark leaves its figures and nothing else");
}
