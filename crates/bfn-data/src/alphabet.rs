//! The symbols of a text and their classes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::error::DataError;

/// A list of distinct characters; the class of a character is its index in the list.
#[derive(Clone, PartialEq, Eq)]
pub struct Alphabet {
    symbols: Vec<char>,
    /// The class of each ASCII character, or NONE if it has none.
    ascii: Box<[u16; 128]>,
    /// The other characters in sorted order, each with its class.
    others: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    symbol: char,
    class: u16,
}

/// The maximum number of symbols in an alphabet.
pub const MAX_SYMBOLS: usize = 65_535;

const NONE: u16 = u16::MAX;

impl Alphabet {
    /// Creates an alphabet of these characters, in this order.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] unless there are 2 to 65,535 characters, all different.
    pub fn new(symbols: &str) -> Result<Self, DataError> {
        let symbols: Vec<char> = symbols.chars().collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = symbols.iter().find(|&&symbol| !seen.insert(symbol)) {
            let expected = "characters that are all different";
            let found = format!("{twice:?} twice");
            return Err(DataError::invalid("alphabet", expected, found));
        }
        if !(2..=MAX_SYMBOLS).contains(&symbols.len()) {
            let expected = format!("2 to {MAX_SYMBOLS} different characters");
            return Err(DataError::invalid("alphabet", expected, symbols.len()));
        }
        Ok(Self::from_distinct(symbols))
    }

    /// Creates an alphabet of the characters that occur in `text`, sorted by code point.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] unless 2 to 65,535 different characters occur.
    pub fn of_text(text: &str) -> Result<Self, DataError> {
        Self::of_characters(text.chars())
    }

    pub(crate) fn of_characters(characters: impl Iterator<Item = char>) -> Result<Self, DataError> {
        // For ASCII characters, an array of flags is much faster than a tree.
        let mut ascii = [false; 128];
        let mut symbols = BTreeSet::new();
        for symbol in characters {
            match ascii.get_mut(symbol as usize) {
                Some(seen) => *seen = true,
                None => {
                    symbols.insert(symbol);
                }
            }
        }
        let ascii = (0_u8..128).filter(|code| ascii[usize::from(*code)]).map(char::from);
        Self::new(&ascii.chain(symbols).collect::<String>())
    }

    /// Returns the alphabet of text8 with its 27 symbols: the space is class 0, a to z are 1 to 26.
    #[must_use]
    pub fn text8() -> Self {
        Self::from_distinct(std::iter::once(' ').chain('a'..='z').collect())
    }

    /// Returns the number of symbols, K.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.symbols.len()
    }

    /// Returns the characters in the order of their classes.
    #[must_use]
    pub fn symbols(&self) -> &[char] {
        &self.symbols
    }

    /// Returns the class of a character, or `None` if the alphabet lacks it.
    #[must_use]
    pub fn class(&self, symbol: char) -> Option<u16> {
        match self.ascii.get(symbol as usize) {
            Some(&NONE) => None,
            Some(&class) => Some(class),
            None => {
                let entry = |entry: &Entry| entry.symbol;
                let place = self.others.binary_search_by_key(&symbol, entry).ok()?;
                Some(self.others[place].class)
            }
        }
    }

    /// Returns the classes of a text's characters; `path` is used only in messages.
    ///
    /// Characters that are not in the alphabet become `unknown`, if it is given.
    ///
    /// # Errors
    ///
    /// Without `unknown`, returns [`DataError::UnknownSymbol`] for the first character that is not in the alphabet.
    pub fn encode(&self, path: &Path, text: &str, unknown: Option<u16>) -> Result<Vec<u16>, DataError> {
        self.encode_as(path, text, unknown, |class| class)
    }

    /// Encodes a text as `encode` does, and converts each class by `narrow`.
    pub(crate) fn encode_as<T>(
        &self,
        path: &Path,
        text: &str,
        unknown: Option<u16>,
        narrow: fn(u16) -> T,
    ) -> Result<Vec<T>, DataError> {
        let class = |symbol| self.class(symbol).or(unknown).map(narrow);
        let classes: Option<Vec<T>> = text.chars().map(class).collect();
        classes.ok_or_else(|| self.unknown(path, text))
    }

    /// Returns the text that these classes spell.
    ///
    /// # Panics
    ///
    /// Panics if a class is not below [`Self::classes`].
    pub fn decode(&self, classes: impl IntoIterator<Item = usize>) -> String {
        let symbol = |class| {
            let known = self.symbols.get(class);
            *known.unwrap_or_else(|| panic!("expected a class below {}, found {class}", self.classes()))
        };
        classes.into_iter().map(symbol).collect()
    }

    fn from_distinct(symbols: Vec<char>) -> Self {
        let mut ascii = Box::new([NONE; 128]);
        let mut others = Vec::new();
        for (class, &symbol) in (0..NONE).zip(&symbols) {
            match ascii.get_mut(symbol as usize) {
                Some(entry) => *entry = class,
                None => others.push(Entry { symbol, class }),
            }
        }
        others.sort_by_key(|entry| entry.symbol);
        Self { symbols, ascii, others }
    }

    /// Returns the error for the first unknown character.
    ///
    /// It is found in a second pass, so that the first need not count lines.
    fn unknown(&self, path: &Path, text: &str) -> DataError {
        let (mut line, mut column, mut found) = (1, 1, char::REPLACEMENT_CHARACTER);
        for symbol in text.chars() {
            if self.class(symbol).is_none() {
                found = symbol;
                break;
            }
            column += 1;
            if symbol == '\n' {
                (line, column) = (line + 1, 1);
            }
        }
        DataError::UnknownSymbol { path: path.to_owned(), line, column, found, alphabet: self.to_string() }
    }
}

/// The characters in the order of their classes; [`Alphabet::new`] reads them back.
impl fmt::Display for Alphabet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.symbols.iter().collect::<String>())
    }
}

impl fmt::Debug for Alphabet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Alphabet({:?})", self.to_string())
    }
}
