//! Fetches a bundle onto the data partition: resumed where it broke off, never more than there is
//! room for.

use std::{io, path::Path, path::PathBuf, time::Duration};

use rustix::fs::statvfs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use url::Url;
use watchdog::backoff::{Backoff, jitter};

use crate::kept;

/// Left free on the data partition, for recordings and our own files.
const RESERVE: u64 = 64 << 20;
/// No bundle is larger than the slot it is for.
const LARGEST: u64 = 512 << 20;
/// To connect.
const CONNECT: Duration = Duration::from_secs(20);
/// Without a byte.
const STALL: Duration = Duration::from_secs(60);
/// Attempts in a row that brought nothing.
const ATTEMPTS: u32 = 5;

/// Why a bundle was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It would not fit.
    #[error("it needs {needed} bytes, and there is room for {room} on the data partition")]
    NoRoom {
        /// Its size, as far as known.
        needed: u64,
        /// What there is room for.
        room: u64,
    },
    /// The server said no.
    #[error("{url} answered {status}")]
    Refused {
        /// Scheme, host and path.
        url: String,
        /// Its answer.
        status: reqwest::StatusCode,
    },
    /// It did not come.
    #[error("{url} did not deliver: {cause}")]
    Broken {
        /// Scheme, host and path.
        url: String,
        /// Why, at last.
        cause: String,
    },
    /// The disk does not take it.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What came is not what was meant.
    #[error("what came has the SHA-256 {found}, and {wanted} was asked for")]
    Different {
        /// Of what came.
        found: String,
        /// What was asked for.
        wanted: String,
    },
}

/// What is known of a fetch that broke off.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    url: String,
    /// The server's tag for this very content; without one, nothing is resumed.
    tag: Option<String>,
}

/// A URL as a person may see it: no user, no password, no query.
#[must_use]
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Fetches `url` to `file`; `progress` hears of every percent.
///
/// # Errors
/// [`FetchError`]; what came so far is kept for the next time, unless it is of no use.
pub async fn fetch(
    client: &reqwest::Client,
    url: &Url,
    file: &Path,
    sha256: Option<&str>,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), FetchError> {
    let part = file.with_extension("part");
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut failures = 0;
    loop {
        let before = size(&part);
        match attempt(client, url, &part, progress).await {
            Ok(()) => break,
            Err(error @ FetchError::Broken { .. }) => {
                failures = if size(&part) > before { 0 } else { failures + 1 };
                if failures >= ATTEMPTS {
                    return Err(error);
                }
                let wait = backoff.next(jitter());
                tracing::warn!("{error}; going on in {} s", wait.as_secs());
                sleep(wait).await;
            }
            Err(error) => return Err(error),
        }
    }
    let disk = |source| FetchError::Disk { path: file.to_owned(), source };
    if let Some(wanted) = sha256 {
        let found = digest(&part).await.map_err(disk)?;
        if !found.eq_ignore_ascii_case(wanted) {
            forget(file);
            return Err(FetchError::Different { found, wanted: wanted.to_owned() });
        }
    }
    std::fs::rename(&part, file).map_err(disk)?;
    let _ = std::fs::remove_file(part.with_extension("json"));
    Ok(())
}

/// Removes a bundle and what is left of a fetch, so that a loss of power does not bring it back.
pub fn forget(file: &Path) {
    for path in [file.to_owned(), file.with_extension("part"), file.with_extension("json")] {
        let _ = std::fs::remove_file(path);
    }
    if let Some(folder) = file.parent() {
        let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}

async fn attempt(
    client: &reqwest::Client,
    url: &Url,
    part: &Path,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), FetchError> {
    let broken = |cause: String| FetchError::Broken { url: shown(url), cause };
    let disk = |source| FetchError::Disk { path: part.to_owned(), source };
    let note = part.with_extension("json");
    let begun: Begun = kept::read_json(&note).unwrap_or_default();
    let have = size(part);
    let mut request = client.get(url.clone());
    if let (Some(tag), true) = (&begun.tag, have > 0 && begun.url == url.as_str()) {
        request = request
            .header(reqwest::header::RANGE, format!("bytes={have}-"))
            .header(reqwest::header::IF_RANGE, tag.as_str());
    }
    let mut response = match timeout(CONNECT + STALL, request.send()).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(broken(in_full(&error.without_url()))),
        Err(_) => return Err(broken("no answer".to_owned())),
    };
    let status = response.status();
    let resumed = status == reqwest::StatusCode::PARTIAL_CONTENT && starts_at(&response, have);
    if status.is_server_error() {
        return Err(broken(format!("it answered {status}")));
    }
    if status == reqwest::StatusCode::RANGE_NOT_SATISFIABLE {
        forget(&part.with_extension("raucb"));
        return Err(broken("what was there before does not fit".to_owned()));
    }
    if !resumed && status != reqwest::StatusCode::OK {
        return Err(FetchError::Refused { url: shown(url), status });
    }
    let have = if resumed { have } else { 0 };
    let total = response.content_length().map(|more| have.saturating_add(more));
    let folder = part.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(disk)?;
    let room = have + room(folder).map_err(disk)?;
    let limit = room.min(LARGEST);
    if let Some(needed) = total.filter(|total| *total > limit) {
        return Err(FetchError::NoRoom { needed, room: limit });
    }
    if !resumed {
        let tag = response.headers().get(reqwest::header::ETAG);
        // A weak tag does not promise the same bytes.
        let tag = tag.and_then(|tag| tag.to_str().ok()).filter(|tag| !tag.starts_with("W/"));
        let begun = Begun { url: url.to_string(), tag: tag.map(str::to_owned) };
        kept::write_json(&note, &begun).map_err(disk)?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(part)
        .await
        .map_err(disk)?;
    let mut done = have;
    let mut percent = None;
    loop {
        let chunk = match timeout(STALL, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                let _ = file.flush().await;
                return Err(broken(in_full(&error.without_url())));
            }
            Err(_) => {
                let _ = file.flush().await;
                return Err(broken(format!("nothing came for {} s", STALL.as_secs())));
            }
        };
        done += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if done > limit {
            drop(file);
            forget(&part.with_extension("raucb"));
            return Err(FetchError::NoRoom { needed: done, room: limit });
        }
        file.write_all(&chunk).await.map_err(disk)?;
        let now = total.filter(|total| *total > 0).map(|total| done.saturating_mul(100) / total);
        if let Some(now) = now.filter(|now| percent != Some(*now)) {
            percent = Some(now);
            progress(now);
        }
    }
    file.flush().await.map_err(disk)?;
    file.sync_all().await.map_err(disk)?;
    match total {
        Some(total) if done != total => Err(broken(format!("{done} of {total} bytes came"))),
        _ => Ok(()),
    }
}

/// Whether a partial answer begins where we are.
fn starts_at(response: &reqwest::Response, have: u64) -> bool {
    let range = response.headers().get(reqwest::header::CONTENT_RANGE);
    range
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes ")?.split_once('-'))
        .is_some_and(|(start, _)| start.parse() == Ok(have))
}

/// An error with its causes: reqwest's own words leave them out.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

fn room(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(RESERVE))
}

/// A file's SHA-256, in hexadecimal.
///
/// # Errors
/// If it cannot be read.
pub async fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path).await?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A client that trusts the public authorities and, besides, the PEM certificates in `ca`.
///
/// # Errors
/// If they are none, or TLS cannot be set up.
pub fn client(ca: Option<&[u8]>) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("backrow-appliance/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .no_proxy();
    if let Some(pem) = ca {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    builder.build()
}

#[cfg(test)]
mod tests;
