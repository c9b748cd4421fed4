//! Checkpoints of the published code: imported, evaluated, trained further and exported; and those that are refused.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bfn_core::discrete::Receiver;
use bfn_core::distribution::Probability;
use bfn_exp::checkpoints::Choice;
use bfn_exp::examples::{Column, Examples};
use bfn_exp::objective::Term;
use bfn_exp::run::{Trained, Weights, Which};
use bfn_exp::task::Arithmetic;
use bfn_nets::networks::Mode;
use bfn_nets::published::{read_state_dict, write_state_dict};
use bfn_nets::{Checkpoint, DeviceChoice, NamedTensor};
use support::{Folder, experiments, text};
use tch::{Kind, Tensor};

fn published(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published").join(name)
}

impl Folder {
    /// Runs `bfn import` with a changed configuration or other weights.
    fn import(&self, config: &str, weights: &Path) -> Output {
        let path = self.path("config.yaml");
        fs::write(&path, config).unwrap();
        bfn(&["import", "--config", &path, "--weights", &weights.display().to_string(), "--out", &self.path("run")])
    }

    fn import_fails(&self, config: &str, weights: &Path, expected: &[&str]) {
        let output = self.import(config, weights);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        for expected in expected {
            assert!(errors.contains(expected), "no {expected:?} in\n{errors}");
        }
        for left in ["run", "run.bfn-partial"] {
            assert!(!Path::new(&self.path(left)).exists(), "{left} was left behind");
        }
    }
}

fn bfn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bfn")).args(arguments).env_remove("BFN_DATA").output().unwrap()
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn config() -> String {
    fs::read_to_string(published("config.yaml")).unwrap()
}

#[test]
fn an_import_may_end_in_a_slash_and_removes_what_was_left() {
    let folder = Folder::new();
    fs::create_dir(folder.path("run.bfn-partial")).unwrap();
    fs::write(folder.path("run.bfn-partial/stale"), "").unwrap();
    let (path, weights, out) = (published("config.yaml"), published("weights.pt"), folder.path("run/"));
    let [path, weights] = [path, weights].map(|path| path.display().to_string());
    succeeds(&bfn(&["import", "--config", &path, "--weights", &weights, "--out", &out]));
    assert!(Path::new(&out).join("run.json").is_file() && !Path::new(&out).join("stale").exists());
    assert!(!Path::new(&folder.path("run.bfn-partial")).exists());
}

/// Imports the tiny model of the published code and returns the run.
fn imported(folder: &Folder) -> String {
    succeeds(&folder.import(&config(), &published("weights.pt")));
    folder.path("run")
}

#[test]
fn the_losses_are_those_of_the_published_code() {
    let folder = Folder::new();
    let run = imported(&folder);
    let arithmetic = Arithmetic { receiver: Receiver::Factorised, probability: Probability::Floor };
    let which = Which { checkpoint: Choice::Last, weights: Weights::Ema };
    let trained = Trained::load(Path::new(&run), which, DeviceChoice::Cpu, arithmetic).unwrap();
    let draws = Checkpoint::read_foreign(&published("draws.safetensors")).unwrap();
    let expected = Checkpoint::read_foreign(&published("losses.safetensors")).unwrap();
    let tensor = |name: &str| draws.tensor(name).unwrap();
    let times = |name: &str| Vec::<f64>::try_from(tensor(name)).unwrap();
    let n = tensor("steps").int64_value(&[]) as u32;
    for (name, term, t, noise) in [
        ("continuous_time", Term::ContinuousTime, times("t"), "noise"),
        ("step", Term::Step { n, noisy: true }, times("t_step"), "noise_step"),
        ("reconstruction", Term::Reconstruction, vec![1.0; times("t").len()], "noise_reconstruction"),
    ] {
        let (x, noise, sender_noise) = (tensor("x"), tensor(noise), Some(tensor("sender_noise")));
        let t = Column::new(t);
        let examples = Examples { x, t, weights: None, noise, sender_noise, condition: None };
        let loss = trained.task.objective.loss(&trained.model, &examples, term, Mode::Evaluate);
        let loss = loss.array().mean_dim(1, false, Kind::Float);
        let expected = expected.tensor(name).unwrap();
        let scale = expected.abs().maximum(&expected.abs().mean(Kind::Float));
        let error = ((loss - &expected).abs() / scale).max().double_value(&[]);
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}

#[test]
fn an_import_is_a_run_to_sample_to_train_from_and_to_export() {
    let folder = Folder::new();
    let run = imported(&folder);
    succeeds(&bfn(&["sample", &run, "--steps", "2", "--count", "2", "--out", &folder.path("samples.txt")]));

    // A custom text with the same alphabet replaces text8, which a test cannot rely on.
    let experiment = folder.path("experiment.toml");
    let text = folder.path("text");
    fs::write(&text, "the quick brown fox jumps over a lazy dog ".repeat(60)).unwrap();
    let alphabet = " abcdefghijklmnopqrstuvwxyz";
    let data = format!("[data.text]\nfile = {text:?}\nlength = 12\nalphabet = {alphabet:?}");
    let settings = fs::read_to_string(Path::new(&run).join("experiment.toml")).unwrap();
    fs::write(&experiment, settings.replace("[data.text8]\nlength = 12", &data)).unwrap();
    let from = folder.path("from");
    let train = ["train", &experiment, "--out", &from, "--set", "training.steps=2"];
    succeeds(&bfn(&[&train[..], &["--from", &run, "--set", "optimiser.learning_rate=0.0"]].concat()));
    succeeds(&bfn(&["evaluate", &from, "--limit", "5"]));
    let record = fs::read_to_string(Path::new(&from).join("run.json")).unwrap();
    assert!(record.contains("origin"), "{record}");

    // A learning rate of zero leaves the weights as they were imported, and both exports show it.
    let original: BTreeMap<String, Tensor> =
        read_state_dict(&published("weights.pt")).unwrap().into_iter().map(|one| (one.name, one.tensor)).collect();
    for file in ["exported.pt", "exported.safetensors"] {
        let path = folder.path(file);
        succeeds(&bfn(&["export", &from, "--weights", "last", "--out", &path]));
        let names: BTreeMap<String, Tensor> = match file.ends_with("pt") {
            true => read_state_dict(Path::new(&path)).unwrap().into_iter().map(|one| (one.name, one.tensor)).collect(),
            false => Tensor::read_safetensors(&path).unwrap().into_iter().collect(),
        };
        assert_eq!(names.keys().collect::<Vec<_>>(), original.keys().collect::<Vec<_>>());
        for (name, tensor) in &names {
            let difference = (tensor - &original[name]).abs().max().double_value(&[]);
            assert!(difference <= if name.ends_with("pos_embedding") { 1e-6 } else { 0.0 }, "{name}: {difference}");
        }
        // An exported file can be imported.
        let again = Folder::new();
        succeeds(&again.import(&config(), Path::new(&path)));
    }
    let output = bfn(&["export", &from, "--out", &folder.path("weights.npz")]);
    assert!(support::text(&output.stderr).contains(".safetensors"));
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let folder = Folder::new();
    let weights = folder.path("broken.pt");
    let state = read_state_dict(&published("weights.pt")).unwrap();
    let [first, second] = [&state[0], &state[3]];
    for (tensor, value) in [(&first.tensor, f64::NAN), (&second.tensor, f64::INFINITY)] {
        let _ = tensor.flatten(0, -1).narrow(0, 0, 1).fill_(value);
    }
    write_state_dict(Path::new(&weights), &state).unwrap();
    let expected = [first.name.as_str(), &second.name, "finite in f32", "infinite ones or NaN"];
    folder.import_fails(&config(), Path::new(&weights), &expected);
}

#[test]
fn an_imported_run_cannot_be_resumed_and_a_run_from_another_can() {
    let folder = Folder::new();
    let run = imported(&folder);
    let experiment = folder.path("experiment.toml");
    let digits = experiments().join("digits.toml");
    fs::copy(digits, &experiment).unwrap();
    let small: Vec<String> =
        ["network.unet.width=16", "network.unet.norm_groups=4", "training.steps=2", "training.warm_up=0"]
            .iter()
            .flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()])
            .collect();
    let train = |out: &str, more: &[&str]| {
        let out = folder.path(out);
        let arguments: Vec<&str> = small.iter().map(String::as_str).collect();
        bfn(&[&["train", &experiment, "--out", &out], &arguments[..], more].concat())
    };
    succeeds(&train("first", &[]));
    let first = folder.path("first");
    succeeds(&train("second", &["--from", &first]));
    // A network of another shape is refused, and the error lists every difference.
    let output = train("third", &["--from", &run]);
    let errors = text(&output.stderr);
    assert!(errors.contains("missing") && errors.contains("unexpected"), "{errors}");
    assert!(!Path::new(&folder.path("third")).exists());
    fs::remove_file(Path::new(&folder.path("second")).join("checkpoints/step-0000000002.safetensors")).unwrap();
    // The checkpoint of the start remains; it holds the weights of the other run.
    succeeds(&train("second", &["--resume"]));
    // Without it the weights would be drawn at random, so they must be given again.
    let checkpoints = Path::new(&folder.path("second")).join("checkpoints");
    let weights = || {
        let last = Checkpoint::read(&checkpoints.join("step-0000000002.safetensors")).unwrap();
        let mut names: Vec<String> =
            last.names().filter(|name| name.starts_with("model.")).map(str::to_owned).collect();
        names.sort();
        Tensor::cat(&names.iter().map(|name| last.tensor(name).unwrap().flatten(0, -1)).collect::<Vec<_>>(), 0)
    };
    let whole = weights();
    fs::remove_dir_all(&checkpoints).and_then(|()| fs::create_dir(&checkpoints)).unwrap();
    let output = train("second", &["--resume"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains(&format!("add --from {first}")), "{errors}");
    succeeds(&train("second", &["--resume", "--from", &first]));
    assert_eq!(weights(), whole);
    assert!(checkpoints.join("step-0000000000.safetensors").exists());
    // A run that continues no longer reads the other run.
    fs::remove_dir_all(&first).unwrap();
    succeeds(&train("second", &["--resume", "--from", &first]));
    let output = bfn(&["train", "--resume", &run]);
    assert!(!output.status.success());
    let record = fs::read_to_string(Path::new(&folder.path("second")).join("run.json")).unwrap();
    assert!(record.contains("origin"), "{record}");
}

#[test]
fn settings_that_are_unknown_or_unsupported_are_refused_by_name() {
    let folder = Folder::new();
    let weights = published("weights.pt");
    let with = |before: &str, after: &str| {
        let config = config();
        assert!(config.contains(before), "{before}");
        config.replace(before, after)
    };
    for (before, after, expected) in [
        ("      skip: true", "      skip: true\n      depth: 3", "model.net.parameters.depth (line 19)"),
        ("      skip: true", "      skip: true\n      is_causal: yes", "model.net.parameters.is_causal"),
        ("class_name: GPT", "class_name: Mamba", "Mamba"),
        ("n_head: 4", "n_head: four", "model.net.parameters.n_head is the text \"four\""),
        ("n_head: 4", "n_head: 3", "network.transformer.width"),
        ("n_embd: 16", "n_embd: ${width}", "interpolation"),
        ("vocab_size: 27", "vocab_size: 28", "needs 27"),
        ("dataset: text8", "dataset: enwik8", "enwik8"),
        ("seq_len: 12\ntrain", "seq_len: 13\ntrain", "a sequence of 12 positions"),
        ("CategoricalFactory", "BernoulliFactory", "CategoricalFactory"),
        ("optimizer:", "scheduler: {}\noptimizer:", "scheduler"),
        ("lr: 0.01", "lr: 0.01\n  amsgrad: true", "optimizer.amsgrad"),
        ("lr: 0.01", "lr: 0.01\n  lr: 0.1", "twice"),
        ("ema_decay: 0.98", "ema_decay: 1.5", "decay"),
        ("max_sqrt_beta: 0.75", "max_sqrt_beta:", "max_sqrt_beta is empty"),
        ("model:", "model: [1", "config.yaml"),
    ] {
        folder.import_fails(&with(before, after), &weights, &["config.yaml", expected]);
    }
    folder.import_fails("", &weights, &["empty"]);
}

#[test]
fn weights_that_do_not_fit_are_all_listed() {
    let folder = Folder::new();
    let mut state = read_state_dict(&published("weights.pt")).unwrap();
    state.retain(|one| one.name != "net.lm_head.bias");
    state.push(NamedTensor::new("net.surplus", &Tensor::zeros([2], (Kind::Float, tch::Device::Cpu))));
    for one in &mut state {
        match one.name.as_str() {
            "net.transformer.ln_f.weight" => one.tensor = one.tensor.narrow(0, 0, 7),
            "net.transformer.ln_f.bias" => one.tensor = one.tensor.to_kind(Kind::Int64),
            "net.input_adapter.pos_embedding" => one.tensor = &one.tensor + 1.0,
            _ => {}
        }
    }
    let path = PathBuf::from(folder.path("changed.pt"));
    write_state_dict(&path, &state).unwrap();
    let expected = [
        "changed.pt",
        "missing 1: net.lm_head.bias",
        "unexpected 1: net.surplus",
        "net.transformer.ln_f.weight (expected Float [16], found Float [7])",
        "net.transformer.ln_f.bias (expected Float [16], found Int64 [16])",
        "net.input_adapter.pos_embedding",
    ];
    folder.import_fails(&config(), &path, &expected);

    let bytes = fs::read(published("weights.pt")).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    folder.import_fails(&config(), &path, &["changed.pt", "cut short"]);
    folder.import_fails(&config(), Path::new(&folder.path("absent.pt")), &["absent.pt"]);
}

/// The checkpoints of the three small networks in the reference folder can be imported.
#[test]
fn reference_checkpoints_are_imported() {
    let Some(reference) = std::env::var_os("BFN_REFERENCE") else {
        eprintln!("SKIPPED: set BFN_REFERENCE to the folder of the reference values to run this test");
        return;
    };
    for name in ["unet_mnist", "unet_vdm", "transformer_text8"] {
        let folder = Folder::new();
        let file = |ending: &str| Path::new(&reference).join("networks").join(format!("{name}.{ending}"));
        succeeds(&folder.import(&fs::read_to_string(file("yaml")).unwrap(), &file("pt")));
    }
}
