//! Running other programs, and printing messages.

use std::io::{self, IsTerminal as _, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;

/// The amount of a program's output that is kept for a closing line or a diagnosis.
const KEPT_BYTES: usize = 256 * 1024;

/// The exit status of a watched program, and the last part of its output.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

/// The streams of a program that are watched; the others stay connected to the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Errors,
    Everything,
}

/// Writes a line to stdout. A closed reader is not an error.
pub(crate) fn say(line: impl AsRef<str>) {
    let _ = writeln!(io::stdout(), "{}", line.as_ref());
}

/// Runs a program in the foreground.
///
/// # Errors
/// Returns a failure, which shows the command, if the program cannot start or does not succeed.
pub(crate) fn run(command: &mut Command, cure: &str) -> Result<(), Failure> {
    let shown = show(command);
    let status = command.status().map_err(|error| cannot_start(&shown, &error))?;
    succeeded(status, &shown, cure)
}

/// Runs a program in the foreground and also keeps the last part of its output.
///
/// # Errors
/// Returns a failure if the program cannot start. The caller decides whether it succeeded.
pub(crate) fn watch(command: &mut Command, what: Watch) -> Result<Watched, Failure> {
    let shown = show(command);
    let failed = |error: io::Error| cannot_start(&shown, &error);
    command.stderr(Stdio::piped());
    if what == Watch::Everything {
        command.stdout(Stdio::piped());
        // Programs do not colour output to a pipe, but this output reaches the terminal.
        if io::stderr().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
    }
    let mut child = command.spawn().map_err(failed)?;
    let errors = child.stderr.take().map(|pipe| thread::spawn(|| copy(pipe, io::stderr())));
    let lines = child.stdout.take().map(|pipe| thread::spawn(|| copy(pipe, io::stdout())));
    let status = child.wait().map_err(failed)?;
    let text = |copier: Option<thread::JoinHandle<Vec<u8>>>| {
        let bytes = copier.and_then(|copier| copier.join().ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Watched { status, output: text(lines) + &text(errors) })
}

/// Runs a program silently and returns what it printed, or `None` if the program is missing or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Turns an unsuccessful exit status into a failure that shows the command.
pub(crate) fn succeeded(status: ExitStatus, shown: &str, cure: &str) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{shown}` failed ({status})"), cure))
}

/// Returns the command as typed in a shell, with the program's name instead of its path.
pub(crate) fn show(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    let words = command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.contains([' ', '*', '"']) { format!("'{word}'") } else { word.into_owned() }
    });
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// Formats a duration for people.
pub(crate) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    format!("{} min {} s", seconds / 60, seconds % 60)
}

/// Copies data as it arrives, so that progress is visible, and returns the last part.
fn copy(mut from: impl Read, mut to: impl Write) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(count) => {
                let _ = to.write_all(&buffer[..count]).and_then(|()| to.flush());
                kept.extend_from_slice(&buffer[..count]);
                if kept.len() > 2 * KEPT_BYTES {
                    kept.drain(..kept.len() - KEPT_BYTES);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return kept,
        }
    }
}

fn cannot_start(shown: &str, error: &io::Error) -> Failure {
    Failure::new(format!("`{shown}` could not be started: {error}"), "check that the program is installed and on PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failing_command_is_shown_with_its_status() {
        let message = run(&mut shell("exit 3"), "look above").unwrap_err().to_string();
        assert!(message.contains("sh -c 'exit 3'"), "{message}");
        assert!(message.contains("exit status: 3"), "{message}");
        assert!(message.contains("look above"), "{message}");
        assert_eq!(run(&mut shell("exit 0"), ""), Ok(()));
    }

    #[test]
    fn a_missing_program_is_named() {
        let message = run(&mut Command::new("/no/such/program"), "").unwrap_err().to_string();
        assert!(message.contains("`program` could not be started"), "{message}");
    }

    #[test]
    fn watching_keeps_both_streams_and_the_status() {
        let watched = watch(&mut shell("echo one; echo two >&2; exit 4"), Watch::Everything).unwrap();
        assert!(watched.output.contains("one\n") && watched.output.contains("two\n"));
        assert_eq!(watched.status.code(), Some(4));
    }

    #[test]
    fn long_output_keeps_its_end() {
        let text = [vec![b'a'; 3 * KEPT_BYTES], b"the end".to_vec()].concat();
        let kept = copy(text.as_slice(), io::sink());
        assert!(kept.len() <= 2 * KEPT_BYTES && kept.ends_with(b"the end"));
    }

    #[test]
    fn asking_gives_nothing_where_there_is_no_answer() {
        assert_eq!(ask(&mut shell("echo yes")), Some("yes\n".into()));
        assert_eq!(ask(&mut shell("echo yes; exit 1")), None);
        assert_eq!(ask(&mut Command::new("/no/such/program")), None);
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(spoken(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(spoken(Duration::from_millis(59_990)), "1 min 0 s");
        assert_eq!(spoken(Duration::from_secs(605)), "10 min 5 s");
    }
}
