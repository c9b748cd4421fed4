//! Checkpoints of the published PyTorch code: state dicts as `torch.save` writes them.
//!
//! Such a file is a zip archive of raw storages and a pickle that describes the tensors in them. A pickle is a
//! program: [`read_state_dict`] runs only the handful of operations that a state dict needs, knows only the names that
//! occur there, and refuses everything else by name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use tch::{Kind, Tensor};

use crate::error::legible;
use crate::{Error, NamedTensor};

mod pickle;
mod weights;
mod write;
mod zip;

pub use weights::{fill, state_dict};
pub use write::write_state_dict;

use pickle::{Pickled, Storage, StoredTensor};
use zip::Archive;

/// Reads a file made by `torch.save(module.state_dict(), path)`, in the file's order.
///
/// The tensors are on the CPU, with the file's number types.
///
/// # Errors
///
/// Returns [`Error::Io`] if the file cannot be read, and [`Error::UnusableWeights`] if it is not such an archive, is
/// cut short or damaged, or holds anything but a dictionary of dense tensors.
pub fn read_state_dict(path: &Path) -> Result<Vec<NamedTensor>, Error> {
    let bytes = std::fs::read(path).map_err(|reason| Error::Io { action: "read", path: path.to_owned(), reason })?;
    parse_state_dict(&bytes, path)
}

/// Reads the bytes of such a file; `path` is only for errors.
///
/// # Errors
///
/// Returns the errors of [`read_state_dict`], apart from that of reading the file.
pub fn parse_state_dict(bytes: &[u8], path: &Path) -> Result<Vec<NamedTensor>, Error> {
    parse(bytes).map_err(|problem| problem.at(path))
}

/// The largest ratio of the tensors' size to the file's; tensors may share storages, as tied weights do.
const SHARING: usize = 4;

fn parse(bytes: &[u8]) -> Result<Vec<NamedTensor>, Problem> {
    let archive = Archive::open(bytes)?;
    let root = archive.root()?;
    if let Some(order) = archive.find(&format!("{root}/byteorder"))
        && order != b"little"
    {
        let found = String::from_utf8_lossy(order).into_owned();
        return Err(Problem::new("numbers in little-endian order", found));
    }
    let program = archive.read(&format!("{root}/data.pkl"))?;
    let mut entries = Vec::new();
    // Many tensors may share a storage, which is checked and copied once.
    let mut storages: HashMap<Storage, Tensor> = HashMap::new();
    let mut total = 0;
    for Pickled { name, tensor } in pickle::state_dict(program)? {
        let storage = match storages.entry(tensor.storage.clone()) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                let data = archive.read(&format!("{root}/data/{}", tensor.storage.key))?;
                place.insert(numbers(&name, &tensor.storage, data)?)
            }
        };
        let tensor = build(&name, &tensor, storage)?;
        total += tensor.numel() * tensor.kind().elt_size_in_bytes();
        if total > bytes.len() * SHARING {
            let expected = format!("tensors of at most {SHARING} times the file's {} bytes", bytes.len());
            return Err(Problem::new(expected, "more: many of them share one storage"));
        }
        entries.push(NamedTensor { name, tensor });
    }
    Ok(entries)
}

/// Builds a tensor of all numbers of a storage from its bytes.
fn numbers(name: &str, Storage { kind, elements, .. }: &Storage, data: &[u8]) -> Result<Tensor, Problem> {
    let bytes = elements.checked_mul(kind.elt_size_in_bytes());
    if bytes != Some(data.len()) {
        let found = format!("{} bytes", data.len());
        return Err(Problem::new(format!("{elements} numbers of type {kind:?} for {name}"), found));
    }
    Tensor::f_from_data_size(data, &[*elements as i64], *kind).map_err(|error| refused(name, &error))
}

fn refused(name: &str, error: &tch::TchError) -> Problem {
    // The lines after the first state where in libtorch the error was noticed.
    let message = error.to_string();
    Problem::new(format!("tensor {name}"), message.lines().next().unwrap_or_default())
}

/// Builds a contiguous tensor from its storage's numbers, sharing their memory if they are contiguous there.
fn build(name: &str, stored: &StoredTensor, numbers_of_storage: &Tensor) -> Result<Tensor, Problem> {
    let StoredTensor { storage: Storage { kind, elements, .. }, offset, size, strides } = stored;
    let wrong = |expected: &str, found: String| Problem::new(format!("{expected} for {name}"), found);
    if size.len() != strides.len() {
        let found = format!("{} of {}", strides.len(), size.len());
        return Err(wrong("as many strides as axes", found));
    }
    let numbers = size.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    // The last number that the tensor touches; an empty tensor touches none.
    let end = size
        .iter()
        .zip(strides)
        .try_fold(*offset, |end, (&n, &stride)| end.checked_add(n.saturating_sub(1).checked_mul(stride)?));
    let inside = match (numbers, end) {
        (Some(0), _) => true,
        // More numbers than the storage has would mean an expanded tensor, which no state dict holds.
        (Some(numbers), Some(end)) => numbers <= *elements && end < *elements,
        _ => false,
    };
    if !inside {
        let found = format!("offset {offset}, size {size:?}, strides {strides:?}");
        return Err(wrong(&format!("a view of a storage of {elements} numbers"), found));
    }
    let signed = |numbers: &[usize]| numbers.iter().map(|&n| n as i64).collect::<Vec<i64>>();
    let tensor = if numbers == Some(0) {
        Tensor::f_zeros(signed(size), (*kind, tch::Device::Cpu))
    } else {
        numbers_of_storage
            .f_as_strided(signed(size), signed(strides), Some(*offset as i64))
            .and_then(|view| view.f_contiguous())
    };
    tensor.map_err(|error| refused(name, &error))
}

/// The fault of a file, before the file's path is known.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    expected: String,
    found: String,
}

impl Problem {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }

    fn at(self, path: &Path) -> Error {
        let Self { expected, found } = self;
        Error::UnusableWeights { path: path.to_owned(), expected: legible(&expected), found: legible(&found) }
    }
}

/// A number type, and PyTorch's name for a storage of it.
struct StorageClass {
    class: &'static str,
    kind: Kind,
}

const STORAGES: [StorageClass; 7] = [
    StorageClass { class: "FloatStorage", kind: Kind::Float },
    StorageClass { class: "DoubleStorage", kind: Kind::Double },
    StorageClass { class: "HalfStorage", kind: Kind::Half },
    StorageClass { class: "BFloat16Storage", kind: Kind::BFloat16 },
    StorageClass { class: "LongStorage", kind: Kind::Int64 },
    StorageClass { class: "IntStorage", kind: Kind::Int },
    StorageClass { class: "BoolStorage", kind: Kind::Bool },
];

fn storage_kind(class: &str) -> Option<Kind> {
    STORAGES.iter().find(|storage| storage.class == class).map(|storage| storage.kind)
}

fn storage_class(kind: Kind) -> Option<&'static str> {
    STORAGES.iter().find(|storage| storage.kind == kind).map(|storage| storage.class)
}

#[cfg(test)]
mod tests;
