//! The meaning of a text's classes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::alphabet::Alphabet;
use crate::error::DataError;
use crate::guard::guarded;

/// The meaning of a text's classes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Vocabulary {
    /// Characters.
    Characters(Alphabet),
    /// Bytes: 256 classes.
    Bytes,
    /// The tokens of a tokenizer.
    Tokens(Tokenizer),
}

impl Vocabulary {
    /// Returns the number of classes, K.
    #[must_use]
    pub fn classes(&self) -> usize {
        match self {
            Self::Characters(alphabet) => alphabet.classes(),
            Self::Bytes => 256,
            Self::Tokens(tokenizer) => tokenizer.classes(),
        }
    }

    /// Returns the text that these classes spell: UTF-8, unless they are bytes.
    ///
    /// # Panics
    ///
    /// Panics if a class is not below [`Self::classes`].
    #[must_use]
    pub fn decode(&self, classes: &[usize]) -> Vec<u8> {
        match self {
            Self::Characters(alphabet) => alphabet.decode(classes.iter().copied()).into_bytes(),
            Self::Bytes => classes.iter().map(|class| u8::try_from(*class).expect("a class below 256")).collect(),
            Self::Tokens(tokenizer) => tokenizer.decode(classes).into_bytes(),
        }
    }
}

/// A tokenizer from a `tokenizers` JSON file.
#[derive(Clone)]
pub struct Tokenizer {
    json: Arc<str>,
    tokenizer: Arc<tokenizers::Tokenizer>,
    classes: usize,
}

impl Tokenizer {
    /// Parses the JSON that the Hugging Face library `tokenizers` writes; `path` is used only in messages.
    ///
    /// Truncation and padding that the JSON asks for are disabled: a text is read to its end.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the bytes are not such JSON; [`DataError::Invalid`] if there are fewer
    /// than two tokens.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let expected = "a tokenizer as `tokenizers` saves it in JSON";
        let refused = |found: String| DataError::malformed(path, 0, expected, found);
        let json = std::str::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
        let tokenizer = guarded(path, expected, || {
            let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| refused(error.to_string()))?;
            // Both fit sentences to the size of a network; here they would drop most of a piece, or pad it.
            tokenizer.with_truncation(None).map_err(|error| refused(error.to_string()))?;
            tokenizer.with_padding(None);
            Ok(tokenizer)
        })?;
        // Token numbers may have gaps.
        let greatest = tokenizer.get_vocab(true).into_values().max();
        let classes = greatest.map_or(0, |greatest| greatest as usize + 1);
        if classes < 2 {
            return Err(DataError::invalid("tokenizer", "at least 2 tokens", classes));
        }
        Ok(Self { json: json.into(), tokenizer: Arc::new(tokenizer), classes })
    }

    /// Returns the JSON that the tokenizer was created from.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns the number of tokens, K: one more than the greatest token number.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the tokens of a text; `path` is used only in messages.
    ///
    /// The text is encoded in pieces of about a megabyte, since a tokenizer needs many times the memory of its input.
    /// A piece ends at the end of a line; if there is none in the next megabyte, before white space; if there is no
    /// white space either, between two characters.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Malformed`] if the tokenizer refuses the text, as one without a token for unknown text may.
    pub fn encode(&self, path: &Path, text: &str) -> Result<Vec<u32>, DataError> {
        let mut tokens = Vec::new();
        let mut done = 0;
        for piece in pieces(text) {
            let expected = "text that the tokenizer knows";
            let encoded = guarded(path, expected, || {
                self.tokenizer
                    .encode_fast(piece, false)
                    .map_err(|error| DataError::malformed(path, done as u64, expected, format!("an error ({error})")))
            })?;
            tokens.extend_from_slice(encoded.get_ids());
            done += piece.len();
        }
        Ok(tokens)
    }

    fn decode(&self, classes: &[usize]) -> String {
        let tokens: Vec<u32> = classes.iter().map(|class| *class as u32).collect();
        // Numbers that belong to no token spell nothing; the tokenizer fails for no other reason.
        self.tokenizer.decode(&tokens, false).unwrap_or_default()
    }
}

const PIECE: usize = 1 << 20;

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(end_of_piece(rest));
        rest = after;
        Some(piece)
    })
}

/// Returns where the first piece of a text ends: after [`PIECE`] bytes or more, but no more than twice as many.
fn end_of_piece(text: &str) -> usize {
    let boundary = |from: usize| (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let (from, until) = (boundary(PIECE), boundary(2 * PIECE));
    let window = &text[from..until];
    match (window.find('\n'), window.find(char::is_whitespace)) {
        (Some(line), _) => from + line + 1,
        _ if until == text.len() => until,
        // White space belongs to the word after it in many vocabularies.
        (None, Some(space)) => from + space,
        (None, None) => until,
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokenizer({} tokens)", self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_with_lines_and_are_the_whole_text() {
        let line = "ä line of text\n";
        let text = line.repeat(200_000) + "the end";
        let pieces: Vec<&str> = pieces(&text).collect();
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.concat(), text);
        assert!(pieces[..3].iter().all(|piece| piece.ends_with('\n') && piece.len() <= PIECE + line.len()));
    }

    #[test]
    fn a_text_without_lines_has_pieces_too() {
        let text = "wörd ".repeat(800_000);
        let words: Vec<&str> = pieces(&text).collect();
        assert_eq!(words.concat(), text);
        assert!(words.len() > 3 && words.iter().all(|piece| piece.len() <= 2 * PIECE));
        assert!(words[1..].iter().all(|piece| piece.starts_with(" wörd")));
        // An odd byte at the front makes the limit fall within a character.
        let text = format!("a{}", "ä".repeat(2_500_000));
        let characters: Vec<&str> = pieces(&text).collect();
        assert_eq!(characters.concat(), text);
        assert!(characters.len() > 2 && characters.iter().all(|piece| piece.len() <= 2 * PIECE + 1));
    }
}
