//! `cargo xtask install`: puts `bfn` on PATH.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::libtorch::Libtorch;
use crate::machine::Machine;
use crate::process::{ask, run as run_process, say, show};
use crate::setup;

/// Builds and installs `bfn`, runs it once, and reports how it finds libtorch.
pub(crate) fn run(machine: &Machine) -> Result<(), Failure> {
    let libtorch = setup::run(machine)?;
    let mut command = machine.cargo();
    command.args(["install", "--path", "crates/bfn-exp", "--locked"]);
    say(format!("\ninstall: {} (the first time takes some minutes)", show(&command)));
    run_process(&mut command, "see the messages above")?;

    let Some(program) = programs_folder(machine).map(|folder| folder.join("bfn")).filter(|path| path.is_file()) else {
        // Cargo's configuration may name another place; cargo has reported where.
        say(finding(&libtorch));
        return Ok(());
    };
    let Some(version) = ask(machine.command(&program).arg("--version")) else {
        return Err(Failure::new(
            format!("{} was installed but does not run", program.display()),
            format!("`ldd {}` names what is missing; {}", program.display(), finding(&libtorch)),
        ));
    };
    say(format!("\n{} installed at {}", version.trim(), program.display()));
    say(finding(&libtorch));
    if let Some(advice) = path_advice(machine, &program) {
        say(advice);
    }
    Ok(())
}

/// Returns the folder into which `cargo install` puts programs.
fn programs_folder(machine: &Machine) -> Option<PathBuf> {
    let own = machine.variable("CARGO_INSTALL_ROOT").or_else(|| machine.variable("CARGO_HOME")).map(PathBuf::from);
    own.or_else(|| Some(Path::new(machine.variable("HOME")?).join(".cargo"))).map(|root| root.join("bin"))
}

fn finding(libtorch: &Libtorch) -> String {
    format!(
        "it finds libtorch at {lib} (and first through this clone's .libtorch): keep that folder,\n\
         or set LD_LIBRARY_PATH to the `lib` of another libtorch of the same version",
        lib = libtorch.folder.join("lib").display()
    )
}

/// Returns advice if the shell would not find the program, or would find another one first.
fn path_advice(machine: &Machine, program: &Path) -> Option<String> {
    let folder = program.parent()?.display();
    match machine.find_program("bfn") {
        Some(found) if found.canonicalize().ok() == program.canonicalize().ok() => None,
        Some(other) => Some(format!("note: `bfn` on PATH is {}; put {folder} before it", other.display())),
        None => Some(format!("note: {folder} is not on PATH; add: export PATH=\"{folder}:$PATH\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    #[test]
    fn the_programs_folder_is_cargos() {
        let sandbox = Sandbox::new();
        let folder = |variables| programs_folder(&sandbox.machine(variables)).unwrap();
        assert_eq!(folder(&[("HOME", "/h")]), Path::new("/h/.cargo/bin"));
        assert_eq!(folder(&[("HOME", "/h"), ("CARGO_HOME", "/c")]), Path::new("/c/bin"));
        assert_eq!(folder(&[("CARGO_INSTALL_ROOT", "/i"), ("CARGO_HOME", "/c")]), Path::new("/i/bin"));
    }

    #[test]
    fn the_shell_is_told_of_a_folder_it_does_not_know() {
        let sandbox = Sandbox::new();
        let machine = sandbox.machine(&[]);
        let elsewhere = sandbox.path("home/.cargo/bin/bfn");
        assert!(path_advice(&machine, &elsewhere).unwrap().contains("export PATH="));
        sandbox.program("bfn", "");
        assert!(path_advice(&machine, &elsewhere).unwrap().contains("before it"));
        assert_eq!(path_advice(&machine, &sandbox.programs().join("bfn")), None);
    }
}
