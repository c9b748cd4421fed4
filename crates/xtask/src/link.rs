//! `.libtorch`: the link with a fixed name through which every build and every program finds libtorch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::libtorch::{self, Kind, Libtorch};
use crate::machine::{Machine, NvidiaDriver};

const NAME: &str = ".libtorch";

/// Returns whether this path is the link itself (not its target).
pub(crate) fn is_ours(machine: &Machine, path: &Path) -> bool {
    let same_folder = || Some(path.parent()?.canonicalize().ok()? == machine.root.canonicalize().ok()?);
    path.file_name().is_some_and(|name| name == NAME) && same_folder() == Some(true)
}

/// Returns the libtorch that the link leads to, unless another one is needed.
pub(crate) fn current(machine: &Machine) -> Option<Libtorch> {
    let found = libtorch::inspect(&machine.root.join(NAME)).ok()?;
    let leads_to = |folder: &Path| folder.canonicalize().is_ok_and(|folder| folder == found.folder);
    if libtorch::chosen_by_variable(machine).is_some_and(|chosen| !leads_to(Path::new(chosen))) {
        return None;
    }
    let home = machine.variable("LIBTORCH_HOME").map(Path::new);
    if home.is_some_and(|home| !leads_to(home) && libtorch::inspect(home).is_ok()) {
        return None;
    }
    // A driver has appeared since the CPU-only install.
    let cpu_only = libtorch::cached(machine, Kind::CpuOnly).is_ok_and(|folder| leads_to(&folder));
    if cpu_only && machine.driver == NvidiaDriver::Present {
        return None;
    }
    Some(found)
}

/// Points the link to this libtorch. At every moment the link leads to the old one or to the new one.
pub(crate) fn lead_to(machine: &Machine, libtorch: &Libtorch) -> Result<(), Failure> {
    let link = machine.root.join(NAME);
    if link.symlink_metadata().is_ok_and(|data| !data.is_symlink()) {
        return Err(Failure::new(
            format!("expected a link (or nothing) at {}, found a folder or file", link.display()),
            "move it away; if it is a libtorch of your own, let LIBTORCH name its new place",
        ));
    }
    let temporary = machine.root.join(format!("{NAME}.{}", std::process::id()));
    make(&libtorch.folder, &temporary).and_then(|()| fs::rename(&temporary, &link)).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Failure::new(
            format!("the link {} could not be made: {error}", link.display()),
            "check that the folder is writable and its file system knows symbolic links",
        )
    })
}

#[cfg(unix)]
fn make(target: &PathBuf, link: &Path) -> io::Result<()> {
    // An interrupted process with the same number may have left this link behind.
    let _ = fs::remove_file(link);
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn make(_: &PathBuf, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    fn linked(machine: &Machine, folder: &Path) {
        lead_to(machine, &libtorch::inspect(folder).unwrap()).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_link_is_made_moved_and_leaves_nothing_behind() {
        let sandbox = Sandbox::new();
        let machine = sandbox.machine(&[]);
        let [one, two] = ["one", "two"].map(|name| sandbox.libtorch(name, "2.11.0"));
        assert_eq!(current(&machine), None);
        linked(&machine, &one);
        assert_eq!(current(&machine).unwrap().folder, one);
        linked(&machine, &two);
        assert_eq!(current(&machine).unwrap().folder, two);
        assert_eq!(names(&machine.root), [NAME]);
        fs::remove_dir_all(&two).unwrap();
        assert_eq!(current(&machine), None, "a link to nowhere");
        linked(&machine, &one);
        assert_eq!(current(&machine).unwrap().folder, one);
    }

    #[test]
    fn the_link_yields_to_the_users_own_variables() {
        let sandbox = Sandbox::new();
        let [one, two] = ["one", "two"].map(|name| sandbox.libtorch(name, "2.11.0"));
        linked(&sandbox.machine(&[]), &one);
        for name in ["LIBTORCH", "LIBTORCH_HOME"] {
            assert_eq!(current(&sandbox.machine(&[(name, two.to_str().unwrap())])), None, "{name}");
            assert!(current(&sandbox.machine(&[(name, one.to_str().unwrap())])).is_some(), "{name}");
        }
        // An unusable LIBTORCH_HOME changes nothing.
        assert!(current(&sandbox.machine(&[("LIBTORCH_HOME", "/no/such/folder")])).is_some());
    }

    #[test]
    fn a_driver_that_came_later_asks_for_the_full_install() {
        let sandbox = Sandbox::new();
        let mut machine = sandbox.machine(&[]);
        linked(&machine, &sandbox.libtorch("home/.cache/bfn/libtorch-2.11.0-cpu/torch", "2.11.0"));
        assert!(current(&machine).is_some());
        machine.driver = NvidiaDriver::Present;
        assert_eq!(current(&machine), None);
    }

    #[test]
    fn a_folder_in_the_way_is_not_touched() {
        let sandbox = Sandbox::new();
        let machine = sandbox.machine(&[]);
        fs::create_dir(machine.root.join(NAME)).unwrap();
        let one = libtorch::inspect(&sandbox.libtorch("one", "2.11.0")).unwrap();
        let message = lead_to(&machine, &one).unwrap_err().to_string();
        assert!(message.contains("found a folder") && message.contains("move it away"), "{message}");
        assert_eq!(names(&machine.root), [NAME]);
    }

    #[test]
    fn only_the_link_of_this_workspace_is_ours() {
        let sandbox = Sandbox::new();
        let machine = sandbox.machine(&[]);
        assert!(is_ours(&machine, &machine.root.join(NAME)));
        assert!(is_ours(&machine, &machine.root.join("../root").join(NAME)));
        assert!(!is_ours(&machine, &sandbox.path("home").join(NAME)));
        assert!(!is_ours(&machine, Path::new("/opt/libtorch")));
    }
}
