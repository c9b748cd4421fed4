//! What several test programs need to run `bfn` as its users do.
#![allow(dead_code, reason = "each test program needs some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The folder of the experiment files.
pub(crate) fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments")
}

pub(crate) fn bfn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bfn")).args(arguments).output().expect("bfn runs")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails with an error that holds all of `expected`, and without a panic.
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
