//! `bfn sweep`, `bfn list` and `bfn compare`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Folder, TINY, bfn, digits, ends_with, succeeds, text};

/// Returns the plan of a sweep over learning rates on the digits.
fn plan(grid: &str) -> String {
    let set: String = TINY
        .iter()
        .map(|setting| {
            let (key, value) = setting.split_once('=').expect("a setting");
            format!("{key:?} = {value}\n")
        })
        .collect();
    format!("base = {:?}\n[set]\n{set}[grid]\n{grid}\n[evaluate]\nexamples = 30\n", digits())
}

#[test]
fn a_sweep_trains_what_is_not_done_and_ends_with_one_table() {
    let folder = Folder::new();
    let runs = folder.path("runs");
    let file = folder.write("rates.toml", &plan("\"optimiser.learning_rate\" = [1e-3, 1e-2]"));
    let sweep = ["sweep", &file, "--out", &runs];
    assert_eq!(succeeds(&["sweep", &file, "--out", &runs, "--dry-run"]).matches("to do").count(), 2);
    let table = succeeds(&sweep);
    assert!(table.contains("optimiser.learning_rate") && table.contains("bits/dim"), "{table}");
    let rows: Vec<f64> = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(1).and_then(|nats| nats.parse().ok()).expect("nats per example"))
        .collect();
    assert!(rows.len() == 2 && rows[0] <= rows[1], "{table}");

    // Repeated, the sweep trains nothing and the table is the same. A larger sweep trains only what is new.
    let checkpoint = Path::new(&runs).join("optimiser.learning_rate=0.001/checkpoints/step-0000000004.safetensors");
    let time = || fs::metadata(&checkpoint).and_then(|file| file.modified()).expect("a checkpoint");
    let before = time();
    assert_eq!(succeeds(&sweep), table);
    folder.write("rates.toml", &plan("\"optimiser.learning_rate\" = [1e-3, 1e-2, 3e-3]"));
    assert_eq!(succeeds(&sweep).lines().count(), 4);
    assert_eq!(time(), before);

    // A run whose last checkpoint is damaged continues and ends where it did before.
    let kept = fs::read(&checkpoint).expect("a checkpoint");
    fs::write(&checkpoint, &kept[..kept.len() - 100]).expect("it can be cut");
    succeeds(&sweep);
    let weights = |bytes: &[u8]| -> Vec<u8> {
        let path = folder.path("weights.safetensors");
        fs::write(&path, bytes).expect("it can be written");
        let checkpoint = bfn_nets::Checkpoint::read(Path::new(&path)).expect("a checkpoint");
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        let flat = |name: &String| checkpoint.tensor(name).expect("a tensor").to_kind(tch::Kind::Double).flatten(0, -1);
        let all = tch::Tensor::cat(&names.iter().map(flat).collect::<Vec<_>>(), 0);
        Vec::<f64>::try_from(all).expect("numbers").into_iter().flat_map(f64::to_le_bytes).collect()
    };
    assert_eq!(weights(&kept), weights(&fs::read(&checkpoint).expect("it is there again")));

    let stored: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&runs).join("sweep.json")).expect("a file")).expect("JSON");
    assert_eq!(stored.as_array().map(Vec::len), Some(3));
    assert!(stored[0]["result"]["total_bits_per_dim"].is_f64(), "{stored}");

    let listed = succeeds(&["list", &runs]);
    assert_eq!(listed.matches("complete").count(), 3, "{listed}");
    assert!(listed.contains("4/4") && listed.contains("bits/dim, validation") && listed.contains("grey"), "{listed}");
    let run = |rate: &str| format!("{runs}/optimiser.learning_rate={rate}");
    let compared = succeeds(&["compare", &run("0.001"), &run("0.01")]);
    for part in
        ["optimiser.learning_rate\n    A  0.001\n    B  0.01", "steps", "B − A", "validation split", "1 draw each"]
    {
        assert!(compared.contains(part), "no {part} in\n{compared}");
    }
    assert!(!compared.contains("training.batch"), "{compared}");
    // In continuous time the grid does not matter.
    let only =
        ["evaluate", &run("0.003"), "--split", "validation", "--grid", "entropy", "--steps", "2,inf", "--limit", "30"];
    fs::remove_dir_all(Path::new(&run("0.003")).join("evaluations")).expect("it can be removed");
    succeeds(&only);
    let compared = succeeds(&["compare", &run("0.003"), &run("0.01")]);
    assert!(compared.contains("entropy grid") && compared.contains("   inf "), "{compared}");
}

/// A complete run with other settings is not taken as a result: a folder's name has only the settings that are tried.
#[test]
fn a_complete_run_of_other_settings_is_no_result_of_the_sweep() {
    let folder = Folder::new();
    let runs = folder.path("runs");
    let with = |more: &str| plan("\"optimiser.learning_rate\" = [1e-3]").replace("[set]\n", &format!("[set]\n{more}"));
    let file = folder.write("rates.toml", &with("\"ema.decay\" = 0.9\n"));
    let sweep = ["sweep", &file, "--out", &runs];
    succeeds(&sweep);
    folder.write("rates.toml", &with("\"ema.decay\" = 0.5\n"));
    ends_with(1, &sweep, &["ema.decay differs from the complete run in", "--out", "1 of 1 runs failed"]);
    assert!(succeeds(&[&sweep[..], &["--dry-run"]].concat()).contains("differs"));
    // With more steps the run is the same and continues.
    let more = with("\"ema.decay\" = 0.9\n\"training.decay\" = \"constant\"\n");
    let other = folder.path("other");
    let sweep = ["sweep", &file, "--out", &other];
    folder.write("rates.toml", &more);
    succeeds(&sweep);
    folder.write("rates.toml", &more.replace("\"training.steps\" = 4", "\"training.steps\" = 6"));
    succeeds(&sweep);
    assert!(succeeds(&["list", &other]).contains("6/6"));
}

#[test]
fn a_sweep_stops_in_time_and_goes_on_and_a_failing_run_does_not_stop_the_others() {
    let folder = Folder::new();
    let runs = folder.path("runs");
    let more = "\"optimiser.learning_rate\" = [1e-3, 1e18]\n\"training.clip\" = [inf]";
    let file = folder.write("rates.toml", &plan(more));
    ends_with(75, &["sweep", &file, "--out", &runs, "--max-time", "1ms"], &["stopped by --max-time", "continues"]);
    let output = bfn(&["sweep", &file, "--out", &runs]);
    let (table, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("1 of 2 runs failed") && errors.contains("the loss is"), "{errors}");
    assert!(table.lines().count() == 3 && table.contains("failed"), "{table}");

    ends_with(1, &["list", &folder.path("none")], &["there is no folder"]);
    ends_with(1, &["compare", &runs, &runs], &["not the folder of a run"]);
    let wrong = folder.write("wrong.toml", &plan("\"optimiser.learning_rat\" = [1e-3]"));
    let expected = ["optimiser.learning_rat", "did you mean `learning_rate`?"];
    ends_with(1, &["sweep", &wrong, "--out", &folder.path("other")], &expected);
    let misfit = folder.write("misfit.toml", &plan("\"network.unet.patch\" = [2, 3]"));
    let expected = ["network.unet.patch=3 cannot be trained", "patch"];
    ends_with(1, &["sweep", &misfit, "--out", &folder.path("other"), "--dry-run"], &expected);
    assert!(!Path::new(&folder.path("other")).exists());
}
