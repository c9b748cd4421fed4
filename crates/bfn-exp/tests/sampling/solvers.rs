//! `bfn sample`: solvers, grids, batches, files.

use std::fs;
use std::io::Cursor;

use image::AnimationDecoder;
use image::codecs::gif::GifDecoder;
use ndarray::ArrayD;
use ndarray_npy::NpzReader;
use tch::Kind;

use crate::{Folder, fails, succeeds};

#[test]
fn every_solver_draws_digits_and_text() {
    let folder = Folder::new();
    let runs = [(folder.digits("digits"), vec![6, 8, 8, 1], 17), (folder.text("text"), vec![6, 16], 27)];
    for (run, shape, values) in &runs {
        let mut seen = Vec::new();
        for solver in ["ancestral", "sde1", "sde2", "ode1", "ode2", "ode2-single", "redraw", "fixed-noise"] {
            let out = folder.path("samples.safetensors");
            let common = ["sample", run, "--steps", "4", "--count", "6", "--out", &out];
            let printed = succeeds(&[&common[..], &["--solver", solver]].concat());
            let evaluations = if solver == "ode2-single" { 9 } else { 5 };
            assert!(printed.contains(&format!("in {evaluations} evaluations")), "{solver}: {printed}");
            let samples = folder.samples("samples.safetensors");
            assert_eq!(samples.size(), *shape, "{solver}");
            assert!(samples.max().int64_value(&[]) < *values, "{solver}");
            seen.push(samples);
        }
        // Ordinary differential equations may well end in the same text, but not in the same grey levels.
        let apart = |number: usize| seen[..number].iter().all(|other| *other != seen[number]);
        assert!(*values == 27 || (1..seen.len()).all(apart), "two solvers draw the same");
    }
}

#[test]
fn options_of_a_solver_change_what_is_drawn() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let draw = |more: &[&str]| {
        let out = folder.path("samples.safetensors");
        let common = ["sample", &run, "--steps", "6", "--count", "9", "--out", &out];
        succeeds(&[&common[..], more].concat());
        folder.samples("samples.safetensors")
    };
    let plain = draw(&[]);
    assert_eq!(plain, draw(&["--grid", "uniform", "--start-time", "0", "--choice", "draw", "--last", "evaluate"]));
    // Under the paper's schedule for discretised data the uniform grid is the entropy grid, up to rounding.
    let entropy = draw(&["--grid", "entropy"]);
    assert!(differing(&plain, &entropy) < 0.05, "{}", differing(&plain, &entropy));
    for more in [
        &["--seed", "1"][..],
        &["--temperature", "0.2"],
        &["--start-time", "0.3"],
        &["--choice", "mean"],
        &["--last", "prediction"],
    ] {
        assert!(differing(&plain, &draw(more)) > 0.05, "{more:?} changes nothing");
    }
}

#[test]
fn the_noise_of_a_sample_is_its_own() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let draw = |solver: &str, count: &str, batch: &str| {
        let out = folder.path("samples.safetensors");
        let common = ["sample", &run, "--steps", "5", "--out", &out, "--solver", solver];
        succeeds(&[&common[..], &["--count", count, "--batch", batch]].concat());
        folder.samples("samples.safetensors")
    };
    for solver in ["ancestral", "ode2"] {
        let seven = draw(solver, "7", "4");
        assert_eq!(seven, draw(solver, "7", "4"), "{solver}: the same command");
        // Samples agree bit for bit where the batches are the same, whatever batches follow.
        assert_eq!(seven.narrow(0, 0, 4), draw(solver, "4", "4"), "{solver}: fewer samples");
        // Otherwise they agree up to the network's rounding: a bin rarely differs.
        let apart = differing(&seven, &draw(solver, "7", "3"));
        assert!(apart < 0.01, "{solver}: {apart} of the pixels differ between batches of 4 and of 3");
    }
}

#[test]
fn samples_are_written_for_other_programs() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let sample = |out: &str| succeeds(&["sample", &run, "--steps", "3", "--count", "5", "--out", &folder.path(out)]);
    sample("all.safetensors");
    let expected: Vec<u8> = {
        let samples = folder.samples("all.safetensors").view(-1);
        (0..samples.numel() as i64).map(|i| samples.int64_value(&[i]) as u8).collect()
    };
    let grey: Vec<u8> = expected.iter().map(|bin| (usize::from(*bin) * 255 / 16) as u8).collect();

    sample("all.npz");
    let mut file = NpzReader::new(Cursor::new(folder.bytes("all.npz"))).expect("an archive");
    let (images, bins): (ArrayD<u8>, ArrayD<u8>) = (file.by_name("arr_0").unwrap(), file.by_name("values").unwrap());
    assert_eq!((images.shape(), bins.shape()), (&[5, 8, 8, 1][..], &[5, 8, 8, 1][..]));
    assert_eq!((images.into_raw_vec_and_offset().0, bins.into_raw_vec_and_offset().0), (grey.clone(), expected));

    // The name ends with a slash, and a killed program has left a partial folder.
    fs::create_dir(folder.path("images.bfn-partial")).expect("a folder");
    fs::write(folder.path("images.bfn-partial/000099.png"), "stale").expect("a file");
    sample("images/");
    let mut files: Vec<_> = fs::read_dir(folder.path("images")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5);
    for (file, grey) in files.iter().zip(grey.chunks_exact(64)) {
        let image = image::open(file).expect("a picture").into_luma8();
        assert_eq!((image.dimensions(), image.as_raw().as_slice()), ((8, 8), grey));
    }
    fails(&["sample", &run, "--out", &folder.path("images")], &["images", "not empty"]);

    let text = folder.text("text");
    let sample = |out: &str| succeeds(&["sample", &text, "--steps", "3", "--count", "5", "--out", &folder.path(out)]);
    sample("all.txt");
    let lines = String::from_utf8(folder.bytes("all.txt")).expect("text");
    assert_eq!(lines.lines().map(|line| line.chars().count()).collect::<Vec<_>>(), [16; 5]);
    sample("text.npz");
    let mut file = NpzReader::new(Cursor::new(folder.bytes("text.npz"))).expect("an archive");
    let classes: ArrayD<u8> = file.by_name("values").unwrap();
    assert_eq!(classes.shape(), [5, 16]);
    fails(&["sample", &text, "--out", &folder.path("words")], &["words", "text", ".txt"]);
}

#[test]
fn trajectories_are_moving_pictures_and_strips() {
    let folder = Folder::new();
    for (run, thinned) in [(folder.digits("digits"), false), (folder.text("text"), true)] {
        let (gif, png) = (folder.path("flow.gif"), folder.path("flow.png"));
        let common = ["sample", &run, "--count", "3", "--out", &folder.path("samples.npz")];
        succeeds(&[&common[..], &["--steps", "7", "--trajectory", &gif]].concat());
        let frames = GifDecoder::new(Cursor::new(folder.bytes("flow.gif"))).expect("a GIF").into_frames();
        assert_eq!(frames.collect_frames().expect("frames").len(), 8);
        let strip = image::open(folder.path("flow-strip.png")).expect("a strip");
        // Long trajectories are thinned out, but keep their ends.
        succeeds(&[&common[..], &["--steps", "150", "--trajectory", &png]].concat());
        assert!(image::open(&png).is_ok());
        let long = image::open(folder.path("flow-strip.png")).expect("a strip");
        assert_eq!(long.height(), strip.height());
        // For text both strips are thinned out to six times, for images to eleven.
        assert_eq!((long.width() > strip.width(), long.width() < 2 * strip.width()), (!thinned, true));
        if thinned {
            let words = String::from_utf8(folder.bytes("flow-strip.txt")).expect("text");
            let lines: Vec<&str> = words.lines().filter(|line| !line.is_empty()).collect();
            assert_eq!(lines.len(), 2 * 11, "{words}");
            assert!(lines[0].starts_with("0.000  ") && lines[10].starts_with("1.000  "), "{words}");
            let length = "0.000  ".len() + 16;
            assert!(lines.iter().all(|line| line.chars().count() == length), "{words}");
        }
        fails(&[&common[..], &["--trajectory", &folder.path("flow.mp4")]].concat(), &["flow.mp4", ".gif"]);
    }
}

#[test]
fn what_no_solver_can_do_is_refused() {
    let folder = Folder::new();
    let run = folder.digits("run");
    let out = folder.path("samples.png");
    let refused = |more: &[&str], expected: &[&str]| {
        fails(&[&["sample", &run, "--out", &out][..], more].concat(), expected);
        assert!(!std::path::Path::new(&out).exists());
    };
    refused(&["--solver", "ode1", "--start-time", "0"], &["--start-time", "above 0"]);
    refused(&["--start-time", "1"], &["--start-time", "below 1"]);
    refused(&["--start-time", "-0.5"], &["--start-time"]);
    refused(&["--temperature", "0"], &["--temperature", "above 0"]);
    refused(&["--solver", "euler"], &["euler", "ancestral", "ode2-single"]);
    refused(&["--grid", "log"], &["log", "uniform", "entropy"]);
    refused(&["--batch", "0"], &["--batch"]);
    refused(&["--trajectory", &folder.path("none/a.gif")], &["a.gif", "there is no folder"]);
    fails(&["sample", &run, "--out", &folder.path("none/a.png")], &["a.png", "there is no folder", "none"]);
    fails(&["sample", &run, "--out", &folder.path("run/run.json/images")], &["run.json is no folder"]);
}

#[test]
fn a_fitted_grid_is_that_of_the_weights_it_was_measured_with() {
    let folder = Folder::new();
    let run = folder.digits("run");
    // Costs measured with other weights are not those of this network.
    let grid = succeeds(&["grid", &run, "--fine", "4", "--steps", "2", "--examples", "8", "--weights", "last"]);
    assert!(grid.contains("bits/dim"), "{grid}");
    let sample = ["sample", &run, "--grid", "fitted", "--steps", "2", "--count", "2"];
    fails(&sample, &["grid.json", "with the weights last", "--weights ema"]);
    succeeds(&[&sample[..], &["--weights", "last"]].concat());
    let text = folder.text("text");
    let grid = succeeds(&["grid", &text, "--fine", "4", "--steps", "2", "--examples", "8"]);
    assert!(grid.contains("bits/char") && !grid.contains("bits/dim"), "{grid}");
}

/// Returns the share of numbers that differ.
fn differing(a: &tch::Tensor, b: &tch::Tensor) -> f64 {
    a.not_equal_tensor(b).to_kind(Kind::Float).mean(Kind::Float).double_value(&[])
}
