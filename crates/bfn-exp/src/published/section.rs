//! Tables that are read key by key; keys that are never read are rejected.

use anyhow::{Context, Result, anyhow, ensure};

use super::yaml::{Node, Value};

/// A table that is being read. Each key is taken once; [`finish`](Self::finish) rejects the keys that are left.
#[derive(Debug)]
pub(super) struct Section {
    /// The dotted name, empty for the whole file.
    name: String,
    line: usize,
    entries: Vec<(String, Node)>,
}

/// A type that a key's value can be read as.
pub(super) trait Setting: Sized {
    /// The expected value, for error messages.
    const EXPECTED: &'static str;

    fn of(value: &Value) -> Option<Self>;
}

impl Section {
    /// Creates the section of the whole file.
    pub(super) fn file(node: Node) -> Result<Self> {
        Self::of(String::new(), node)
    }

    fn of(name: String, node: Node) -> Result<Self> {
        let Node { value, line } = node;
        match value {
            Value::Table(entries) => Ok(Self { name, line, entries }),
            other => {
                let what = if name.is_empty() { "the file" } else { &name };
                Err(anyhow!("line {line}: {what} is {}; a table of settings is expected", other.describe()))
            }
        }
    }

    /// Reads a key that must be present.
    pub(super) fn required<T: Setting>(&mut self, key: &str) -> Result<T> {
        match self.take(key) {
            Some(node) => self.read(key, &node),
            None => Err(self.missing(key)),
        }
    }

    /// Reads a key for which the published code has a default.
    pub(super) fn or<T: Setting>(&mut self, key: &str, default: T) -> Result<T> {
        match self.take(key) {
            Some(node) => self.read(key, &node),
            None => Ok(default),
        }
    }

    /// Checks a key for which this program supports only one value, which is also the default.
    pub(super) fn only<T: Setting + PartialEq + std::fmt::Debug>(
        &mut self,
        key: &str,
        only: T,
        why: &str,
    ) -> Result<()> {
        let Some(node) = self.take(key) else { return Ok(()) };
        let found: T = self.read(key, &node)?;
        ensure!(found == only, "line {}: {} is {found:?}, which is not supported: {why}", node.line, self.path(key));
        Ok(())
    }

    /// Ignores keys that do not affect training or evaluation; they may have any value.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.take(key);
        }
    }

    /// Reads a table that must be present.
    pub(super) fn section(&mut self, key: &str) -> Result<Self> {
        let Some(node) = self.take(key) else { return Err(self.missing(key)) };
        Self::of(self.path(key), node)
    }

    /// Reads a table that may be absent or empty.
    pub(super) fn optional(&mut self, key: &str) -> Result<Option<Self>> {
        match self.take(key) {
            None | Some(Node { value: Value::Nothing, .. }) => Ok(None),
            Some(node) => Self::of(self.path(key), node).map(Some),
        }
    }

    /// Reads a `class_name` and its `parameters`, from which the published code creates an object; `None` if absent.
    pub(super) fn class(&mut self, key: &str) -> Result<Option<(String, Self)>> {
        let Some(mut object) = self.optional(key)? else { return Ok(None) };
        let class = object.required("class_name")?;
        let parameters = object.section("parameters")?;
        object.finish("an object of the published code has class_name and parameters")?;
        Ok(Some((class, parameters)))
    }

    /// Creates an error about this table.
    pub(super) fn error(&self, message: impl std::fmt::Display) -> anyhow::Error {
        let what = if self.name.is_empty() { "the file" } else { &self.name };
        anyhow!("line {}: {what}: {message}", self.line)
    }

    /// Rejects the keys that have not been read.
    pub(super) fn finish(self, what: &str) -> Result<()> {
        let left: Vec<String> =
            self.entries.iter().map(|(key, node)| format!("{} (line {})", self.path(key), node.line)).collect();
        ensure!(left.is_empty(), "unknown or unsupported settings: {}; {what}", left.join(", "));
        Ok(())
    }

    fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    fn read<T: Setting>(&self, key: &str, node: &Node) -> Result<T> {
        T::of(&node.value).with_context(|| {
            format!("line {}: {} is {}; {} is expected", node.line, self.path(key), node.value.describe(), T::EXPECTED)
        })
    }

    fn missing(&self, key: &str) -> anyhow::Error {
        anyhow!("{} is missing", self.path(key))
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl Value {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Nothing => "empty".to_owned(),
            Self::Boolean(value) => if *value { "True" } else { "False" }.to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => format!("{number:?}"),
            Self::Text(text) => format!("the text {text:?}"),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Table(entries) => format!("a table of {}", entries.len()),
        }
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "True or False";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }
}

impl Setting for usize {
    const EXPECTED: &'static str = "a whole number from 0 on";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Self::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl Setting for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl Setting for f64 {
    const EXPECTED: &'static str = "a number";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(*number as f64),
            Value::Real(number) if !number.is_nan() => Some(*number),
            _ => None,
        }
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "text";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = "a list of numbers";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::List(items) => items.iter().map(|item| T::of(&item.value)).collect(),
            _ => None,
        }
    }
}

/// A value that may be empty.
impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Nothing => Some(None),
            other => T::of(other).map(Some),
        }
    }
}
