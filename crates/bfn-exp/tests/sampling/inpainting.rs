//! `bfn inpaint`: images, texts and rows of tables, and input that does not fit.

use std::fs;

use image::{GrayImage, Luma, RgbImage};

use crate::{Folder, fails, succeeds};

/// Writes a picture of 8 by 8 pixels with grey levels of the digits, and a mask of its right half.
fn picture_and_mask(folder: &Folder) -> (String, String) {
    let (picture, mask) = (folder.path("picture.png"), folder.path("mask.png"));
    let level = |x: u32, y: u32| Luma([((x + 2 * y) % 17 * 255 / 16) as u8]);
    GrayImage::from_fn(8, 8, level).save(&picture).expect("a picture");
    GrayImage::from_fn(8, 8, |x, _| Luma([if x < 4 { 0 } else { 255 }])).save(&mask).expect("a mask");
    (picture, mask)
}

#[test]
fn known_pixels_stay_and_others_are_drawn() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let (picture, mask) = picture_and_mask(&folder);
    let draw = |more: &[&str]| {
        let out = folder.path("filled.safetensors");
        let common = ["inpaint", &run, "--input", &picture, "--mask", &mask, "--steps", "5", "--count", "6"];
        let printed = succeeds(&[&common[..], &["--out", &out], more].concat());
        let filled = folder.samples("filled.safetensors");
        assert_eq!(filled.size(), [6, 8, 8, 1]);
        let at = |sample: i64, y: i64, x: i64| filled.int64_value(&[sample, y, x, 0]);
        for sample in 0..6 {
            for (y, x) in (0..8).flat_map(|y| (0..4).map(move |x| (y, x))) {
                assert_eq!(at(sample, y, x), (x + 2 * y) % 17, "{more:?}: sample {sample}, row {y}, column {x}");
            }
        }
        assert!((1..6).any(|sample| (0..8).any(|y| (4..8).any(|x| at(sample, y, x) != at(0, y, x)))), "{more:?}");
        (filled, printed)
    };
    let (plain, printed) = draw(&[]);
    assert!(printed.contains("6 completions of 32 unknown among 64"), "{printed}");
    assert_eq!(plain, draw(&[]).0, "the same command");
    assert_ne!(plain, draw(&["--seed", "1"]).0);
    let (again, printed) = draw(&["--passes", "3", "--stretch", "2"]);
    assert!(again != plain && printed.contains("in 16 evaluations"), "{printed}");
    let _ = draw(&["--solver", "ode2"]);
    let _ = draw(&["--solver", "sde2", "--start-time", "0.1", "--batch", "4"]);

    let (weighed, printed) = draw(&["--particles", "8", "--batch", "16"]);
    assert!(weighed != plain && printed.contains("effective particles of 8: "), "{printed}");
    assert!(printed.contains("ln p(known) = -") && printed.contains("in 48 evaluations"), "{printed}");
    // With a single particle the method is the ancestral sampler.
    let (alone, printed) = draw(&["--particles", "1"]);
    assert!(printed.contains("effective particles of 1: 1.0 at the end"), "{printed}");
    assert_eq!(alone.size(), plain.size());
}

#[test]
fn pictures_show_input_mask_completions_and_truth() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let out = folder.path("filled.png");
    let common = ["inpaint", &run, "--example", "3", "--hide", "bottom", "--steps", "3", "--count", "5"];
    succeeds(&[&common[..], &["--out", &out]].concat());
    let picture = image::open(&out).expect("a picture").into_luma8();
    // Eight images of 8 pixels, each enlarged seven times, with gaps of two.
    assert_eq!(picture.dimensions(), (8 * 58 + 2, 58 + 2));
    let pixel = |image: u32, y: u32, x: u32| picture.get_pixel(2 + 58 * image + 7 * x + 3, 2 + 7 * y + 3).0[0];
    for x in 0..8 {
        assert_eq!((pixel(0, 6, x), pixel(1, 6, x), pixel(1, 1, x)), (96, 255, 0), "column {x}");
        assert_eq!(pixel(0, 1, x), pixel(7, 1, x), "column {x}");
        (2..7).for_each(|sample| assert_eq!(pixel(sample, 1, x), pixel(7, 1, x), "column {x}"));
    }
    // An image that `bfn inpaint` has written can be read again.
    let images = folder.path("images");
    succeeds(&[&common[..], &["--out", &images]].concat());
    let first = format!("{images}/000000.png");
    let again = folder.path("again.safetensors");
    succeeds(&[
        "inpaint", &run, "--input", &first, "--hide", "centre", "--steps", "2", "--count", "1", "--out", &again,
    ]);
    let bins = folder.samples("again.safetensors");
    let shades = image::open(&first).expect("a picture").into_luma8();
    assert_eq!(bins.int64_value(&[0, 0, 5, 0]) * 255 / 16, i64::from(shades.get_pixel(5, 0).0[0]));
}

#[test]
fn blanks_in_text_are_filled() {
    let folder = Folder::new();
    let run = folder.text("text");
    let out = folder.path("filled.txt");
    let printed = succeeds(&["inpaint", &run, "--text", "the c__ sat", "--steps", "4", "--count", "3", "--out", &out]);
    let lines = String::from_utf8(folder.bytes("filled.txt")).expect("text");
    assert_eq!(lines.lines().count(), 3);
    for line in lines.lines() {
        assert_eq!(line.chars().count(), 16);
        assert!(line.starts_with("the c") && &line[7..11] == " sat" && printed.contains(line), "{line:?}");
    }
    succeeds(&["inpaint", &run, "--text", "a??t", "--blank", "?", "--particles", "3", "--steps", "3", "--out", &out]);

    let refused = |more: &[&str], expected: &[&str]| fails(&[&["inpaint", &run][..], more].concat(), expected);
    refused(&["--text", "the CAT _"], &["'C'", "character 5", "alphabet"]);
    refused(&["--text", "the cat sat on the mat"], &["22 characters", "16"]);
    refused(&["--text", "the cat sat on a"], &["nothing is to be filled"]);
    refused(&["--text", "the cat", "--blank", "a"], &["'a'", "--blank"]);
    refused(&[], &["--text"]);
    refused(&["--text", "a_", "--mask", "mask.png"], &["--mask", "texts"]);
    refused(&["--text", "a_", "--out", &folder.path("x.png")], &["x.png", ".txt"]);
}

#[test]
fn empty_cells_are_filled() {
    let folder = Folder::new();
    let run = folder.table("run");
    let (input, out) = (folder.path("input.csv"), folder.path("filled.csv"));
    fs::write(&input, "size,count,colour\n1.5,,red\n,2,\n").expect("a file");
    succeeds(&["inpaint", &run, "--input", &input, "--steps", "4", "--count", "2", "--out", &out]);
    let filled = String::from_utf8(folder.bytes("filled.csv")).expect("text");
    let cells: Vec<Vec<&str>> = filled.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(cells.len(), 4, "{filled}");
    for (row, cells) in cells.iter().enumerate() {
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{filled}");
        if row < 2 {
            assert!(cells[0] == "1.5" && cells[2] == "red", "{filled}");
        } else {
            assert_eq!(cells[1], "2", "{filled}");
        }
    }
    succeeds(&["inpaint", &run, "--input", &input, "--steps", "4", "--particles", "4", "--out", &out]);
    // A known cell stays as written, in its column, even where the network is given the nearest value that it knows.
    fs::write(&input, "note,colour,size,count\nany,,1e6,\n").expect("a file");
    let printed = succeeds(&["inpaint", &run, "--input", &input, "--steps", "4", "--out", &out]);
    assert!(printed.contains("size = 1000000, known from"), "{printed}");
    let filled = String::from_utf8(folder.bytes("filled.csv")).expect("text");
    assert!(filled.starts_with("note,colour,size,count\nany,") && filled.contains(",1e6,"), "{filled}");
    fs::write(&input, "size,count,colour\n1.5,,green\n").expect("a file");
    fails(&["inpaint", &run, "--input", &input], &["input.csv", "green", "colour"]);
    fs::write(&input, "size,count\n1.5,\n").expect("a file");
    fails(&["inpaint", &run, "--input", &input], &["input.csv", "colour"]);
    fails(&["inpaint", &run], &["--input"]);
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let (picture, mask) = picture_and_mask(&folder);
    let (small, plain, text) = (folder.path("small.png"), folder.path("plain.png"), folder.path("text.png"));
    RgbImage::new(8, 7).save(&small).expect("a picture");
    GrayImage::new(8, 8).save(&plain).expect("a picture");
    fs::write(&text, "no picture").expect("a file");
    let out = folder.path("filled.png");
    let refused = |more: &[&str], expected: &[&str]| {
        fails(&[&["inpaint", &run, "--out", &out][..], more].concat(), expected);
        assert!(!std::path::Path::new(&out).exists(), "{more:?}");
    };
    refused(&["--input", &small, "--mask", &mask], &["small.png", "8×7", "8×8"]);
    refused(&["--input", &picture, "--mask", &small], &["small.png", "8×7", "8×8"]);
    refused(&["--input", &picture, "--mask", &plain], &["plain.png", "no pixel is white"]);
    refused(&["--input", &text, "--mask", &mask], &["text.png", "not an image"]);
    refused(&["--input", "nowhere.png", "--mask", &mask], &["nowhere.png"]);
    refused(&["--input", &picture], &["--mask", "--hide"]);
    refused(&["--mask", &mask], &["--input", "--example"]);
    refused(&["--example", "1000000", "--mask", &mask], &["1000000", "test split"]);
    refused(&["--input", &picture, "--mask", &mask, "--text", "a"], &["--text"]);
    refused(
        &["--input", &picture, "--mask", &mask, "--particles", "4", "--solver", "ode2"],
        &["--particles", "--solver"],
    );
    refused(&["--input", &picture, "--mask", &mask, "--particles", "4", "--passes", "2"], &["--passes"]);
    refused(&["--input", &picture, "--mask", &mask, "--particles", "0"], &["--particles"]);
    refused(&["--input", &picture, "--mask", &mask, "--passes", "0"], &["--passes"]);
}
