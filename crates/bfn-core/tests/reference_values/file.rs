//! Reading the committed reference values.

use std::collections::HashMap;
use std::path::Path;

use bfn_core::{Indices, Tensor};
use safetensors::{Dtype, SafeTensors};

/// A file of reference values: tensors and settings, by name.
pub(crate) struct Reference {
    bytes: Vec<u8>,
    settings: HashMap<String, String>,
}

impl Reference {
    /// Reads `tests/reference/<name>.safetensors`.
    pub(crate) fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
        let path = folder.join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("a reference file is a safetensors file");
        let settings = metadata.metadata().clone().unwrap_or_default();
        Self { bytes, settings }
    }

    /// Returns a setting as text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.settings.get(name).unwrap_or_else(|| panic!("no setting {name}"))
    }

    /// Returns a setting as a number.
    pub(crate) fn setting(&self, name: &str) -> f64 {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("setting {name} is {text}, not a number"))
    }

    /// Returns a setting as a count.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.setting(name) as usize
    }

    /// Returns a tensor of real numbers.
    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        let (shape, values) = self.parts(name);
        like().from_values_like(&shape, &values)
    }

    /// Returns a tensor of classes.
    pub(crate) fn indices(&self, name: &str) -> Indices {
        let (shape, values) = self.parts(name);
        let indices: Vec<usize> = values.iter().map(|value| *value as usize).collect();
        like().indices_like(&shape, &indices)
    }

    /// Returns the slices of a tensor along its first axis.
    pub(crate) fn rows(&self, name: &str) -> Vec<Tensor> {
        let (shape, values) = self.parts(name);
        let row = shape[1..].iter().product();
        values.chunks_exact(row).map(|values| like().from_values_like(&shape[1..], values)).collect()
    }

    /// Returns the value of a tensor without axes.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.parts(name).1[0]
    }

    fn parts(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a reference file is a safetensors file");
        let view = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let words = view.data().chunks_exact(8).map(|bytes| bytes.try_into().expect("eight bytes"));
        let values = match view.dtype() {
            Dtype::F64 => words.map(f64::from_le_bytes).collect(),
            Dtype::I64 => words.map(|bytes| i64::from_le_bytes(bytes) as f64).collect(),
            other => panic!("{name} holds {other:?}"),
        };
        (view.shape().to_vec(), values)
    }
}

/// Returns a tensor that fixes the precision.
fn like() -> Tensor {
    Tensor::from_nd(ndarray::ArrayD::zeros(vec![1]))
}

/// Computes the mean of tensors of the same shape.
pub(crate) fn mean(tensors: &[Tensor]) -> Tensor {
    let sum = tensors.iter().skip(1).fold(tensors[0].clone(), |sum, tensor| sum + tensor);
    sum / tensors.len() as f64
}

/// Computes the mean over the last axis, which is kept with length 1.
pub(crate) fn mean_over_dimensions(tensor: &Tensor) -> Tensor {
    let shape = tensor.shape();
    (tensor.sum_last() / shape[shape.len() - 1] as f64).unsqueeze_last()
}
