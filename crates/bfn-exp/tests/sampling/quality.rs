//! `bfn quality`: its measures, the files that it keeps, and refused commands.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{images, program, signal, text};
use crate::{Folder, fails, succeeds};

fn kept(folder: &Folder, run: &str) -> Value {
    serde_json::from_slice(&folder.bytes(&format!("{run}/quality.json"))).expect("JSON")
}

fn names(kept: &Value) -> Vec<&str> {
    kept["measures"].as_array().expect("measures").iter().map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn images_are_compared_in_the_features_of_a_classifier() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let common = ["quality", &run, "--count", "60", "--reference", "100", "--steps", "2,4"];
    let measure = |more: &[&str]| succeeds(&[&common[..], more].concat());
    let printed = measure(&["--solver", "ancestral,ode2", "--classifier-steps", "150"]);
    assert!(printed.contains("a classifier of 10 classes, trained for 150 steps from seed 0"), "{printed}");
    let quality = kept(&folder, "run");
    let expected =
        ["classifier_frechet", "classifier_precision", "classifier_recall", "pixel_means", "pixel_deviations"];
    assert_eq!(names(&quality), expected);
    let rows = quality["rows"].as_array().expect("rows");
    let evaluations: Vec<u64> = rows.iter().map(|row| row["evaluations"].as_u64().expect("a number")).collect();
    assert_eq!(evaluations, [3, 5, 3, 5]);
    let values = |row: &Value| -> Vec<f64> {
        row.as_array().expect("values").iter().map(|value| value.as_f64().expect("a number")).collect()
    };
    let data = values(&quality["data"]);
    for row in rows {
        // After four training steps the samples are nothing like digits; training data are much like test data.
        let found = values(&row["values"]);
        assert!(found[0] > 2.0 * data[0] && found[1] < data[1] && found[3] > data[3], "{found:?}, data {data:?}");
    }
    assert!(data[1] > 0.5 && data[2] > 0.5, "{data:?}");
    let plot = String::from_utf8(folder.bytes("run/quality.svg")).expect("text");
    assert!(plot.starts_with("<svg") && plot.contains("ode2") && plot.contains("Fréchet distance in the classifier"));

    // The classifier is kept, and the same seed draws the same samples.
    let classifier = folder.bytes("run/classifier.safetensors");
    let again = measure(&["--solver", "ancestral,ode2", "--classifier-steps", "150"]);
    assert!(!again.contains("training the classifier") && kept(&folder, "run") == quality, "{again}");
    assert_eq!(folder.bytes("run/classifier.safetensors"), classifier);
    fs::remove_file(folder.path("run/classifier.safetensors")).expect("a file");
    measure(&["--solver", "ancestral", "--classifier-steps", "150"]);
    assert_eq!(folder.bytes("run/classifier.safetensors"), classifier, "a classifier follows from its seed");
    measure(&["--solver", "ancestral", "--classifier-steps", "20"]);
    assert_ne!(folder.bytes("run/classifier.safetensors"), classifier);
    fs::write(folder.path("run/classifier.safetensors"), "nothing").expect("a file");
    fails(&[&common[..], &["--solver", "ancestral"]].concat(), &["classifier.safetensors", "remove it"]);
}

#[test]
fn images_of_one_class_are_compared_by_their_pixels() {
    let folder = Folder::new();
    let run = folder.trained("run", &images(&folder, 60, |_| 0), &[]);
    let printed = succeeds(&["quality", &run, "--count", "20", "--steps", "2", "--solver", "ancestral"]);
    assert!(printed.contains("labels of one class alone"), "{printed}");
    assert_eq!(names(&kept(&folder, "run")), ["pixel_means", "pixel_deviations"]);
    assert!(!fs::exists(folder.path("run/classifier.safetensors")).expect("a folder"));
}

/// Completed rows are kept when a signal stops the command in the second row, which would take minutes.
#[test]
fn rows_that_are_done_when_it_is_stopped_are_kept() {
    let folder = Folder::new();
    let run = folder.text("run");
    let mut command = program();
    command.args(["quality", &run, "--count", "64", "--solver", "ancestral", "--steps", "2,100000"]);
    command.env("OMP_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("bfn starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    assert!(lines.any(|line| line.expect("a line").starts_with("ancestral")), "it prints the first row");
    signal(&child, "INT");
    let output = child.wait_with_output().expect("it ends");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{errors}");
    assert!(errors.contains("stopped by SIGINT") && errors.contains("the rows so far are kept"), "{errors}");
    let rows = &kept(&folder, "run")["rows"];
    assert_eq!((rows.as_array().map(Vec::len), rows[0]["steps"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn texts_are_compared_by_their_spelling() {
    let folder = Folder::new();
    let run = folder.text("text");
    let printed = succeeds(&["quality", &run, "--count", "20", "--steps", "3", "--solver", "ancestral,redraw"]);
    assert!(printed.contains("16 different words"), "{printed}");
    let quality = kept(&folder, "text");
    assert_eq!(names(&quality), ["spelling", "symbols", "pairs", "triples"]);
    assert_eq!(quality["data"][0].as_f64(), Some(1.0), "the training text is spelt like itself");
    for row in quality["rows"].as_array().expect("rows") {
        let values = |number: usize| row["values"][number].as_f64().expect("a number");
        assert!(values(0) < 1.0 && (1..4).all(|number| values(number) > 0.1 && values(number) <= 1.0 + 1e-9), "{row}");
        assert!(values(1) <= values(2) && values(2) <= values(3), "longer runs are harder: {row}");
    }
    assert!(!fs::exists(folder.path("text/classifier.safetensors")).expect("a folder"));
}

#[test]
fn tables_are_compared_by_their_columns() {
    let folder = Folder::new();
    let run = folder.table("table");
    succeeds(&["quality", &run, "--count", "40", "--steps", "3,6", "--solver", "sde1"]);
    let quality = kept(&folder, "table");
    assert_eq!(names(&quality), ["columns", "worst_column", "column_pairs"]);
    assert_eq!(quality["rows"].as_array().expect("rows").len(), 2);
    let values = quality["rows"][0]["values"].as_array().expect("values");
    let values: Vec<f64> = values.iter().map(|value| value.as_f64().expect("a number")).collect();
    assert!(values.iter().all(|value| (0.0..=1.0).contains(value)), "{values:?}");
    assert!(values[0] <= values[1] && values[0] <= values[2], "{values:?}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let refused = |more: &[&str], expected: &[&str]| fails(&[&["quality", &run][..], more].concat(), expected);
    refused(&["--solver", "euler"], &["euler", "ancestral"]);
    refused(&["--steps", "0"], &["--steps"]);
    refused(&["--count", "3"], &["--count"]);
    refused(&["--solver", "ode2", "--start-time", "0"], &["--start-time", "above 0"]);
    refused(&["--grid", "fitted"], &["fitted grid", "bfn grid"]);
    refused(&["--class", "3"], &["without labels", "--class"]);
    assert!(!fs::exists(folder.path("run/quality.json")).expect("a folder"));
}
