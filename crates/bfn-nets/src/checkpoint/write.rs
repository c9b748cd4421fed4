//! Writing: from tensors to a file.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tch::Device;

use super::{checksum, full_name, kinds};
use crate::Error;
use crate::parameter::NamedTensor;
use crate::whole_file::write_whole;

/// A copy in host memory of everything a checkpoint holds, free of libtorch and ready to write on another thread.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    tensors: BTreeMap<String, HostTensor>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct HostTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Snapshot {
    /// Creates an empty snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies tensors into a group: `add("model", …)` names them `model.NAME`; the empty group adds no prefix.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnsupportedKind`] for a number type that the file cannot hold, and [`Error::Libtorch`] if the
    /// copy fails.
    ///
    /// # Panics
    ///
    /// Panics if a name is already taken.
    pub fn add(&mut self, group: &str, tensors: &[NamedTensor]) -> Result<(), Error> {
        for named in tensors {
            let name = full_name(group, &named.name);
            let copy = HostTensor::copy_of(&name, named)?;
            assert!(
                self.tensors.insert(name.clone(), copy).is_none(),
                "two tensors of one checkpoint have the name {name}"
            );
        }
        Ok(())
    }

    /// Sets a metadata entry, stored as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the key is the checksum's, or if the value cannot be expressed in JSON.
    pub fn set_metadata(&mut self, key: &str, value: &impl Serialize) {
        assert_ne!(key, checksum::KEY, "this metadata entry is the checksum's");
        let json = serde_json::to_string(value)
            .unwrap_or_else(|error| panic!("metadata {key} cannot be said in JSON: {error}"));
        self.metadata.insert(key.to_owned(), json);
    }

    /// Returns the number of bytes of all tensors.
    pub fn size(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.data.len()).sum()
    }

    /// Writes the file whole or not at all (see [`write_whole`]). The same content gives the same bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if writing fails; a file that was there before is then unchanged.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let header = self.header();
        write_whole(path, |writer| {
            writer.write_all(&header)?;
            self.in_file_order().try_for_each(|(_, tensor)| writer.write_all(&tensor.data))
        })
    }

    /// Builds the head of the file: the length of a JSON object, then the object with the checksum filled in.
    ///
    /// The object holds the metadata and the type, shape and place of each tensor. It is padded with spaces to a
    /// multiple of eight bytes, so that the data are aligned.
    fn header(&self) -> Vec<u8> {
        let mut metadata = self.metadata.clone();
        metadata.insert(checksum::KEY.to_owned(), checksum::PLACEHOLDER.to_owned());
        let mut json = serde_json::to_vec(&Header { metadata, snapshot: self })
            .unwrap_or_else(|error| panic!("a header of strings and numbers is JSON: {error}"));
        json.resize(json.len().next_multiple_of(8), b' ');
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend(json);

        let data = self.in_file_order().map(|(_, tensor)| tensor.data.as_slice());
        let digest = checksum::of(std::iter::once(header.as_slice()).chain(data));
        if let Some(place) = checksum::place(&header) {
            header[place].copy_from_slice(digest.as_bytes());
        }
        header
    }

    /// Returns the tensors with wide types first, as readers prefer, so that each is aligned to its type.
    fn in_file_order(&self) -> impl Iterator<Item = (&String, &HostTensor)> {
        let mut order: Vec<_> = self.tensors.iter().collect();
        order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype.bitsize()));
        order.into_iter()
    }
}

impl HostTensor {
    fn copy_of(name: &str, named: &NamedTensor) -> Result<Self, Error> {
        let kind = named.tensor.kind();
        let dtype = kinds::dtype_of(kind).ok_or_else(|| Error::UnsupportedKind { name: name.to_owned(), kind })?;
        let failed = |error: tch::TchError| Error::Libtorch {
            action: "copy a tensor to host memory",
            message: format!("{name}: {error}"),
        };
        let host = named.tensor.detach().f_to_device(Device::Cpu).and_then(|t| t.f_contiguous());
        let host = host.map_err(failed)?;
        let mut data = vec![0; host.numel() * kind.elt_size_in_bytes()];
        host.f_copy_data_u8(&mut data, host.numel()).map_err(failed)?;
        // A tensor's sizes are never negative.
        let shape = host.size().iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        Ok(Self { dtype, shape, data })
    }
}

struct Header<'a> {
    metadata: BTreeMap<String, String>,
    snapshot: &'a Snapshot,
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("__metadata__", &self.metadata)?;
        let mut start = 0;
        for (name, tensor) in self.snapshot.in_file_order() {
            let end = start + tensor.data.len();
            let entry = Entry { dtype: tensor.dtype, shape: &tensor.shape, data_offsets: [start, end] };
            map.serialize_entry(name, &entry)?;
            start = end;
        }
        map.end()
    }
}
