//! All commands that draw from a trained network, run as users run them, on the embedded digits.

#[path = "../support/mod.rs"]
mod support;

mod classes;
mod inpainting;
mod low_resolution;
mod quality;
mod recorded;
mod solvers;

use std::fs;
use std::path::Path;

use bfn_nets::Checkpoint;

use support::{Folder, bfn, experiments, fails, text};

/// Settings of a network and a run that are small enough for a test.
const TINY: [&str; 9] = [
    "network.unet.width=16",
    "network.unet.norm_groups=4",
    "network.unet.heads=2",
    "training.batch=8",
    "training.precision=\"f32\"",
    "training.warm_up=0",
    "training.steps=4",
    "checkpoint.every=4",
    "training.deterministic=true",
];

/// Text for a run on text, with an alphabet of 27 symbols.
const TEXT: &str = "the quick brown fox jumps over the lazy dog and the cat sat on the mat while it rained ";

/// Runs a command that must succeed and returns its output, both results and progress.
fn succeeds(arguments: &[&str]) -> String {
    let output = bfn(arguments);
    assert!(output.status.success(), "{arguments:?}\n{}", text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

impl Folder {
    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Trains a run on the digits.
    fn digits(&self, run: &str) -> String {
        self.digits_like(run, &[])
    }

    /// Trains such a run with other settings.
    fn digits_like(&self, run: &str, more: &[&str]) -> String {
        let experiment = fs::read_to_string(experiments().join("digits.toml")).expect("the experiment");
        self.trained(run, &experiment, more)
    }

    /// Trains a run on a repeated line of text.
    fn text(&self, run: &str) -> String {
        self.text_like(run, &[])
    }

    /// Trains such a run with other settings.
    fn text_like(&self, run: &str, more: &[&str]) -> String {
        let file = self.path("text.txt");
        fs::write(&file, TEXT.repeat(60)).expect("a file");
        let experiment = fs::read_to_string(experiments().join("small/text.toml")).expect("the experiment");
        let start = experiment.find("[data.text8]").expect("the data");
        let data = format!("[data.text]\nfile = {file:?}\nlength = 16\n");
        let experiment = data + &experiment[start..].replacen("[data.text8]", "", 1).replacen("length = 64", "", 1);
        let smaller = ["network.vdm_unet.width=16", "network.vdm_unet.norm_groups=4", "network.vdm_unet.blocks=1"];
        let settings: Vec<&str> = TINY[3..].iter().chain(&smaller).chain(more).copied().collect();
        self.train(run, &experiment, &settings)
    }

    /// Trains a run on a table with a column of each kind.
    fn table(&self, run: &str) -> String {
        self.table_like(run, &[])
    }

    /// Trains such a run with other settings.
    fn table_like(&self, run: &str, more: &[&str]) -> String {
        let file = self.path("rows.csv");
        let rows: String = (0..60)
            .map(|i| format!("{},{},{}\n", f64::from(i) / 10.0, i % 3, ["red", "blue"][i as usize % 2]))
            .collect();
        fs::write(&file, format!("size,count,colour\n{rows}")).expect("a file");
        let experiment = fs::read_to_string(experiments().join("small/digits_table.toml")).expect("the experiment");
        let start = experiment.find("[flow").expect("the flow");
        let columns = [
            ("size", "{ continuous = { map = { standardised = { clip = 4.0 } } } }"),
            ("count", "{ integer = {} }"),
            ("colour", "{ categorical = {} }"),
        ];
        let columns =
            columns.map(|(name, kind)| format!("[[data.table.columns]]\nnames = [{name:?}]\nkind = {kind}\n")).concat();
        let data = format!("[data.table]\nfile = {file:?}\nheld_out = {{ validation = 0.1, test = 0.1 }}\n{columns}");
        let flow = experiment[start..].replacen("[flow.mixed]", "[flow.mixed]\nsigma_1 = 0.05", 1);
        let tiny = ["training.steps=4", "training.batch=8", "checkpoint.every=4", "training.warm_up=0"];
        self.train(run, &(data + &flow), &[&tiny, more].concat())
    }

    fn trained(&self, run: &str, experiment: &str, more: &[&str]) -> String {
        let settings: Vec<&str> = TINY.iter().chain(more).copied().collect();
        self.train(run, experiment, &settings)
    }

    fn train(&self, run: &str, experiment: &str, settings: &[&str]) -> String {
        let (file, out) = (self.path(&format!("{run}.toml")), self.path(run));
        fs::write(&file, experiment).expect("a file");
        let mut arguments = vec!["train", &file, "--out", &out];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        succeeds(&arguments);
        out
    }

    /// Reads the bins or classes of the samples in a .safetensors file.
    fn samples(&self, name: &str) -> tch::Tensor {
        let path = self.path(name);
        Checkpoint::read(Path::new(&path)).and_then(|file| file.tensor("samples")).expect("samples")
    }
}
