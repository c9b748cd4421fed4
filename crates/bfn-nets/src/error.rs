//! The one error type of this crate.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What can go wrong with a device, a network's configuration or a checkpoint, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device was asked for in words that name none.
    #[error("unknown device \"{given}\": expected auto, cpu, cuda or cuda:N with N a device number such as 0")]
    UnknownDevice {
        /// The words as given.
        given: String,
    },

    /// A CUDA device was asked for and is not there.
    #[error("device {device} is not available: {reason}; {advice}")]
    DeviceMissing {
        /// The device asked for, as in `--device`.
        device: String,
        /// What was found instead.
        reason: String,
        /// What to do.
        advice: String,
    },

    /// A key of a configuration has a value that nothing can be built from.
    #[error("{key}: expected {expected}, found {found}")]
    Configuration {
        /// The key, dotted as in the file.
        key: String,
        /// What would be right.
        expected: String,
        /// The value there is.
        found: String,
    },

    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ….
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },

    /// A file is no whole checkpoint: cut short, damaged, or something else altogether.
    #[error(
        "{} is not a usable checkpoint: expected {expected}, found {found}; \
         use an earlier checkpoint or copy the file again", path.display()
    )]
    DamagedCheckpoint {
        /// The file.
        path: PathBuf,
        /// What a checkpoint has.
        expected: String,
        /// What the file has.
        found: String,
    },

    /// A file of weights from elsewhere is damaged, or holds what is not read here.
    #[error(
        "{} holds no weights that can be used: expected {expected}, found {found}; copy the file again, or save \
         `module.state_dict()` anew by torch.save with its defaults, or as .safetensors", path.display()
    )]
    UnusableWeights {
        /// The file.
        path: PathBuf,
        /// What such a file has.
        expected: String,
        /// What this one has.
        found: String,
    },

    /// A checkpoint lacks a metadata entry, or the entry cannot be read.
    #[error("{}: metadata \"{key}\": expected {expected}, found {found}", path.display())]
    Metadata {
        /// The checkpoint.
        path: PathBuf,
        /// The entry.
        key: String,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },

    /// The tensors of a checkpoint are not those that were to be filled. Nothing was changed.
    #[error(
        "{} does not fit: {mismatch}; load it with the configuration that it was trained with", path.display()
    )]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Every difference.
        mismatch: Mismatch,
    },

    /// A tensor has a type of number that a checkpoint cannot hold.
    #[error("tensor \"{name}\" holds {kind:?}, which a checkpoint cannot keep: convert it first")]
    UnsupportedKind {
        /// The tensor's name.
        name: String,
        /// Its type of number.
        kind: tch::Kind,
    },

    /// libtorch refused an operation.
    #[error("libtorch could not {action}: {message}")]
    Libtorch {
        /// What was tried.
        action: &'static str,
        /// What libtorch says.
        message: String,
    },
}

/// Every difference between the tensors expected and those found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Names expected and not found.
    pub missing: Vec<String>,
    /// Names found and not expected.
    pub unexpected: Vec<String>,
    /// Tensors found with another shape or type of number.
    pub misshapen: Vec<Misshapen>,
}

/// One tensor found with another shape or type of number than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The tensor's name.
    pub name: String,
    /// Shape and type expected, such as `Float [4, 3]`.
    pub expected: String,
    /// Shape and type found.
    pub found: String,
}

impl Mismatch {
    /// Whether there is no difference at all.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

/// Text out of a file as a terminal can show it: control characters escaped, and no more than a line or two.
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
