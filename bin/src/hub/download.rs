//! A file of the hub: written beside, resumed where it was cut off, checked, and only then named.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::HubError;
use super::client::{Answer, Client, Failure, passing, wait};

/// What the hub says that a file is.
struct Description {
    /// A file's name in the cache: its SHA-256, or git's SHA-1 of small files.
    hash: String,
    /// Bytes.
    size: u64,
}

/// The file at `url` in the folder `blobs`, fetched if it is not there yet.
///
/// # Errors
/// No connection, also after retries; a file that is not what the hub says it is; a folder that cannot be written to.
pub fn blob(client: &Client, blobs: &Path, url: &str, name: &str) -> Result<PathBuf, HubError> {
    fs::create_dir_all(blobs).map_err(HubError::io("create", blobs))?;
    let mut attempt = 0;
    // Until the hub has answered, the hash and so the name of the unfinished file are not known.
    let (description, mut answer) = loop {
        match client.get(url, 0).and_then(|answer| Ok((describe(url, &answer)?, answer))) {
            Ok((description, answer)) => break (description, Some(answer)),
            Err(failure) => wait(failure, &mut attempt)?,
        }
    };
    let path = blobs.join(&description.hash);
    if path.is_file() {
        return Ok(path);
    }
    let unfinished = path.with_added_extension("incomplete");
    let mut file = open(&unfinished)?;
    if path.is_file() {
        // Somebody else was fetching it; we have waited for their lock.
        return Ok(path);
    }
    let progress = Progress::new(name, description.size);
    loop {
        let before = size_of(&file, &unfinished)?;
        if before > description.size {
            file.set_len(0).map_err(HubError::io("write", &unfinished))?;
            continue;
        }
        if before == description.size {
            break;
        }
        let received = match answer.take().filter(|_| before == 0) {
            Some(answer) => Ok(answer),
            None => client.get(url, before),
        };
        let received = received.and_then(|answer| {
            receive(url, answer, &mut file, &unfinished, description.size, &progress)
        });
        if let Err(failure) = received {
            if matches!(&failure, Failure::Final(HubError::Status { status: 416, .. })) {
                fs::remove_file(&unfinished).map_err(HubError::io("remove", &unfinished))?;
                let reason = format!("it ends after {before} of {} bytes", description.size);
                return Err(HubError::Damaged { url: url.to_owned(), reason });
            }
            // As long as there is progress, there is hope.
            if size_of(&file, &unfinished)? > before {
                attempt = 0;
            }
            wait(failure, &mut attempt)?;
        }
    }
    if let Err(reason) =
        check(&mut file, &description).map_err(HubError::io("read", &unfinished))?
    {
        fs::remove_file(&unfinished).map_err(HubError::io("remove", &unfinished))?;
        return Err(HubError::Damaged { url: url.to_owned(), reason });
    }
    file.sync_all().map_err(HubError::io("write", &unfinished))?;
    fs::rename(&unfinished, &path).map_err(HubError::io("write", &path))?;
    progress.finish();
    Ok(path)
}

/// The unfinished file, as long as nobody else is at it.
fn open(path: &Path) -> Result<File, HubError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(HubError::io("create", path))?;
    file.lock().map_err(HubError::io("lock", path))?;
    Ok(file)
}

fn size_of(file: &File, path: &Path) -> Result<u64, HubError> {
    Ok(file.metadata().map_err(HubError::io("read", path))?.len())
}

fn describe(url: &str, answer: &Answer) -> Result<Description, Failure> {
    let nonsense =
        |reason: String| Failure::Final(HubError::Nonsense { url: url.to_owned(), reason });
    // Of large files, the storage's own headers come last and mean something else.
    let hash = answer.header("x-linked-etag").or_else(|| answer.header("etag")).unwrap_or_default();
    let hash = hash.trim_start_matches("W/").trim_matches('"').to_owned();
    let is_hash = [40, 64].contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hash {
        return Err(nonsense(format!("its etag is {hash:?}, not the hash of a file")));
    }
    let last = answer.response.headers().get("content-length");
    let last = last.and_then(|length| length.to_str().ok());
    let size = answer.header("x-linked-size").or(last).and_then(|size| size.parse().ok());
    let size = size.ok_or_else(|| nonsense("it does not say how large the file is".into()))?;
    Ok(Description { hash, size })
}

/// Append an answer to the file, or begin it anew if the hub does.
fn receive(
    url: &str,
    answer: Answer,
    file: &mut File,
    path: &Path,
    size: u64,
    progress: &Progress,
) -> Result<(), Failure> {
    let write = |result: std::io::Result<u64>| {
        result.map_err(|error| Failure::Final(HubError::io("write", path)(error)))
    };
    let from = match answer.response.status().as_u16() {
        206 => first_byte(&answer),
        _ => Some(0),
    };
    let there = size_of(file, path).map_err(Failure::Final)?;
    let Some(from) = from.filter(|&from| from == 0 || from == there) else {
        let reason = "it sends another part than was asked for".to_owned();
        return Err(Failure::Final(HubError::Nonsense { url: url.to_owned(), reason }));
    };
    write(file.set_len(from).and_then(|()| file.seek(SeekFrom::Start(from))))?;
    let mut at = from;
    progress.bar.set_position(at);
    let mut reader = answer.response.into_body().into_reader();
    let mut buffer = [0; 1 << 16];
    loop {
        let count = reader
            .read(&mut buffer)
            .map_err(|error| passing(url, &format!("{error}, after {at} of {size} bytes")))?;
        if count == 0 {
            break;
        }
        at += count as u64;
        if at > size {
            let reason = format!("it is larger than the {size} bytes that the hub says it has");
            write(file.set_len(0).map(|()| 0))?;
            return Err(Failure::Final(HubError::Damaged { url: url.to_owned(), reason }));
        }
        write(file.write_all(&buffer[..count]).map(|()| at))?;
        progress.bar.set_position(at);
    }
    match at == size {
        true => Ok(()),
        false => Err(passing(url, &format!("the connection ended after {at} of {size} bytes"))),
    }
}

/// Where a partial answer begins: `Content-Range: bytes FIRST-LAST/SIZE`.
fn first_byte(answer: &Answer) -> Option<u64> {
    let range = answer.response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// Whether the file is what the hub says; a reason if not.
fn check(file: &mut File, description: &Description) -> std::io::Result<Result<(), String>> {
    file.seek(SeekFrom::Start(0))?;
    let hash = match description.hash.len() {
        64 => hash(file, Sha256::new())?,
        // A git blob's name covers its size.
        _ => hash(file, Sha1::new().chain_update(format!("blob {}\0", description.size)))?,
    };
    let same = hash.eq_ignore_ascii_case(&description.hash);
    Ok(same
        .then_some(())
        .ok_or_else(|| format!("its checksum is {hash}, not {} as the hub says", description.hash)))
}

fn hash<D: Digest + Write>(file: &mut File, mut hasher: D) -> std::io::Result<String> {
    std::io::copy(file, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A bar with size and rate on a terminal, and a line when the file is there.
struct Progress {
    bar: ProgressBar,
    name: String,
    size: u64,
    begun: Instant,
}

impl Progress {
    fn new(name: &str, size: u64) -> Self {
        let template =
            "{msg} {bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}";
        let bar = ProgressBar::new(size).with_message(name.to_owned());
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        Self { bar, name: name.to_owned(), size, begun: Instant::now() }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
        let rate = self.size as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        eprintln!("{}: {}, {}/s", self.name, BinaryBytes(self.size), BinaryBytes(rate as u64));
    }
}
