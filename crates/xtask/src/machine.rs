//! The machine as seen by this program: plain data, so that tests can construct one.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// Variables, folders and the presence of a GPU driver.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    pub(crate) driver: NvidiaDriver,
    variables: BTreeMap<OsString, OsString>,
}

/// Whether programs can use an NVIDIA GPU here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NvidiaDriver {
    Present,
    Absent,
}

impl Machine {
    /// Returns the machine that this program runs on.
    pub(crate) fn here() -> Result<Self, Failure> {
        if let Some(problem) = platform_problem(env::consts::OS, env::consts::ARCH, c_library()) {
            return Err(problem);
        }
        // Cargo names the package's folder at run time; without cargo, use the folder it was built in.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().and_then(Path::parent).map(Path::to_path_buf);
        let Some(root) = root.filter(|root| root.join("Cargo.toml").is_file()) else {
            return Err(Failure::new(
                format!("expected the workspace two folders above {}, found none", package.display()),
                "run `cargo xtask` inside a clone of the repository",
            ));
        };
        let mut machine = Self::new(root, env::vars_os().collect(), NvidiaDriver::Absent);
        let has_driver =
            Path::new("/proc/driver/nvidia/version").exists() || machine.find_program("nvidia-smi").is_some();
        if has_driver {
            machine.driver = NvidiaDriver::Present;
        }
        Ok(machine)
    }

    /// Creates a machine with these variables and no others.
    pub(crate) fn new(root: PathBuf, variables: BTreeMap<OsString, OsString>, driver: NvidiaDriver) -> Self {
        Self { root, driver, variables }
    }

    /// Returns the value of a variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Returns the file to which PATH (or a path with a slash) leads.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(PathBuf::from(name)).filter(|path| is_executable(path));
        }
        let path = self.variable("PATH")?;
        env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_executable(file))
    }

    /// Creates a command in the root of the workspace, with this machine's variables.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env_clear().envs(&self.variables);
        command
    }

    /// Creates a command for the cargo that called this program, or for the one on PATH.
    pub(crate) fn cargo(&self) -> Command {
        self.command(self.variable("CARGO").unwrap_or(OsStr::new("cargo")))
    }

    /// Returns the user's folder for this project's large files.
    pub(crate) fn cache_folder(&self) -> Result<PathBuf, Failure> {
        // According to the XDG specification, a relative path counts as unset.
        let base = self.variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || self.variable("HOME").map(|home| Path::new(home).join(".cache"));
        base.or_else(home).map(|base| base.join("bfn")).ok_or_else(|| {
            Failure::new(
                "expected a home folder for libtorch's install, found neither HOME nor XDG_CACHE_HOME set",
                "set HOME, or set XDG_CACHE_HOME to a folder with 2 GB of space",
            )
        })
    }
}

/// Returns the reason why this platform cannot build the workspace, if there is one.
fn platform_problem(system: &str, architecture: &str, c_library: &str) -> Option<Failure> {
    if (system, architecture, c_library) == ("linux", "x86_64", "gnu") {
        return None;
    }
    Some(Failure::new(
        format!("expected x86-64 Linux with glibc, found {system} on {architecture} ({c_library})"),
        "only x86-64 Linux is supported so far: use such a machine, a container or WSL\n\
         (the crate bfn-core needs no libtorch: `cargo test -p bfn-core` may work here)",
    ))
}

fn c_library() -> &'static str {
    if cfg!(target_env = "gnu") {
        "gnu"
    } else if cfg!(target_env = "musl") {
        "musl"
    } else {
        "no glibc"
    }
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    #[test]
    fn only_the_supported_platform_passes() {
        assert_eq!(platform_problem("linux", "x86_64", "gnu"), None);
        for (system, architecture, c_library) in
            [("macos", "aarch64", "no glibc"), ("linux", "aarch64", "gnu"), ("linux", "x86_64", "musl")]
        {
            let message = platform_problem(system, architecture, c_library).unwrap().to_string();
            assert!(message.contains(system) && message.contains(architecture), "{message}");
            assert!(message.contains("x86-64 Linux"), "{message}");
        }
    }

    #[test]
    fn programs_are_found_on_the_given_path_only() {
        let sandbox = Sandbox::new();
        sandbox.program("tool", "exit 0");
        std::fs::write(sandbox.programs().join("text"), "not executable").unwrap();
        let machine = sandbox.machine(&[]);
        assert_eq!(machine.find_program("tool"), Some(sandbox.programs().join("tool")));
        assert_eq!(machine.find_program("text"), None);
        assert_eq!(machine.find_program("sh"), None);
        assert!(machine.find_program("/bin/sh").is_some());
    }

    #[test]
    fn the_cache_folder_follows_the_xdg_specification() {
        let sandbox = Sandbox::new();
        let folder = |variables| sandbox.machine(variables).cache_folder();
        assert_eq!(folder(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Ok(PathBuf::from("/c/bfn")));
        assert_eq!(folder(&[("XDG_CACHE_HOME", ""), ("HOME", "/h")]), Ok(PathBuf::from("/h/.cache/bfn")));
        assert_eq!(folder(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]), Ok(PathBuf::from("/h/.cache/bfn")));
        assert!(folder(&[("XDG_CACHE_HOME", ""), ("HOME", "")]).unwrap_err().to_string().contains("HOME"));
    }
}
