//! Reading: from a file to tensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tch::Tensor;

use super::{checksum, full_name, kinds};
use crate::Error;
use crate::error::{Mismatch, Misshapen};
use crate::parameter::NamedTensor;

/// A checkpoint that has been read and verified.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    bytes: Vec<u8>,
    data_start: usize,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Reads a file that [`Snapshot::write`](super::Snapshot::write) wrote, and verifies its checksum.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the file cannot be read, and [`Error::DamagedCheckpoint`] if it is not whole.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let checkpoint = Self::open(path)?;
        let (header, data) = checkpoint.bytes.split_at(checkpoint.data_start);
        let place = checksum::place(header)
            .ok_or_else(|| damaged(path, format!("a metadata entry \"{}\"", checksum::KEY), "none".to_owned()))?;
        let (before, after) = (&header[..place.start], &header[place.end..]);
        let found = checksum::of([before, checksum::PLACEHOLDER.as_bytes(), after, data]);
        if found.as_bytes() != &header[place.clone()] {
            let expected = String::from_utf8_lossy(&header[place]).into_owned();
            return Err(damaged(path, format!("the SHA-256 {expected}"), found));
        }
        checkpoint.usable()
    }

    /// Reads a safetensors file from any program; there is no checksum to verify.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read), and [`Error::UnusableWeights`] for a number type that libtorch
    /// lacks.
    pub fn read_foreign(path: &Path) -> Result<Self, Error> {
        Self::open(path)?.usable()
    }

    /// Reads a file whose header describes the rest of it.
    fn open(path: &Path) -> Result<Self, Error> {
        let bytes =
            std::fs::read(path).map_err(|reason| Error::Io { action: "read", path: path.to_owned(), reason })?;
        let (header, metadata) = parse(path, &bytes)?;
        Ok(Self {
            path: path.to_owned(),
            data_start: 8 + header,
            tensors: metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect(),
            metadata: metadata.metadata().clone().unwrap_or_default().into_iter().collect(),
            bytes,
        })
    }

    /// Returns the checkpoint if libtorch has the number types of all its tensors.
    fn usable(self) -> Result<Self, Error> {
        match self.tensors.iter().find(|(_, info)| kinds::kind_of(info.dtype).is_none()) {
            None => Ok(self),
            Some((name, info)) => Err(Error::UnusableWeights {
                expected: "numbers of a type that libtorch has".to_owned(),
                found: format!("{:?} in the tensor \"{name}\"", info.dtype),
                path: self.path,
            }),
        }
    }

    /// Reads a metadata entry from a file's header alone.
    ///
    /// This is quick, however large the file. The checksum is not verified.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the file cannot be read, [`Error::DamagedCheckpoint`] if it has no header, and
    /// [`Error::Metadata`] if the entry is missing or of another type.
    pub fn peek<T: DeserializeOwned>(path: &Path, key: &str) -> Result<T, Error> {
        let io = |reason| Error::Io { action: "read", path: path.to_owned(), reason };
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < 8 {
            return Err(damaged(path, "the size of a header".to_owned(), format!("a file of {length} bytes")));
        }
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(io)?;
        let size = u64::from_le_bytes(size);
        if size > length - 8 {
            return Err(damaged(path, format!("a header of {size} bytes"), format!("a file of {length} bytes")));
        }
        let mut header = Vec::new();
        file.take(size).read_to_end(&mut header).map_err(io)?;
        let header: Header = serde_json::from_slice(&header)
            .map_err(|error| damaged(path, "a header in JSON".to_owned(), error.to_string()))?;
        entry(path, &header.metadata, key)
    }

    /// Returns the file that the checkpoint was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the full names of all tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns whether there is any tensor in a group.
    pub fn has_group(&self, group: &str) -> bool {
        let prefix = full_name(group, "");
        self.tensors.keys().any(|name| name.starts_with(&prefix))
    }

    /// Returns a metadata entry that [`Snapshot::set_metadata`](super::Snapshot::set_metadata) set.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Metadata`] if it is missing or of another type.
    pub fn metadata<T: DeserializeOwned>(&self, key: &str) -> Result<T, Error> {
        entry(&self.path, &self.metadata, key)
    }

    /// Returns a copy of the tensor with this full name, on the CPU.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Mismatch`] if there is no tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let Some(info) = self.tensors.get(name) else {
            let missing = Mismatch { missing: vec![name.to_owned()], ..Mismatch::default() };
            return Err(Error::Mismatch { path: self.path.clone(), mismatch: missing });
        };
        // The reader has refused all other types.
        let kind = kinds::kind_of(info.dtype).unwrap_or(tch::Kind::Uint8);
        Tensor::f_from_data_size(self.data(info), &sizes(info), kind)
            .map_err(|error| Error::Libtorch { action: "read a tensor", message: format!("{name}: {error}") })
    }

    /// Fills tensors, on whatever device they are, with those of a group.
    ///
    /// Both sides must have the same names, and each tensor the same shape and number type.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Mismatch`] with every difference; then no tensor has changed.
    pub fn load_into(&self, group: &str, targets: &[NamedTensor]) -> Result<(), Error> {
        let mismatch = self.compare(group, targets);
        if !mismatch.is_empty() {
            return Err(Error::Mismatch { path: self.path.clone(), mismatch });
        }
        let _no_grad = tch::no_grad_guard();
        for target in targets {
            let source = self.tensor(&full_name(group, &target.name))?;
            target.tensor.shallow_clone().f_copy_(&source).map_err(|error| Error::Libtorch {
                action: "fill a tensor from a checkpoint",
                message: format!("{}: {error}", target.name),
            })?;
        }
        Ok(())
    }

    /// Returns every difference between the targets and the tensors of a group.
    pub fn compare(&self, group: &str, targets: &[NamedTensor]) -> Mismatch {
        let prefix = full_name(group, "");
        let mut rest: BTreeMap<&str, &TensorInfo> = self
            .tensors
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix))
            .map(|(name, info)| (name.as_str(), info))
            .collect();
        let mut mismatch = Mismatch::default();
        for target in targets {
            let name = full_name(group, &target.name);
            let Some(info) = rest.remove(name.as_str()) else {
                mismatch.missing.push(name);
                continue;
            };
            let wanted = (Some(target.tensor.kind()), target.tensor.size());
            let present = (kinds::kind_of(info.dtype), sizes(info));
            if wanted != present {
                mismatch.misshapen.push(Misshapen {
                    name,
                    expected: format!("{:?} {:?}", target.tensor.kind(), target.tensor.size()),
                    found: format!("{:?} {:?}", info.dtype, info.shape),
                });
            }
        }
        mismatch.unexpected = rest.into_keys().map(str::to_owned).collect();
        mismatch
    }

    fn data(&self, info: &TensorInfo) -> &[u8] {
        let (start, end) = info.data_offsets;
        // The reader has checked that the offsets lie inside the data.
        &self.bytes[self.data_start + start..self.data_start + end]
    }
}

/// The part of a header other than the tensors.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
}

fn entry<T: DeserializeOwned>(path: &Path, metadata: &BTreeMap<String, String>, key: &str) -> Result<T, Error> {
    let fail = |found: String| Error::Metadata {
        path: path.to_owned(),
        key: key.to_owned(),
        expected: format!("a value of type {}", std::any::type_name::<T>()),
        found,
    };
    let json = metadata.get(key).ok_or_else(|| fail("no such entry".to_owned()))?;
    serde_json::from_str(json).map_err(|error| fail(format!("{json} ({error})")))
}

/// Reads the header's length and content, and checks them against the length of the file.
fn parse(path: &Path, bytes: &[u8]) -> Result<(usize, Metadata), Error> {
    SafeTensors::read_metadata(bytes).map_err(|error| {
        let expected = match bytes.first_chunk::<8>() {
            None => "a safetensors file, which has at least 8 bytes".to_owned(),
            Some(_) => "a whole safetensors file".to_owned(),
        };
        damaged(path, expected, format!("{} bytes ({error})", bytes.len()))
    })
}

fn damaged(path: &Path, expected: String, found: String) -> Error {
    Error::DamagedCheckpoint { path: path.to_owned(), expected, found }
}

fn sizes(info: &TensorInfo) -> Vec<i64> {
    info.shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}
