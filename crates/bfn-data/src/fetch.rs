//! Files from public sources: interrupted transfers resume, and files are checked before they get their names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};

use crate::catalogue::{KnownFile, Sum, Verdict};
use crate::error::DataError;

/// A file that can be fetched from any of several addresses.
#[derive(Debug, Clone)]
pub struct Download {
    /// The addresses, in the order to try.
    pub addresses: Vec<String>,
    /// The path under which the file will be stored.
    pub path: PathBuf,
    /// The maximum size in bytes; more are not accepted.
    pub most_bytes: u64,
    /// The checksum; without it, any file that arrives in full is accepted.
    pub sum: Option<Sum>,
    /// The wait after an attempt that brought nothing new, before the next one.
    pub pause: Duration,
}

/// The outcome of a [`Download`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// The file was fetched.
    New,
    /// The file was already there and intact.
    Present,
}

/// The progress of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have arrived, including those of earlier attempts.
    pub bytes: u64,
    /// Bytes in total, if the server states it.
    pub total: Option<u64>,
}

/// The number of attempts at an address without new bytes, or of whole files with a wrong sum, before it is given up.
const ATTEMPTS: u32 = 3;

/// The time a connection may stay silent; after that, the transfer continues on a new one.
const PATIENCE: Duration = Duration::from_secs(60);

impl Download {
    /// Creates the download of a known data set's file to the folder `place`.
    #[must_use]
    pub fn of(file: &KnownFile, place: &Path) -> Self {
        Self {
            addresses: file.addresses.iter().map(|address| (*address).to_owned()).collect(),
            path: place.join(file.path),
            most_bytes: file.most_bytes,
            sum: Some(file.sum),
            pause: Duration::from_secs(2),
        }
    }

    /// Fetches the file unless it exists; `observe` is called with the progress.
    ///
    /// Bytes that have arrived are kept beside the file with the suffix `.part`; an interrupted transfer resumes from
    /// there, now or in a later call. If the server names the file's version (its ETag, kept with the suffix
    /// `.part-version`), only the rest of that version is requested; if neither the version nor a sum is known, the
    /// whole file is requested again. The file gets its name only when it has arrived in full and its SHA-256, if
    /// known, is right. Proxies are taken from the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Fetch`] if no address provides the file, with the failure at each;
    /// [`DataError::Different`] if another file is already there; [`DataError::Unwritable`] if the file cannot be
    /// written.
    pub fn fetch(&self, mut observe: impl FnMut(Progress)) -> Result<Fetched, DataError> {
        if self.path.exists() {
            return match self.difference(&self.path)? {
                None => Ok(Fetched::Present),
                Some((expected, found)) => Err(DataError::Different { path: self.path.clone(), expected, found }),
            };
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|reason| DataError::unwritable(folder, reason))?;
        }
        let mut said = Vec::new();
        for address in &self.addresses {
            match self.from(address, &mut observe) {
                Ok(()) => return Ok(Fetched::New),
                Err(Failure::Here(error)) => return Err(error),
                Err(Failure::Refused(reason) | Failure::Broken(reason)) => said.push(format!("{address}: {reason}")),
            }
        }
        Err(DataError::Fetch { path: self.path.clone(), said: said.join("; ") })
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    /// Returns the path of the bytes that have arrived.
    fn part(&self) -> PathBuf {
        self.beside(".part")
    }

    /// Returns the path of the server's name for the version that has begun to arrive.
    fn version(&self) -> PathBuf {
        self.beside(".part-version")
    }

    /// Returns the SHA-256 that the file at `path` should have and the one it has, if they differ.
    fn difference(&self, path: &Path) -> Result<Option<(String, String)>, DataError> {
        let Some(sum) = self.sum else { return Ok(None) };
        Ok(match sum.check(path)?.verdict {
            Verdict::Whole => None,
            Verdict::Different { expected, found } => Some((expected, found)),
        })
    }

    /// Fetches the file from one address.
    fn from(&self, address: &str, observe: &mut impl FnMut(Progress)) -> Result<(), Failure> {
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(PATIENCE))
            .http_status_as_error(false);
        let agent: Agent = config.build().into();
        let (mut poor_attempts, mut wrong_sums) = (0, 0);
        // The most bytes that were ever there: bytes that arrive again after a loss are not new.
        let mut furthest = self.have();
        loop {
            let before = self.have();
            match self.attempt(&agent, address, observe) {
                Ok(()) => {}
                Err(Failure::Broken(reason)) => {
                    poor_attempts = if self.have() > furthest { 0 } else { poor_attempts + 1 };
                    furthest = furthest.max(self.have());
                    if poor_attempts >= ATTEMPTS {
                        return Err(Failure::Broken(reason));
                    }
                    if poor_attempts > 0 {
                        thread::sleep(self.pause);
                    }
                    continue;
                }
                Err(for_good) => return Err(for_good),
            }
            let wrong = match self.difference(&self.part()) {
                Ok(None) => return self.accept(),
                Ok(Some((expected, found))) => format!("its SHA-256 should be {expected} and is {found}"),
                Err(error) => error.to_string(),
            };
            // Bytes with an error among them are of no use to a later attempt.
            self.drop_part()?;
            furthest = 0;
            wrong_sums += 1;
            // A file that arrived in parts may have changed in between; one that arrived whole is simply another file.
            if before == 0 || wrong_sums >= ATTEMPTS {
                return Err(Failure::Refused(format!("the file that came is another one: {wrong}")));
            }
        }
    }

    /// Gives the file its name.
    fn accept(&self) -> Result<(), Failure> {
        fs::rename(self.part(), &self.path)
            .map_err(|reason| Failure::Here(DataError::unwritable(&self.path, reason)))?;
        // A version mark without its file means nothing, so a failure to remove it does not matter.
        let _ = fs::remove_file(self.version());
        Ok(())
    }

    fn drop_part(&self) -> Result<(), Failure> {
        let part = self.part();
        let _ = fs::remove_file(self.version());
        fs::remove_file(&part).map_err(|reason| Failure::Here(DataError::unwritable(&part, reason)))
    }

    /// Returns the number of bytes that have arrived so far.
    fn have(&self) -> u64 {
        fs::metadata(self.part()).map_or(0, |metadata| metadata.len())
    }

    /// Makes one connection, which completes the part or extends it as far as the connection lasts.
    fn attempt(&self, agent: &Agent, address: &str, observe: &mut impl FnMut(Progress)) -> Result<(), Failure> {
        let part = self.part();
        let here = |reason| Failure::Here(DataError::unwritable(&part, reason));
        let have = self.have();
        let version = fs::read_to_string(self.version()).ok();
        let mut request = agent.get(address);
        if have > 0 && (version.is_some() || self.sum.is_some()) {
            request = request.header(RANGE, format!("bytes={have}-"));
            if let Some(version) = version {
                request = request.header(IF_RANGE, version);
            }
        }
        let mut response = request.call().map_err(|error| Failure::Broken(error.to_string()))?;
        let status = response.status();
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let start = match (status, text(CONTENT_RANGE).and_then(ContentRange::parse)) {
            (StatusCode::OK, _) => 0,
            (StatusCode::PARTIAL_CONTENT, Some(ContentRange { start: Some(start), .. })) if start == have => have,
            // The part is as long as the file.
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(ContentRange { total: Some(total), .. })) if total == have => {
                return Ok(());
            }
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                self.drop_part()?;
                return Err(Failure::Broken(format!("the server gave another part than was asked for ({status})")));
            }
            _ => {
                let said = format!("the server answered {status}");
                let again = status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
                return Err(if again { Failure::Broken(said) } else { Failure::Refused(said) });
            }
        };
        // A weak mark does not guarantee that the bytes are the same.
        match text(ETAG).filter(|mark| !mark.starts_with("W/")) {
            Some(mark) => fs::write(self.version(), mark).map_err(here)?,
            None => drop(fs::remove_file(self.version())),
        }
        let total = response.body().content_length().map(|rest| start + rest);
        let mut file: File = OpenOptions::new().create(true).write(true).truncate(false).open(&part).map_err(here)?;
        file.set_len(start).map_err(here)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(here)?;
        let mut body = response.body_mut().as_reader();
        let (mut bytes, mut buffer) = (start, vec![0; 1 << 16]);
        loop {
            observe(Progress { bytes, total });
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(Failure::Broken(format!("the connection broke: {error}"))),
            };
            if bytes + count as u64 > self.most_bytes {
                drop(file);
                self.drop_part()?;
                let most = self.most_bytes;
                return Err(Failure::Refused(format!("the server sent more than the file's {most} bytes")));
            }
            file.write_all(&buffer[..count]).map_err(here)?;
            bytes += count as u64;
        }
        if total.is_some_and(|total| bytes < total) {
            return Err(Failure::Broken("the connection ended before the file".to_owned()));
        }
        file.sync_all().map_err(here)
    }
}

/// The reason why there is no file.
enum Failure {
    /// A fault of this machine; no other address would help.
    Here(DataError),
    /// The server has another file or none, and this will not change with another attempt.
    Refused(String),
    /// The server or the connection failed; another attempt may succeed.
    Broken(String),
}

/// `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`.
#[derive(Debug, PartialEq)]
struct ContentRange {
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let start = match range {
            "*" => None,
            _ => Some(range.split_once('-')?.0.trim().parse().ok()?),
        };
        Some(Self { start, total: total.trim().parse().ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        let range = |start, total| Some(ContentRange { start, total });
        assert_eq!(ContentRange::parse("bytes 5-9/10"), range(Some(5), Some(10)));
        assert_eq!(ContentRange::parse("bytes 5-9/*"), range(Some(5), None));
        assert_eq!(ContentRange::parse("bytes */10"), range(None, Some(10)));
        for wrong in ["", "bytes", "bytes 5/10", "bytes x-9/10", "5-9/10"] {
            assert_eq!(ContentRange::parse(wrong), None, "{wrong}");
        }
    }
}
