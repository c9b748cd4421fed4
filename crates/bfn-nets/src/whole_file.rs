//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// Writes a file so that its path always holds the old file or the whole new one.
///
/// This holds at every moment, through a crash or loss of power. The bytes go to a neighbouring file with the ending
/// `.bfn-partial`, reach the disk, and then take the name. A neighbour left behind by a killed program is overwritten
/// by the next write. Two writers of one path at the same time are the caller's mistake. A device or a pipe, such as
/// `/dev/stdout`, is written to directly.
///
/// # Errors
///
/// Returns [`Error::Io`] if writing fails; the old file is then unchanged and the neighbour is gone.
pub fn write_whole(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let fail = |reason| Error::Io { action: "write", path: path.to_owned(), reason };
    if is_stream(path) {
        return File::options().write(true).open(path).and_then(|mut stream| content(&mut stream)).map_err(fail);
    }
    let partial = neighbour(path, ".bfn-partial");
    let file = File::create(&partial).map_err(fail)?;
    write_and_rename(file, &partial, path, content).map_err(|reason| {
        // Nothing more can be done if this fails as well.
        let _ = fs::remove_file(&partial);
        fail(reason)
    })
}

/// Checks that [`write_whole`] could write a file now, so that no work is lost for want of a place for its results.
///
/// It creates a neighbouring file with the ending `.bfn-probe` and removes it.
///
/// # Errors
///
/// Returns [`Error::Io`] if the folder is missing or no file can be created in it.
pub fn check_writable(path: &Path) -> Result<(), Error> {
    if is_stream(path) {
        return Ok(());
    }
    let probe = neighbour(path, ".bfn-probe");
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|reason| Error::Io { action: "write", path: path.to_owned(), reason })
}

fn write_and_rename(
    file: File,
    partial: &Path,
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    content(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    drop(file);
    fs::rename(partial, path)?;
    // The new name is on the disk once the folder is. The file is whole in any case, so that it is no failure if the
    // folder cannot be opened or its file system cannot synchronise it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    Ok(())
}

fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn neighbour(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        let path = Path::new("/dev/null");
        check_writable(path).and_then(|()| write_whole(path, |writer| writer.write_all(b"gone"))).expect("written");
        assert!(is_stream(path));
        let full = write_whole(Path::new("/dev/full"), |writer| writer.write_all(b"no space")).expect_err("full");
        assert!(full.to_string().contains("/dev/full"), "{full}");
    }

    #[test]
    fn a_failure_on_the_way_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        write_whole(&path, |writer| writer.write_all(b"old")).expect("written");
        let error = write_whole(&path, |writer| {
            writer.write_all(&[7; 3 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .expect_err("the disk is full");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(fs::read(&path).expect("the old file"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_taken_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("inside")).expect("a folder");
        assert!(write_whole(&taken, |writer| writer.write_all(b"new")).is_err());
        assert!(taken.join("inside").is_dir());
        assert!(!folder.path().join("taken.bfn-partial").exists());
        let nowhere = folder.path().join("nowhere").join("file");
        assert!(write_whole(&nowhere, |writer| writer.write_all(b"new")).is_err());
    }

    #[test]
    fn a_leftover_of_a_killed_program_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(folder.path().join("file.bfn-partial"), [1; 100]).expect("a leftover");
        write_whole(&path, |writer| writer.write_all(b"new")).expect("written");
        assert_eq!(fs::read(&path).expect("the file"), b"new");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
