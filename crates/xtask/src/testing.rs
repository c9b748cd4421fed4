//! A simulated machine in a temporary folder, with its own workspace root and PATH, fake programs and fake libtorch.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::{Machine, NvidiaDriver};

#[derive(Debug)]
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["programs", "root", "home"] {
            fs::create_dir(sandbox.path(name)).unwrap();
        }
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        // The system's temporary folder may itself be a link; paths are compared below.
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Returns the only folder on the simulated machine's PATH.
    pub(crate) fn programs(&self) -> PathBuf {
        self.path("programs")
    }

    /// Creates a machine with HOME and PATH in this folder, these variables and no NVIDIA driver.
    pub(crate) fn machine(&self, variables: &[(&str, &str)]) -> Machine {
        let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
        all.insert("HOME".into(), self.path("home").into());
        all.insert("PATH".into(), self.programs().into());
        all.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        Machine::new(self.path("root"), all, NvidiaDriver::Absent)
    }

    /// Puts a shell script on the PATH. The script itself finds the system's programs.
    pub(crate) fn program(&self, name: &str, script: &str) {
        // A child process writes the file. If this process had it open for writing while another test's thread forks,
        // running the script would fail with "text file busy".
        let file = self.programs().join(name);
        let mut child = Command::new("/bin/sh")
            .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(&file)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\nPATH=/usr/local/bin:/usr/bin:/bin\n{script}\n");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Makes a folder that looks like a libtorch of this version.
    pub(crate) fn libtorch(&self, name: &str, version: &str) -> PathBuf {
        let root = self.path(name);
        make_libtorch(&root, version);
        root
    }
}

fn make_libtorch(root: &Path, version: &str) {
    fs::create_dir_all(root.join("lib")).unwrap();
    fs::create_dir_all(root.join("include/ATen")).unwrap();
    for file in ["lib/libtorch_cpu.so", "lib/libtorch.so", "lib/libc10.so", "include/ATen/ATen.h"] {
        fs::write(root.join(file), "").unwrap();
    }
    fs::write(root.join("version.py"), format!("__version__ = '{version}'\ndebug = False\n")).unwrap();
}
