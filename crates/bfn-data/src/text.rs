//! Text as classes of symbols.

use std::path::Path;
use std::sync::Arc;

use bfn_core::VariableKind;

use crate::alphabet::Alphabet;
use crate::archive::Zip;
use crate::bytes::{self, Content, MOST_BYTES};
use crate::dataset::{Layout, Split};
use crate::error::DataError;
use crate::root::Root;
use crate::values::Storage;
use crate::vocabulary::{Tokenizer, Vocabulary};
use crate::windows::{Classes, TextWindows, Windows};

/// A whole text in memory, with as few bytes per symbol as the vocabulary allows.
#[derive(Debug, Clone)]
pub struct Text {
    title: String,
    vocabulary: Vocabulary,
    classes: Classes,
}

/// The source of a text's symbols.
#[derive(Debug, Clone, PartialEq)]
pub enum Symbols {
    /// The characters that occur in the text, sorted by code point.
    FromText,
    /// This alphabet; other characters are an error.
    Given(Alphabet),
    /// This alphabet; other characters are replaced by one of its own.
    Mapped {
        /// The alphabet.
        alphabet: Alphabet,
        /// The character that replaces others.
        unknown: char,
    },
    /// Bytes, whatever their meaning.
    Bytes,
    /// The tokens of a tokenizer.
    Tokens(Tokenizer),
}

/// Reads text8, or a part of it, from its file: 27 symbols.
///
/// The file is looked for as `text8`, `text8.gz`, `text8.zip`, `text8-prefix` or `text8-prefix.gz` in the sub-folder
/// `text8` of each place of `root`, and in the place itself.
///
/// # Errors
///
/// Returns [`DataError::Missing`] if no place has the file, and the errors of [`Text::read`].
pub fn text8(root: &Root) -> Result<Text, DataError> {
    let names = ["text8", "text8.gz", "text8.zip", "text8-prefix", "text8-prefix.gz"];
    let path = root.find("text8", &["text8", ""], &names)?;
    let mut text = Text::read(&[&path], &Symbols::Given(Alphabet::text8()))?;
    text.title = match text.symbols() {
        TEXT8_CHARACTERS => "text8".to_owned(),
        part => format!("text8, first {:.2}M characters", part as f64 / 1e6),
    };
    Ok(text)
}

impl Text {
    /// Reads one or more files, joined in order into one text; each is plain, gzip, or a zip archive of one file.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Unreadable`] if a file cannot be read, and the errors of [`Self::parse`].
    pub fn read(paths: &[&Path], symbols: &Symbols) -> Result<Self, DataError> {
        let mut files = Vec::new();
        for path in paths {
            files.push((*path, bytes::read(path)?));
        }
        let files: Vec<(&Path, &[u8])> = files.iter().map(|(path, bytes)| (*path, bytes.as_slice())).collect();
        Self::parse(&files, symbols)
    }

    /// Parses the bytes of files, as [`Self::read`] does; paths are used only in messages and the title.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if gzip or zip data is damaged, if there is more than 1 GiB, or if characters
    /// or tokens are asked for and the text is not UTF-8; [`DataError::UnknownSymbol`] for a character that a given
    /// alphabet lacks; [`DataError::Invalid`] if a text has fewer than 2 or more than 65,535 different characters, or
    /// if an alphabet lacks the character for unknown ones.
    pub fn parse(files: &[(&Path, &[u8])], symbols: &Symbols) -> Result<Self, DataError> {
        let mut contents = Vec::new();
        let mut left = MOST_BYTES;
        for (path, bytes) in files {
            let content = unpacked(path, bytes, left)?;
            left -= content.len() as u64;
            contents.push((*path, content));
        }
        let texts = || contents.iter().map(|(path, content)| Ok((*path, utf8(path, content)?)));
        let characters = |alphabet: &Alphabet, unknown: Option<u16>| {
            let texts = texts().collect::<Result<Vec<_>, DataError>>()?;
            let classes = if alphabet.classes() <= 256 {
                Classes::Bytes(joined(&texts, |path, text| {
                    alphabet.encode_as(path, text, unknown, |class| class as u8)
                })?)
            } else {
                Classes::Words(joined(&texts, |path, text| alphabet.encode(path, text, unknown))?)
            };
            Ok::<_, DataError>((Vocabulary::Characters(alphabet.clone()), classes))
        };
        let (vocabulary, classes) = match symbols {
            Symbols::FromText => {
                let all = texts().map(|text| Ok(text?.1.chars()));
                let all = all.collect::<Result<Vec<_>, DataError>>()?.into_iter().flatten();
                characters(&Alphabet::of_characters(all)?, None)?
            }
            Symbols::Given(alphabet) => characters(alphabet, None)?,
            Symbols::Mapped { alphabet, unknown } => {
                let Some(class) = alphabet.class(*unknown) else {
                    let expected = "a character of the alphabet to stand for unknown ones";
                    return Err(DataError::invalid("unknown", expected, format!("{unknown:?}")));
                };
                characters(alphabet, Some(class))?
            }
            Symbols::Bytes => {
                let all: Vec<u8> = contents.iter().flat_map(|(_, content)| content).copied().collect();
                (Vocabulary::Bytes, Classes::Bytes(all.into()))
            }
            Symbols::Tokens(tokenizer) => {
                let texts = texts().collect::<Result<Vec<_>, DataError>>()?;
                let tokens: Arc<[u32]> = joined(&texts, |path, text| tokenizer.encode(path, text))?;
                let vocabulary = Vocabulary::Tokens(tokenizer.clone());
                let classes = match Storage::of([VariableKind::Discrete { classes: vocabulary.classes() }]) {
                    Storage::Bytes => Classes::Bytes(tokens.iter().map(|token| *token as u8).collect()),
                    Storage::Words => Classes::Words(tokens.iter().map(|token| *token as u16).collect()),
                    _ => Classes::Longs(tokens),
                };
                (vocabulary, classes)
            }
        };
        let names: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
        Ok(Self { title: names.join(", "), vocabulary, classes })
    }

    /// Returns the name of this text in reports.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Returns the vocabulary: what the classes mean.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Returns the number of symbols in all splits.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.classes.len()
    }

    /// Returns a split by position: the first 90 % for training, 5 % for validation, the last 5 % for the test.
    ///
    /// For text8's 100 million characters these are the published 90M, 5M and 5M.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if `length` is 0 or longer than the split.
    pub fn split(&self, split: Split, length: usize, windows: Windows) -> Result<TextWindows, DataError> {
        let all = self.classes.len();
        let percent = |share: u128| (all as u128 * share / 100) as usize;
        let range = match split {
            Split::Train => 0..percent(90),
            Split::Validation => percent(90)..percent(95),
            Split::Test => percent(95)..all,
        };
        if !(1..=range.len()).contains(&length) {
            let expected = format!("1 to {}, the symbols of the {split} split of {}", range.len(), self.title);
            return Err(DataError::invalid("length of a window", expected, length));
        }
        Ok(TextWindows {
            layout: Layout::Text { length, vocabulary: self.vocabulary.clone() },
            vocabulary: self.vocabulary.clone(),
            classes: self.classes.clone(),
            range,
            windows,
        })
    }
}

/// Returns the unpacked content of a file, to be kept in memory; more than `most` bytes are refused.
fn unpacked(path: &Path, bytes: &[u8], most: u64) -> Result<Vec<u8>, DataError> {
    if Zip::is(bytes) {
        let mut archive = Zip::parse(path, bytes)?;
        let [name] = &archive.names()[..] else {
            let found = format!("{:?}", archive.names());
            return Err(DataError::malformed(path, 0, "a zip archive of a single file", found));
        };
        return archive.file(&name.clone(), most);
    }
    Content::new(path, bytes).rest(most)
}

fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, DataError> {
    // Some programs write a byte order mark at the beginning, which is not part of the text.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let found = format!("the byte {:#04x}", bytes[offset]);
        DataError::malformed(path, offset as u64, "text in UTF-8", found)
            .with_cure("convert the file to UTF-8, or take its bytes as symbols (symbols = \"bytes\")")
    })
}

/// Encodes all texts and joins their classes in order.
fn joined<T: Clone>(
    texts: &[(&Path, &str)],
    encode: impl Fn(&Path, &str) -> Result<Vec<T>, DataError>,
) -> Result<Arc<[T]>, DataError> {
    if let [(path, text)] = texts {
        return Ok(encode(path, text)?.into());
    }
    let encoded = texts.iter().map(|(path, text)| encode(path, text));
    Ok(encoded.collect::<Result<Vec<_>, _>>()?.concat().into())
}

/// The length of the complete text8.
const TEXT8_CHARACTERS: usize = 100_000_000;
