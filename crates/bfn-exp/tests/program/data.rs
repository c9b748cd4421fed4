//! Data of all kinds: known data sets and custom files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use ndarray::Array2;
use ndarray_npy::NpzWriter;

use super::support::images;
use super::{Folder, TINY, experiments, fails, succeeds, text};

#[test]
fn missing_and_damaged_data_are_named() {
    let folder = Folder::new();
    let mnist = experiments().join("small/mnist.toml").display().to_string();
    let root = folder.path("data");
    let set = format!("data.root={root:?}");
    let run = folder.path("run");
    let train = |expected: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bfn"))
            .args(["train", &mnist, "--out", &run, "--set", &set])
            .env("BFN_DATA", &root)
            .env("XDG_CACHE_HOME", &root)
            .output()
            .expect("bfn runs");
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        for expected in expected {
            assert!(errors.contains(expected), "no {expected:?} in\n{errors}");
        }
        assert!(!Path::new(&run).exists());
    };
    train(&["train-images-idx3-ubyte", &root]);
    fs::create_dir_all(Path::new(&root).join("mnist")).expect("a folder");
    let images = Path::new(&root).join("mnist/train-images-idx3-ubyte");
    let labels = Path::new(&root).join("mnist/train-labels-idx1-ubyte");
    fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 0]).expect("a file");
    fs::write(&images, b"not IDX at all").expect("a file");
    train(&["train-images-idx3-ubyte", "IDX"]);
    fs::write(&images, [0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2, 3]).expect("a file");
    train(&["train-images-idx3-ubyte"]);
}

/// A table with all kinds of columns and missing values is trained on from a CSV file and sampled as CSV.
#[test]
fn a_table_is_trained_evaluated_and_sampled() {
    let folder = Folder::new();
    let text: String = (0..200)
        .map(|row| {
            let height = if row % 9 == 0 { String::new() } else { format!("{}", 150.0 + f64::from(row % 50)) };
            format!("{},{height},{}\n", row % 7 - 3, ["red", "blue", "green"][row as usize % 3])
        })
        .collect();
    fs::write(folder.path("rows.csv"), format!("rating,height,colour\n{text}")).expect("it can be written");
    let experiment = fs::read_to_string(experiments().join("small/digits_table.toml")).expect("the experiment");
    let (_, rest) = experiment.split_once("[flow.mixed]").expect("a mixed flow");
    let columns = "[[data.table.columns]]\nnames = [\"height\"]\nkind = { continuous = { map = \"quantiles\" } }\n\
                   [[data.table.columns]]\nnames = [\"rating\"]\nkind = { integer = {} }\n\
                   [[data.table.columns]]\nnames = [\"colour\"]\nkind = { categorical = {} }\n";
    let file = folder.path("rows.csv");
    let path = folder.path("rows.toml");
    let data = format!("[data.table]\nfile = {file:?}\n{columns}");
    fs::write(&path, format!("{data}[flow.mixed]\nsigma_1 = 0.05\n{rest}")).expect("it can be written");
    let run = folder.path("run");
    let small = ["training.steps=6", "training.warm_up=0", "network.mlp.width=16", "training.log_every=2"];
    let mut train = vec!["train", &path, "--out", &run];
    small.iter().for_each(|setting| train.extend(["--set", setting]));
    succeeds(&train);
    let table = succeeds(&["evaluate", &run, "--steps", "5,inf", "--limit", "20"]);
    // The variables are the height, the rating, whether the height is missing, and the colour.
    assert!(table.contains("20 examples of 4 variables") && !table.contains("histogram"), "{table}");
    let samples = folder.path("samples.csv");
    succeeds(&["sample", &run, "--steps", "4", "--count", "30", "--out", &samples]);
    let samples = fs::read_to_string(samples).expect("samples");
    let mut lines = samples.lines();
    assert_eq!(lines.next(), Some("rating,height,colour"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 30);
    for row in rows {
        let rating: i64 = row[0].parse().expect("an integer");
        assert!((-3..=3).contains(&rating), "{row:?}");
        let height: Option<f64> = (!row[1].is_empty()).then(|| row[1].parse().expect("a number"));
        assert!(height.is_none_or(|height| (150.0..=199.0).contains(&height)), "{row:?}");
        assert!(["red", "blue", "green"].contains(&row[2]), "{row:?}");
    }
    let record = fs::read_to_string(Path::new(&run).join("run.json")).expect("the record");
    assert!(record.contains("knots") && record.contains("green"), "{record}");
    // Another file of the same name is not mistaken for the one the run was trained on.
    fs::write(&file, format!("rating,height,colour\n{text}4,150,red\n")).expect("it can be written");
    fails(&["evaluate", &run, "--limit", "20"], &["not of the form"]);
}

/// A user's own images, arrays and texts can be trained on as well, and errors in the file are reported.
#[test]
fn data_of_ones_own_are_trained_on_and_shown() {
    let folder = Folder::new();
    let (path, file) = (folder.path("array.toml"), folder.path("x.npy"));
    fs::write(&path, images(&folder, 40, |number| number as u8 % 3)).expect("it can be written");
    let run = folder.path("array");
    let mut train = vec!["train", &path, "--out", &run, "--set", "training.steps=2"];
    TINY.iter().for_each(|setting| train.extend(["--set", setting]));
    succeeds(&train);
    succeeds(&["evaluate", &run, "--limit", "4"]);
    let grid = folder.path("grid.png");
    let shown = succeeds(&["data", "show", &path, "--out", &grid]);
    assert!(shown.contains("train: 32 examples") && shown.contains("64 variables"), "{shown}");
    assert!(fs::read(&grid).expect("a picture").starts_with(b"\x89PNG"));
    let output = super::bfn(&["data", "show", &path, "--out", &folder.path("nowhere/grid.png")]);
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("there is no folder"), "{output:?}");
    let classes = |classes: &str| format!("network.unet.classes={classes}");
    let (three, two) = (classes("3"), classes("2"));
    let bench = |classes: &str| ["bench", "train", &path, "--steps", "1", "--set", classes].map(str::to_owned);
    fails(&bench(&two).each_ref().map(String::as_str), &["2 classes", "has the label 2"]);
    let figures = folder.path("nowhere/figures.json");
    let bench = bench(&three);
    let bench: Vec<&str> = bench.iter().map(String::as_str).chain(["--json", &figures]).collect();
    fails(&bench, &["figures.json", "there is no folder"]);
    fs::write(&file, b"\x93NUMPY nothing").expect("it can be written");
    fails(&["data", "show", &path], &["x.npy", "at byte 6"]);
}

#[test]
fn known_data_are_listed_verified_and_shown() {
    let folder = Folder::new();
    let root = folder.path("data");
    let bfn = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bfn"));
        command.args(["data"]).args(arguments).env("BFN_DATA", &root).env("XDG_CACHE_HOME", &root);
        // A port on which nobody listens stands in for a missing network connection.
        let command = command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
        let output = command.output().expect("bfn runs");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, list, _) = bfn(&["list"]);
    assert_eq!(code, Some(0));
    for part in ["mnist", "cifar10", "text8", "digits", "untried", "CC BY 4.0", "bfn data fetch mnist", &root] {
        assert!(list.contains(part), "no {part} in {list}");
    }
    let (code, _, errors) = bfn(&["verify", "text8"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("text8/text8.zip is missing"), "{errors}");
    // Only the beginning of text8 is there and is to be trained on; nobody has published its checksum.
    fs::create_dir_all(Path::new(&root).join("text8")).expect("a folder");
    fs::write(Path::new(&root).join("text8/text8-prefix"), "the quick brown fox").expect("a file");
    let (code, printed, _) = bfn(&["verify", "text8"]);
    assert!(code == Some(0) && printed.contains("text8-prefix: a text of 19 characters"), "{printed}");
    assert!(bfn(&["list"]).1.contains("there:"), "the beginning is not listed");
    let mnist = Path::new(&root).join("mnist");
    fs::create_dir_all(&mnist).expect("a folder");
    fs::write(mnist.join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 7]).expect("a file");
    let (code, _, errors) = bfn(&["verify", "mnist"]);
    assert_eq!(code, Some(1));
    for part in ["the SHA-256 of", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte.gz is missing"] {
        assert!(errors.contains(part), "no {part} in {errors}");
    }
    let arrays = folder.path("arrays.npz");
    let mut writer = NpzWriter::new(fs::File::create(&arrays).expect("a file"));
    for (name, rows) in [("one", 3), ("other", 5)] {
        writer.add_array(name, &Array2::<u8>::zeros((rows, 4))).expect("it can be written");
    }
    writer.finish().expect("it can be written");
    let (code, verified, errors) = bfn(&["verify", &arrays]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(verified.contains("one.npy of the shape [3, 4]") && verified.contains("[5, 4]"), "{verified}");
    let labels = mnist.join("t10k-labels-idx1-ubyte").display().to_string();
    let (code, verified, errors) = bfn(&["verify", &labels]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(verified.contains("IDX, bytes of the shape [1]") && errors.contains("not the published file"), "{errors}");
    let (code, shown, _) = bfn(&["show", "digits", "--out", &folder.path("grid.png")]);
    assert_eq!(code, Some(0));
    for part in ["train: 1437 examples", "test: 180 examples", "class 9:", "mean"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let (code, _, errors) = bfn(&["fetch", "text8"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("mattmahoney.net") && errors.contains("cannot be fetched"), "{errors}");
    assert!(!Path::new(&root).join("text8/text8.zip").exists());
    for (arguments, part) in
        [(&["fetch", "digits"][..], "part of the program"), (&["fetch", "nothing"], "known by name")]
    {
        let (code, _, errors) = bfn(arguments);
        assert_eq!(code, Some(1));
        assert!(errors.contains(part), "{errors}");
    }
}

/// Downloads go through the proxy named by the variables; here it refuses every request and records it.
#[test]
fn data_are_fetched_through_the_proxy_of_the_variables() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            asked.push(line);
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").expect("an answer");
        }
        asked
    });
    let output = Command::new(env!("CARGO_BIN_EXE_bfn"))
        .args(["data", "fetch", "text8", "--root", &folder.path("data")])
        .env("HTTP_PROXY", format!("http://{address}"))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .expect("bfn runs");
    assert_eq!(output.status.code(), Some(1));
    let asked = asked.join().expect("what was asked for");
    assert!(asked.iter().all(|line| line.contains("mattmahoney.net")), "{asked:?}");
}
