//! `cargo xtask setup`: makes plain `cargo build`, `cargo test` and `cargo run` work.

use crate::failure::Failure;
use crate::libtorch::{self, Kind, Libtorch};
use crate::link;
use crate::machine::Machine;
use crate::process::say;
use crate::wheel;

/// The variables that may name the C++ compiler of a build.
const COMPILER_VARIABLES: [&str; 5] =
    ["CXX_x86_64-unknown-linux-gnu", "CXX_x86_64_unknown_linux_gnu", "HOST_CXX", "TARGET_CXX", "CXX"];

/// Links `.libtorch` to a libtorch that it finds or installs. Instant if the link already leads to one.
pub(crate) fn run(machine: &Machine) -> Result<Libtorch, Failure> {
    check_compiler(machine)?;
    check_variables(machine)?;
    let libtorch = match link::current(machine) {
        Some(libtorch) => libtorch,
        None => {
            let libtorch = match libtorch::find(machine)? {
                Some(libtorch) => libtorch,
                None => wheel::install(machine, Kind::for_machine(machine))?,
            };
            link::lead_to(machine, &libtorch)?;
            libtorch
        }
    };
    say(format!("libtorch: {}, .libtorch -> {}", libtorch.version, libtorch.folder.display()));
    Ok(libtorch)
}

/// Checks for the C++ compiler that torch-sys and bfn-nets are built with: the one that CXX names, or else `c++`.
fn check_compiler(machine: &Machine) -> Result<(), Failure> {
    let named = COMPILER_VARIABLES.iter().find_map(|name| Some((*name, machine.variable(name)?)));
    if let Some((name, value)) = named {
        // The value may include a wrapper or options: `ccache g++`.
        let value = value.to_string_lossy();
        let program = value.split_whitespace().next().unwrap_or_default();
        return match machine.find_program(program) {
            Some(_) => Ok(()),
            None => Err(Failure::new(
                format!("{name} names the C++ compiler `{value}`, which was not found"),
                format!("install it, or unset {name}"),
            )),
        };
    }
    if machine.find_program("c++").is_some() {
        return Ok(());
    }
    if let Some(other) = ["g++", "clang++"].into_iter().find(|name| machine.find_program(name).is_some()) {
        return Err(Failure::new(
            format!("builds call the C++ compiler `c++`, which was not found; `{other}` is there"),
            format!("export CXX={other}"),
        ));
    }
    Err(Failure::new(
        "no C++ compiler was found on PATH (c++, g++ or clang++)",
        "on Debian or Ubuntu: sudo apt install g++\non Fedora: sudo dnf install gcc-c++\n\
         elsewhere: install g++ or clang++, or let CXX name your compiler",
    ))
}

/// Checks that no variable of torch-sys is set that would make it ignore `.libtorch`.
fn check_variables(machine: &Machine) -> Result<(), Failure> {
    let overriding = ["LIBTORCH_USE_PYTORCH", "LIBTORCH_INCLUDE", "LIBTORCH_LIB", "LIBTORCH_STATIC"];
    match overriding.iter().find_map(|name| Some((name, machine.variable(name)?))) {
        Some((name, value)) => Err(Failure::new(
            format!("{name}={} is set: builds would pass over the libtorch that is set up here", value.display()),
            format!(
                "unset {name}; to choose a libtorch of your own set LIBTORCH (a torch in python3 is found without)"
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    fn problem(sandbox: &Sandbox, variables: &[(&str, &str)]) -> Option<String> {
        run(&sandbox.machine(variables)).err().map(|failure| failure.to_string())
    }

    #[test]
    fn a_missing_compiler_is_named_with_its_cure() {
        let sandbox = Sandbox::new();
        let message = problem(&sandbox, &[]).unwrap();
        assert!(message.contains("no C++ compiler") && message.contains("apt install g++"), "{message}");
        sandbox.program("clang++", "");
        let message = problem(&sandbox, &[]).unwrap();
        assert!(message.contains("`clang++` is there") && message.contains("export CXX=clang++"), "{message}");
        let message = problem(&sandbox, &[("CXX", "icpx -O2")]).unwrap();
        assert!(message.contains("`icpx -O2`") && message.contains("unset CXX"), "{message}");
        assert_eq!(check_compiler(&sandbox.machine(&[("CXX", "clang++ -v")])), Ok(()));
        sandbox.program("c++", "");
        assert_eq!(check_compiler(&sandbox.machine(&[])), Ok(()));
    }

    #[test]
    fn variables_that_pass_over_the_link_are_refused() {
        let sandbox = Sandbox::new();
        sandbox.program("c++", "");
        let message = problem(&sandbox, &[("LIBTORCH_USE_PYTORCH", "1")]).unwrap();
        assert!(message.contains("LIBTORCH_USE_PYTORCH=1") && message.contains("unset"), "{message}");
    }

    #[test]
    fn a_second_time_asks_nothing_of_python() {
        let sandbox = Sandbox::new();
        sandbox.program("c++", "");
        let torch = sandbox.libtorch("torch", "2.11.0");
        sandbox.program("python3", &format!("echo '{}'", torch.display()));
        let machine = sandbox.machine(&[]);
        assert_eq!(run(&machine).unwrap().folder, torch);
        let made = std::fs::symlink_metadata(machine.root.join(".libtorch")).unwrap().modified().unwrap();
        sandbox.program("python3", &format!("touch '{}'", sandbox.path("called").display()));
        assert_eq!(run(&machine).unwrap().folder, torch);
        assert!(!sandbox.path("called").exists());
        let kept = std::fs::symlink_metadata(machine.root.join(".libtorch")).unwrap().modified().unwrap();
        assert_eq!(made, kept, "a link that is right is not touched");
    }

    #[test]
    fn without_python_the_message_names_it() {
        let sandbox = Sandbox::new();
        sandbox.program("c++", "");
        let message = problem(&sandbox, &[]).unwrap();
        assert!(message.contains("python3 was not found"), "{message}");
    }
}
