//! The data sets that are known by name: their sources, and how to check that their files are intact.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::bytes::{self, Content};
use crate::error::DataError;
use crate::root::Root;

/// A data set that is known by name.
#[derive(Debug, Clone, Copy)]
pub struct KnownDataset {
    /// The name on the command line.
    pub name: &'static str,
    /// A short description.
    pub title: &'static str,
    /// The authors, and what may be done with the data.
    pub licence: &'static str,
    /// The source of the addresses; none is guessed.
    pub source: &'static str,
    /// The files; none if the data set is part of the program.
    pub files: &'static [KnownFile],
    folders: &'static [&'static str],
}

/// A file of a known data set.
#[derive(Debug, Clone, Copy)]
pub struct KnownFile {
    /// The path under which it is stored when fetched, relative to the data folder.
    pub path: &'static str,
    /// The addresses that offer it, in the order to try.
    pub addresses: &'static [&'static str],
    /// The maximum size in bytes.
    pub most_bytes: u64,
    /// The checksum.
    pub sum: Sum,
    /// The names under which its content may be stored: as fetched, unpacked, or packed in another way.
    names: &'static [&'static str],
    /// Other names under which the file, or a part of it, may be stored; no checksum of these is known.
    others: &'static [&'static str],
    /// The SHA-256 of the files that it unpacks to, by name.
    contents: &'static [(&'static str, &'static str)],
}

/// A SHA-256 in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// The sum of the file as it is.
    File(&'static str),
    /// The sum of the file unpacked by gzip, if none is published for the packed file.
    Unpacked(&'static str),
}

/// One of MNIST's four files: its name and the SHA-256 of its content.
macro_rules! mnist_file {
    ($name:literal, $sum:literal) => {
        KnownFile {
            path: concat!("mnist/", $name, ".gz"),
            addresses: &[
                concat!("https://ossci-datasets.s3.amazonaws.com/mnist/", $name, ".gz"),
                concat!("http://yann.lecun.com/exdb/mnist/", $name, ".gz"),
            ],
            most_bytes: 16 << 20,
            sum: Sum::Unpacked($sum),
            names: &[$name, concat!($name, ".gz")],
            others: &[],
            contents: &[],
        }
    };
}
/// The known data sets.
pub const KNOWN: [KnownDataset; 4] = [
    KnownDataset {
        name: "digits",
        title: "8×8 handwritten digits, 17 grey levels; part of the program",
        licence: "CC BY 4.0, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository",
        source: "UCI Optical Recognition of Handwritten Digits, test set",
        files: &[],
        folders: &[],
    },
    KnownDataset {
        name: "mnist",
        title: "28×28 handwritten digits",
        licence: "commonly given as CC BY-SA 3.0, Y. LeCun, C. Cortes and C. Burges",
        source: "torchvision/datasets/mnist.py",
        files: &[
            mnist_file!("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            mnist_file!("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            mnist_file!("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            mnist_file!("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ],
        folders: &["mnist", "MNIST/raw", "MNIST", ""],
    },
    KnownDataset {
        name: "cifar10",
        title: "32×32 photographs of ten classes, the binary version",
        licence: "none stated; A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        source: "the CIFAR-10 tutorial of TensorFlow; the archive's SHA-256 from red-datasets and gomlx",
        files: &[KnownFile {
            path: "cifar10/cifar-10-binary.tar.gz",
            addresses: &["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
            most_bytes: 170_052_171,
            sum: Sum::File("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
            names: &["cifar-10-binary.tar.gz"],
            others: &[],
            contents: &[
                ("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
                ("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
                ("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
                ("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
                ("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
                ("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
            ],
        }],
        folders: &[
            "cifar-10-batches-bin",
            "cifar10/cifar-10-batches-bin",
            "CIFAR10/cifar-10-batches-bin",
            "cifar10",
            "CIFAR10",
            "",
        ],
    },
    KnownDataset {
        name: "text8",
        title: "the first 100 million characters of a cleaned Wikipedia",
        licence: "GFDL and CC BY-SA, Wikipedia 2006; prepared by M. Mahoney",
        source: "data.py of the published code of Bayesian Flow Networks",
        files: &[KnownFile {
            path: "text8/text8.zip",
            addresses: &["http://mattmahoney.net/dc/text8.zip"],
            most_bytes: 31_344_016,
            sum: Sum::File("a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"),
            names: &["text8.zip"],
            others: &["text8", "text8.gz", "text8-prefix", "text8-prefix.gz"],
            contents: &[],
        }],
        folders: &["text8", ""],
    },
];

/// A file that was found, and the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether the file is intact.
    pub verdict: Verdict,
}

/// The result of comparing a file with its published checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its SHA-256 is the published one.
    Whole,
    /// Its SHA-256 differs from the published one.
    Different {
        /// The published SHA-256.
        expected: String,
        /// The SHA-256 of the file.
        found: String,
    },
}

impl KnownDataset {
    /// Returns the data set of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.name == name)
    }

    /// Returns the paths of the data set's files that were found, and the files for which none was found.
    #[must_use]
    pub fn found(&self, root: &Root) -> (Vec<PathBuf>, Vec<&'static KnownFile>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for file in self.files {
            let with_sum = root.find(self.title, self.folders, file.names);
            match with_sum.or_else(|_| root.find(self.title, self.folders, file.others)) {
                Ok(path) => found.push(path),
                Err(_) => {
                    let contents = file.contents.iter().map(|(name, _)| root.find(self.title, self.folders, &[*name]));
                    match contents.collect::<Result<Vec<_>, _>>() {
                        Ok(paths) if !paths.is_empty() => found.extend(paths),
                        _ => missing.push(file),
                    }
                }
            }
        }
        (found, missing)
    }

    /// Compares the SHA-256 of a file that has one of the data set's names with the published one.
    ///
    /// Returns `None` if no checksum is known for the file's name.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Unreadable`], or [`DataError::Malformed`] if gzip data is damaged.
    pub fn check(&self, path: &Path) -> Result<Option<Checked>, DataError> {
        let name = path.file_name().unwrap_or_default();
        let content = self.files.iter().flat_map(|file| file.contents).find(|(known, _)| name == *known);
        let sum = match content {
            Some((_, sum)) => Some(Sum::File(sum)),
            None => self.files.iter().find(|file| file.names.iter().any(|known| name == *known)).map(|file| file.sum),
        };
        sum.map(|sum| sum.check(path)).transpose()
    }
}

impl Sum {
    /// Compares the sum of a file with this one.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Unreadable`], or [`DataError::Malformed`] if gzip data is damaged.
    pub fn check(self, path: &Path) -> Result<Checked, DataError> {
        let bytes = bytes::read(path)?;
        let (expected, found) = match self {
            Self::File(expected) => (expected, sha256(&bytes)),
            Self::Unpacked(expected) => (expected, sha256(&Content::new(path, &bytes).take(MOST_UNPACKED)?)),
        };
        let verdict = if found == expected {
            Verdict::Whole
        } else {
            Verdict::Different { expected: expected.to_owned(), found }
        };
        Ok(Checked { path: path.to_owned(), bytes: bytes.len() as u64, verdict })
    }
}

/// The maximum size of an unpacked file, about twenty times that of MNIST's largest.
const MOST_UNPACKED: u64 = 1 << 30;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
