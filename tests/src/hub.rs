//! A hub on the loopback address: the paths and headers of the real one, served from a folder, with faults on demand.
//!
//! `FOLDER/models/OWNER/NAME` and `FOLDER/datasets/OWNER/NAME` are repositories; every revision is the same commit.
//! Weights and Parquet files are served by a storage host, to which the hub redirects; other files are sent directly. Both support ranges.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit that every revision resolves to.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A fault in a response.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Respond with this status and these headers instead.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends after this number of bytes of the body.
    Cut(usize),
    /// The body is sent byte by byte, with this pause after each, until the client disconnects.
    Slow(Duration),
    /// One byte of the body is changed.
    Flip,
    /// The body is one byte longer than `Content-Length`.
    Longer,
    /// The listing names one more file.
    Lists(&'static str),
    /// The listing describes the file of this name differently: the fields to replace.
    Says(&'static str, Value),
}

/// A request received.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path and the query.
    pub path: String,
    /// Whether the storage host received it.
    pub storage: bool,
    /// The header of that name.
    pub authorization: Option<String>,
    /// The header of that name.
    pub range: Option<String>,
}

/// The hub, for as long as this lives.
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    hub: String,
    storage: String,
    faults: Mutex<VecDeque<(String, Fault)>>,
    requests: Mutex<Vec<Request>>,
}

impl Hub {
    /// Serve a folder on two free ports.
    ///
    /// # Panics
    /// No port is free.
    pub fn serve(folder: &Path) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (hub, storage) = (listen(), listen());
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            folder: folder.to_path_buf(),
            hub: format!("http://127.0.0.1:{}", port(&hub)),
            // For a client, `localhost` and 127.0.0.1 are different hosts.
            storage: format!("http://localhost:{}", port(&storage)),
            faults: Mutex::default(),
            requests: Mutex::default(),
        });
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let shared = shared.clone();
            // Ends with the process of the test.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = shared.clone();
                    // The client may disconnect before the end of the response.
                    std::thread::spawn(move || shared.answer(stream, is_storage).ok());
                }
            });
        }
        Self { shared }
    }

    /// The address of the hub, for `HF_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.shared.hub
    }

    /// The address that requests for large files are redirected to: another host and port.
    pub fn storage(&self) -> &str {
        &self.shared.storage
    }

    /// Inject a fault into the next request whose path contains `part`. Each call affects one more request.
    pub fn fail(&self, part: &str, fault: Fault) {
        self.shared.faults.lock().expect("unlocked").push_back((part.to_owned(), fault));
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.requests.lock().expect("unlocked"))
    }

    /// Whether all faults have occurred.
    pub fn has_failed(&self) -> bool {
        self.shared.faults.lock().expect("unlocked").is_empty()
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream, storage: bool) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut request = Request { path, storage, authorization: None, range: None };
        for line in reader.lines() {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "authorization" => request.authorization = Some(value.to_owned()),
                "range" => request.range = Some(value.to_owned()),
                _ => {}
            }
        }
        self.requests.lock().expect("unlocked").push(request.clone());
        let fault = {
            let mut faults = self.faults.lock().expect("unlocked");
            let index = faults.iter().position(|(part, _)| request.path.contains(part));
            index.and_then(|index| faults.remove(index)).map(|(_, fault)| fault)
        };
        if let Some(Fault::Status(status, headers)) = fault {
            return send(stream, status, &headers, b"", None);
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let path = path.trim_start_matches('/').to_owned();
        match path.split('/').collect::<Vec<_>>()[..] {
            ["api", kind, owner, name, "revision", _] if !storage => {
                let repo = self.folder.join(kind).join(owner).join(name);
                if !repo.is_dir() {
                    return send(
                        stream,
                        404,
                        &[("X-Error-Message", "Repository not found".into())],
                        b"",
                        None,
                    );
                }
                let mut siblings: Vec<Value> = files(&repo, "")
                    .iter()
                    .map(|name| describe(name, &fs::read(repo.join(name)).expect("read")))
                    .collect();
                match fault {
                    Some(Fault::Lists(name)) => siblings.push(describe(name, b"")),
                    Some(Fault::Says(name, ref other)) => {
                        let sibling = siblings.iter_mut().find(|it| it["rfilename"] == *name);
                        let sibling = sibling.expect("a file of the repository");
                        for (key, value) in other.as_object().expect("an object") {
                            sibling[key] = value.clone();
                        }
                    }
                    _ => {}
                }
                if query != "blobs=true" {
                    for sibling in &mut siblings {
                        *sibling = json!({ "rfilename": sibling["rfilename"] });
                    }
                }
                let body = json!({ "id": name, "sha": COMMIT, "siblings": siblings }).to_string();
                match fault {
                    Some(Fault::Slow(pause)) => trickle(stream, 200, &[], body.as_bytes(), pause),
                    _ => send(stream, 200, &[], body.as_bytes(), None),
                }
            }
            ["storage", .., file] if storage => {
                let body = fs::read(self.folder.join(path.trim_start_matches("storage/")))?;
                let _ = file;
                // Not the hash of the file: only the hub says that.
                self.send_file(stream, &request, vec![("ETag", "\"parts-1\"".into())], body, fault)
            }
            ["moved", ..] => {
                let body = fs::read(self.folder.join(path.trim_start_matches("moved/")))?;
                let etag = git_hash(&body);
                self.send_file(stream, &request, vec![("ETag", format!("\"{etag}\""))], body, fault)
            }
            ["datasets", owner, name, "resolve", COMMIT, ..]
            | [owner, name, "resolve", COMMIT, ..]
                if !storage =>
            {
                let kind = if path.starts_with("datasets/") { "datasets" } else { "models" };
                let (_, file) = path.split_once(&format!("resolve/{COMMIT}/")).unwrap_or_default();
                let path = format!("{kind}/{owner}/{name}/{file}");
                let Ok(body) = fs::read(self.folder.join(&path)) else {
                    return send(
                        stream,
                        404,
                        &[("X-Error-Message", "Entry not found".into())],
                        b"",
                        None,
                    );
                };
                if is_large(file) {
                    let headers = [
                        ("Location", format!("{}/storage/{path}", self.storage)),
                        ("X-Linked-Etag", format!("\"{:x}\"", Sha256::digest(&body))),
                        ("X-Linked-Size", body.len().to_string()),
                        ("X-Repo-Commit", COMMIT.into()),
                    ];
                    return send(stream, 302, &headers, b"", None);
                }
                let headers = vec![
                    ("ETag", format!("\"{}\"", git_hash(&body))),
                    ("X-Repo-Commit", COMMIT.into()),
                ];
                self.send_file(stream, &request, headers, body, fault)
            }
            _ => send(stream, 404, &[], b"", None),
        }
    }

    /// Send a file, or the requested range at its end.
    fn send_file(
        &self,
        stream: TcpStream,
        request: &Request,
        mut headers: Vec<(&'static str, String)>,
        mut body: Vec<u8>,
        fault: Option<Fault>,
    ) -> std::io::Result<()> {
        let size = body.len();
        let from = request.range.as_ref().and_then(|range| {
            range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        let status = match from {
            Some(from) if from >= size => return send(stream, 416, &[], b"", None),
            Some(from) => {
                headers.push(("Content-Range", format!("bytes {from}-{}/{size}", size - 1)));
                body.drain(..from);
                206
            }
            None => 200,
        };
        match fault {
            Some(Fault::Flip) => body[0] ^= 1,
            Some(Fault::Longer) => body.push(0),
            _ => {}
        }
        match fault {
            Some(Fault::Cut(after)) => send(stream, status, &headers, &body, Some(after)),
            Some(Fault::Slow(pause)) => trickle(stream, status, &headers, &body, pause),
            _ => send(stream, status, &headers, &body, None),
        }
    }
}

/// The entry of a file in the listing. A large file has its SHA-256, and the blob id of its LFS pointer.
fn describe(name: &str, bytes: &[u8]) -> Value {
    let size = bytes.len();
    if is_large(name) {
        let sha256 = format!("{:x}", Sha256::digest(bytes));
        let lfs = json!({ "sha256": sha256, "size": size, "pointerSize": 134 });
        return json!({ "rfilename": name, "size": size, "blobId": git_hash(b"pointer"), "lfs": lfs });
    }
    json!({ "rfilename": name, "size": size, "blobId": git_hash(bytes) })
}

/// Whether the storage host serves a file.
fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".parquet")
}

/// Send a response byte by byte; an error if the client disconnects.
fn trickle(
    mut stream: TcpStream,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
    pause: Duration,
) -> std::io::Result<()> {
    stream.write_all(head(status, headers, body.len()).as_bytes())?;
    for byte in body {
        stream.write_all(&[*byte])?;
        stream.flush()?;
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Send a response, complete or only its first bytes, and close the connection.
fn send(
    mut stream: TcpStream,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
    cut: Option<usize>,
) -> std::io::Result<()> {
    stream.write_all(head(status, headers, body.len()).as_bytes())?;
    stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])?;
    stream.flush()
}

fn head(status: u16, headers: &[(&'static str, String)], length: usize) -> String {
    let mut head =
        format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

/// The Git object id of a file.
fn git_hash(bytes: &[u8]) -> String {
    let hasher = Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes);
    format!("{:x}", hasher.finalize())
}

/// The paths of all files below a folder.
fn files(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => names.extend(files(&entry.path(), &format!("{name}/"))),
            false => names.push(name),
        }
    }
    names.sort();
    names
}
