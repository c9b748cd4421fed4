//! Examples in memory, of any kind.

use bfn_core::VariableKind;

use crate::dataset::{Dataset, Draw, Layout};
use crate::error::DataError;
use crate::values::{Row, Storage, Values};

/// One split of a data set whose examples are in memory in the form in which they are read: arrays and tables.
#[derive(Debug, Clone)]
pub struct Rows {
    layout: Layout,
    kinds: Kinds,
    values: Values,
    labels: Vec<u32>,
    label_names: Vec<String>,
}

/// The kinds of the variables.
#[derive(Debug, Clone)]
pub(crate) enum Kinds {
    All(VariableKind),
    Each(Vec<VariableKind>),
}

impl Kinds {
    pub(crate) fn storage(&self) -> Storage {
        match self {
            Self::All(kind) => Storage::of([*kind]),
            Self::Each(kinds) => Storage::of(kinds.iter().copied()),
        }
    }
}

impl Rows {
    /// Creates rows from values `[N, D]` in the storage that their kinds require.
    pub(crate) fn new(layout: Layout, kinds: Kinds, values: Values) -> Self {
        debug_assert_eq!(values.storage(), kinds.storage());
        Self { layout, kinds, values, labels: Vec::new(), label_names: Vec::new() }
    }

    /// Adds a class to each row.
    pub(crate) fn labelled(self, labels: Vec<u32>, label_names: Vec<String>) -> Self {
        Self { labels, label_names, ..self }
    }
}

impl Dataset for Rows {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, variable: usize) -> VariableKind {
        match &self.kinds {
            Kinds::All(kind) => *kind,
            Kinds::Each(kinds) => kinds[variable],
        }
    }

    fn len(&self) -> usize {
        self.values.nrows()
    }

    fn read(&self, index: usize, _draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        match (&self.values, out) {
            (Values::Bytes(values), Row::Bytes(out)) => copy(values, index, out),
            (Values::Words(values), Row::Words(out)) => copy(values, index, out),
            (Values::Longs(values), Row::Longs(out)) => copy(values, index, out),
            (Values::Reals(values), Row::Reals(out)) => copy(values, index, out),
            (values, out) => panic!("expected room for {:?}, found {out:?}", values.storage()),
        }
        Ok(())
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn label_names(&self) -> &[String] {
        &self.label_names
    }

    fn storage(&self) -> Storage {
        self.values.storage()
    }
}

fn copy<T: Copy>(values: &ndarray::Array2<T>, index: usize, out: &mut [T]) {
    let size = values.ncols();
    assert_eq!(out.len(), size, "expected room for {size} variables, found {}", out.len());
    let all = values.as_slice().unwrap_or_default();
    out.copy_from_slice(&all[index * size..(index + 1) * size]);
}
