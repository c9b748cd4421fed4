//! The error type of this crate.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error with a device, a network's configuration or a checkpoint, and advice on what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The requested device has a name that is not known.
    #[error("unknown device \"{given}\": expected auto, cpu, cuda or cuda:N with N a device number such as 0")]
    UnknownDevice {
        /// The name as given.
        given: String,
    },

    /// The requested CUDA device is not available.
    #[error("device {device} is not available: {reason}; {advice}")]
    DeviceMissing {
        /// The requested device, as in `--device`.
        device: String,
        /// What was found instead.
        reason: String,
        /// What to do.
        advice: String,
    },

    /// A configuration key has a value that cannot be used.
    #[error("{key}: expected {expected}, found {found}")]
    Configuration {
        /// The key, dotted as in the file.
        key: String,
        /// What would be valid.
        expected: String,
        /// The value found.
        found: String,
    },

    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// The attempted action: `read`, `write`, ….
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },

    /// A file is not a whole checkpoint: it is cut short, damaged, or something else altogether.
    #[error(
        "{} is not a usable checkpoint: expected {expected}, found {found}; \
         use an earlier checkpoint or copy the file again", path.display()
    )]
    DamagedCheckpoint {
        /// The file.
        path: PathBuf,
        /// What a whole checkpoint contains.
        expected: String,
        /// What the file contains.
        found: String,
    },

    /// A file of weights from another program is damaged, or its content is not supported.
    #[error(
        "{} holds no weights that can be used: expected {expected}, found {found}; copy the file again, or save \
         `module.state_dict()` anew by torch.save with its defaults, or as .safetensors", path.display()
    )]
    UnusableWeights {
        /// The file.
        path: PathBuf,
        /// What a usable file contains.
        expected: String,
        /// What this file contains.
        found: String,
    },

    /// A checkpoint lacks a metadata entry, or the entry cannot be read.
    #[error("{}: metadata \"{key}\": expected {expected}, found {found}", path.display())]
    Metadata {
        /// The checkpoint.
        path: PathBuf,
        /// The key of the entry.
        key: String,
        /// What the entry should hold.
        expected: String,
        /// What the entry holds.
        found: String,
    },

    /// The tensors of a checkpoint do not match those to be filled. Nothing was changed.
    #[error(
        "{} does not fit: {mismatch}; load it with the configuration that it was trained with", path.display()
    )]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Every difference.
        mismatch: Mismatch,
    },

    /// A tensor has a number type that a checkpoint cannot hold.
    #[error("tensor \"{name}\" holds {kind:?}, which a checkpoint cannot keep: convert it first")]
    UnsupportedKind {
        /// The tensor's name.
        name: String,
        /// The tensor's number type.
        kind: tch::Kind,
    },

    /// libtorch refused an operation.
    #[error("libtorch could not {action}: {message}")]
    Libtorch {
        /// The attempted action.
        action: &'static str,
        /// The error message of libtorch.
        message: String,
    },
}

/// All differences between the expected tensors and those found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Names that were expected but not found.
    pub missing: Vec<String>,
    /// Names that were found but not expected.
    pub unexpected: Vec<String>,
    /// Tensors whose shape or number type is not the expected one.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor whose shape or number type is not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The tensor's name.
    pub name: String,
    /// The expected shape and type, such as `Float [4, 3]`.
    pub expected: String,
    /// The shape and type found.
    pub found: String,
}

impl Mismatch {
    /// Returns whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

/// Prepares text from a file for a terminal: escapes control characters and cuts it to a line or two.
pub(crate) fn legible(text: &str) -> String {
    const MOST: usize = 200;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (what, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            if !names.is_empty() {
                let shown: Vec<String> = names.iter().map(|name| legible(name)).collect();
                parts.push(format!("{what} {}: {}", shown.len(), shown.join(", ")));
            }
        }
        if !self.misshapen.is_empty() {
            let list: Vec<String> = self
                .misshapen
                .iter()
                .map(|one| format!("{} (expected {}, found {})", legible(&one.name), one.expected, one.found))
                .collect();
            parts.push(format!("of another shape or type {}: {}", list.len(), list.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::legible;

    #[test]
    fn text_from_files_is_escaped_and_short() {
        assert_eq!(legible("os.system"), "os.system");
        assert_eq!(legible("\x1b[31mred\nüber"), "\\u{1b}[31mred\\nüber");
        assert_eq!(legible(&"a".repeat(200)), "a".repeat(200));
        assert_eq!(legible(&"ä".repeat(3_000_000)), format!("{}…", "ä".repeat(200)));
    }
}
