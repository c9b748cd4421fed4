//! The program as its users run it, on the embedded digits.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A network and a run small enough for a test.
const TINY: [&str; 7] = [
    "network.unet.width=16",
    "network.unet.norm_groups=4",
    "network.unet.heads=2",
    "training.batch=8",
    "training.log_every=2",
    "training.precision=\"f32\"",
    "training.warm_up=0",
];

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments")
}

fn bfn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bfn")).args(arguments).output().expect("bfn runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = bfn(arguments);
    assert!(output.status.success(), "{arguments:?}\n{}", text(&output.stderr));
    text(&output.stdout)
}

/// Fails with an error that holds all of `expected`, and without a panic.
fn fails(arguments: &[&str], expected: &[&str]) {
    let output = bfn(arguments);
    let errors = text(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(output.status.code().is_some_and(|code| code == 1 || code == 2), "{arguments:?}: {:?}", output.status);
    assert!(!errors.contains("panicked"), "{arguments:?}\n{errors}");
    for expected in expected {
        assert!(errors.contains(expected), "{arguments:?}: no {expected:?} in\n{errors}");
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

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

    // After so little training no bin's probability is under the floor, so that it changes nothing but rounding.
    let floor = folder.path("floor.json");
    let evaluate = ["evaluate", &run, "--steps", "10,inf", "--repeats", "2", "--limit", "20", "--json", &floor];
    succeeds(&[&evaluate[..], &["--probability-floor"]].concat());
    let floor: serde_json::Value = serde_json::from_str(&fs::read_to_string(&floor).expect("a file")).expect("JSON");
    for (exact, floor) in results.iter().zip(floor["results"].as_array().expect("a list")) {
        let [exact, floor] = [exact, floor].map(|row| row["total_nats_per_dim"].as_f64().expect("a number"));
        assert!((exact - floor).abs() < 1e-4, "{exact} and {floor}");
    }

    let picture = folder.path("samples.png");
    succeeds(&["sample", &run, "--steps", "3", "--count", "5", "--out", &picture]);
    assert!(fs::read(&picture).expect("a picture").starts_with(b"\x89PNG"));
    // A sample does not depend on how many are drawn with it.
    let (few, many) = (folder.path("few.safetensors"), folder.path("many.safetensors"));
    succeeds(&["sample", &run, "--steps", "3", "--count", "5", "--out", &few]);
    succeeds(&["sample", &run, "--steps", "3", "--count", "5", "--out", &many]);
    assert_eq!(fs::read(&few).expect("samples"), fs::read(&many).expect("samples"));
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
    let settings = ["training.decay=\"constant\"", "checkpoint.every=3", "network.unet.dropout=0.3"];
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
    // With an experiment there is something to begin, without one there is not.
    folder.trained("new", &["training.steps=2"], &["--resume"]);
    fails(&["train", "--resume", &folder.path("none")], &["no run in", "none"]);
    fails(&["train", "--resume"], &["which experiment"]);
    folder.training_fails("a", &[], &["--resume", &folder.path("b")], &["name two runs"]);
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
    folder.training_fails("d", &["training.max_time=\"soon\""], &[], &["soon", "2m"]);
    folder.training_fails("e", &["flow.discretised.sigma_1=1.5"], &[], &["sigma_1", "1.5"]);
    folder.training_fails("f", &["network.unet.width=15"], &[], &["network.unet.width", "15"]);
    folder.training_fails("g", &["data.mnist.pixels=\"binarised\""], &[], &["data.digits", "data.mnist"]);
    folder.training_fails("h", &[], &["--device", "cuda:99"], &["cuda:99"]);
    folder.training_fails("i", &[], &["--device", "tpu"], &["tpu"]);
    for run in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
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

/// A table of all kinds of columns, with missing values, from its CSV file to samples in CSV.
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
    // The height, the rating, whether the height is missing, the colour.
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
    // Another file of the same name is not taken for the one that was trained on.
    fs::write(&file, format!("rating,height,colour\n{text}4,150,red\n")).expect("it can be written");
    fails(&["evaluate", &run, "--limit", "20"], &["not of the form"]);
}

/// Images, arrays and texts of a user's own are trained on, too; and whatever is wrong with the file is said.
#[test]
fn data_of_ones_own_are_trained_on_and_shown() {
    let folder = Folder::new();
    let digits = fs::read_to_string(experiments().join("digits.toml")).expect("the experiment");
    let mut header =
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (40, 8, 8), }".to_vec();
    header.resize(127, b' ');
    header.push(b'\n');
    header.extend((0..40 * 64_u32).map(|place| (place * 7 % 256) as u8));
    fs::write(folder.path("x.npy"), header).expect("it can be written");
    let file = folder.path("x.npy");
    let path = folder.path("array.toml");
    let data = format!("[data.array]\nfile = {file:?}\nvalues = {{ intensities = 16 }}\n");
    fs::write(&path, digits.replace("[data.digits]\n", &data)).expect("it can be written");
    let run = folder.path("array");
    let mut train = vec!["train", &path, "--out", &run, "--set", "training.steps=2"];
    TINY.iter().for_each(|setting| train.extend(["--set", setting]));
    succeeds(&train);
    succeeds(&["evaluate", &run, "--limit", "4"]);
    let grid = folder.path("grid.png");
    let shown = succeeds(&["data", "show", &path, "--out", &grid]);
    assert!(shown.contains("train: 32 examples") && shown.contains("64 variables"), "{shown}");
    assert!(fs::read(&grid).expect("a picture").starts_with(b"\x89PNG"));
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
        // A port where nobody listens stands for a network that is not there.
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
    let mnist = Path::new(&root).join("mnist");
    fs::create_dir_all(&mnist).expect("a folder");
    fs::write(mnist.join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 7]).expect("a file");
    let (code, _, errors) = bfn(&["verify", "mnist"]);
    assert_eq!(code, Some(1));
    for part in ["the SHA-256 of", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte.gz is missing"] {
        assert!(errors.contains(part), "no {part} in {errors}");
    }
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

/// A proxy that refuses everything, and remembers what it was asked for.
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
    }
    let files = fs::read_dir(folder.0.path()).expect("a folder").count();
    assert_eq!(files, 1, "a benchmark leaves its figures and nothing else");
}
