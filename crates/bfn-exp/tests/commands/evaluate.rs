//! `bfn evaluate`: the paper's table, loss by time, results stored in the run, continuing after an interruption.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::support::{program, signal};
use super::{Folder, ends_with, succeeds, text};

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// Returns the files of all evaluations in a run; a file that is still being written does not count.
fn stored(run: &str) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(Path::new(run).join("evaluations")) else { return Vec::new() };
    let files = files.map(|file| file.expect("a file").path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    files.sort();
    files
}

#[test]
fn the_papers_table_is_printed_and_stored_in_the_run() {
    let folder = Folder::new();
    let run = folder.trained("run", &[]);
    let out = folder.path("out.json");
    let evaluate =
        ["evaluate", &run, "--steps", "paper", "--limit", "40", "--repeats", "3", "--by-time", "4", "--json", &out];
    let table = succeeds(&evaluate);
    for part in ["nats/dim", "bits/dim", "nats/example", "bits/example", "0.250 to 0.500", "histogram"] {
        assert!(table.contains(part), "no {part} in {table}");
    }
    let files = stored(&run);
    let name = "test-uniform-paper-seed0-x3-first40-step4-ema.json";
    assert_eq!(files, [Path::new(&run).join("evaluations").join(name)]);
    let report = json(&files[0]);
    assert_eq!(report, json(Path::new(&out)));
    let all = serde_json::json!([10, 25, 50, 100, 250, 500, 784, 1000, "inf"]);
    assert_eq!(report["steps"], all);
    let results = report["results"].as_array().expect("a list");
    assert_eq!(results.iter().map(|row| row["steps"].clone()).collect::<Vec<_>>(), *all.as_array().expect("a list"));
    // The time bins cover every draw: their mean, weighted by draws, is the loss.
    let inf = results.last().expect("continuous time");
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or_else(|| panic!("no {key} in {value}"));
    let bins = inf["by_time"].as_array().expect("bins");
    let draws = bins.iter().map(|bin| number(bin, "draws")).sum::<f64>();
    let sum = bins.iter().map(|bin| number(bin, "draws") * number(bin, "nats_per_dim")).sum::<f64>();
    assert_eq!((bins.len(), draws), (4, 120.0));
    assert!((sum / draws - number(inf, "loss_nats_per_dim")).abs() < 1e-9, "{inf}");
    for row in results {
        let [loss, reconstruction] = ["loss_standard_error_nats_per_dim", "reconstruction_standard_error_nats_per_dim"]
            .map(|key| number(row, key));
        let total = number(row, "standard_error_nats_per_example") / 64.0;
        assert!(loss > 0.0 && reconstruction > 0.0 && total <= loss + reconstruction + 1e-12, "{row}");
        assert!((number(row, "standard_error_bits_per_dim") * std::f64::consts::LN_2 - total).abs() < 1e-12, "{row}");
        assert_eq!(row.get("by_time").is_some(), row["steps"] == "inf");
    }
    // Stored results are shown again without a new evaluation; with other bins only continuous time is evaluated again.
    let before = fs::metadata(&files[0]).and_then(|file| file.modified()).expect("a time");
    assert_eq!(succeeds(&evaluate), table);
    assert_eq!(fs::metadata(&files[0]).and_then(|file| file.modified()).expect("a time"), before);
    let others = succeeds(&["evaluate", &run, "--steps", "paper", "--limit", "40", "--repeats", "3", "--by-time", "2"]);
    assert!(others.contains("0.500 to 1.000"), "{others}");
    assert_eq!(json(&files[0])["results"].as_array().expect("a list")[..8], results[..8]);
    ends_with(1, &["evaluate", &run, "--steps", "10", "--by-time", "4"], &["--by-time", "add inf to --steps"]);
}

#[test]
fn other_settings_are_other_evaluations_and_other_weights_are_not_taken_for_these() {
    let folder = Folder::new();
    let run = folder.trained("run", &[]);
    let evaluate = |more: &[&str]| succeeds(&[&["evaluate", &run, "--limit", "20"], more].concat());
    let first = evaluate(&[]);
    for (more, part) in [
        (&["--seed", "1"][..], "seed1"),
        (&["--independent-times"], "independent-times"),
        (&["--weights", "last"], "step4-last"),
        (&["--split", "train"], "train-uniform"),
    ] {
        assert_ne!(evaluate(more), first);
        let files = stored(&run);
        assert!(files.iter().any(|file| file.to_string_lossy().contains(part)), "no {part} in {files:?}");
    }
    assert_eq!(stored(&run).len(), 5);
    // A file copied from another run belongs to another network; a truncated file does not count.
    let other = folder.trained("other", &["training.seed=2"]);
    let here =
        stored(&run).into_iter().find(|file| file.ends_with("test-uniform-ninf-seed0-x1-first20-step4-ema.json"));
    let here = here.expect("the first evaluation");
    let there = Path::new(&other).join("evaluations").join(here.file_name().expect("a name"));
    fs::create_dir_all(there.parent().expect("a folder")).expect("it can be made");
    fs::copy(&here, &there).expect("it can be copied");
    let of_other = succeeds(&["evaluate", &other, "--limit", "20"]);
    let rows = |table: &str| table.lines().filter(|line| line.contains('±')).map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(rows(&of_other), rows(&first));
    let whole = fs::read(&here).expect("a file");
    fs::write(&here, &whole[..whole.len() / 2]).expect("it can be cut");
    assert_eq!(evaluate(&[]), first);
    assert_eq!(fs::read(&here).expect("a file"), whole);
}

/// `bfn list` quotes a bound in continuous time, whatever the names of the files.
/// Exact bounds come before those computed as published, averaged weights before last ones, and the test split
/// before the validation split.
#[test]
fn the_histogram_is_of_the_same_examples_and_the_list_quotes_the_bound_on_the_test_split() {
    let folder = Folder::new();
    let run = folder.trained("run", &[]);
    let evaluate = |more: &[&str]| succeeds(&[&["evaluate", &run], more].concat());
    let histogram = |more: &[&str]| {
        let table = evaluate(more);
        table.lines().find(|line| line.contains("histogram")).expect("a histogram").to_owned()
    };
    assert_eq!(histogram(&["--limit", "180"]), histogram(&[]));
    assert_ne!(histogram(&["--limit", "20"]), histogram(&[]));
    let listed = || succeeds(&["list", &folder.path("")]);
    let before = listed();
    assert!(before.contains("bits/dim, test\n"), "{before}");
    for other in [
        &["--split", "validation"][..],
        &["--split", "train"],
        &["--steps", "5"],
        &["--weights", "last"],
        &["--probability-floor"],
    ] {
        evaluate(other);
        assert_eq!(listed(), before, "{other:?}");
    }
    let nowhere = folder.path("nowhere/results.json");
    ends_with(1, &["evaluate", &run, "--json", &nowhere], &["results.json", "there is no folder"]);
}

/// An evaluation killed at any moment, or stopped by a signal or a time limit, continues after the completed rows.
#[test]
fn an_interrupted_evaluation_goes_on_to_the_same_bits() {
    let folder = Folder::new();
    let (whole, parts) = (folder.trained("whole", &[]), folder.path("parts"));
    let copied = Command::new("cp").args(["-r", &whole, &parts]).status().expect("cp runs");
    assert!(copied.success());
    let arguments = |run: &str| {
        ["evaluate", run, "--steps", "2,3,4,5,inf", "--repeats", "15", "--split", "validation"].map(str::to_owned)
    };
    let start = |more: &[&str]| {
        let mut command = program();
        command.args(arguments(&parts)).args(more).env("OMP_NUM_THREADS", "1");
        command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bfn starts")
    };
    let done = || stored(&parts).first().map_or(0, |file| json(file)["results"].as_array().expect("a list").len());
    let until = |count: usize| {
        while done() < count {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let mut killed = start(&[]);
    until(1);
    killed.kill().expect("it can be killed");
    killed.wait().expect("it ends");
    let after_kill = done();
    assert!((1..5).contains(&after_kill), "{after_kill} rows");

    let interrupted = start(&[]);
    until(after_kill + 1);
    signal(&interrupted, "INT");
    let output = interrupted.wait_with_output().expect("it ends");
    let errors = text(&output.stderr);
    let after_signal = done();
    if after_signal < 5 {
        assert_eq!(output.status.code(), Some(75), "{errors}");
        assert!(errors.contains("stopped by SIGINT") && errors.contains("the same command continues"), "{errors}");
    }
    assert!(errors.contains(&format!("{after_kill} of 5 results are stored")), "{errors}");

    let output = start(&["--max-time", "1ms"]).wait_with_output().expect("it ends");
    assert!(after_signal == 5 || output.status.code() == Some(75), "{}", text(&output.stderr));
    assert_eq!(done(), after_signal);

    let output = start(&[]).wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let arguments = arguments(&whole);
    succeeds(&arguments.each_ref().map(String::as_str));
    let [one, other] = [&whole, &parts].map(|run| json(&stored(run)[0])["results"].clone());
    assert_eq!(one, other);
}
