//! Downloads from a local server that imitates the faults of real servers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bfn_data::{DataError, Download, Fetched, Progress, Sum};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The server's response to one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    /// Sends everything that is requested.
    Serve,
    /// Breaks the connection after the given number of bytes of the body.
    Break(usize),
    /// Sends the whole file, whatever range is requested.
    IgnoreRange,
    /// Sends a part that begins elsewhere.
    WrongRange,
    /// Sends the right number of bytes, one of them wrong.
    WrongByte,
    /// States no length and does not stop until the other side closes the connection.
    Endless,
    /// Returns this status and no file.
    Status(u16),
}

/// A server that follows a list of acts, then serves normally, and records the requested ranges.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Option<usize>>>>,
}

impl Server {
    fn new(content: Vec<u8>, acts: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/file", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, acts) = (Arc::clone(&asked), acts.to_vec());
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let act = acts.get(number).copied().unwrap_or(Act::Serve);
                // Some of the tests are about a client that closes the connection early.
                let _ = answer(stream.unwrap(), &content, act, &log);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Option<usize>> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, content: &[u8], act: Act, log: &Mutex<Vec<Option<usize>>>) -> std::io::Result<()> {
    let mut start = None;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(start);
    let (from, end) = (start.unwrap_or(0), content.len());
    let head = |stream: &mut TcpStream, head: String| write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let part = |stream: &mut TcpStream, from: usize| match start {
        None => head(stream, format!("200 OK\r\nContent-Length: {end}")),
        Some(_) if from >= end => head(stream, format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{end}")),
        Some(_) => head(
            stream,
            format!(
                "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{end}",
                end - from,
                end - 1
            ),
        ),
    };
    match act {
        Act::Serve => {
            part(&mut stream, from)?;
            stream.write_all(content.get(from..).unwrap_or_default())
        }
        Act::Break(count) => {
            part(&mut stream, from)?;
            stream.write_all(&content[from..(from + count).min(end)])
        }
        Act::IgnoreRange => {
            head(&mut stream, format!("200 OK\r\nContent-Length: {end}"))?;
            stream.write_all(content)
        }
        Act::WrongRange => {
            part(&mut stream, from + 1)?;
            stream.write_all(&content[from + 1..])
        }
        Act::WrongByte => {
            let mut wrong = content.to_vec();
            wrong[end - 1] ^= 1;
            part(&mut stream, from)?;
            stream.write_all(&wrong[from..])
        }
        Act::Endless => {
            head(&mut stream, "200 OK".to_owned())?;
            loop {
                stream.write_all(&[0; 4096])?;
            }
        }
        Act::Status(status) => head(&mut stream, format!("{status} No\r\nContent-Length: 0")),
    }
}

/// Returns 300,000 bytes that do not soon repeat.
fn content() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// The SHA-256 of [`content`], by `sha256sum`.
const SUM: &str = "136f334d647619879743ff33fde1ac6547f40e314692441f2a125e087cad47c9";

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/file.bin");
        Self { _folder: folder, path }
    }

    fn part(&self) -> PathBuf {
        self.path.with_file_name("file.bin.part")
    }

    fn download(&self, servers: &[&Server]) -> Download {
        Download {
            addresses: servers.iter().map(|server| server.address.clone()).collect(),
            path: self.path.clone(),
            most_bytes: 300_000,
            sum: Some(Sum::File(SUM)),
            pause: Duration::ZERO,
        }
    }

    fn fetch(&self, server: &Server) -> Result<Fetched, DataError> {
        self.download(&[server]).fetch(|_| ())
    }

    /// Checks that the file is complete and that no partial file is left.
    fn is_whole(&self) -> bool {
        fs::read(&self.path).unwrap() == content() && !self.part().exists()
    }

    fn is_empty(&self) -> bool {
        !self.path.exists() && !self.part().exists()
    }
}

#[test]
fn a_file_is_fetched_once_and_progress_is_told() {
    let (place, server) = (Place::new(), Server::new(content(), &[]));
    let mut seen = Vec::new();
    assert_eq!(place.download(&[&server]).fetch(|progress| seen.push(progress)).unwrap(), Fetched::New);
    assert!(place.is_whole());
    assert_eq!(seen.first(), Some(&Progress { bytes: 0, total: Some(300_000) }));
    assert_eq!(seen.last(), Some(&Progress { bytes: 300_000, total: Some(300_000) }));
    assert!(seen.windows(2).all(|pair| pair[0].bytes < pair[1].bytes));
    assert_eq!(place.fetch(&server).unwrap(), Fetched::Present);
    assert_eq!(server.asked(), [None]);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let (place, server) =
        (Place::new(), Server::new(content(), &[Act::Break(100_000), Act::Break(1), Act::Break(50_000)]));
    assert_eq!(place.fetch(&server).unwrap(), Fetched::New);
    assert!(place.is_whole());
    let asked = server.asked();
    assert_eq!(asked[0], None);
    // Each part begins where the previous one broke off; none starts over.
    assert!(asked[1..].iter().all(|start| start.is_some_and(|start| start > 0)) && asked.len() == 4, "{asked:?}");
}

/// Without a checksum and a version name, parts cannot be matched, so the file is fetched as a whole.
#[test]
fn parts_that_nothing_holds_together_are_fetched_as_a_whole() {
    let (place, server) = (Place::new(), Server::new(content(), &[Act::Break(100_000)]));
    let download = Download { sum: None, ..place.download(&[&server]) };
    assert_eq!(download.fetch(|_| ()).unwrap(), Fetched::New);
    assert!(place.is_whole());
    assert_eq!(server.asked(), [None, None]);
    assert_eq!(download.fetch(|_| ()).unwrap(), Fetched::Present);
}

#[test]
fn a_later_call_goes_on_where_an_earlier_one_gave_up() {
    let place = Place::new();
    let dead = Server::new(content(), &[Act::Break(70_000), Act::Status(500), Act::Status(500), Act::Status(500)]);
    let error = place.fetch(&dead).unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
    assert!(!place.path.exists() && fs::metadata(place.part()).unwrap().len() == 70_000);
    let server = Server::new(content(), &[]);
    assert_eq!(place.fetch(&server).unwrap(), Fetched::New);
    assert!(place.is_whole());
    assert_eq!(server.asked(), [Some(70_000)]);
}

#[test]
fn a_server_that_ignores_ranges_starts_again() {
    let (place, server) = (Place::new(), Server::new(content(), &[Act::Break(100_000), Act::IgnoreRange]));
    assert_eq!(place.fetch(&server).unwrap(), Fetched::New);
    assert!(place.is_whole());
}

#[test]
fn another_part_than_was_asked_for_is_not_used() {
    let (place, server) = (Place::new(), Server::new(content(), &[Act::Break(100_000), Act::WrongRange]));
    assert_eq!(place.fetch(&server).unwrap(), Fetched::New);
    assert!(place.is_whole());
    assert_eq!(server.asked(), [None, Some(100_000), None]);
}

#[test]
fn wrong_bytes_never_take_the_files_name() {
    let (place, server) = (Place::new(), Server::new(content(), &[Act::WrongByte]));
    let error = place.fetch(&server).unwrap_err();
    for part in ["another one", SUM, &server.address] {
        assert!(error.to_string().contains(part), "no {part} in {error}");
    }
    assert!(place.is_empty());
    // A part of an older file: the joined file is wrong, so it is fetched anew.
    fs::create_dir_all(place.path.parent().unwrap()).unwrap();
    fs::write(place.part(), vec![7; 1000]).unwrap();
    let server = Server::new(content(), &[]);
    assert_eq!(place.fetch(&server).unwrap(), Fetched::New);
    assert!(place.is_whole());
    assert_eq!(server.asked(), [Some(1000), None]);
}

/// Fetching gives up on a server that keeps sending a part, then the rest with a wrong byte, and on one that sends no
/// more than was lost before.
#[test]
fn transfers_that_come_to_nothing_have_an_end() {
    let acts = [Act::Break(100_000), Act::WrongByte].repeat(20);
    let (place, server) = (Place::new(), Server::new(content(), &acts));
    let error = place.fetch(&server).unwrap_err();
    assert!(error.to_string().contains("another one") && place.is_empty(), "{error}");
    assert_eq!(server.asked().len(), 6);

    let acts = [Act::Break(100_000), Act::WrongRange].repeat(20);
    let (place, server) = (Place::new(), Server::new(content(), &acts));
    place.fetch(&server).unwrap_err();
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn a_part_that_is_whole_takes_its_name_without_a_transfer() {
    let (place, server) = (Place::new(), Server::new(content(), &[]));
    fs::create_dir_all(place.path.parent().unwrap()).unwrap();
    fs::write(place.part(), content()).unwrap();
    assert_eq!(place.fetch(&server).unwrap(), Fetched::New);
    assert!(place.is_whole());
    assert_eq!(server.asked(), [Some(300_000)]);
}

#[test]
fn no_more_is_read_than_the_file_can_hold() {
    let acts = [Act::Endless; 3];
    let (place, server) = (Place::new(), Server::new(content(), &acts));
    let error = place.fetch(&server).unwrap_err();
    assert!(error.to_string().contains("more than the file's 300000 bytes"), "{error}");
    assert!(place.is_empty());
}

#[test]
fn the_next_address_is_tried_and_all_are_named_when_none_helps() {
    let place = Place::new();
    let dead = || Server::new(content(), &[Act::Status(404); 9]);
    let (first, second) = (dead(), Server::new(content(), &[]));
    assert_eq!(place.download(&[&first, &second]).fetch(|_| ()).unwrap(), Fetched::New);
    assert!(place.is_whole());
    // A file missing at one address is not requested there again.
    assert_eq!(first.asked(), [None]);
    let place = Place::new();
    let (first, second) = (dead(), dead());
    let error = place.download(&[&first, &second]).fetch(|_| ()).unwrap_err().to_string();
    for part in [first.address.as_str(), &second.address, "404", "file.bin"] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    // No server listens at this address.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut download = place.download(&[]);
    download.addresses = vec![format!("http://{closed}/file")];
    assert!(matches!(download.fetch(|_| ()).unwrap_err(), DataError::Fetch { .. }));
    assert!(place.is_empty());
}

#[test]
fn a_file_that_is_there_and_is_another_one_is_left_alone() {
    let (place, server) = (Place::new(), Server::new(content(), &[]));
    fs::create_dir_all(place.path.parent().unwrap()).unwrap();
    fs::write(&place.path, b"mine").unwrap();
    let error = place.fetch(&server).unwrap_err();
    assert!(error.to_string().contains(SUM), "{error}");
    assert_eq!(fs::read(&place.path).unwrap(), b"mine");
    assert!(server.asked().is_empty());
}

#[test]
fn where_no_sum_of_the_archive_is_published_its_content_is_checked() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&content()).unwrap();
    let packed = encoder.finish().unwrap();
    for (bytes, is_whole) in [(packed.clone(), true), (packed[..packed.len() - 1].to_vec(), false)] {
        let (place, server) = (Place::new(), Server::new(bytes, &[]));
        let download = Download { sum: Some(Sum::Unpacked(SUM)), most_bytes: 1 << 20, ..place.download(&[&server]) };
        assert_eq!(download.fetch(|_| ()).is_ok(), is_whole);
        assert_eq!(place.path.exists(), is_whole);
        assert!(!place.part().exists());
    }
}

/// The content has the length and checksum that the tests assume.
#[test]
fn the_content_has_its_sum() {
    let place = Place::new();
    fs::create_dir_all(place.path.parent().unwrap()).unwrap();
    fs::write(&place.path, content()).unwrap();
    let mut bytes = Vec::new();
    fs::File::open(&place.path).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 300_000);
    assert_eq!(Sum::File(SUM).check(&place.path).unwrap().verdict, bfn_data::Verdict::Whole);
}
