//! `--set KEY=VALUE`: changes to an experiment file from the command line.

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
