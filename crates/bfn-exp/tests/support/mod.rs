//! Helpers with which several test programs run `bfn` as users do.
#![allow(dead_code, reason = "each test program needs some of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use tempfile::TempDir;

/// Returns the folder of the experiment files.
pub(crate) fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments")
}

pub(crate) fn bfn(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("bfn runs")
}

/// Returns a command that runs `bfn`, on a GPU with what `training.deterministic` needs there.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bfn"));
    command.env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends a signal, such as INT, to a program that runs.
pub(crate) fn signal(program: &Child, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &program.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Checks that a command fails without a panic, with an error that contains all of `expected`.
pub(crate) fn fails(arguments: &[&str], expected: &[&str]) {
    let output = bfn(arguments);
    let errors = text(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(output.status.code().is_some_and(|code| code == 1 || code == 2), "{arguments:?}: {:?}", output.status);
    assert!(!errors.contains("panicked"), "{arguments:?}\n{errors}");
    for expected in expected {
        assert!(errors.contains(expected), "{arguments:?}: no {expected:?} in\n{errors}");
    }
}

/// A folder with runs in it.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// Returns an array of bytes as NumPy writes it; `shape` is given as in Python.
pub(crate) fn npy(shape: &str, values: impl Iterator<Item = u8>) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(127, b' ');
    bytes.push(b'\n');
    bytes.extend(values);
    bytes
}

/// Returns the experiment on the digits with `count` labelled images of the same size instead, and numbered classes.
pub(crate) fn images(folder: &Folder, count: u32, label: impl Fn(u32) -> u8) -> String {
    let [x, y] = ["x.npy", "y.npy"].map(|name| folder.path(name));
    let pixels = (0..count * 64).map(|place| (place * 7 % 256) as u8);
    std::fs::write(&x, npy(&format!("({count}, 8, 8)"), pixels)).expect("it can be written");
    std::fs::write(&y, npy(&format!("({count},)"), (0..count).map(label))).expect("it can be written");
    let digits = std::fs::read_to_string(experiments().join("digits.toml")).expect("the experiment");
    let data = format!("[data.array]\nfile = {x:?}\nlabels = {y:?}\nvalues = {{ intensities = 17 }}\n");
    digits.replace("[data.digits]\n", &data)
}
