//! Files of the Hugging Face hub, downloaded into the user's cache folder.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use ureq::http::{StatusCode, header};
use ureq::{Agent, Body, http::Response};

use crate::progress::{Progress, say};

/// The hub, where the variable HF_ENDPOINT names no other.
const HUB: &str = "https://huggingface.co";

/// A transfer that breaks is taken up again this often.
const ATTEMPTS: u32 = 5;
/// How long a connection may bring nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// OWNER, REPO and the file's path: names that are safe in an address and as names of files.
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

/// Downloads a file unless it is in the cache already, and says its SHA-256; a broken transfer goes on where it broke.
///
/// Proxies are those of the usual variables (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
///
/// # Errors
///
/// No network, no such file, a transfer that breaks again and again, a cache folder that cannot be written to.
pub fn download(file: &HubFile) -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let path = file.path(&cache.context("there is no cache folder: set HOME or XDG_CACHE_HOME")?);
    if path.exists() {
        say(format_args!("{} is there already", path.display()));
    } else {
        let hub = env::var("HF_ENDPOINT").ok().filter(|hub| !hub.is_empty()).unwrap_or_else(|| HUB.to_owned());
        Transfer::new(file.address(&hub), path.clone()).run()?;
    }
    say(format_args!("{}: SHA-256 {}", path.display(), sha256(&path)?));
    Ok(path)
}

fn sha256(path: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let read = File::open(path).and_then(|mut file| io::copy(&mut file, &mut digest));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{:x}", digest.finalize()))
}

/// One file on its way.
struct Transfer {
    address: String,
    path: PathBuf,
    /// What has arrived.
    partial: PathBuf,
    /// What the server calls the version that has begun to arrive.
    version: PathBuf,
}

/// How an attempt ended.
enum Attempt {
    Whole,
    /// With a reason to try again.
    Broken(anyhow::Error),
}

impl Transfer {
    fn new(address: String, path: PathBuf) -> Self {
        let beside = |ending: &str| {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        Self { address, partial: beside(".partial"), version: beside(".version"), path }
    }

    fn run(&self) -> Result<()> {
        let folder = self.path.parent().context("a file in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(PATIENCE))
            .build()
            .into();
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(&agent)? {
                Attempt::Whole => return self.accept(),
                Attempt::Broken(error) => {
                    eprintln!("the transfer broke ({error:#})");
                    failure = Some(error);
                }
            }
        }
        let advice = format!("cannot download {}; run the command again to go on, or use --weights", self.address);
        Err(failure.unwrap_or_else(|| anyhow::anyhow!("no attempt")).context(advice))
    }

    fn attempt(&self, agent: &Agent) -> Result<Attempt> {
        let there = fs::metadata(&self.partial).map_or(0, |metadata| metadata.len());
        let version = fs::read_to_string(&self.version).ok();
        let mut request = agent.get(&self.address);
        // A part is gone on with only if the server says that it is of the same version.
        if let (1.., Some(version)) = (there, &version) {
            request = request.header(header::RANGE, format!("bytes={there}-")).header(header::IF_RANGE, version);
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Broken(error.into())),
        };
        match response.status() {
            StatusCode::OK => self.receive(response, 0),
            StatusCode::PARTIAL_CONTENT if starts_at(&response) == Some(there) => self.receive(response, there),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                fs::remove_file(&self.partial).context("cannot remove what had arrived")?;
                Ok(Attempt::Broken(anyhow::anyhow!("the server answered with another part than was asked for")))
            }
            status if status.is_server_error() => Ok(Attempt::Broken(anyhow::anyhow!("the server answers {status}"))),
            status => bail!("cannot download {}: the server answers {status}", self.address),
        }
    }

    fn receive(&self, response: Response<Body>, from: u64) -> Result<Attempt> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let length: Option<u64> = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        // A weak mark does not say that the bytes are the same.
        match text(header::ETAG).filter(|mark| !mark.starts_with("W/")) {
            Some(mark) => {
                fs::write(&self.version, mark).with_context(|| format!("cannot write {}", self.version.display()))?
            }
            None => drop(fs::remove_file(&self.version)),
        }
        let mut file = File::options()
            .create(true)
            .truncate(from == 0)
            .append(from > 0)
            .write(true)
            .open(&self.partial)
            .with_context(|| format!("cannot write to {}", self.partial.display()))?;
        let mut progress = Progress::new("downloading", from, from + length.unwrap_or(0));
        let mut body = response.into_body().into_reader();
        let (mut done, mut buffer) = (from, vec![0; 1 << 16]);
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Ok(Attempt::Broken(error.into())),
            };
            file.write_all(&buffer[..count]).with_context(|| format!("cannot write to {}", self.partial.display()))?;
            done += count as u64;
            progress.message(done, "bytes");
        }
        progress.finish();
        file.sync_all()?;
        match length {
            Some(length) if done - from != length => {
                Ok(Attempt::Broken(anyhow::anyhow!("{} of {length} bytes arrived", done - from)))
            }
            _ => Ok(Attempt::Whole),
        }
    }

    /// The file takes its name once it is whole.
    fn accept(&self) -> Result<()> {
        fs::rename(&self.partial, &self.path).with_context(|| format!("cannot make {}", self.path.display()))?;
        let _ = fs::remove_file(&self.version);
        ensure!(self.path.is_file(), "{} is no file", self.path.display());
        Ok(())
    }
}

/// The first byte of a part, from `content-range: bytes FIRST-LAST/ALL`.
fn starts_at(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
