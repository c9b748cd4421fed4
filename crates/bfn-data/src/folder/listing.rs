//! The images in a folder, and the cache file that holds them decoded.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::{FolderOptions, decode_image};
use crate::bytes;
use crate::cache_file::MappedFile;
use crate::error::DataError;

/// The first bytes of a cache file, which identify it; the fingerprint of its sources follows.
const MAGIC: &[u8; 16] = b"bfn images, v1\n\0";
pub(super) const HEADER: usize = MAGIC.len() + 32;

/// The images in a folder and their labels.
#[derive(Debug, PartialEq)]
pub(super) struct Listing {
    /// The files, sorted, with paths relative to the folder.
    pub(super) files: Vec<Listed>,
    pub(super) labels: Vec<u32>,
    pub(super) label_names: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    path: PathBuf,
    bytes: u64,
    /// Nanoseconds since 1970.
    changed: u128,
}

impl Listing {
    pub(super) fn of(folder: &Path) -> Result<Self, DataError> {
        let mut files = Vec::new();
        list(folder, Path::new(""), &mut files)?;
        files.sort();
        let label = |file: &Listed| {
            let first = file.path.components().next()?;
            (file.path.components().count() > 1).then(|| first.as_os_str().to_string_lossy().into_owned())
        };
        let names: Option<Vec<String>> = files.iter().map(label).collect();
        let refuse = |found: String| Err(DataError::invalid("folder of images", "PNG, JPEG or WebP files", found));
        let shown = folder.display();
        if files.is_empty() {
            return refuse(format!("none in {shown}"));
        }
        let Some(names) = names else {
            if files.iter().any(|file| label(file).is_some()) {
                return refuse(format!("some in {shown} itself and some in sub-folders, which are labels"));
            }
            return Ok(Self { files, labels: Vec::new(), label_names: Vec::new() });
        };
        let mut label_names = names.clone();
        label_names.dedup();
        let place = |name: &String| label_names.iter().position(|known| known == name).unwrap_or_default() as u32;
        Ok(Self { labels: names.iter().map(place).collect(), files, label_names })
    }

    /// Returns a hash of all that the cache file depends on.
    fn fingerprint(&self, options: &FolderOptions) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {:?}\n", options.layout(), options.colour));
        for Listed { path, bytes, changed } in &self.files {
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update(format!("\0{bytes} {changed}\n"));
        }
        hash.finalize().into()
    }

    /// Opens the cache file, which is first rebuilt if it is absent or belongs to other sources.
    pub(super) fn cached(&self, folder: &Path, options: &FolderOptions, cache: &Path) -> Result<MappedFile, DataError> {
        let fingerprint = self.fingerprint(options);
        let absolute = fs::canonicalize(folder).map_err(|reason| DataError::unreadable(folder, reason))?;
        let mut name = Sha256::new();
        name.update(absolute.as_os_str().as_encoded_bytes());
        name.update(format!("\0{:?}", options.layout()));
        let name: String = name.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let path = cache.join(format!("{name}.images"));
        let size = options.layout().variables();
        let whole = (HEADER + self.files.len() * size) as u64;
        let is_current = || -> std::io::Result<bool> {
            let mut file = File::open(&path)?;
            let mut header = [0; HEADER];
            file.read_exact(&mut header)?;
            let same = header.starts_with(MAGIC) && header.ends_with(&fingerprint);
            Ok(same && file.metadata()?.len() == whole)
        };
        if !is_current().unwrap_or(false) {
            fs::create_dir_all(cache).map_err(|reason| DataError::unwritable(cache, reason))?;
            let (new, file) = new_part(cache, &name)?;
            let written = self.write(folder, options, &fingerprint, (&new, file));
            let checked = written.and_then(|()| self.check_unchanged(folder));
            let kept =
                checked.and_then(|()| fs::rename(&new, &path).map_err(|reason| DataError::unwritable(&path, reason)));
            if kept.is_err() {
                // The remains of a failed attempt are of no use; failing to remove them is not the error to report.
                let _ = fs::remove_file(&new);
            }
            kept?;
        }
        MappedFile::open(&path)
    }

    /// Decodes all images on all cores, each into its place in the file.
    fn write(
        &self,
        folder: &Path,
        options: &FolderOptions,
        fingerprint: &[u8; 32],
        (path, file): (&Path, File),
    ) -> Result<(), DataError> {
        let unwritable = |reason| DataError::unwritable(path, reason);
        let mut file = BufWriter::new(file);
        file.write_all(MAGIC).and_then(|()| file.write_all(fingerprint)).map_err(unwritable)?;
        let size = options.layout().variables() as u64;
        let next = AtomicUsize::new(0);
        let shared = Mutex::new((file, None::<(usize, DataError)>));
        let work = || {
            while let Some(listed) = {
                let number = next.fetch_add(1, Ordering::Relaxed);
                self.files.get(number).map(|file| (number, file))
            } {
                let (number, file) = listed;
                let source = folder.join(&file.path);
                let decoded = bytes::read(&source).and_then(|bytes| decode_image(&source, &bytes, options));
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let (out, failure) = &mut *shared;
                let outcome = decoded.and_then(|pixels| {
                    let seek = out.seek(SeekFrom::Start(HEADER as u64 + number as u64 * size));
                    seek.and_then(|_| out.write_all(&pixels)).map_err(unwritable)
                });
                if let Err(error) = outcome {
                    // Of several errors, the first in the folder's order is kept, whichever thread met one first.
                    if failure.as_ref().is_none_or(|(first, _)| number < *first) {
                        *failure = Some((number, error));
                    }
                    next.store(self.files.len(), Ordering::Relaxed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(self.files.len());
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        let (mut file, failure) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some((_, error)) => Err(error),
            None => file.flush().and_then(|()| file.get_ref().sync_all()).map_err(unwritable),
        }
    }

    fn check_unchanged(&self, folder: &Path) -> Result<(), DataError> {
        if Self::of(folder)? == *self {
            return Ok(());
        }
        Err(DataError::Malformed {
            path: folder.to_owned(),
            offset: 0,
            expected: "images that stay as they are while they are read".to_owned(),
            found: "others than at the start".to_owned(),
            cure: "start again when nothing writes into the folder any more".to_owned(),
        })
    }
}

/// Creates a file that no one else writes.
///
/// A cache may be shared by several threads, or by processes of the same ID on several machines.
fn new_part(cache: &Path, name: &str) -> Result<(PathBuf, File), DataError> {
    loop {
        // The random keys of a hasher serve as random numbers from the standard library.
        let random = RandomState::new().hash_one(std::process::id());
        let path = cache.join(format!("{name}.{}.{random:016x}.part", std::process::id()));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(reason) => return Err(DataError::unwritable(&path, reason)),
        }
    }
}

/// Lists the images under `folder`/`within`, at any depth. Links to folders are not followed, so the search ends.
fn list(folder: &Path, within: &Path, files: &mut Vec<Listed>) -> Result<(), DataError> {
    let here = folder.join(within);
    let unreadable = |reason| DataError::unreadable(&here, reason);
    for entry in fs::read_dir(&here).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = within.join(entry.file_name());
        if entry.file_type().map_err(unreadable)?.is_dir() {
            list(folder, &path, files)?;
        } else if is_image(&path) {
            let source = folder.join(&path);
            let metadata = fs::metadata(&source).map_err(|reason| DataError::unreadable(&source, reason))?;
            let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            files.push(Listed { path, bytes: metadata.len(), changed: changed.map_or(0, |time| time.as_nanos()) });
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    matches!(ending.as_str(), "png" | "jpg" | "jpeg" | "webp")
}
