//! Files of the Hugging Face hub, downloaded into the user's cache folder.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use bfn_data::{Download, Fetched};

use crate::progress::{Progress, say};

/// The address of the hub, unless the environment variable HF_ENDPOINT names another.
const HUB: &str = "https://huggingface.co";

/// A file on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// OWNER, REPO and the file's path; each part is safe in an address and as a file name.
    parts: Vec<String>,
}

impl FromStr for HubFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_name = |part: &String| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
        if parts.len() >= 3 && parts.iter().all(is_name) {
            return Ok(Self { parts });
        }
        Err("expected OWNER/REPO/FILE, names of letters, digits, '.', '_' and '-'".to_owned())
    }
}

impl HubFile {
    fn address(&self, hub: &str) -> String {
        let (owner, repo, file) = (&self.parts[0], &self.parts[1], self.parts[2..].join("/"));
        format!("{}/{owner}/{repo}/resolve/main/{file}", hub.trim_end_matches('/'))
    }

    fn path(&self, cache: &Path) -> PathBuf {
        self.parts.iter().fold(cache.join("bfn").join("hub"), |path, part| path.join(part))
    }
}

/// Downloads a file unless it is already in the cache; an interrupted transfer resumes where it stopped.
///
/// # Errors
///
/// Returns an error if there is no network or no such file, if the transfer keeps failing, or if the cache folder
/// cannot be written.
pub fn download(file: &HubFile) -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let path = file.path(&cache.context("there is no cache folder: set HOME or XDG_CACHE_HOME")?);
    let hub = env::var("HF_ENDPOINT").ok().filter(|hub| !hub.is_empty()).unwrap_or_else(|| HUB.to_owned());
    let download = Download {
        addresses: vec![file.address(&hub)],
        path: path.clone(),
        most_bytes: u64::MAX,
        sum: None,
        pause: Duration::from_secs(2),
    };
    let mut progress = Progress::new("downloading", 0, 0);
    let fetched = download.fetch(|at| {
        progress.lengthen(at.total.unwrap_or(at.bytes));
        progress.message(at.bytes, "bytes");
    });
    progress.finish();
    if fetched.context("run the command again to continue, or use --weights")? == Fetched::Present {
        say(format_args!("{} is there already", path.display()));
    }
    Ok(path)
}
