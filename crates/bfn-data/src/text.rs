//! Text as classes of characters, in windows.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bfn_core::VariableKind;

use crate::alphabet::Alphabet;
use crate::bytes::{self, Content};
use crate::dataset::{Dataset, Draw, Layout, Split};
use crate::error::DataError;
use crate::random::Purpose;
use crate::root::Root;

/// A whole text in memory, one byte per character.
#[derive(Debug, Clone)]
pub struct Text {
    title: String,
    alphabet: Alphabet,
    classes: Arc<[u8]>,
}

/// Where a text's alphabet comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symbols {
    /// The characters that occur in the text, sorted by code point.
    FromText,
    /// This alphabet; other characters are an error.
    Given(Alphabet),
}

/// Where the windows of a split start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Windows {
    /// Anywhere, drawn afresh for each epoch: for training.
    Random,
    /// One after the other without overlap: for evaluation. Where the length does not divide the
    /// split, the characters after the last whole window are left out.
    InOrder,
}

/// One split of a text in windows of equal length.
#[derive(Debug, Clone)]
pub struct TextWindows {
    layout: Layout,
    classes: Arc<[u8]>,
    range: Range<usize>,
    windows: Windows,
}

/// text8, or a part of it, as its file gives it: 27 symbols.
///
/// Looked for as `text8`, `text8.gz`, `text8-prefix` or `text8-prefix.gz` in the sub-folder `text8`
/// of each place of `root`, and in the place itself.
///
/// # Errors
///
/// [`DataError::Missing`] where no place has the file, and what [`Text::read`] finds wrong.
pub fn text8(root: &Root) -> Result<Text, DataError> {
    let names = ["text8", "text8.gz", "text8-prefix", "text8-prefix.gz"];
    let path = root.find("text8", &["text8", ""], &names)?;
    let mut text = Text::read(&path, &Symbols::Given(Alphabet::text8()))?;
    text.title = match text.characters() {
        TEXT8_CHARACTERS => "text8".to_owned(),
        part => format!("text8, first {:.2}M characters", part as f64 / 1e6),
    };
    Ok(text)
}

impl Text {
    /// Reads the UTF-8 file at `path`, plain or gzip.
    ///
    /// # Errors
    ///
    /// [`DataError::Unreadable`], and what [`Self::parse`] finds wrong.
    pub fn read(path: &Path, symbols: &Symbols) -> Result<Self, DataError> {
        Self::parse(path, &bytes::read(path)?, symbols)
    }

    /// Parses the bytes of a file, plain or gzip; `path` only serves messages and the title.
    ///
    /// # Errors
    ///
    /// [`DataError::Malformed`] where gzip is damaged, where there is more than 1 GiB, or where the
    /// text is not UTF-8; [`DataError::UnknownSymbol`] for a character that a given alphabet lacks;
    /// [`DataError::Invalid`] where a text has fewer than 2 or more than 256 different characters.
    pub fn parse(path: &Path, bytes: &[u8], symbols: &Symbols) -> Result<Self, DataError> {
        let mut content = Content::new(path, bytes);
        let bytes = content.take(MOST_BYTES + 1)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(DataError::Malformed {
                path: path.to_owned(),
                offset: MOST_BYTES,
                expected: "the end of the text, which is kept in memory".to_owned(),
                found: "more than 1 GiB".to_owned(),
                cure: "use a part of it".to_owned(),
            });
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let offset = error.valid_up_to();
            let found = format!("the byte {:#04x}", bytes[offset]);
            DataError::malformed(path, offset as u64, "text in UTF-8", found)
        })?;
        let alphabet = match symbols {
            Symbols::FromText => Alphabet::of_text(text)?,
            Symbols::Given(alphabet) => alphabet.clone(),
        };
        Ok(Self { title: path.display().to_string(), classes: alphabet.encode(path, text)?.into(), alphabet })
    }

    /// What to call this text in a report.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The alphabet.
    #[must_use]
    pub fn alphabet(&self) -> &Alphabet {
        &self.alphabet
    }

    /// The number of characters in all splits.
    #[must_use]
    pub fn characters(&self) -> usize {
        self.classes.len()
    }

    /// A split by position: the first 90 % for training, 5 % for validation, the last 5 % for the test.
    ///
    /// For text8's 100 million characters these are the published 90M, 5M and 5M.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where `length` is 0 or longer than the split.
    pub fn split(&self, split: Split, length: usize, windows: Windows) -> Result<TextWindows, DataError> {
        let all = self.classes.len();
        let percent = |share: u128| (all as u128 * share / 100) as usize;
        let range = match split {
            Split::Train => 0..percent(90),
            Split::Validation => percent(90)..percent(95),
            Split::Test => percent(95)..all,
        };
        if !(1..=range.len()).contains(&length) {
            let expected = format!("1 to {}, the characters of the {split} split of {}", range.len(), self.title);
            return Err(DataError::invalid("window length", expected, length));
        }
        Ok(TextWindows {
            layout: Layout::Text { length, alphabet: self.alphabet.clone() },
            classes: Arc::clone(&self.classes),
            range,
            windows,
        })
    }
}

impl Dataset for TextWindows {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn kind(&self) -> VariableKind {
        match &self.layout {
            Layout::Text { alphabet, .. } => VariableKind::Discrete { classes: alphabet.classes() },
            Layout::Image { .. } => unreachable!("a text has the layout of a text"),
        }
    }

    /// As many windows as fit side by side.
    fn len(&self) -> usize {
        self.range.len() / self.layout.variables()
    }

    fn read(&self, index: usize, draw: Draw, out: &mut [u8]) {
        let length = self.layout.variables();
        assert_eq!(out.len(), length, "expected room for {length} variables, found {}", out.len());
        assert!(index < self.len(), "expected an example below {}, found {index}", self.len());
        let start = match self.windows {
            Windows::InOrder => index * length,
            Windows::Random => {
                let starts = (self.range.len() - length + 1) as u64;
                let mut stream = draw.seed.stream(Purpose::Window, draw.epoch, index as u64);
                stream.below(starts) as usize
            }
        };
        let start = self.range.start + start;
        out.copy_from_slice(&self.classes[start..start + length]);
    }
}

/// The length of the complete text8.
const TEXT8_CHARACTERS: usize = 100_000_000;

/// More than any text that is modelled in memory, less than what a hostile gzip can unpack to.
const MOST_BYTES: u64 = 1 << 30;
