//! `bfn init` and `bfn check`; completions and manual pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use bfn_data::{Split, Windows};
use bfn_exp::config::Experiment;

use super::support::images;
use super::{Folder, TINY, digits, ends_with, succeeds};

/// Returns the NPY file of an f4 array: the header, then the numbers.
fn array(rows: usize, columns: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(127, b' ');
    bytes.push(b'\n');
    bytes.extend((0..rows * columns).flat_map(|place| ((place % 200) as f32 / 100.0 - 1.0).to_le_bytes()));
    bytes
}

/// The kind of each column is inferred from its values.
#[test]
fn a_tables_columns_are_told_apart() {
    let folder = Folder::new();
    let row = |row: usize| format!("{}.5,{},{},name {row},1\n", row % 7, row % 3, ["red", "", "blue"][row % 3]);
    let text: String = (0..60).map(row).collect();
    let data = folder.write(
        "table.csv",
        &format!("a \"size\",count,colour,id,same\n{text}").replace("a \"size\"", "\"a \"\"size\"\"\""),
    );
    let file = folder.path("table.toml");
    succeeds(&["init", "table", "--data", &data, "--out", &file]);
    let found = succeeds(&["check", &file]);
    for line in [
        "a \"size\": a finite number\n",
        "count: an integer from 0 to 2\n",
        "colour: one of 2 classes: blue, red, or missing\n",
    ] {
        assert!(found.contains(line), "{found}");
    }
    assert!(!found.contains("id:") && !found.contains("same:"), "{found}");
    let text = fs::read_to_string(&file).expect("text");
    assert!(text.contains("Left out: \"id\", which has 60 different texts") && text.contains("\"same\""), "{text}");
    let shown = succeeds(&["data", "show", &file]);
    assert!(shown.contains("colour, one of 2 classes: blue, red: ") && shown.contains("missing 3"), "{shown}");
    folder.write("same.csv", "a,b\n1,x\n1,y\n");
    ends_with(1, &["init", "table", "--data", &folder.path("same.csv"), "--out", "-"], &["no column of the table"]);
}

/// Three commands lead from a kind of data to a run, without an editor.
#[test]
fn experiments_for_data_of_ones_own_are_written_checked_and_trained() {
    let folder = Folder::new();
    fs::write(folder.path("array.npy"), array(40, 6)).expect("it can be written");
    folder.write("text.txt", &"the quick brown fox jumps over the lazy dog. ".repeat(200));
    let rows: String = (0..60).map(|row| format!("{},{}\n", row % 5, ["red", "blue"][row % 2])).collect();
    folder.write("table.csv", &format!("size,colour\n{rows}"));
    fs::create_dir_all(folder.path("images/a")).expect("a folder");
    for number in 0..30_u8 {
        let picture = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([number, x as u8 * 20, y as u8 * 30]));
        picture.save(folder.path(&format!("images/a/{number}.png"))).expect("it can be written");
    }
    for (kind, data, variables) in [
        ("array", "array.npy", "6 variables, real numbers"),
        ("text", "text.txt", "64 variables, each one of 28 classes"),
        ("table", "table.csv", "2 variables, each of its column's kind"),
        ("images", "images", "3072 variables, each one of 256 bins"),
        ("digits", "", "64 variables, each one of 17 bins"),
    ] {
        let (data, file) = (folder.path(data), folder.path(&format!("{kind}.toml")));
        let mut init = vec!["init", kind, "--out", &file];
        if kind != "digits" {
            init.extend(["--data", &data]);
        }
        succeeds(&init);
        let found = succeeds(&["check", &file]);
        for part in [variables, "parameters", "steps per epoch", "for weights, gradients, optimiser and average"] {
            assert!(found.contains(part), "{kind}: no {part} in\n{found}");
        }
        ends_with(1, &init, &[&file, "is not overwritten"]);
        if kind == "table" {
            let run = folder.path("run");
            let short = ["training.steps=3", "training.warm_up=0", "network.mlp.width=16"];
            let mut train = vec!["train", &file, "--out", &run];
            short.iter().for_each(|setting| train.extend(["--set", setting]));
            succeeds(&train);
        }
    }
    ends_with(
        1,
        &["init", "table", "--data", &folder.path("images"), "--out", &folder.path("t.toml")],
        &["is a folder"],
    );
    ends_with(1, &["init", "images", "--data", &folder.path("text.txt"), "--out", "-"], &["is no folder"]);
    ends_with(1, &["init", "text", "--data", "nowhere.txt", "--out", "-"], &["nowhere.txt", "correct the path"]);
    ends_with(1, &["init", "mnist", "--data", "x", "--out", &folder.path("m.toml")], &["mnist is known by name"]);
    assert!(!Path::new(&folder.path("m.toml")).exists());
    assert!(succeeds(&["init", "text8", "--out", "-"]).contains("[data.text8]"));
}

#[test]
fn a_check_counts_and_measures_and_leaves_no_run() {
    let folder = Folder::new();
    let digits = digits();
    let check = |settings: &[&str]| {
        let mut arguments = vec!["check", &digits];
        TINY.iter().chain(settings).for_each(|setting| arguments.extend(["--set", setting]));
        succeeds(&arguments)
    };
    let found = check(&["training.accumulation=2", "training.steps=90", "training.decay=cosine"]);
    assert!(!found.contains("1 threads"), "{found}");
    // The command at the end of the output trains what was checked.
    let (_, train) = found.split_once("bfn train ").expect("a command");
    for part in [&digits[..], "--set network.unet.width=8 --set", "'training.decay=\"cosine\"'"] {
        assert!(train.contains(part), "no {part} in {train}");
    }
    for part in ["1437 train, 180 validation, 180 test", "90 steps of 64 examples", "22.5 steps per epoch, 4.0 epochs"]
    {
        assert!(found.contains(part), "no {part} in\n{found}");
    }
    // Weights, gradients, moving average and two moments take four bytes per number; a checkpoint has no gradients.
    let number = |before: &str, after: &str| -> f64 {
        let (start, _) = found.split_once(after).unwrap_or_else(|| panic!("no {after} in\n{found}"));
        let (_, number) = start.rsplit_once(before).unwrap_or_else(|| panic!("no {before} in\n{found}"));
        number.trim().parse().unwrap_or_else(|_| panic!("{number:?} is no number in\n{found}"))
    };
    let parameters = number("network", "parameters");
    let (state, checkpoint) = (number("memory", "MB for weights"), number("\n", "MB for a checkpoint"));
    assert!((state - parameters * 20.0 / 1e6).abs() < 0.06, "{found}");
    assert!((checkpoint - parameters * 16.0 / 1e6).abs() < 0.06, "{found}");
    assert_eq!(fs::read_dir(folder.0.path()).expect("a folder").count(), 0);

    let wrong =
        folder.write("wrong.toml", &fs::read_to_string(&digits).expect("a file").replace("[training]", "[trainig]"));
    ends_with(1, &["check", &wrong], &["wrong.toml", "line 31", "did you mean `training`?"]);
    let missing = folder.write("missing.toml", &succeeds(&["init", "text", "--out", "-"]));
    ends_with(1, &["check", &missing], &["text.txt"]);
    ends_with(1, &["check", &digits, "--set", "network.unet.heads=5"], &["network.unet.heads"]);
}

#[test]
fn labels_that_only_validation_would_meet_are_found() {
    let folder = Folder::new();
    // No label repeats, so the label of the first validation example identifies that example.
    let file = folder.write("images.toml", &images(&folder, 40, |number| number as u8));
    let experiment = Experiment::read(Path::new(&file), &[]).expect("the experiment");
    let validation = experiment.data.open(Split::Validation, Windows::InOrder).expect("a split");
    let example = validation.dataset.label(0).expect("a label");
    folder.write("images.toml", &images(&folder, 40, |number| if number == example { 5 } else { number as u8 % 2 }));
    let check = ["check", &file, "--set", "network.unet.classes=2"];
    ends_with(1, &check, &["in the validation split", "2 classes", "has the label 5"]);
    succeeds(&["check", &file, "--set", "network.unet.classes=6"]);
}

/// `bfn` exits quietly when the reader of its output is gone, as other programs do.
#[test]
fn results_that_are_cut_off_end_a_command_quietly() {
    let script = "set -o pipefail; \"$0\" data list | sleep 0; echo $?";
    let output = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_bfn")]).output().expect("bash runs");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 0 if the command finished before the reader was gone, otherwise 128 plus the number of SIGPIPE.
    assert!(["0", "141"].contains(&printed.trim()) && errors.is_empty(), "{printed}{errors}");
}

#[test]
fn completions_and_manual_pages_come_from_the_parser() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = succeeds(&["completions", shell]);
        assert!(completions.contains("max-time"), "{shell}");
    }
    let page = succeeds(&["man"]);
    assert!(page.contains(".TH bfn") && page.contains("Exit codes"), "{page}");
    let pages = folder.path("man");
    succeeds(&["man", "--out", &pages]);
    for name in ["bfn.1", "bfn-train.1", "bfn-evaluate.1", "bfn-sweep.1"] {
        assert!(Path::new(&pages).join(name).is_file(), "no {name}");
    }
}
