//! The values of examples: bins and classes in as few bytes as they need, real numbers in four.

use bfn_core::VariableKind;
use ndarray::Array2;

/// The element type in which a data set's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Indices of at most 256 bins or classes.
    Bytes,
    /// Indices of at most 65,536 bins or classes.
    Words,
    /// Indices of more bins or classes.
    Longs,
    /// Real numbers, possibly with indices below 2²⁴ among them, which an f32 holds exactly.
    Reals,
}

/// A batch of examples, `[B, D]`: the index of each variable's bin or class, or a real number.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// See [`Storage::Bytes`].
    Bytes(Array2<u8>),
    /// See [`Storage::Words`].
    Words(Array2<u16>),
    /// See [`Storage::Longs`].
    Longs(Array2<u32>),
    /// See [`Storage::Reals`].
    Reals(Array2<f32>),
}

/// A buffer for one example, `[D]`, in the storage of its data set.
#[derive(Debug)]
pub enum Row<'a> {
    /// See [`Storage::Bytes`].
    Bytes(&'a mut [u8]),
    /// See [`Storage::Words`].
    Words(&'a mut [u16]),
    /// See [`Storage::Longs`].
    Longs(&'a mut [u32]),
    /// See [`Storage::Reals`].
    Reals(&'a mut [f32]),
}

/// Evaluates an expression for the array or slice inside, whatever its element type.
macro_rules! with_elements {
    ($type:ident, $self:expr, $elements:ident => $value:expr) => {
        match $self {
            $type::Bytes($elements) => $value,
            $type::Words($elements) => $value,
            $type::Longs($elements) => $value,
            $type::Reals($elements) => $value,
        }
    };
}

impl Storage {
    /// Returns the narrowest storage for variables of these kinds.
    pub fn of(kinds: impl IntoIterator<Item = VariableKind>) -> Self {
        let mut most = 0;
        for kind in kinds {
            match kind {
                VariableKind::Continuous => return Self::Reals,
                VariableKind::Discretised { bins: values } | VariableKind::Discrete { classes: values } => {
                    most = most.max(values);
                }
            }
        }
        match most {
            0..=0x100 => Self::Bytes,
            0x101..=0x1_0000 => Self::Words,
            _ => Self::Longs,
        }
    }
}

impl Values {
    /// Creates `rows` examples of `variables` zeros each.
    #[must_use]
    pub fn zeros(storage: Storage, rows: usize, variables: usize) -> Self {
        let shape = (rows, variables);
        match storage {
            Storage::Bytes => Self::Bytes(Array2::zeros(shape)),
            Storage::Words => Self::Words(Array2::zeros(shape)),
            Storage::Longs => Self::Longs(Array2::zeros(shape)),
            Storage::Reals => Self::Reals(Array2::zeros(shape)),
        }
    }

    /// Returns how the values are stored.
    #[must_use]
    pub fn storage(&self) -> Storage {
        match self {
            Self::Bytes(_) => Storage::Bytes,
            Self::Words(_) => Storage::Words,
            Self::Longs(_) => Storage::Longs,
            Self::Reals(_) => Storage::Reals,
        }
    }

    /// Returns the numbers of examples and of variables, B and D.
    #[must_use]
    pub fn dim(&self) -> (usize, usize) {
        with_elements!(Self, self, values => values.dim())
    }

    /// Returns the number of examples, B.
    #[must_use]
    pub fn nrows(&self) -> usize {
        self.dim().0
    }

    /// Returns the number of variables, D.
    #[must_use]
    pub fn ncols(&self) -> usize {
        self.dim().1
    }

    /// Returns one value: an index, or a real number.
    ///
    /// # Panics
    ///
    /// Panics if there is no such example or variable.
    #[must_use]
    pub fn at(&self, example: usize, variable: usize) -> f64 {
        with_elements!(Self, self, values => f64::from(values[[example, variable]]))
    }

    /// Returns the values as bytes.
    ///
    /// # Panics
    ///
    /// Panics if the values are stored in another type.
    #[must_use]
    pub fn bytes(&self) -> &Array2<u8> {
        match self {
            Self::Bytes(values) => values,
            other => panic!("expected values in bytes, found {:?}", other.storage()),
        }
    }

    /// Returns the buffer for the values of one example.
    ///
    /// # Panics
    ///
    /// Panics if there is no such example.
    pub fn row_mut(&mut self, example: usize) -> Row<'_> {
        match self {
            Self::Bytes(values) => Row::Bytes(room(values, example)),
            Self::Words(values) => Row::Words(room(values, example)),
            Self::Longs(values) => Row::Longs(room(values, example)),
            Self::Reals(values) => Row::Reals(room(values, example)),
        }
    }
}

impl<'a> Row<'a> {
    /// Returns the number of variables, D.
    #[must_use]
    pub fn len(&self) -> usize {
        with_elements!(Self, self, values => values.len())
    }

    /// Returns whether there are no variables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the buffer of a data set of at most 256 bins or classes.
    ///
    /// # Panics
    ///
    /// Panics if the values are stored in another type.
    #[must_use]
    pub fn bytes(self) -> &'a mut [u8] {
        match self {
            Self::Bytes(values) => values,
            other => panic!("expected room for bytes, found {:?}", other.storage()),
        }
    }

    /// Returns the buffer of a data set of real numbers, alone or mixed with indices.
    ///
    /// # Panics
    ///
    /// Panics if the values are stored in another type.
    #[must_use]
    pub fn reals(self) -> &'a mut [f32] {
        match self {
            Self::Reals(values) => values,
            other => panic!("expected room for real numbers, found {:?}", other.storage()),
        }
    }

    /// Writes one index per variable; the caller ensures that the indices fit the storage.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer than D indices.
    pub fn set(self, indices: impl IntoIterator<Item = u32>) {
        let mut indices = indices.into_iter();
        let mut next = || indices.next().expect("expected an index for each variable");
        match self {
            Self::Bytes(values) => values.fill_with(|| next() as u8),
            Self::Words(values) => values.fill_with(|| next() as u16),
            Self::Longs(values) => values.fill_with(next),
            Self::Reals(values) => values.fill_with(|| next() as f32),
        }
    }

    fn storage(&self) -> Storage {
        match self {
            Self::Bytes(_) => Storage::Bytes,
            Self::Words(_) => Storage::Words,
            Self::Longs(_) => Storage::Longs,
            Self::Reals(_) => Storage::Reals,
        }
    }
}

/// Returns the row of an example, which is a slice because arrays are created in standard order.
fn room<T>(values: &mut Array2<T>, example: usize) -> &mut [T] {
    let (rows, variables) = values.dim();
    assert!(example < rows, "expected an example below {rows}, found {example}");
    let all = values.as_slice_mut().unwrap_or_default();
    &mut all[example * variables..(example + 1) * variables]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discrete(classes: usize) -> VariableKind {
        VariableKind::Discrete { classes }
    }

    #[test]
    fn the_narrowest_storage_is_chosen() {
        let cases = [(2, Storage::Bytes), (256, Storage::Bytes), (257, Storage::Words), (65_536, Storage::Words)];
        for (classes, storage) in cases.into_iter().chain([(65_537, Storage::Longs)]) {
            assert_eq!(Storage::of([discrete(2), discrete(classes)]), storage, "{classes}");
        }
        assert_eq!(Storage::of([discrete(2), VariableKind::Continuous]), Storage::Reals);
    }

    #[test]
    fn every_storage_holds_its_greatest_index() {
        let greatest = [(Storage::Bytes, 255), (Storage::Words, 65_535), (Storage::Longs, u32::MAX)];
        for (storage, index) in greatest.into_iter().chain([(Storage::Reals, 1 << 24)]) {
            let mut values = Values::zeros(storage, 2, 3);
            values.row_mut(1).set([0, index, 1]);
            let row = |example| [0, 1, 2].map(|variable| values.at(example, variable));
            assert_eq!(row(0), [0.0; 3]);
            assert_eq!(row(1), [0.0, f64::from(index), 1.0], "{storage:?}");
            assert_eq!((values.dim(), values.storage()), ((2, 3), storage));
        }
    }
}
