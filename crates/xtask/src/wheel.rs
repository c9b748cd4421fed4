//! Installing libtorch from PyPI's wheel, once per user, in the cache folder.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::failure::Failure;
use crate::libtorch::{self, Kind, Libtorch, VERSION};
use crate::machine::Machine;
use crate::process::{Watch, Watched, ask, say, spoken, watch};

/// The fixed Python of the wheel. The local Python may be any version, since only the C++ libraries are used.
const WHEEL_PYTHON: [&str; 4] = ["--python-version", "3.11", "--implementation", "cp"];

/// The platform tags in addition to `2_5` to `2_28`. pip compares tags by name, so every older tag that a package may
/// carry is listed.
const OLD_PLATFORMS: [&str; 3] = ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"];

/// The first pip that supports several `--platform` options and tags such as `manylinux_2_28`.
const OLDEST_PIP: (u32, u32) = (20, 3);

/// The marker in the name of an incomplete install's folder.
const PART: &str = ".part-";

/// The size of an install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    download: &'static str,
    installed: &'static str,
    /// The space for both at once, with a margin.
    needed_kib: u64,
}

impl Size {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::CpuOnly => Self { download: "0.5 GB", installed: "1.2 GB", needed_kib: 2_000_000 },
            Kind::Cuda => Self { download: "2.7 GB", installed: "4.7 GB", needed_kib: 8_000_000 },
        }
    }
}

/// Installs libtorch in the cache folder, completely or not at all.
///
/// One process installs at a time; a second one waits and finds the install done.
pub(crate) fn install(machine: &Machine, kind: Kind) -> Result<Libtorch, Failure> {
    let python = find_python(machine)?;
    let cache = machine.cache_folder()?;
    fs::create_dir_all(&cache).map_err(|error| cannot_write(&cache, &error))?;
    let _lock = lock(&cache)?;
    let folder = libtorch::cached(machine, kind)?;
    if let Ok(found) = libtorch::inspect(&folder).and_then(|found| libtorch::runnable(machine, found)) {
        say("libtorch: the other process has installed it");
        return Ok(found);
    }

    let size = Size::of(kind);
    let target = cache.join(kind.folder_name());
    // The name is unique, since the pip of a killed process may still be writing to its own folder.
    let part = cache.join(format!("{}{PART}{}", kind.folder_name(), std::process::id()));
    remove_remainders(&cache)?;
    check_space(machine, &cache, size)?;
    let variant = match kind {
        Kind::CpuOnly => "the CPU half; no NVIDIA driver was found",
        Kind::Cuda => "with CUDA, for the NVIDIA driver that was found",
    };
    say(format!(
        "libtorch: installing {VERSION} from PyPI ({variant}), once for all clones\n  \
         downloads {}, takes {} in {}",
        size.download,
        size.installed,
        target.display()
    ));
    let started = Instant::now();
    // Temporary files go to the same file system, which has the space and makes moves instant.
    let temporary = part.join("temporary");
    fs::create_dir_all(&temporary).map_err(|error| cannot_write(&temporary, &error))?;
    let installed = pip_install(machine, &python, kind, &part).and_then(|()| {
        libtorch::inspect(&part.join("wheel/torch"))
            .and_then(|found| libtorch::runnable(machine, found))
            .map_err(|problem| unusable(&problem))
    });
    let moved = installed.and_then(|_| {
        remove(&target)?;
        fs::rename(part.join("wheel"), &target).map_err(|error| cannot_write(&target, &error))
    });
    // A failed install leaves nothing. A remainder that cannot be removed now is removed next time.
    let _ = fs::remove_dir_all(&part);
    moved?;
    say(format!("libtorch: installed in {}", spoken(started.elapsed())));
    libtorch::inspect(&folder).map_err(|problem| unusable(&problem))
}

fn find_python(machine: &Machine) -> Result<PathBuf, Failure> {
    let python = machine.find_program("python3").ok_or_else(|| {
        Failure::new(
            "python3 was not found on PATH; it is needed once, to install libtorch",
            format!("on Debian or Ubuntu: sudo apt install python3 python3-pip\n{OWN_LIBTORCH}"),
        )
    })?;
    let answer = ask(machine.command(&python).args(["-m", "pip", "--version"]));
    let Some(answer) = answer else {
        return Err(Failure::new(
            format!("{} has no pip; it is needed once, to install libtorch", python.display()),
            format!(
                "on Debian or Ubuntu: sudo apt install python3-pip\nelsewhere: python3 -m ensurepip --user\n{OWN_LIBTORCH}"
            ),
        ));
    };
    match pip_version(&answer) {
        Some(version) if version < OLDEST_PIP => Err(Failure::new(
            format!("expected pip 20.3 or later, found {}", answer.trim()),
            format!("python3 -m pip install --user --upgrade pip\n{OWN_LIBTORCH}"),
        )),
        _ => Ok(python),
    }
}

const OWN_LIBTORCH: &str =
    "or let LIBTORCH name a libtorch 2.11.0 of your own (https://pytorch.org/get-started/locally)";

/// Parses the version of pip: `pip 23.2.1 from …` gives (23, 2).
fn pip_version(answer: &str) -> Option<(u32, u32)> {
    let mut numbers = answer.strip_prefix("pip ")?.split_whitespace().next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0)))
}

/// Acquires the lock, waiting for another process's install to end. The system releases the lock of a dead process.
fn lock(cache: &Path) -> Result<File, Failure> {
    let path = cache.join("lock");
    let file = File::create(&path).map_err(|error| cannot_write(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            say(format!("libtorch: another process is installing it (it holds {}); waiting", path.display()));
            file.lock().map_err(|error| cannot_write(&path, &error))?;
            Ok(file)
        }
        // The file system has no locks: it is up to the user to avoid two installs at once.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(cannot_write(&path, &error)),
    }
}

fn check_space(machine: &Machine, cache: &Path, size: Size) -> Result<(), Failure> {
    // Continue without an answer: pip reports an error if the space is too small.
    let listing = ask(machine.command("df").arg("-Pk").arg(cache)).unwrap_or_default();
    match free_kib(&listing) {
        Some(free) if free < size.needed_kib => Err(Failure::new(
            format!(
                "installing libtorch needs {:.1} GB of free space in {}, found {:.1} GB",
                gigabytes(size.needed_kib),
                cache.display(),
                gigabytes(free)
            ),
            "free some space there, or set XDG_CACHE_HOME to a folder on a larger disk",
        )),
        _ => Ok(()),
    }
}

/// Returns the fourth column of the second line of `df -Pk`.
fn free_kib(listing: &str) -> Option<u64> {
    listing.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn gigabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e9
}

fn pip_install(machine: &Machine, python: &Path, kind: Kind, part: &Path) -> Result<(), Failure> {
    let mut command = machine.command(python);
    pip_arguments(&mut command, kind, &part.join("wheel"));
    command.env("TMPDIR", part.join("temporary"));
    // These user settings would contradict a private folder.
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0");
    // A private folder does not endanger the system's packages.
    command.env("PIP_ROOT_USER_ACTION", "ignore");
    let Watched { status, output } = watch(&mut command, Watch::Errors)?;
    if status.success() { Ok(()) } else { Err(diagnose(&output)) }
}

fn pip_arguments(command: &mut Command, kind: Kind, target: &Path) {
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--no-compile"]);
    command.arg("--target").arg(target);
    command.arg("--only-binary=:all:").args(WHEEL_PYTHON);
    for minor in (5..=28).rev() {
        command.arg("--platform").arg(format!("manylinux_2_{minor}_x86_64"));
    }
    for platform in OLD_PLATFORMS {
        command.args(["--platform", platform]);
    }
    command.arg(format!("torch=={VERSION}"));
    if kind == Kind::CpuOnly {
        // The two packages that libtorch_cpu.so itself needs; the rest of CUDA takes 3.5 GB.
        command.args(["--no-deps", "nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"]);
    }
}

/// Interprets pip's messages and names a cure.
fn diagnose(output: &str) -> Failure {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| output.contains(phrase));
    if says(&["No space left on device", "Disk quota exceeded"]) {
        return Failure::new(
            "the disk is full: pip could not finish installing libtorch (its messages are above)",
            "free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
        );
    }
    if says(&[
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "Read timed out",
        "ProxyError",
        "SSLError",
        "Connection refused",
        "ConnectionResetError",
        "ProtocolError",
        "IncompleteRead",
        "Temporary failure in name resolution",
    ]) {
        return Failure::new(
            "the network failed: pip could not download libtorch from PyPI (its messages are above)",
            format!(
                "check the connection and run this again; behind a proxy set HTTPS_PROXY, for a mirror set PIP_INDEX_URL\n\
                 {OWN_LIBTORCH}"
            ),
        );
    }
    if says(&["No matching distribution", "Could not find a version"]) {
        return Failure::new(
            format!("the package index has no torch {VERSION} for x86-64 Linux (pip's messages are above)"),
            format!("if PIP_INDEX_URL or pip's configuration names another index than PyPI, unset it\n{OWN_LIBTORCH}"),
        );
    }
    Failure::new(
        "pip could not install libtorch (its messages are above)",
        format!("cure what pip names\n{OWN_LIBTORCH}"),
    )
}

fn unusable(problem: &str) -> Failure {
    Failure::new(
        format!("the libtorch that pip installed cannot be used: {problem}"),
        format!("run this again\n{OWN_LIBTORCH}"),
    )
}

/// Removes the remainders of interrupted installs: the holder of the lock is the only one that installs.
fn remove_remainders(cache: &Path) -> Result<(), Failure> {
    let entries = fs::read_dir(cache).map_err(|error| cannot_write(cache, &error))?;
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut remainders =
        names.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(PART)));
    remainders.try_for_each(|path| remove(&path))
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot_write(folder, &error)),
        _ => Ok(()),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("{} cannot be written: {error}", path.display()),
        "make it writable, or set XDG_CACHE_HOME to a folder that is",
    )
}

#[cfg(test)]
mod tests;
