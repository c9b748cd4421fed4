//! CIFAR-10 from its official binary version.

use std::io::Read;
use std::path::{Path, PathBuf};

use bfn_core::VariableKind;
use flate2::bufread::MultiGzDecoder;

use crate::bytes;
use crate::dataset::Split;
use crate::error::DataError;
use crate::images::{Flip, Images, RawImages, bins_of_intensities};
use crate::mnist::one_percent;
use crate::root::Root;

/// Reads one split of CIFAR-10: 32 × 32 RGB photographs of ten classes, in `bins` equal bins.
///
/// The test split is `test_batch.bin`. Of the 50,000 other images, 1 % is held out for validation, chosen at random
/// but the same in every run. The training split is the rest, and the only one that is flipped.
///
/// The six files are looked for in each place of `root`: in the sub-folder `cifar-10-batches-bin` (to which the
/// archive unpacks), in the same sub-folder of `cifar10` and `CIFAR10`, in these two themselves and in the place
/// itself. If they are not found, the archive `cifar-10-binary.tar.gz` is looked for and read as it is.
///
/// # Errors
///
/// Returns [`DataError::Missing`] if no place has the files; [`DataError::Malformed`] if they are damaged;
/// [`DataError::Invalid`] if there are fewer than 2 or more than 256 bins.
pub fn cifar10(root: &Root, split: Split, bins: usize, flip: Flip) -> Result<Images, DataError> {
    bins_of_intensities(bins)?;
    let names: Vec<&str> = match split {
        Split::Test => vec![TEST_FILE],
        Split::Train | Split::Validation => TRAINING_FILES.to_vec(),
    };
    let raw = read(root, &names)?.binned(bins)?;
    let kind = VariableKind::Discretised { bins };
    Ok(match split {
        Split::Test => Images::stored(raw, kind),
        Split::Validation | Split::Train => {
            let members = one_percent(raw.count()).members(raw.count(), split);
            let images = Images::stored(raw.picked(members), kind);
            if split == Split::Train { images.flipped(flip) } else { images }
        }
    })
}

/// The names of the classes, in the order of their labels.
pub const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The records of a file, each a label and an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CifarRecords {
    /// The labels, 0 to 9.
    pub labels: Vec<u8>,
    /// The images, `[records, 32, 32, 3]`: row by row, within a row pixel by pixel, within a pixel channel by channel.
    pub pixels: Vec<u8>,
}

impl CifarRecords {
    /// Parses the bytes of one `.bin` file; `path` is used only in messages.
    ///
    /// # Format
    ///
    /// Records of 3,073 bytes and nothing else: a label, then 1,024 bytes each of red, green and blue, row by row.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the bytes are not whole records, if there are none, or if a label exceeds 9.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let end = bytes.len() as u64;
        if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
            let expected = format!("whole records of {RECORD} bytes, at least one");
            return Err(DataError::malformed(path, end, expected, format!("{end} bytes")));
        }
        let mut labels = Vec::with_capacity(bytes.len() / RECORD);
        let mut pixels = vec![0; bytes.len() / RECORD * IMAGE];
        for ((record, image), number) in bytes.chunks_exact(RECORD).zip(pixels.chunks_exact_mut(IMAGE)).zip(0_u64..) {
            let (label, planes) = (record[0], &record[1..]);
            if label > 9 {
                let offset = number * RECORD as u64;
                return Err(DataError::malformed(path, offset, "a label from 0 to 9", label.to_string()));
            }
            labels.push(label);
            for (place, pixel) in image.chunks_exact_mut(3).enumerate() {
                pixel[0] = planes[place];
                pixel[1] = planes[PLANE + place];
                pixel[2] = planes[2 * PLANE + place];
            }
        }
        Ok(Self { labels, pixels })
    }
}

const TRAINING_FILES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST_FILE: &str = "test_batch.bin";
const ARCHIVE: &str = "cifar-10-binary.tar.gz";

/// The folders of the unpacked files, then those of the archive.
const FOLDERS: [&str; 6] =
    ["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "CIFAR10/cifar-10-batches-bin", "cifar10", "CIFAR10", ""];
const ARCHIVE_FOLDERS: [&str; 3] = ["", "cifar10", "CIFAR10"];

const PLANE: usize = 32 * 32;
const IMAGE: usize = 3 * PLANE;
const RECORD: usize = 1 + IMAGE;

/// Three times what the official archive unpacks to.
const MOST_UNPACKED: u64 = 600 << 20;

/// A file of the data set takes a thirtieth of a gigabyte; anything above this limit is another file.
const MOST_OF_A_FILE: u64 = 64 << 20;

fn read(root: &Root, names: &[&str]) -> Result<RawImages, DataError> {
    let mut all = CifarRecords { labels: Vec::new(), pixels: Vec::new() };
    let mut add = |path: &Path, bytes: &[u8]| -> Result<(), DataError> {
        let records = CifarRecords::parse(path, bytes)?;
        all.labels.extend(records.labels);
        all.pixels.extend(records.pixels);
        Ok(())
    };
    match (root.find("CIFAR-10", &FOLDERS, &names[..1]), root.find("CIFAR-10", &ARCHIVE_FOLDERS, &[ARCHIVE])) {
        (Err(missing), Err(_)) => return Err(explained(root, missing)),
        (Err(_), Ok(archive)) => {
            for (path, bytes) in unpack_cifar10(&archive, &bytes::read(&archive)?, names)? {
                add(&path, &bytes)?;
            }
        }
        (Ok(first), _) => {
            for name in names {
                let path = first.with_file_name(name);
                add(&path, &bytes::read(&path)?)?;
            }
        }
    }
    Ok(RawImages {
        height: 32,
        width: 32,
        channels: 3,
        pixels: all.pixels,
        labels: all.labels.into_iter().map(u32::from).collect(),
        label_names: CIFAR10_CLASSES.map(str::to_owned).to_vec(),
    })
}

/// Returns the named files of the archive `cifar-10-binary.tar.gz`, in the order of the names.
///
/// Nothing is written to disk: of the archive's own paths, only the last component matters. At most 600 MiB are
/// unpacked, and no entry of more than 64 MiB is read. The checksum of gzip is verified. `path` is used only in
/// messages.
///
/// # Errors
///
/// Returns [`DataError::Malformed`] if the archive is damaged, too large when unpacked, or lacks a file.
pub fn unpack_cifar10(path: &Path, bytes: &[u8], names: &[&str]) -> Result<Vec<(PathBuf, Vec<u8>)>, DataError> {
    let broken = |reason: std::io::Error| {
        let expected = format!("a gzipped tar archive that unpacks to at most {} MiB", MOST_UNPACKED >> 20);
        DataError::malformed(path, 0, expected, format!("an error ({reason})"))
    };
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes).take(MOST_UNPACKED + 1));
    let mut found: Vec<Option<Vec<u8>>> = vec![None; names.len()];
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let entry_path = entry.path().map_err(broken)?.into_owned();
        let place = names.iter().position(|name| entry_path.file_name().is_some_and(|file| file == *name));
        if let Some(place) = place
            && entry.header().entry_type().is_file()
        {
            let mut content = Vec::new();
            entry.take(MOST_OF_A_FILE + 1).read_to_end(&mut content).map_err(broken)?;
            if content.len() as u64 > MOST_OF_A_FILE {
                let expected = format!("at most {} MiB in the archive's file {:?}", MOST_OF_A_FILE >> 20, names[place]);
                return Err(DataError::malformed(path, 0, expected, "more"));
            }
            found[place] = Some(content);
        }
    }
    // The gzip checksum comes at the very end, after all entries.
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(broken)?;
    if rest.limit() == 0 {
        return Err(broken(std::io::Error::other("it unpacks to more")));
    }
    let with_names = found.into_iter().zip(names).map(|(content, name)| match content {
        Some(content) => Ok((path.join(name), content)),
        None => Err(DataError::malformed(path, 0, format!("a file {name} in the archive"), "none")),
    });
    with_names.collect()
}

/// Completes the error by the archive's name, and by a note if the Python version (pickled files) is found.
fn explained(root: &Root, mut missing: DataError) -> DataError {
    let python = ["cifar-10-batches-py/data_batch_1", "cifar-10-python.tar.gz"];
    if let DataError::Missing { names, cure, .. } = &mut missing {
        names.push_str(" or ");
        names.push_str(ARCHIVE);
        if let Ok(path) = root.find("CIFAR-10", &ARCHIVE_FOLDERS, &python) {
            let found = path.display();
            *cure = format!("{found} is the version for Python, get the binary version; {cure}");
        }
    }
    missing
}
