//! Tests of the installer with a simulated python3 that answers as pip does.

use std::path::Path;

use super::*;
use crate::testing::Sandbox;

/// Answers `-m pip --version`; on `install`, records the call and makes a libtorch of this version in the target.
fn fake_pip(sandbox: &Sandbox, version: &str) {
    sandbox.libtorch("served", version);
    sandbox.program(
        "python3",
        &format!(
            r#"[ "$1" = -m ] || exit 1
            [ "$3" = --version ] && {{ echo "pip 24.0 from /somewhere"; exit 0; }}
            echo "$@" >> {calls}
            while [ $# -gt 0 ]; do [ "$1" = --target ] && target=$2; shift; done
            [ -d "$TMPDIR" ] || exit 9
            sleep 0.3
            mkdir -p "$target" && cp -r {served} "$target/torch""#,
            calls = sandbox.path("calls").display(),
            served = sandbox.path("served").display(),
        ),
    );
}

fn calls(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.path("calls")).map_or(0, |text| text.lines().count())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn failure(sandbox: &Sandbox) -> String {
    install(&sandbox.machine(&[]), Kind::CpuOnly).unwrap_err().to_string()
}

#[test]
fn an_install_is_whole_and_leaves_no_remainder() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, "2.11.0+cu130");
    // Remainders of an interrupted install and of a damaged one.
    let cache = sandbox.path("home/.cache/bfn");
    fs::create_dir_all(cache.join("libtorch-2.11.0-cpu.part-1/wheel/torch")).unwrap();
    fs::create_dir_all(cache.join("libtorch-2.11.0-cpu/torch/lib")).unwrap();
    let found = install(&sandbox.machine(&[]), Kind::CpuOnly).unwrap();
    assert_eq!(found.folder, cache.join("libtorch-2.11.0-cpu/torch"));
    assert_eq!(found.version, "2.11.0+cu130");
    assert_eq!(names(&cache), ["libtorch-2.11.0-cpu", "lock"]);
    assert_eq!(names(&cache.join("libtorch-2.11.0-cpu")), ["torch"]);
}

#[test]
fn two_processes_at_once_install_once() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, VERSION);
    // Locks belong to open files, so two threads compete as two processes do.
    let [one, two] = std::thread::scope(|scope| {
        let start = || scope.spawn(|| install(&sandbox.machine(&[]), Kind::CpuOnly));
        [start(), start()].map(|thread| thread.join().unwrap().unwrap())
    });
    assert_eq!(one, two);
    assert_eq!(calls(&sandbox), 1);
}

#[test]
fn a_lock_file_that_nobody_holds_does_not_block() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, VERSION);
    let cache = sandbox.path("home/.cache/bfn");
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("lock"), "12345").unwrap();
    assert!(install(&sandbox.machine(&[]), Kind::CpuOnly).is_ok());
}

#[test]
fn a_failed_install_leaves_nothing_and_says_why() {
    for (script, named, cure) in [
        (
            "echo 'WARNING: Retrying after connection broken by NewConnectionError' >&2; \
          echo 'ERROR: No matching distribution found for torch==2.11.0' >&2",
            "network",
            "HTTPS_PROXY",
        ),
        (
            "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device' >&2",
            "disk is full",
            "XDG_CACHE_HOME",
        ),
        ("echo 'ERROR: No matching distribution found for torch==2.11.0' >&2", "package index", "PIP_INDEX_URL"),
        ("echo 'ERROR: something new' >&2", "its messages are above", "LIBTORCH"),
    ] {
        let sandbox = Sandbox::new();
        sandbox
            .program("python3", &format!("[ \"$3\" = --version ] && {{ echo 'pip 24.0'; exit 0; }}; {script}; exit 1"));
        let message = failure(&sandbox);
        assert!(message.contains(named) && message.contains(cure), "{message}");
        assert_eq!(names(&sandbox.path("home/.cache/bfn")), ["lock"]);
    }
}

#[test]
fn a_wheel_of_another_version_is_not_kept() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, "2.10.0");
    let message = failure(&sandbox);
    assert!(message.contains("it is version 2.10.0"), "{message}");
    assert_eq!(names(&sandbox.path("home/.cache/bfn")), ["lock"]);
}

#[test]
fn missing_python_and_pip_are_named_with_their_cure() {
    let sandbox = Sandbox::new();
    let message = failure(&sandbox);
    assert!(message.contains("python3 was not found") && message.contains("apt install python3"), "{message}");
    sandbox.program("python3", "echo 'No module named pip' >&2; exit 1");
    let message = failure(&sandbox);
    assert!(message.contains("has no pip") && message.contains("python3-pip"), "{message}");
    sandbox.program("python3", "echo 'pip 19.1 from /usr/lib (python 3.7)'");
    let message = failure(&sandbox);
    assert!(message.contains("found pip 19.1") && message.contains("--upgrade pip"), "{message}");
}

#[test]
fn too_little_space_is_noticed_before_the_download() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, VERSION);
    sandbox.program("df", "echo Filesystem; echo '/dev/vda 264212084 13777280 1000000 15% /'");
    let message = failure(&sandbox);
    assert!(message.contains("needs 2.0 GB") && message.contains("found 1.0 GB"), "{message}");
    assert_eq!(calls(&sandbox), 0);
}

#[test]
fn a_cache_folder_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::new();
    fake_pip(&sandbox, VERSION);
    fs::write(sandbox.path("home/.cache"), "a file in the way").unwrap();
    let message = failure(&sandbox);
    assert!(message.contains("home/.cache/bfn cannot be written"), "{message}");
}

#[test]
fn the_wheels_do_not_depend_on_the_local_python() {
    let words = |kind| {
        let mut command = Command::new("python3");
        pip_arguments(&mut command, kind, Path::new("/target"));
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    for kind in [Kind::CpuOnly, Kind::Cuda] {
        let words = words(kind);
        assert!(words.contains("--target /target --only-binary=:all: --python-version 3.11 --implementation cp"));
        assert!(words.contains("--platform manylinux_2_28_x86_64") && words.contains("manylinux2014_x86_64"));
        assert!(words.contains("torch==2.11.0"));
    }
    assert!(words(Kind::CpuOnly).contains("--no-deps nvidia-cuda-runtime==13.0.*"));
    assert!(!words(Kind::Cuda).contains("--no-deps"));
}

#[test]
fn versions_and_free_space_are_read() {
    assert_eq!(pip_version("pip 23.2.1 from /usr/lib"), Some((23, 2)));
    assert_eq!(pip_version("pip 9.0 from /usr/lib"), Some((9, 0)));
    assert_eq!(pip_version("pip 25\n"), Some((25, 0)));
    assert_eq!(pip_version("something else"), None);
    let listing = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 20 80 20% /\n";
    assert_eq!(free_kib(listing), Some(80));
    assert_eq!(free_kib(""), None);
}
