//! Windows of a text.

use std::ops::Range;
use std::sync::Arc;

use bfn_core::VariableKind;

use crate::dataset::{Dataset, Draw, Layout};
use crate::error::DataError;
use crate::random::Purpose;
use crate::values::{Row, Storage};
use crate::vocabulary::Vocabulary;

/// The places at which the windows of a split start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Windows {
    /// Anywhere, drawn afresh for each epoch: for training.
    Random,
    /// One after the other without overlap: for evaluation. If the length does not divide the split, the symbols
    /// after the last whole window are left out.
    InOrder,
    /// At every symbol, as published for text8. Every symbol is seen at every place of a window, at a cost multiplied
    /// by the length of a window.
    Overlapping,
}

/// One split of a text, in windows of equal length.
#[derive(Debug, Clone)]
pub struct TextWindows {
    pub(crate) layout: Layout,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) classes: Classes,
    /// The range of the split's symbols in the text.
    pub(crate) range: Range<usize>,
    pub(crate) windows: Windows,
}

/// The classes of a text's symbols, shared by its splits.
#[derive(Debug, Clone)]
pub(crate) enum Classes {
    Bytes(Arc<[u8]>),
    Words(Arc<[u16]>),
    Longs(Arc<[u32]>),
}

impl Dataset for TextWindows {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self, _variable: usize) -> VariableKind {
        VariableKind::Discrete { classes: self.vocabulary.classes() }
    }

    /// Returns how many windows fit side by side or, if they overlap, how many there are in all.
    fn len(&self) -> usize {
        let length = self.layout.variables();
        match self.windows {
            Windows::Random | Windows::InOrder => self.range.len() / length,
            Windows::Overlapping => self.range.len() - length + 1,
        }
    }

    fn read(&self, index: usize, draw: Draw, out: Row<'_>) -> Result<(), DataError> {
        let length = self.layout.variables();
        assert_eq!(out.len(), length, "expected room for {length} variables, found {}", out.len());
        assert!(index < self.len(), "expected an example below {}, found {index}", self.len());
        let start = match self.windows {
            Windows::InOrder => index * length,
            Windows::Overlapping => index,
            Windows::Random => {
                let starts = (self.range.len() - length + 1) as u64;
                let mut stream = draw.seed.stream(Purpose::Window, draw.epoch, index as u64);
                stream.below(starts) as usize
            }
        };
        let window = self.range.start + start..self.range.start + start + length;
        match (&self.classes, out) {
            (Classes::Bytes(classes), Row::Bytes(out)) => out.copy_from_slice(&classes[window]),
            (Classes::Words(classes), Row::Words(out)) => out.copy_from_slice(&classes[window]),
            (Classes::Longs(classes), Row::Longs(out)) => out.copy_from_slice(&classes[window]),
            (_, out) => panic!("expected room as narrow as the vocabulary allows, found {out:?}"),
        }
        Ok(())
    }

    /// Returns the storage, which follows from one kind, since all symbols are of the same kind.
    fn storage(&self) -> Storage {
        Storage::of([self.kind(0)])
    }
}

impl Classes {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(classes) => classes.len(),
            Self::Words(classes) => classes.len(),
            Self::Longs(classes) => classes.len(),
        }
    }
}
