//! The command line, as data.

use std::time::Duration;

/// The help text of `cargo xtask help`.
pub(crate) const USAGE: &str = "\
usage: cargo xtask TASK

  setup                find libtorch 2.11.0, or install it in the cache folder, and link .libtorch to it
  test [--long]        setup, then format, lints, tests and doctests
                       --long: the same tests with more cases
  demo [--seconds N]   setup, then build, train on the embedded digits, evaluate and draw samples
                       --seconds N: train for N seconds only, with the build of the tests
  install              setup, then put the program `bfn` on PATH
  help                 this text

variables:
  LIBTORCH, LIBTORCH_HOME   the folder of a libtorch 2.11.0 of your own
  XDG_CACHE_HOME            where an install goes (default ~/.cache), in its folder bfn";

/// One task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Setup,
    Test(Extent),
    Demo(Training),
    Install,
}

/// The number of cases that the tests try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Usual,
    Long,
}

/// The duration of the demonstration's training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Training {
    AsConfigured,
    For(Duration),
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// Returns a sentence that names the invalid argument.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let words: Vec<String> = arguments.collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Err("no task given".into()),
        ["help" | "--help" | "-h", ..] | [_, "--help" | "-h"] => Ok(Command::Help),
        ["setup"] => Ok(Command::Setup),
        ["install"] => Ok(Command::Install),
        ["test"] => Ok(Command::Test(Extent::Usual)),
        ["test", "--long"] => Ok(Command::Test(Extent::Long)),
        ["demo"] => Ok(Command::Demo(Training::AsConfigured)),
        ["demo", "--seconds"] => Err("--seconds needs a number, as in `--seconds 10`".into()),
        ["demo", "--seconds", seconds] => parse_seconds(seconds),
        ["demo", option] if option.starts_with("--seconds=") => parse_seconds(option.trim_start_matches("--seconds=")),
        ["setup" | "install" | "test" | "demo", rest @ ..] => {
            Err(format!("`{}` does not take `{}`", words[0], rest.join(" ")))
        }
        [task, ..] => Err(format!("there is no task `{task}`")),
    }
}

fn parse_seconds(text: &str) -> Result<Command, String> {
    match text.parse::<u64>() {
        Ok(seconds) if seconds > 0 => Ok(Command::Demo(Training::For(Duration::from_secs(seconds)))),
        _ => Err(format!("--seconds takes a whole number of at least 1, found `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn every_task_is_understood() {
        assert_eq!(parsed("setup"), Ok(Command::Setup));
        assert_eq!(parsed("install"), Ok(Command::Install));
        assert_eq!(parsed("test"), Ok(Command::Test(Extent::Usual)));
        assert_eq!(parsed("test --long"), Ok(Command::Test(Extent::Long)));
        assert_eq!(parsed("demo"), Ok(Command::Demo(Training::AsConfigured)));
        let ten_seconds = Command::Demo(Training::For(Duration::from_secs(10)));
        assert_eq!(parsed("demo --seconds 10"), Ok(ten_seconds));
        assert_eq!(parsed("demo --seconds=10"), Ok(ten_seconds));
        for line in ["help", "--help", "-h", "test --help", "demo -h"] {
            assert_eq!(parsed(line), Ok(Command::Help), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("", "no task"),
            ("tests", "`tests`"),
            ("setup --force", "`--force`"),
            ("test --short", "`--short`"),
            ("demo --seconds", "needs a number"),
            ("demo --seconds 0", "`0`"),
            ("demo --seconds -3", "`-3`"),
            ("demo --seconds 2m", "`2m`"),
            ("demo --seconds 10 --long", "--long"),
        ] {
            let message = parsed(line).expect_err(line);
            assert!(message.contains(named), "{line}: {message}");
        }
    }

    #[test]
    fn the_usage_names_every_task() {
        for task in ["setup", "test [--long]", "demo [--seconds N]", "install", "help"] {
            assert!(USAGE.contains(&format!("\n  {task} ")), "{task}");
        }
    }
}
