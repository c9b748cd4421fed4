//! Where results go: places that are looked at before the work, and folders that are there whole or not at all.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bfn_nets::check_writable;

/// Checks that a file can be written.
///
/// # Errors
///
/// A folder that is missing, is none, or takes no files; a folder in the place of the file.
pub fn check_file(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "{} is a folder; name the file to write", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let (shown, folder_shown) = (path.display(), folder.display());
        ensure!(folder.is_dir(), "{shown} cannot be written: there is no folder {folder_shown}; make it");
    }
    Ok(check_writable(path)?)
}

/// Checks that a folder can be made, with those that it is to lie in.
///
/// # Errors
///
/// A path without a name at its end, or through a file; a folder that takes no others.
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

/// Fills a neighbour, `NAME.bfn-partial`, by `content`, which then takes the name: the folder appears whole or not at all.
///
/// What a program that was killed has left of the neighbour is removed first.
///
/// # Errors
///
/// What [`check_folder`] refuses, what `content` returns, a folder that is there and not empty. The neighbour is gone
/// then.
pub fn write_whole_folder(path: &Path, content: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    check_folder(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".bfn-partial");
    // Not `path` with an ending: with a slash at its end that would lie inside the folder.
    let partial = path.with_file_name(name);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("cannot make the folder {}", partial.display()))?;
    let written = content(&partial).and_then(|()| {
        fs::rename(&partial, path).with_context(|| format!("cannot make the folder {}", path.display()))
    });
    written.inspect_err(|_| {
        // Nothing more can be done where this fails as well.
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
        // A slash at the end, folders that are not there yet, and what was left by a program that was killed.
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
        // A folder that takes no files, from nobody.
        let closed = Path::new("/proc/self/name");
        for error in [check_file(closed).expect_err("a file"), check_folder(closed).expect_err("a folder")] {
            assert!(format!("{error:#}").contains("/proc/self/name"), "{error:#}");
        }
        assert_eq!(fs::read_dir(place.path())?.count(), 1, "only the file that was there");
        Ok(())
    }
}
