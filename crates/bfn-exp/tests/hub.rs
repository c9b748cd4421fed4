//! `bfn import --hub` against a server on this machine: broken transfers, ignored ranges, a missing file.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// How the server answers its requests, in order; the last entry answers all further requests.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// The file, or the requested part of it.
    Whole,
    /// Like `Whole`, but the connection ends after this many bytes.
    Cut(usize),
    /// The whole file, whichever part was requested.
    IgnoringRanges,
    Status(&'static str),
}

struct Hub {
    address: String,
    /// The heads of all requests.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn serve(file: Vec<u8>, answers: &'static [Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&requests);
        // The thread ends with the test's process.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let answer = answers[number.min(answers.len() - 1)];
                heads.lock().expect("no panic before").push(respond(stream, &file, answer));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic before").clone()
    }
}

fn respond(mut stream: TcpStream, file: &[u8], answer: Answer) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let asked = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    let (status, first) = match (answer, asked) {
        (Answer::Status(status), _) => (status.to_owned(), file.len()),
        (Answer::IgnoringRanges, _) | (_, None) => ("200 OK".to_owned(), 0),
        (_, Some(first)) => {
            let range =
                format!("206 Partial Content\r\ncontent-range: bytes {first}-{}/{}", file.len() - 1, file.len());
            (range, first)
        }
    };
    let body = &file[first..];
    let length = match answer {
        Answer::Cut(length) => length.min(body.len()),
        _ => body.len(),
    };
    let top =
        format!("HTTP/1.1 {status}\r\netag: \"one\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // The client may have closed the connection already.
    let _ = stream.write_all(top.as_bytes()).and_then(|()| stream.write_all(&body[..length]));
    head
}

fn published(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published").join(name).display().to_string()
}

fn import(folder: &TempDir, hub: &str, file: &str) -> Output {
    let out = folder.path().join("run").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bfn"));
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
        .args(["import", "--config", &published("config.yaml"), "--hub", file, "--out", &out])
        .env("HF_ENDPOINT", hub)
        .env("XDG_CACHE_HOME", folder.path())
        .output()
        .expect("bfn runs")
}

fn weights() -> Vec<u8> {
    fs::read(published("weights.pt")).expect("the weights")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub =
        Hub::serve(weights(), &[Answer::Cut(10_000), Answer::Status("503 Busy"), Answer::Cut(7_000), Answer::Whole]);
    let output = import(&folder, &hub.address, "someone/bfns/text8/tiny.pt");
    assert!(output.status.success(), "{}", errors(&output));
    let requests = hub.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests[0].starts_with("get /someone/bfns/resolve/main/text8/tiny.pt "), "{}", requests[0]);
    assert!(!requests[0].contains("range:"));
    assert!(
        requests[2].contains("range: bytes=10000-") && requests[2].contains("if-range: \"one\""),
        "{}",
        requests[2]
    );
    assert!(requests[3].contains("range: bytes=17000-"), "{}", requests[3]);
    let cached = folder.path().join("bfn/hub/someone/bfns/text8");
    assert_eq!(fs::read(cached.join("tiny.pt")).expect("the file"), weights());
    assert_eq!(fs::read_dir(cached).expect("a folder").count(), 1);
    // The SHA-256 of the file in the repository.
    assert!(errors(&output).contains(SHA256), "{}", errors(&output));

    // A file that is already there is not requested again.
    fs::remove_dir_all(folder.path().join("run")).expect("a run");
    assert!(import(&folder, &hub.address, "someone/bfns/text8/tiny.pt").status.success());
    assert_eq!(hub.requests().len(), 4);
}

#[test]
fn a_server_that_ignores_ranges_starts_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = Hub::serve(weights(), &[Answer::Cut(10_000), Answer::IgnoringRanges]);
    let output = import(&folder, &hub.address, "someone/bfns/tiny.pt");
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(hub.requests().len(), 2);
}

#[test]
fn what_is_not_there_or_never_arrives_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = Hub::serve(weights(), &[Answer::Status("404 Not Found")]);
    let output = import(&folder, &hub.address, "someone/bfns/none.pt");
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("resolve/main/none.pt") && message.contains("404"), "{message}");
    assert_eq!(hub.requests().len(), 1);

    let hub = Hub::serve(weights(), &[Answer::Cut(500), Answer::Status("503 Busy")]);
    let output = import(&folder, &hub.address, "someone/bfns/broken.pt");
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("run the command again") && message.contains("--weights"), "{message}");
    assert!(!folder.path().join("run").exists());
    // The part that arrived is kept for the next attempt.
    let partial = folder.path().join("bfn/hub/someone/bfns/broken.pt.part");
    assert_eq!(fs::metadata(partial).expect("a part").len(), 500);

    for name in ["none.pt", "../../etc/passwd", "a/b/../c", "a/b/.hidden", "a/b/c d"] {
        let output = import(&folder, &hub.address, name);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(errors(&output).contains("OWNER/REPO/FILE"), "{}", errors(&output));
    }
}

const SHA256: &str = "227edfe43e502f2bf1a8a45d61e3fc64784ea18ced665ffebc4ad87161914ecf";
