//! `--set KEY=VALUE`: changes to an experiment file from the command line.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// One change: a dotted key and its value.
#[derive(Debug, Clone)]
pub struct Override {
    key: String,
    value: Value,
}

impl FromStr for Override {
    type Err = String;

    /// `KEY=VALUE`, where VALUE is anything that TOML can say, or else a string without its quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let example = "expected KEY=VALUE, such as training.steps=1000";
        let (key, given) = text.split_once('=').ok_or(example)?;
        let key = key.trim();
        if key.is_empty() || key.split('.').any(|part| part.trim().is_empty()) {
            return Err(example.to_owned());
        }
        let value = given.trim().parse().unwrap_or_else(|_| Value::from(given.trim()));
        Ok(Self { key: key.to_owned(), value })
    }
}

impl fmt::Display for Override {
    /// `KEY=VALUE` as a shell takes it.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}={}", self.key, self.value);
        let is_plain = |letter: char| letter.is_alphanumeric() || "=.,:/_+-".contains(letter);
        if text.chars().all(is_plain) { to.write_str(&text) } else { write!(to, "'{}'", text.replace('\'', r"'\''")) }
    }
}

impl Override {
    /// The dotted key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Changes the document.
    ///
    /// # Errors
    ///
    /// A part of the key that is a value and not a table.
    pub fn apply(&self, document: &mut DocumentMut) -> Result<()> {
        let mut parts: Vec<&str> = self.key.split('.').map(str::trim).collect();
        let last = parts.pop().context("an empty key")?;
        let mut table: &mut Table = document.as_table_mut();
        for (depth, part) in parts.iter().enumerate() {
            let item = table.entry(part).or_insert_with(|| Item::Table(Table::new()));
            table = match item {
                Item::Table(table) => table,
                other => {
                    let path = parts[..=depth].join(".");
                    bail!("--set {}: {path} is {}, not a table", self.key, other.type_name())
                }
            };
        }
        table.insert(last, value(self.value.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_as_a_shell_takes_them() {
        for (given, shown) in [
            ("training.steps=10", "training.steps=10"),
            ("optimiser.learning_rate = 1e-3", "optimiser.learning_rate=1e-3"),
            ("training.decay=cosine", "'training.decay=\"cosine\"'"),
            ("network.unet.multipliers=[1, 2]", "'network.unet.multipliers=[1, 2]'"),
            ("data.text.file=it's", r#"'data.text.file="it'\''s"'"#),
        ] {
            assert_eq!(given.parse::<Override>().expect("a change").to_string(), shown);
        }
    }
}
