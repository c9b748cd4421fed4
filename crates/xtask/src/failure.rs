//! The single error type of this program: what was found, and what to do about it.

use std::fmt;

/// The reason why a task stopped, and its cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    found: String,
    cure: String,
}

impl Failure {
    /// Creates a failure: `found` states what was expected and found instead; `cure` is the next thing to do.
    pub(crate) fn new(found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { found: found.into(), cure: cure.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cure = self.cure.replace('\n', "\n  ");
        write!(formatter, "{}\nwhat to do:\n  {cure}", self.found)
    }
}
