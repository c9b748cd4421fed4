//! Finding an existing libtorch.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::link;
use crate::machine::{Machine, NvidiaDriver};
use crate::process::{ask, say};

/// The only version that the pinned tch and torch-sys support.
pub(crate) const VERSION: &str = "2.11.0";

/// Python code that prints the folder of python3's torch. `find_spec` finds a top-level package without importing it;
/// the working folder is excluded from the search.
const WHERE_IS_TORCH: &str = "import sys, importlib.util; sys.path = [p for p in sys.path if p]; \
    s = importlib.util.find_spec('torch'); print(list(s.submodule_search_locations)[0])";

/// Files without which nothing can be built or run.
const PARTS: [&str; 4] = ["lib/libtorch_cpu.so", "lib/libtorch.so", "lib/libc10.so", "include/ATen/ATen.h"];

/// A complete libtorch of the right version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Libtorch {
    /// The folder with `lib` and `include`, with links resolved.
    pub(crate) folder: PathBuf,
    /// The version that it states, for example `2.11.0+cu130`.
    pub(crate) version: String,
}

/// The kind of libtorch that is installed in the cache folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CpuOnly,
    Cuda,
}

impl Kind {
    /// Returns the kind that makes full use of this machine.
    pub(crate) fn for_machine(machine: &Machine) -> Self {
        match machine.driver {
            NvidiaDriver::Present => Self::Cuda,
            NvidiaDriver::Absent => Self::CpuOnly,
        }
    }

    /// Returns the name of the kind's folder in the cache folder.
    pub(crate) fn folder_name(self) -> String {
        let kind = match self {
            Self::CpuOnly => "cpu",
            Self::Cuda => "cuda",
        };
        format!("libtorch-{VERSION}-{kind}")
    }
}

/// Checks that a folder holds a complete libtorch of the right version.
///
/// # Errors
/// Returns a phrase that states what is wrong with the folder.
pub(crate) fn inspect(folder: &Path) -> Result<Libtorch, String> {
    let folder = folder.canonicalize().map_err(|_| "there is no such folder".to_string())?;
    if let Some(part) = PARTS.iter().find(|part| !folder.join(part).is_file()) {
        return Err(format!("it has no {part}"));
    }
    let version = version(&folder).ok_or("it does not say its version (no build-version, no version.py)")?;
    // The text after a plus names the build: 2.11.0+cpu, 2.11.0+cu130.
    if version.split('+').next() != Some(VERSION) {
        return Err(format!("it is version {version}"));
    }
    Ok(Libtorch { folder, version })
}

/// Returns the first libtorch, in order of preference, that the user provides or that is in the cache folder.
///
/// # Errors
/// Returns an error if LIBTORCH is set but does not name a libtorch of the right version, because every build would
/// use it. It also returns an error if there is no place for the cache folder.
pub(crate) fn find(machine: &Machine) -> Result<Option<Libtorch>, Failure> {
    if let Some(folder) = chosen_by_variable(machine) {
        return required(machine, folder).map(Some);
    }
    for (origin, folder) in candidates(machine)? {
        match inspect(&folder).and_then(|found| runnable(machine, found)) {
            Ok(found) => {
                say(format!("libtorch: using {origin}"));
                return Ok(Some(found));
            }
            Err(problem) => say(format!("libtorch: not {origin}, {}: {problem}", folder.display())),
        }
    }
    Ok(None)
}

/// Returns the folder that LIBTORCH names, unless it is this project's own link.
///
/// Cargo sets LIBTORCH to that link for the programs that it runs.
pub(crate) fn chosen_by_variable(machine: &Machine) -> Option<&OsStr> {
    machine.variable("LIBTORCH").filter(|value| !link::is_ours(machine, Path::new(value)))
}

/// Returns the folder of an install of this kind, which need not exist.
pub(crate) fn cached(machine: &Machine, kind: Kind) -> Result<PathBuf, Failure> {
    Ok(machine.cache_folder()?.join(kind.folder_name()).join("torch"))
}

/// Checks that the system finds every library that libtorch needs.
///
/// # Errors
/// Returns a phrase that names the missing libraries.
pub(crate) fn runnable(machine: &Machine, libtorch: Libtorch) -> Result<Libtorch, String> {
    let mut ldd = machine.command("ldd");
    let listing = ask(ldd.arg(libtorch.folder.join("lib/libtorch_cpu.so"))).unwrap_or_default();
    let missing = missing_libraries(&listing);
    if missing.is_empty() { Ok(libtorch) } else { Err(format!("it needs {}", missing.join(", "))) }
}

fn required(machine: &Machine, folder: &OsStr) -> Result<Libtorch, Failure> {
    let folder = Path::new(folder);
    let checked = if folder.is_absolute() {
        inspect(folder).and_then(|found| runnable(machine, found))
    } else {
        Err("it is not an absolute path".into())
    };
    checked.map_err(|problem| {
        Failure::new(
            format!("expected libtorch {VERSION} at LIBTORCH={}, but {problem}", folder.display()),
            format!(
                "unset LIBTORCH, so that one is found or installed for you,\n\
                 or let it name the folder (with `lib` and `include`) of a libtorch {VERSION}"
            ),
        )
    })
}

/// Returns the places to look at, best first, each with a description.
fn candidates(machine: &Machine) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    let mut places = Vec::new();
    if let Some(home) = machine.variable("LIBTORCH_HOME") {
        places.push(("the one that LIBTORCH_HOME names", PathBuf::from(home)));
    }
    places.extend(python_torch(machine).map(|folder| ("the one that python3 has", folder)));
    let kinds: &[Kind] = match machine.driver {
        NvidiaDriver::Present => &[Kind::Cuda],
        NvidiaDriver::Absent => &[Kind::CpuOnly, Kind::Cuda],
    };
    for &kind in kinds {
        let folder = cached(machine, kind)?;
        if folder.exists() {
            places.push(("the one in the cache folder", folder));
        }
    }
    Ok(places)
}

fn python_torch(machine: &Machine) -> Option<PathBuf> {
    let answer = ask(machine.command(machine.find_program("python3")?).args(["-c", WHERE_IS_TORCH]))?;
    Some(answer.trim()).filter(|line| !line.is_empty()).map(PathBuf::from)
}

/// Returns the version that a libtorch states.
///
/// It is in `build-version` in pytorch.org's archives, in `version.py` in wheels, and in a header in both.
fn version(folder: &Path) -> Option<String> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let stated = read("build-version").map(|text| text.trim().to_string()).filter(|text| !text.is_empty());
    stated
        .or_else(|| version_in_python(&read("version.py")?))
        .or_else(|| version_in_header(&read("include/torch/headeronly/version.h")?))
        .or_else(|| version_in_header(&read("include/torch/csrc/api/include/torch/version.h")?))
}

fn version_in_python(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("__version__")?.split_once('=').map(|(_, v)| v))?;
    Some(value.trim().trim_matches(['\'', '"']).to_string())
}

fn version_in_header(text: &str) -> Option<String> {
    let number = |name: &str| {
        let mut words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.find_map(|words| match words.as_slice() {
            ["#define", defined, value, ..] if *defined == name => value.parse::<u32>().ok(),
            _ => None,
        })
    };
    let (major, minor) = (number("TORCH_VERSION_MAJOR")?, number("TORCH_VERSION_MINOR")?);
    Some(format!("{major}.{minor}.{}", number("TORCH_VERSION_PATCH")?))
}

/// Returns the names of the libraries that `ldd` did not find.
fn missing_libraries(listing: &str) -> Vec<&str> {
    let lines = listing.lines().filter(|line| line.ends_with("=> not found"));
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    #[test]
    fn each_way_of_stating_the_version_is_read() {
        let sandbox = Sandbox::new();
        let folder = sandbox.path("torch");
        fs::create_dir_all(folder.join("include/torch/headeronly")).unwrap();
        assert_eq!(version(&folder), None);
        let header = "#pragma once\n#define TORCH_VERSION_MAJOR 2\n#define  TORCH_VERSION_MINOR 11\n\
                      #define TORCH_VERSION_PATCH 0\n#define TORCH_VERSION \\\n";
        fs::write(folder.join("include/torch/headeronly/version.h"), header).unwrap();
        assert_eq!(version(&folder).as_deref(), Some("2.11.0"));
        fs::write(folder.join("version.py"), "__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\n").unwrap();
        assert_eq!(version(&folder).as_deref(), Some("2.11.0+cu130"));
        fs::write(folder.join("build-version"), "2.11.0+cpu\n").unwrap();
        assert_eq!(version(&folder).as_deref(), Some("2.11.0+cpu"));
    }

    #[test]
    fn only_a_complete_libtorch_of_the_version_passes() {
        let sandbox = Sandbox::new();
        assert_eq!(inspect(&sandbox.path("nowhere")), Err("there is no such folder".into()));
        assert!(inspect(&sandbox.libtorch("good", "2.11.0+cpu")).is_ok());
        assert_eq!(inspect(&sandbox.libtorch("old", "2.1.0")), Err("it is version 2.1.0".into()));
        assert_eq!(inspect(&sandbox.libtorch("near", "2.11.01")), Err("it is version 2.11.01".into()));
        for part in PARTS {
            let folder = sandbox.libtorch("incomplete", VERSION);
            fs::remove_file(folder.join(part)).unwrap();
            assert_eq!(inspect(&folder), Err(format!("it has no {part}")));
        }
    }

    #[test]
    fn the_order_of_preference_holds() {
        let sandbox = Sandbox::new();
        let [own, home, python] = ["own", "home-torch", "python"].map(|name| sandbox.libtorch(name, VERSION));
        let cache = sandbox.libtorch("home/.cache/bfn/libtorch-2.11.0-cpu/torch", VERSION);
        let found =
            |variables: &[(&str, &str)]| find(&sandbox.machine(variables)).unwrap().map(|libtorch| libtorch.folder);
        let home_is_set = ("LIBTORCH_HOME", home.to_str().unwrap());
        assert_eq!(found(&[]), Some(cache.clone()), "no python3");
        sandbox.program("python3", &format!("echo '{}'", python.display()));
        assert_eq!(found(&[]), Some(python.clone()));
        assert_eq!(found(&[home_is_set]), Some(home.clone()));
        assert_eq!(found(&[("LIBTORCH", own.to_str().unwrap()), home_is_set]), Some(own));
        // Unsuitable or missing ones are skipped.
        sandbox.libtorch("home-torch", "2.9.1");
        assert_eq!(found(&[home_is_set]), Some(python));
        sandbox.libtorch("python", "1.13.0");
        assert_eq!(found(&[home_is_set]), Some(cache.clone()));
        sandbox.program("python3", "echo 'AttributeError' >&2; exit 1");
        assert_eq!(found(&[]), Some(cache.clone()));
        fs::remove_file(cache.join("lib/libtorch_cpu.so")).unwrap();
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn the_cached_kind_follows_the_driver() {
        let sandbox = Sandbox::new();
        let mut machine = sandbox.machine(&[]);
        let cuda = sandbox.libtorch("home/.cache/bfn/libtorch-2.11.0-cuda/torch", VERSION);
        assert_eq!(find(&machine).unwrap().unwrap().folder, cuda, "the full one also serves a CPU");
        let cpu = sandbox.libtorch("home/.cache/bfn/libtorch-2.11.0-cpu/torch", VERSION);
        assert_eq!(find(&machine).unwrap().unwrap().folder, cpu);
        machine.driver = NvidiaDriver::Present;
        assert_eq!(find(&machine).unwrap().unwrap().folder, cuda);
        fs::remove_dir_all(&cuda).unwrap();
        assert_eq!(find(&machine).unwrap(), None, "the CPU-only one would leave the GPU unused");
    }

    #[test]
    fn a_wrong_libtorch_variable_stops_with_its_cure() {
        let sandbox = Sandbox::new();
        let old = sandbox.libtorch("old", "2.4.1+cu124");
        for (value, problem) in
            [(old.to_str().unwrap(), "2.4.1+cu124"), ("/no/such/folder", "no such folder"), ("torch", "absolute")]
        {
            let message = find(&sandbox.machine(&[("LIBTORCH", value)])).unwrap_err().to_string();
            assert!(message.contains(value) && message.contains(problem), "{message}");
            assert!(message.contains("2.11.0") && message.contains("unset LIBTORCH"), "{message}");
        }
    }

    #[test]
    fn cargos_own_setting_of_the_variable_is_no_choice() {
        let sandbox = Sandbox::new();
        let ours = sandbox.path("root").join(".libtorch");
        let machine = sandbox.machine(&[("LIBTORCH", ours.to_str().unwrap())]);
        assert_eq!(chosen_by_variable(&machine), None);
        assert_eq!(find(&machine), Ok(None));
    }

    #[test]
    fn missing_libraries_are_named() {
        let sandbox = Sandbox::new();
        let good = sandbox.libtorch("good", VERSION);
        sandbox.program("python3", &format!("echo '{}'", good.display()));
        sandbox.program("ldd", "printf '\\tlibcupti.so.13 => not found\\n\\tlibc.so.6 => /lib/libc.so.6 (0x0)\\n'");
        let machine = sandbox.machine(&[]);
        assert_eq!(find(&machine), Ok(None));
        let problem = runnable(&machine, inspect(&good).unwrap()).unwrap_err();
        assert_eq!(problem, "it needs libcupti.so.13");
    }
}
