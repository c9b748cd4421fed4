//! The number types of libtorch and those of safetensors.

use safetensors::Dtype;
use tch::Kind;

const PAIRS: [(Kind, Dtype); 10] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Int16, Dtype::I16),
    (Kind::Int8, Dtype::I8),
    (Kind::Uint8, Dtype::U8),
    (Kind::Bool, Dtype::BOOL),
];

/// Returns the type as the file names it, if the file can hold it.
pub(super) fn dtype_of(kind: Kind) -> Option<Dtype> {
    PAIRS.iter().find(|pair| pair.0 == kind).map(|pair| pair.1)
}

/// Returns the type as libtorch names it, if libtorch has it.
pub(super) fn kind_of(dtype: Dtype) -> Option<Kind> {
    PAIRS.iter().find(|pair| pair.1 == dtype).map(|pair| pair.0)
}
