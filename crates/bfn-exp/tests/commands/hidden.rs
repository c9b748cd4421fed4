//! `bfn evaluate --hide` and `--mask`: the bound on a part of images given the rest, and simple models of that part.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};
use serde_json::Value;

use super::{Folder, bfn, digits, ends_with, succeeds, text};

/// Settings of a network that is trained long enough to be better than a histogram.
const TRAINED: [&str; 5] = [
    "training.steps=300",
    "network.unet.width=16",
    "network.unet.heads=2",
    "optimiser.learning_rate=0.004",
    "ema.decay=0.9",
];

fn report(folder: &Folder, run: &str, more: &[&str]) -> (Value, String) {
    let out = folder.path("report.json");
    let printed = succeeds(&[&["evaluate", run, "--json", &out], more].concat());
    (serde_json::from_str(&fs::read_to_string(out).expect("a file")).expect("JSON"), printed)
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn parts_add_up_to_the_whole_and_are_compared_with_simple_models() {
    let folder = Folder::new();
    let run = folder.trained("run", &TRAINED);
    for steps in ["inf", "7"] {
        let total = |more: &[&str]| {
            let (report, _) = report(&folder, &run, &[&["--steps", steps][..], more].concat());
            number(&report["results"][0], "total_nats_per_example")
        };
        // The draws are the same, and each half counts only its own variables.
        let (whole, halves) = (total(&[]), total(&["--hide", "left"]) + total(&["--hide", "right"]));
        assert!((whole - halves).abs() < 1e-3 * whole.abs(), "{steps} steps: {whole} and {halves}");
    }

    let (right, printed) = report(&folder, &run, &["--hide", "right"]);
    assert_eq!((&right["dimensions"], &right["hidden"]), (&Value::from(32), &Value::from("hide-right")));
    assert_eq!(right["given"], "32 known variables (hide-right)");
    let row = &right["results"][0];
    let bound = number(row, "total_nats_per_example");
    assert!((number(row, "total_nats_per_dim") * 32.0 - bound).abs() < 1e-9);
    let baselines = right["baselines"].as_array().expect("two of them");
    assert_eq!((&baselines[0]["name"], &baselines[1]["name"]), (&"histogram".into(), &"nearest_neighbours".into()));
    let [histogram, neighbours] = [0, 1].map(|place| number(&baselines[place], "nats_per_example"));
    assert!(neighbours < histogram - 2.0 && bound < histogram, "{bound}, {neighbours}, {histogram}");
    assert!(number(&baselines[1], "neighbours") >= 1.0 && number(&baselines[1], "histogram_weight") > 0.0);
    assert!((number(&baselines[1], "nats_per_dim") * 32.0 - neighbours).abs() < 1e-9);
    for part in ["32 variables given 32 known variables", "nearest neighbours", "a histogram of each variable"] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    // The result is stored beside the evaluation of whole images and shown again from there.
    let stored = folder.path("run/evaluations/hide-right-test-uniform-ninf-seed0-x1-step300-ema.json");
    assert!(Path::new(&stored).exists());
    assert_eq!(report(&folder, &run, &["--hide", "right"]), (right.clone(), printed));

    // A mask of the same half selects the same part.
    let mask = folder.path("mask.png");
    GrayImage::from_fn(8, 8, |x, _| Luma([if x < 4 { 0 } else { 255 }])).save(&mask).expect("a mask");
    let (masked, _) = report(&folder, &run, &["--mask", &mask]);
    assert_eq!((&masked["results"], &masked["baselines"]), (&right["results"], &right["baselines"]));
    assert!(masked["hidden"].as_str().is_some_and(|name| name.starts_with("mask-")), "{}", masked["hidden"]);
    // Other evaluations stay as they are: the bound to quote is that of whole images.
    assert!(succeeds(&["list", &folder.path("")]).contains("bits/dim, test\n"));
    let of_train = report(&folder, &run, &["--hide", "centre", "--split", "train", "--limit", "50"]).0;
    assert_eq!((&of_train["dimensions"], &of_train["examples"]), (&Value::from(16), &Value::from(50)));
}

#[test]
fn results_are_printed_where_the_run_cannot_be_written() {
    let folder = Folder::new();
    let run = folder.trained("run", &[]);
    folder.write("run/evaluations", "a file in the place of the folder");
    let output = bfn(&["evaluate", &run, "--hide", "right", "--limit", "20"]);
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && errors.contains("the results are not stored in the run"), "{errors}");
    assert!(printed.contains("bits/dim") && printed.contains("nearest neighbours"), "{printed}");
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let run = folder.trained("run", &[]);
    let (small, black, white) = (folder.path("small.png"), folder.path("black.png"), folder.path("white.png"));
    GrayImage::new(4, 8).save(&small).expect("a mask");
    GrayImage::new(8, 8).save(&black).expect("a mask");
    GrayImage::from_pixel(8, 8, Luma([255])).save(&white).expect("a mask");
    let refused = |more: &[&str], expected: &[&str]| ends_with(1, &[&["evaluate", &run], more].concat(), expected);
    refused(&["--mask", &small], &["small.png", "4×8", "8×8"]);
    refused(&["--mask", &black], &["black.png", "no pixel is white"]);
    refused(&["--mask", &white], &["white.png", "every pixel is white"]);
    refused(&["--mask", "nowhere.png"], &["nowhere.png"]);
    ends_with(2, &["evaluate", &run, "--mask", &black, "--hide", "left"], &["--mask", "--hide"]);

    let rows =
        folder.write("rows.csv", &(0..60).map(|i| format!("{}\n", i % 3)).fold("count\n".to_owned(), |a, b| a + &b));
    let experiment = fs::read_to_string(Path::new(&digits()).with_file_name("small").join("digits_table.toml"));
    let experiment = experiment.expect("the experiment");
    let flow = &experiment[experiment.find("[flow").expect("the flow")..];
    let data = format!("[data.table]\nfile = {rows:?}\nheld_out = {{ validation = 0.1, test = 0.1 }}\n");
    let columns = "[[data.table.columns]]\nnames = [\"count\"]\nkind = { integer = {} }\n";
    let table = folder.write("table.toml", &(data + columns + flow));
    let run = folder.path("table");
    let tiny = ["training.steps=2", "training.batch=8", "training.warm_up=0"];
    let mut train = vec!["train", &table, "--out", &run];
    tiny.iter().for_each(|setting| train.extend(["--set", setting]));
    succeeds(&train);
    ends_with(1, &["evaluate", &run, "--hide", "left"], &["--hide", "for images"]);
}
