//! `cargo xtask test`: everything that must hold before a change goes in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::arguments::Extent;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::process::{Watch, ask, say, show, spoken, succeeded, watch};
use crate::setup;

/// The number of cases that a property test tries under `--long`.
const LONG_CASES: &str = "4096";

/// The program that runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    Nextest,
    CargoTest,
}

/// One check: a cargo command and what to do when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    compiler: Compiler,
    cure: &'static str,
}

/// The compiler of the workspace's packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compiler {
    Rustc,
    /// `clippy-driver`: rustc with clippy's lints, which are denied here. `cargo clippy` only checks packages, which
    /// would all have to be compiled again for the tests: two minutes more on two cores.
    Clippy,
}

/// One libtorch thread per process. On two cores, two test processes with two threads each would wait for each other.
const ONE_THREAD: (&str, &str) = ("OMP_NUM_THREADS", "1");

/// Runs every check and stops at the first that fails.
pub(crate) fn run(machine: &Machine, extent: Extent) -> Result<(), Failure> {
    setup::run(machine)?;
    check_components(machine)?;
    let clippy = clippy_driver(machine)?;
    let runner = find_runner(machine);
    let steps = steps(runner);
    let started = Instant::now();
    let mut summary = Vec::new();
    let mut closing = None;
    for (index, step) in steps.iter().enumerate() {
        let mut command = command(machine, step, extent, &clippy);
        say(format!("\n[{}/{}] {}: {}", index + 1, steps.len(), step.name, show(&command)));
        let step_started = Instant::now();
        let watched = watch(&mut command, Watch::Everything)?;
        let time = step_started.elapsed();
        say(format!("[{}/{}] {}: {}", index + 1, steps.len(), step.name, spoken(time)));
        if step.name == "tests" {
            closing = closing_line(&watched.output);
        }
        if let Err(failure) = succeeded(watched.status, &show(&command), step.cure) {
            closing.into_iter().for_each(say);
            return Err(failure);
        }
        summary.push((step.name, time));
    }
    say(format!("\n{}", closing.unwrap_or_else(|| "the test runner printed no summary".into())));
    say(table(&summary));
    say(format!("all checks passed in {}", spoken(started.elapsed())));
    Ok(())
}

fn check_components(machine: &Machine) -> Result<(), Failure> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if ask(machine.cargo().args([subcommand, "--version"])).is_none() {
            return Err(Failure::new(
                format!("`cargo {subcommand}` is not installed"),
                format!("rustup component add {component}"),
            ));
        }
    }
    Ok(())
}

/// Returns the compiler with lints, which lies beside cargo or on PATH.
fn clippy_driver(machine: &Machine) -> Result<PathBuf, Failure> {
    const NAME: &str = "clippy-driver";
    let beside = machine.variable("CARGO").map(|cargo| Path::new(cargo).with_file_name(NAME));
    beside.filter(|path| path.is_file()).or_else(|| machine.find_program(NAME)).ok_or_else(|| {
        Failure::new(format!("expected `{NAME}` beside cargo or on PATH, found none"), "rustup component add clippy")
    })
}

fn find_runner(machine: &Machine) -> Runner {
    match ask(machine.cargo().args(["nextest", "--version"])) {
        Some(_) => Runner::Nextest,
        None => Runner::CargoTest,
    }
}

fn steps(runner: Runner) -> [Step; 4] {
    const SEE_ABOVE: &str = "see the messages above";
    let (build, tests): (&[&str], &[&str]) = match runner {
        Runner::Nextest => (
            &["nextest", "run", "--workspace", "--all-targets", "--no-run"],
            &["nextest", "run", "--workspace", "--no-fail-fast"],
        ),
        // Doctests run later, with either runner.
        Runner::CargoTest => (
            &["test", "--workspace", "--all-targets", "--no-run"],
            &["test", "--workspace", "--lib", "--bins", "--tests", "--examples", "--no-fail-fast"],
        ),
    };
    let step = |name, arguments, variables, compiler, cure| Step { name, arguments, variables, compiler, cure };
    [
        step("format", &["fmt", "--all", "--check"], &[], Compiler::Rustc, "cargo fmt --all"),
        step("lints and build", build, &[], Compiler::Clippy, SEE_ABOVE),
        step("tests", tests, &[ONE_THREAD], Compiler::Clippy, SEE_ABOVE),
        step("doctests", &["test", "--workspace", "--doc"], &[ONE_THREAD], Compiler::Clippy, SEE_ABOVE),
    ]
}

fn command(machine: &Machine, step: &Step, extent: Extent, clippy: &Path) -> Command {
    let mut command = machine.cargo();
    command.args(step.arguments);
    if step.compiler == Compiler::Clippy {
        command.env("RUSTC_WORKSPACE_WRAPPER", clippy).env("CLIPPY_ARGS", "-Dwarnings");
    }
    let long = match extent {
        Extent::Usual => &[][..],
        Extent::Long => &[("PROPTEST_CASES", LONG_CASES), ("BFN_TEST_LONG", "1")][..],
    };
    for (name, value) in step.variables.iter().chain(long) {
        // The user's own setting takes precedence.
        if machine.variable(name).is_none() {
            command.env(name, value);
        }
    }
    command
}

/// Returns the summary of the test runner: nextest's line, or the sum of cargo test's lines, one per test program.
fn closing_line(output: &str) -> Option<String> {
    let plain = without_colours(output);
    if let Some(line) = plain.lines().rev().find(|line| line.trim_start().starts_with("Summary [")) {
        return Some(line.trim().to_string());
    }
    let mut sums = [0_u64; 3];
    let mut programs = 0;
    for line in plain.lines().filter(|line| line.starts_with("test result: ")) {
        programs += 1;
        for (sum, word) in sums.iter_mut().zip(["passed", "failed", "ignored"]) {
            *sum += count(line, word).unwrap_or(0);
        }
    }
    let [passed, failed, ignored] = sums;
    let result = if failed == 0 { "ok" } else { "FAILED" };
    (programs > 0).then(|| {
        format!("test result: {result}. {passed} passed; {failed} failed; {ignored} ignored ({programs} test programs)")
    })
}

/// Returns the number before `word` in a line such as `test result: ok. 12 passed; 0 failed; …`.
fn count(line: &str, word: &str) -> Option<u64> {
    let part = line.split([';', '.']).find(|part| part.trim_end().ends_with(word))?;
    part.split_whitespace().next()?.parse().ok()
}

/// Removes the escape sequences that colour text (`ESC [ … m`).
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |plain, part| {
        let rest = part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
        plain + rest
    })
}

fn table(summary: &[(&str, Duration)]) -> String {
    let line = |(name, time): &(&str, Duration)| format!("  {name:<14} {:>14}", spoken(*time));
    summary.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    const DRIVER: &str = "/toolchain/clippy-driver";

    fn shown(runner: Runner) -> Vec<String> {
        let sandbox = Sandbox::new();
        let machine = sandbox.machine(&[]);
        steps(runner).iter().map(|step| show(&command(&machine, step, Extent::Usual, DRIVER.as_ref()))).collect()
    }

    #[test]
    fn the_steps_are_the_promised_ones() {
        let nextest = shown(Runner::Nextest);
        assert_eq!(nextest[0], "cargo fmt --all --check");
        assert_eq!(nextest[1], "cargo nextest run --workspace --all-targets --no-run");
        assert!(nextest[2].starts_with("cargo nextest run --workspace"));
        assert_eq!(nextest[3], "cargo test --workspace --doc");
        let cargo_test = shown(Runner::CargoTest);
        assert_eq!(cargo_test[1], "cargo test --workspace --all-targets --no-run");
        assert!(cargo_test[2].starts_with("cargo test --workspace"));
        assert_eq!((&nextest[..1], &nextest[3..]), (&cargo_test[..1], &cargo_test[3..]));
    }

    #[test]
    fn all_that_compiles_has_the_lints_denied() {
        let sandbox = Sandbox::new();
        let machine = sandbox.machine(&[("RUSTC_WORKSPACE_WRAPPER", "/own/wrapper")]);
        for step in &steps(Runner::Nextest)[1..] {
            let command = command(&machine, step, Extent::Usual, DRIVER.as_ref());
            let variable = |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
            assert_eq!(variable("RUSTC_WORKSPACE_WRAPPER"), Some(DRIVER.as_ref()), "{}", step.name);
            assert_eq!(variable("CLIPPY_ARGS"), Some("-Dwarnings".as_ref()), "{}", step.name);
        }
    }

    #[test]
    fn the_compiler_with_lints_lies_beside_cargo_or_on_the_path() {
        let sandbox = Sandbox::new();
        let message = clippy_driver(&sandbox.machine(&[])).unwrap_err().to_string();
        assert!(message.contains("clippy-driver") && message.contains("rustup component add clippy"), "{message}");
        sandbox.program("clippy-driver", "");
        let driver = sandbox.programs().join("clippy-driver");
        assert_eq!(clippy_driver(&sandbox.machine(&[])).unwrap(), driver);
        let cargo = sandbox.programs().join("cargo");
        let machine = sandbox.machine(&[("CARGO", cargo.to_str().unwrap()), ("PATH", "/nowhere")]);
        assert_eq!(clippy_driver(&machine).unwrap(), driver);
    }

    #[test]
    fn long_means_the_same_commands_with_more_cases() {
        let sandbox = Sandbox::new();
        let machine = sandbox.machine(&[]);
        for step in steps(Runner::Nextest) {
            let [usual, long] =
                [Extent::Usual, Extent::Long].map(|extent| command(&machine, &step, extent, DRIVER.as_ref()));
            assert_eq!(show(&usual), show(&long));
            let cases = |command: &Command| {
                let mut variables = command.get_envs();
                variables.find(|(name, _)| *name == "PROPTEST_CASES").map(|(_, value)| value.map(ToOwned::to_owned))
            };
            assert_eq!(cases(&usual), None);
            assert_eq!(cases(&long), Some(Some(LONG_CASES.into())));
        }
        let own = sandbox.machine(&[("PROPTEST_CASES", "7")]);
        let command = command(&own, &steps(Runner::Nextest)[2], Extent::Long, DRIVER.as_ref());
        assert!(command.get_envs().any(|(name, value)| name == "PROPTEST_CASES" && value == Some("7".as_ref())));
    }

    #[test]
    fn nextests_closing_line_is_found_under_its_colours() {
        let output =
            "\u{1b}[32;1m     Summary\u{1b}[0m [   1.234s] 12 tests run: \u{1b}[1m12\u{1b}[0m passed, 0 skipped\n";
        assert_eq!(closing_line(output).unwrap(), "Summary [   1.234s] 12 tests run: 12 passed, 0 skipped");
    }

    #[test]
    fn cargo_tests_closing_lines_are_added_up() {
        let output = "running 3 tests\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                      test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let line = closing_line(output).unwrap();
        assert_eq!(line, "test result: FAILED. 13 passed; 2 failed; 1 ignored (2 test programs)");
        assert_eq!(closing_line("no tests here"), None);
    }

    #[test]
    fn missing_components_are_named() {
        let sandbox = Sandbox::new();
        sandbox.program("cargo", "[ \"$1\" = fmt ]");
        let machine = sandbox.machine(&[("CARGO", sandbox.programs().join("cargo").to_str().unwrap())]);
        let message = check_components(&machine).unwrap_err().to_string();
        assert!(message.contains("cargo clippy") && message.contains("rustup component add clippy"), "{message}");
        assert_eq!(find_runner(&machine), Runner::CargoTest);
    }

    #[test]
    fn a_failing_step_stops_the_checks_and_is_shown() {
        let sandbox = Sandbox::new();
        sandbox.program("c++", "");
        sandbox.program("clippy-driver", "");
        let torch = sandbox.libtorch("torch", "2.11.0");
        let calls = sandbox.path("calls");
        sandbox.program(
            "cargo",
            &format!(
                "echo \"$@\" >> {}; [ \"$1 $2 $5\" = 'nextest run --no-run' ] && exit 101; exit 0",
                calls.display()
            ),
        );
        let cargo = sandbox.programs().join("cargo");
        let variables = [("CARGO", cargo.to_str().unwrap()), ("LIBTORCH", torch.to_str().unwrap())];
        let message = run(&sandbox.machine(&variables), Extent::Usual).unwrap_err().to_string();
        assert!(message.contains("cargo nextest run --workspace --all-targets --no-run"), "{message}");
        assert!(message.contains("101"), "{message}");
        let calls = std::fs::read_to_string(calls).unwrap();
        assert!(calls.lines().last().unwrap().ends_with("--no-run"), "{calls}");
    }
}
