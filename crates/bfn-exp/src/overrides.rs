//! `--set KEY=VALUE`: changes to an experiment file from the command line.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value, value};

/// One change to an experiment: a dotted key and its value.
#[derive(Debug, Clone)]
pub struct Override {
    key: String,
    value: Value,
}

impl FromStr for Override {
    type Err = String;

    /// Parses `KEY=VALUE`, where VALUE is any TOML value or else a string without quotes.
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
    /// Formats the change as `KEY=VALUE`, quoted for a shell where necessary.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}={}", self.key, self.value);
        let is_plain = |letter: char| letter.is_alphanumeric() || "=.,:/_+-".contains(letter);
        if text.chars().all(is_plain) { to.write_str(&text) } else { write!(to, "'{}'", text.replace('\'', r"'\''")) }
    }
}

impl Override {
    /// Returns the dotted key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Applies the change to a document.
    ///
    /// # Errors
    ///
    /// Returns an error if a part of the key is a value, not a table.
    pub fn apply(&self, document: &mut DocumentMut) -> Result<()> {
        let mut parts: Vec<&str> = self.key.split('.').map(str::trim).collect();
        let last = parts.pop().context("an empty key")?;
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for (depth, part) in parts.iter().enumerate() {
            let item = table.entry(part).or_insert_with(|| Item::Table(Table::new()));
            let kind = item.type_name();
            table = item.as_table_like_mut().with_context(|| {
                let path = parts[..=depth].join(".");
                format!("--set {}: {path} is {kind}, not a table", self.key)
            })?;
        }
        table.insert(last, value(self.value.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_lie_in_tables_of_either_kind() {
        let mut document: DocumentMut = "[data.table]\nheld_out = { test = 0.1 }\n".parse().expect("TOML");
        for (change, expected) in [
            ("data.table.held_out.test=0.2", "held_out = { test = 0.2 }"),
            ("data.table.held_out.validation=0.3", "validation = 0.3"),
            ("training.steps=10", "[training]\nsteps = 10"),
        ] {
            change.parse::<Override>().expect("a change").apply(&mut document).expect(change);
            assert!(document.to_string().contains(expected), "{document}");
        }
        let error = "data.table.held_out.test.more=1".parse::<Override>().expect("a change").apply(&mut document);
        let error = error.expect_err("a number has no keys").to_string();
        assert!(error.contains("data.table.held_out.test is float, not a table"), "{error}");
    }

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
