//! Output paths: checks before the work starts, and folders that are written whole or not at all.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bfn_nets::check_writable;

/// Checks that a file can be written.
///
/// # Errors
///
/// Returns an error if the file's folder is missing, is not a folder or cannot be written to, or if the path is a
/// folder.
pub fn check_file(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "{} is a folder; name the file to write", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let (shown, folder_shown) = (path.display(), folder.display());
        ensure!(folder.is_dir(), "{shown} cannot be written: there is no folder {folder_shown}; make it");
    }
    Ok(check_writable(path)?)
}

/// Checks that a folder can be created, including its missing parents.
///
/// # Errors
///
/// Returns an error if the path does not end with a name or passes through a file, or if the folder it is to lie in
/// cannot be written to.
pub fn check_folder(path: &Path) -> Result<()> {
    let shown = path.display();
    ensure!(path.file_name().is_some(), "{shown} does not end with the name of a folder; name a new one");
    let below: Vec<&Path> =
        path.ancestors().take_while(|folder| *folder != Path::new("") && !folder.exists()).collect();
    let Some(first) = below.last() else { return Ok(()) };
    if let Some(above) = first.parent().filter(|above| above.exists() && !above.is_dir()) {
        anyhow::bail!("{shown} cannot be made: {} is no folder", above.display());
    }
    check_writable(first).with_context(|| format!("{shown} cannot be made"))
}

/// Writes a folder whole or not at all.
///
/// `content` fills a sibling folder, `NAME.bfn-partial`, which is then renamed. A sibling left behind by a killed
/// program is removed first.
///
/// # Errors
///
/// Returns an error if [`check_folder`] fails, if `content` returns one, or if the folder exists and is not empty.
/// The sibling is removed in these cases.
pub fn write_whole_folder(path: &Path, content: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    check_folder(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".bfn-partial");
    // Not `path` with a suffix appended: with a trailing slash, that would lie inside the folder.
    let partial = path.with_file_name(name);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("cannot make the folder {}", partial.display()))?;
    let written = content(&partial).and_then(|()| {
        fs::rename(&partial, path).with_context(|| format!("cannot make the folder {}", path.display()))
    });
    written.inspect_err(|_| {
        // If this fails as well, nothing more can be done.
        let _ = fs::remove_dir_all(&partial);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) -> Result<()> {
        Ok(fs::write(folder.join(name), name)?)
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() -> Result<()> {
        let place = tempfile::tempdir()?;
        // A trailing slash, missing folders, and the remains of a killed program.
        let path = place.path().join("new/pictures/");
        let partial = place.path().join("new/pictures.bfn-partial");
        fs::create_dir_all(&partial)?;
        write(&partial, "stale")?;
        let failed = write_whole_folder(&path, |folder| {
            write(folder, "first")?;
            anyhow::bail!("no space")
        });
        assert!(failed.is_err() && !path.exists() && !partial.exists());
        fs::create_dir_all(&partial)?;
        write(&partial, "stale")?;
        write_whole_folder(&path, |folder| write(folder, "first"))?;
        let files: Vec<_> = fs::read_dir(&path)?.flatten().map(|file| file.file_name()).collect();
        assert_eq!(files, ["first"]);
        assert!(!partial.exists());
        Ok(())
    }

    #[test]
    fn places_where_nothing_can_be_written_are_named() -> Result<()> {
        let place = tempfile::tempdir()?;
        write(place.path(), "file")?;
        let in_place = |name: &str| place.path().join(name);
        check_file(Path::new("name.json"))?;
        check_file(&in_place("name.json"))?;
        check_folder(Path::new("name/"))?;
        check_folder(&in_place("not/there/yet"))?;
        for wrong in ["missing/name.json", "file/name.json"] {
            let error = check_file(&in_place(wrong)).expect_err(wrong).to_string();
            assert!(error.contains("name.json") && error.contains("there is no folder"), "{error}");
        }
        let error = check_file(place.path()).expect_err("a folder").to_string();
        assert!(error.contains("is a folder"), "{error}");
        for wrong in ["file/name", ".."] {
            assert!(check_folder(&in_place(wrong)).is_err(), "{wrong}");
        }
        // Nobody can write to this folder.
        let closed = Path::new("/proc/self/name");
        for error in [check_file(closed).expect_err("a file"), check_folder(closed).expect_err("a folder")] {
            assert!(format!("{error:#}").contains("/proc/self/name"), "{error:#}");
        }
        assert_eq!(fs::read_dir(place.path())?.count(), 1, "only the file that was there");
        Ok(())
    }
}
