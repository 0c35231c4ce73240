//! One file of the hub: locked, resumed where it was cut off, verified, and only then given its name.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{BinaryBytes, ProgressBar};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::cache::Cache;
use super::client::{Client, Failure, header, nonsense, passing, wait};
use super::error::HubError;
use super::listing::RemoteFile;
use super::repo::Repo;
use crate::terminal::{bar, notice};

/// The path of `file` among the blobs of the cache, downloaded from `url` if it is not there yet.
///
/// # Errors
/// No connection, or too slow a one, also after retries; a file that differs from the hub's description; a folder
/// that cannot be written to.
pub(crate) fn blob(
    client: &Client,
    cache: &Cache,
    repo: &Repo,
    url: &str,
    file: &RemoteFile,
) -> Result<PathBuf, HubError> {
    let path = cache.blob(repo, file);
    let is_there = || fs::metadata(&path).is_ok_and(|it| it.is_file() && it.len() == file.size);
    if is_there() {
        return Ok(path);
    }
    let _lock = cache.lock(repo, file)?;
    // The process that held the lock before may have downloaded it.
    if is_there() {
        return Ok(path);
    }
    let folder = path.parent().unwrap_or(&path);
    fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
    let begun = Instant::now();
    let unfinished = path.with_added_extension("incomplete");
    let mut download = Download::open(client, url, file, &unfinished)?;
    if let Err(error) = download.transfer().and_then(|()| download.verify()) {
        // Anything else is resumed by a later run.
        if matches!(error, HubError::Damaged { .. }) || download.length()? == 0 {
            fs::remove_file(&unfinished).map_err(HubError::io("remove", &unfinished))?;
        }
        return Err(error);
    }
    download.disk.sync_all().map_err(HubError::io("write", &unfinished))?;
    fs::rename(&unfinished, &path).map_err(HubError::io("write", &path))?;
    download.bar.finish_and_clear();
    let rate = file.size as f64 / begun.elapsed().as_secs_f64().max(1e-3);
    notice(format_args!(
        "{}: {}, {}/s",
        file.name,
        BinaryBytes(file.size),
        BinaryBytes(rate as u64)
    ));
    Ok(path)
}

/// A download that is under way, or left unfinished by an earlier run.
struct Download<'a> {
    client: &'a Client,
    url: &'a str,
    file: &'a RemoteFile,
    path: &'a Path,
    disk: File,
    bar: ProgressBar,
}

impl<'a> Download<'a> {
    fn open(
        client: &'a Client,
        url: &'a str,
        file: &'a RemoteFile,
        path: &'a Path,
    ) -> Result<Self, HubError> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let disk = options.open(path).map_err(HubError::io("create", path))?;
        let template =
            "{msg} {bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}";
        let bar = bar(file.size, template).with_message(file.name.clone());
        Ok(Self { client, url, file, path, disk, bar })
    }

    /// Fetch what is missing, in as many attempts as it takes while each of them brings something.
    fn transfer(&mut self) -> Result<(), HubError> {
        let mut attempt = 0;
        loop {
            let before = self.length()?;
            if before == self.file.size {
                return Ok(());
            }
            if before > self.file.size {
                self.truncate(0)?;
                continue;
            }
            let Err(failure) = self.receive(before) else { continue };
            if matches!(&failure, Failure::Final(HubError::Status { status: 416, .. })) {
                return Err(
                    self.damaged(format!("it ends after {before} of {} bytes", self.file.size))
                );
            }
            if self.length()?.saturating_sub(before) >= self.client.pace.bytes {
                attempt = 0;
            }
            wait(failure, &mut attempt)?;
        }
    }

    /// One attempt to append the bytes from `from` on; all of them if the hub starts again.
    fn receive(&mut self, from: u64) -> Result<(), Failure> {
        let (url, size, pace) = (self.url, self.file.size, self.client.pace);
        let response = self.client.get(url, from)?;
        let first = match response.status().as_u16() {
            206 => header(response.headers(), "content-range").and_then(first_byte),
            _ => Some(0),
        };
        let Some(first) = first.filter(|&first| first == 0 || first == from) else {
            return Err(nonsense(url, "it sends another part than was asked for".into()));
        };
        self.truncate(first).map_err(Failure::Final)?;
        let mut at = first;
        let mut reader = response.into_body().into_reader();
        let mut buffer = [0; 1 << 16];
        let (mut period, mut at_begin) = (Instant::now(), at);
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
                return Err(Failure::Final(self.damaged(reason)));
            }
            let written = self.disk.write_all(&buffer[..count]);
            written.map_err(HubError::io("write", self.path)).map_err(Failure::Final)?;
            self.bar.set_position(at);
            if period.elapsed() >= pace.period {
                if at - at_begin < pace.bytes {
                    let (bytes, seconds) = (pace.bytes, pace.period.as_secs_f64());
                    let reason = format!(
                        "fewer than {bytes} bytes in {seconds} s, after {at} of {size} bytes"
                    );
                    return Err(passing(url, &reason));
                }
                (period, at_begin) = (Instant::now(), at);
            }
        }
        match at == size {
            true => Ok(()),
            false => Err(passing(url, &format!("the connection ended after {at} of {size} bytes"))),
        }
    }

    /// Compare the file's hash with the hub's.
    fn verify(&mut self) -> Result<(), HubError> {
        let hash = self.hash().map_err(HubError::io("read", self.path))?;
        let expected = &self.file.hash;
        match &hash == expected {
            true => Ok(()),
            false => {
                Err(self.damaged(format!("its checksum is {hash}, not {expected} as the hub says")))
            }
        }
    }

    fn hash(&mut self) -> std::io::Result<String> {
        self.disk.seek(SeekFrom::Start(0))?;
        match self.file.hash.len() {
            64 => hash(&mut self.disk, Sha256::new()),
            // What git hashes begins with the size.
            _ => {
                let head = format!("blob {}\0", self.file.size);
                hash(&mut self.disk, Sha1::new().chain_update(head))
            }
        }
    }

    fn damaged(&self, reason: String) -> HubError {
        HubError::Damaged { url: self.url.to_owned(), reason }
    }

    fn length(&self) -> Result<u64, HubError> {
        Ok(self.disk.metadata().map_err(HubError::io("read", self.path))?.len())
    }

    /// Keep the first `length` bytes, and write after them.
    fn truncate(&mut self, length: u64) -> Result<(), HubError> {
        self.bar.set_position(length);
        let truncated = self.disk.set_len(length);
        truncated
            .and_then(|()| self.disk.seek(SeekFrom::Start(length)))
            .map_err(HubError::io("write", self.path))?;
        Ok(())
    }
}

/// Where a partial answer begins, from `Content-Range: bytes FIRST-LAST/SIZE`.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

fn hash<D: Digest + Write>(file: &mut File, mut hasher: D) -> std::io::Result<String> {
    std::io::copy(file, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::tests::hub::{Fault, Hub};

    use super::*;
    use crate::hub::client::Pace;
    use crate::hub::repo::Kind;

    /// A hub with one model, and a client that waits for no transfer slower than 100 bytes in 200 ms.
    fn hub_and_client(folder: &Path) -> (Hub, Client) {
        let model = folder.join("hub/models/someone/small");
        fs::create_dir_all(&model).expect("made");
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::write(model.join(name), name.repeat(200)).expect("written");
        }
        let hub = Hub::serve(&folder.join("hub"));
        let pace = Pace { bytes: 100, period: Duration::from_millis(200) };
        let client = Client::new(hub.endpoint(), None, pace).expect("a client");
        (hub, client)
    }

    #[test]
    fn a_transfer_that_never_ends_is_given_up_and_resumed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (hub, client) = hub_and_client(folder.path());
        let cache = Cache::new(folder.path().join("cache"));
        let repo = Repo::parse("someone/small", Kind::Model).expect("a name");
        let listing = client.listing(&repo).expect("listed");
        let mut files = listing.wanted(&repo).expect("complete");
        let file = files.find(|file| file.name == "config.json").expect("wanted");
        let url = client.url(&repo, &listing.commit, &file.name);
        let fetch = || blob(&client, &cache, &repo, &url, file);
        // At this rate the file would take 22 s, and no two bytes are further apart than 10 ms.
        for _ in 0..5 {
            hub.fail("resolve", Fault::Slow(Duration::from_millis(10)));
        }
        let error = fetch().expect_err("too slow").to_string();
        assert!(error.contains("fewer than 100 bytes in 0.2 s"), "{error}");
        assert!(hub.has_failed(), "each attempt is given up for being slow");
        hub.requests();
        let path = fetch().expect("the hub is fast again");
        assert!(hub.requests()[0].range.is_some(), "what came slowly is kept");
        assert_eq!(fs::read_to_string(path).expect("read"), "config.json".repeat(200));
    }

    #[test]
    fn a_listing_that_never_ends_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let (hub, client) = hub_and_client(folder.path());
        for _ in 0..5 {
            hub.fail("api/models", Fault::Slow(Duration::from_millis(10)));
        }
        let repo = Repo::parse("someone/small", Kind::Model).expect("a name");
        let error = client.listing(&repo).expect_err("too slow").to_string();
        assert!(error.contains("no complete listing within 0.2 s"), "{error}");
        assert!(hub.has_failed(), "each attempt is given up for being slow");
    }
}
