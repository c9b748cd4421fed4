//! Networks conditioned on small versions of images: training, samples like them, guidance, and refused commands.

use std::fs;

use bfn_data::{Dataset, Draw, Seed, Split, Values, digits};
use bfn_exp::form::Form;
use bfn_exp::side::Reduction;
use image::{GrayImage, Luma};
use serde_json::Value;

use crate::support::images;
use crate::{Folder, experiments, fails, succeeds};

/// Trains a run on the digits whose network is conditioned on their 4×4 versions.
fn trained(folder: &Folder, run: &str, more: &[&str]) -> String {
    let experiment = fs::read_to_string(experiments().join("digits.toml")).expect("the experiment");
    let settings = ["network.unet.low_resolution=2", "training.condition_dropout=0.2"];
    folder.trained(run, &experiment, &[&settings[..], more].concat())
}

/// Returns the first examples of the test split, as stored values, and the reduction to small images.
fn truth(count: usize) -> (Vec<f64>, Reduction) {
    let data = digits(Split::Test).expect("embedded");
    let mut example = Values::zeros(data.storage(), 1, 64);
    let mut values = Vec::new();
    for index in 0..count {
        data.read(index, Draw { seed: Seed(0), epoch: 0 }, example.row_mut(0)).expect("embedded");
        values.extend((0..64).map(|variable| example.at(0, variable)));
    }
    (values, Reduction::new(2, &Form::of(&data).expect("images")).expect("the sides are even"))
}

fn squared_error(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / one.len() as f64
}

#[test]
fn samples_are_like_the_small_images_that_are_told() {
    let folder = Folder::new();
    let steps = [
        "training.steps=200",
        "checkpoint.every=200",
        "training.batch=16",
        "network.unet.multipliers=[1]",
        "optimiser.learning_rate=0.004",
        "ema.decay=0.9",
    ];
    let run = trained(&folder, "run", &steps);
    let draw = |more: &[&str]| {
        let out = folder.path("samples.safetensors");
        let printed = succeeds(&[&["sample", &run, "--steps", "10", "--count", "40", "--out", &out], more].concat());
        let samples = Vec::<f64>::try_from(folder.samples("samples.safetensors").to_kind(tch::Kind::Double).view(-1));
        (samples.expect("numbers"), printed)
    };
    let (whole, reduction) = truth(20);
    let small = reduction.reduce(&whole);
    // Sample s is conditioned on small image s modulo 20; the image 7 further on serves as a different one.
    let errors = |samples: &[f64]| {
        let found = reduction.reduce(samples);
        let of = |shift: usize| {
            let wanted: Vec<f32> =
                (0..40).flat_map(|sample| &small[(sample + shift) % 20 * 16..][..16]).copied().collect();
            squared_error(&found, &wanted)
        };
        [of(0), of(7)]
    };
    let (like, message) = draw(&["--like", "test:0-19"]);
    assert!(message.contains("40 samples in 11 evaluations"), "{message}");
    let [own, other] = errors(&like);
    assert!(own < 0.25 * other, "{own} from its own small image, {other} from another's");
    let (none, _) = draw(&[]);
    let [of_none, _] = errors(&none);
    assert!(own < 0.25 * of_none, "{own} where it is given, {of_none} where it is not");

    let guided = |guide: &str, weight: &str| draw(&["--like", "test:0-19", "--guidance", weight, "--guide", guide]);
    assert_eq!((&guided("output", "0").0, &guided("parameters", "0").0), (&like, &like));
    let ((on_output, message), (on_parameters, _)) = (guided("output", "1.5"), guided("parameters", "1.5"));
    assert!(message.contains("in 22 evaluations"), "{message}");
    assert!(on_output != like && on_parameters != like && on_output != on_parameters);
    for guided in [on_output, on_parameters] {
        assert!(errors(&guided)[0] < 0.25 * of_none, "{:?}", errors(&guided));
    }

    // The bound is conditioned on the small images, and lower than that of a network without conditioning.
    let blind = folder.digits_like("blind", &steps);
    let bits = |run: &str| {
        let out = folder.path("evaluation.json");
        let table = succeeds(&["evaluate", run, "--limit", "100", "--json", &out]);
        let report: Value = serde_json::from_slice(&folder.bytes("evaluation.json")).expect("JSON");
        (report["results"][0]["total_bits_per_dim"].as_f64().expect("a number"), report["given"].clone(), table)
    };
    let ((given_small, given, table), (alone, nothing, _)) = (bits(&run), bits(&blind));
    assert!(given_small < alone - 0.2, "{given_small} bits/dim given the small images, {alone} without");
    assert!(given == "images reduced by 2" && nothing == Value::Null && table.contains("given images reduced by 2"));
}

#[test]
fn a_picture_has_a_row_for_each_small_image() {
    let folder = Folder::new();
    let run = trained(&folder, "run", &["validation.every=4", "validation.samples=3", "validation.sample_steps=2"]);
    let out = folder.path("grid.png");
    let sample = ["sample", &run, "--steps", "2", "--out", &out];
    succeeds(&[&sample[..], &["--like", "test:2-3", "--count", "5"]].concat());
    let picture = image::open(&out).expect("a picture").into_luma8();
    // Two rows, each of a small image, three samples and the truth: 8 pixels, enlarged seven times, with gaps of two.
    assert_eq!(picture.dimensions(), (5 * 58 + 2, 2 * 58 + 2));
    let pixel = |row: u32, column: u32, y: u32, x: u32| {
        picture.get_pixel(2 + 58 * column + 7 * x + 3, 2 + 58 * row + 7 * y + 3).0[0]
    };
    let (whole, reduction) = truth(4);
    let small = reduction.bytes(&reduction.reduce(&whole));
    for (row, y, x) in [(0, 3, 4), (1, 6, 1), (1, 2, 5)] {
        let example = (row + 2) as usize;
        assert_eq!(pixel(row, 0, y, x), small[example * 16 + (y / 2 * 4 + x / 2) as usize]);
        let level = whole[example * 64 + (y * 8 + x) as usize];
        assert_eq!(pixel(row, 4, y, x), (level * 255.0 / 16.0) as u8);
    }
    // Pictures at validations consist of such rows as well.
    let shown = image::open(folder.path("run/samples/step-0000000004.png")).expect("a picture");
    assert_eq!((shown.width(), shown.height()), (3 * 58 + 2, 3 * 58 + 2));

    // A small image is read from a file, with black and white as in the data.
    let file = folder.path("small.png");
    GrayImage::from_fn(4, 4, |x, y| Luma([small[48 + (y * 4 + x) as usize]])).save(&file).expect("a picture");
    succeeds(&[&sample[..], &["--low-resolution", &file, "--count", "2"]].concat());
    let again = image::open(&out).expect("a picture").into_luma8();
    assert_eq!(again.dimensions(), (3 * 58 + 2, 58 + 2));
    (0..8).for_each(|x| assert_eq!(again.get_pixel(2 + 7 * x + 3, 30), picture.get_pixel(2 + 7 * x + 3, 58 + 30)));
}

/// A small validation split is shown whole: its three small images have two samples each, more than were asked for.
#[test]
fn a_small_validation_split_is_shown_whole() {
    let folder = Folder::new();
    let settings = ["network.unet.low_resolution=2", "validation.every=4", "validation.samples=4"];
    let run = folder.trained("run", &images(&folder, 30, |number| number as u8 % 2), &settings);
    for file in ["samples/step-0000000004.png", "flow/step-0000000004-strip.png"] {
        assert!(image::open(format!("{run}/{file}")).is_ok(), "no {file}");
    }
    // Among three images, none has three neighbours.
    fails(&["quality", &run, "--like", "test"], &["the test split of", "has 3 examples", "needs 4"]);
}

#[test]
fn every_command_takes_a_run_that_is_told_small_images() {
    let folder = Folder::new();
    let run = trained(&folder, "run", &[]);
    succeeds(&["grid", &run, "--fine", "4", "--steps", "2", "--examples", "8"]);
    succeeds(&["sample", &run, "--steps", "2", "--count", "3", "--grid", "fitted", "--like", "validation:1"]);
    let out = folder.path("filled.png");
    let inpaint = ["inpaint", &run, "--example", "1", "--hide", "left", "--steps", "3", "--count", "2", "--out", &out];
    succeeds(&inpaint);
    succeeds(&[&inpaint[..], &["--like", "test:1", "--guidance", "1", "--guide", "parameters"]].concat());
    succeeds(&[&inpaint[..], &["--like", "test:1", "--particles", "3"]].concat());
    let quality = ["quality", &run, "--count", "20", "--steps", "2", "--solver", "sde2", "--classifier-steps", "10"];
    succeeds(&[&quality[..], &["--like", "test:1-2", "--guidance", "0.5", "--start-time", "0.1"]].concat());
    let kept: Value = serde_json::from_slice(&folder.bytes("run/quality.json")).expect("JSON");
    let said = ["weights", "class", "like", "guidance", "guide", "start_time", "last"].map(|key| kept[key].clone());
    assert_eq!(
        Value::from(said.to_vec()),
        serde_json::json!(["ema", "none", "test:1-2", 0.5, "output", 0.1, "evaluate"])
    );
    let weights = folder.path("weights.pt");
    succeeds(&["export", &run, "--out", &weights]);
    succeeds(&["report", &run, "--out", &folder.path("report.html")]);
    succeeds(&["list", &folder.path("")]);
    let experiment = folder.path("run/experiment.toml");
    succeeds(&["check", &experiment]);
    succeeds(&["bench", "train", &experiment, "--steps", "1", "--warm-up", "0"]);
    succeeds(&["bench", "sample", &experiment, "--steps", "1", "--warm-up", "0", "--count", "2"]);
    // A run that is stopped half-way and resumed ends with the same weights.
    let half = trained(&folder, "half", &["training.steps=2", "checkpoint.every=2", "training.decay=\"constant\""]);
    let whole = trained(&folder, "whole", &["training.decay=\"constant\""]);
    succeeds(&["train", "--resume", &half, "--set", "training.steps=4"]);
    let last = |run: &str| {
        let name = format!("{run}.safetensors");
        succeeds(&["export", &folder.path(run), "--out", &folder.path(&name)]);
        folder.bytes(&name)
    };
    assert_eq!((half, whole, last("half")), (folder.path("half"), folder.path("whole"), last("whole")));
}

#[test]
fn labels_and_small_images_are_told_together() {
    let folder = Folder::new();
    let run = trained(&folder, "run", &["network.unet.classes=10"]);
    let out = folder.path("samples.safetensors");
    let sample = ["sample", &run, "--steps", "2", "--count", "2", "--out", &out];
    let draw = |more: &[&str]| {
        succeeds(&[&sample[..], more].concat());
        folder.samples("samples.safetensors")
    };
    let data = digits(Split::Test).expect("embedded");
    let labels = [0, 1].map(|index| data.label(index).expect("a digit").to_string());
    let like = draw(&["--like", "test:0-1"]);
    assert_eq!(like.get(0), draw(&["--like", "test:0-1", "--class", &labels[0]]).get(0));
    assert_eq!(like.get(1), draw(&["--like", "test:0-1", "--class", &labels[1]]).get(1));
    let _ = draw(&[]);
    fails(&[&sample[..], &["--class", "3"]].concat(), &["together", "--low-resolution"]);
    fails(&[&sample[..], &["--like", "test:0", "--class", "none"]].concat(), &["together", "--class"]);
    succeeds(&["evaluate", &run, "--limit", "4"]);
}

#[test]
fn small_images_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let run = trained(&folder, "run", &[]);
    let (large, text, out) = (folder.path("large.png"), folder.path("text.png"), folder.path("x.png"));
    GrayImage::new(8, 8).save(&large).expect("a picture");
    fs::write(&text, "no picture").expect("a file");
    let refused = |run: &str, more: &[&str], expected: &[&str]| {
        fails(&[&["sample", run, "--out", &out][..], more].concat(), expected);
    };
    refused(&run, &["--low-resolution", &large], &["large.png", "8×8", "4×4", "2 times smaller"]);
    refused(&run, &["--low-resolution", &text], &["text.png", "not an image"]);
    refused(&run, &["--low-resolution", "nowhere.png"], &["nowhere.png"]);
    refused(&run, &["--low-resolution", &large, "--like", "test:0"], &["--like"]);
    refused(&run, &["--like", "test:180"], &["test split", "180 examples", "no 180"]);
    refused(&run, &["--like", "tests"], &["tests", "test:0-7"]);
    refused(&run, &["--class", "3"], &["without labels", "--class"]);
    refused(&run, &["--guidance", "1"], &["--guidance 1", "--low-resolution"]);
    let plain = folder.digits("plain");
    refused(&plain, &["--like", "test:0"], &["without small images", "low_resolution"]);
    refused(&plain, &["--guidance", "1"], &["--guidance", "low_resolution"]);
    let always = trained(&folder, "always", &["training.condition_dropout=0.0"]);
    refused(&always, &[], &["of which small image?", "condition_dropout is 0", "--like"]);
    refused(&always, &["--like", "test:0", "--guidance", "1"], &["--guidance 1", "condition_dropout is 0"]);

    let experiment = experiments().join("digits.toml").display().to_string();
    for (setting, expected) in [
        ("network.unet.low_resolution=3", "divides the images' height and width, 8 and 8"),
        ("network.unet.low_resolution=1", "from 2 on"),
    ] {
        fails(&["check", &experiment, "--set", setting], &["low_resolution", expected]);
    }
    let text = experiments().join("text8.toml").display().to_string();
    fails(&["check", &text, "--set", "network.transformer.low_resolution=2"], &["low_resolution"]);
}
