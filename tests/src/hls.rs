//! A player's view of HLS: follows live playlists and fetches each segment once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::encoder::{EncoderProcess, client};
use crate::until;

/// How often a playlist is loaded again.
const RELOAD: Duration = Duration::from_millis(300);

/// A variant that the multivariant playlist lists.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Playlist, relative to the multivariant playlist.
    pub uri: String,
    /// The attributes of `EXT-X-STREAM-INF` or `EXT-X-MEDIA`.
    pub attributes: BTreeMap<String, String>,
}

/// A segment that was fetched.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Media sequence number.
    pub sequence: u64,
    /// `EXTINF` in seconds.
    pub duration: f64,
    /// `EXT-X-PROGRAM-DATE-TIME`, in force at its start.
    pub time: Option<jiff::Timestamp>,
    /// Whether `EXT-X-DISCONTINUITY` came before it.
    pub discontinuity: bool,
    /// Whether it is declared missing.
    pub gap: bool,
    /// URI of its initialization section.
    pub init: String,
    /// URI.
    pub uri: String,
    /// Body; empty for a gap.
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Fetched {
    inits: BTreeMap<String, Vec<u8>>,
    segments: Vec<Segment>,
    errors: Vec<String>,
}

/// A player of one variant.
#[derive(Debug)]
pub struct Player {
    uri: String,
    fetched: Arc<Mutex<Fetched>>,
    task: JoinHandle<()>,
}

/// The variants of `room`.
///
/// # Panics
/// When there is no multivariant playlist.
pub async fn variants(encoder: &EncoderProcess, room: &str) -> Vec<Variant> {
    let path = format!("/{room}/hls/index.m3u8");
    let body = encoder.body(&path).await.expect("a multivariant playlist");
    parse_multivariant(&String::from_utf8_lossy(&body))
}

/// The variants at `hls`, the URL of a room's folder, once it can be played.
pub async fn variants_at(client: &Client, hls: &str) -> Option<Vec<Variant>> {
    let body = fetch(client, &format!("{hls}index.m3u8")).await.ok()?;
    Some(parse_multivariant(&String::from_utf8_lossy(&body)))
}

impl Player {
    /// Follows the variant whose playlist is at `uri` below `/{room}/hls/`.
    pub fn follow(encoder: &EncoderProcess, room: &str, uri: &str) -> Self {
        Self::follow_at(client(), &encoder.url(&format!("/{room}/hls/")), uri)
    }

    /// Follows the variant whose playlist is at `uri` below `hls`, the URL of a room's folder.
    pub fn follow_at(client: Client, hls: &str, uri: &str) -> Self {
        let playlist = format!("{hls}{uri}");
        let fetched: Arc<Mutex<Fetched>> = Arc::default();
        let task = tokio::spawn(play(client, playlist, Arc::clone(&fetched)));
        Self { uri: uri.into(), fetched, task }
    }

    /// The segments so far.
    pub fn segments(&self) -> Vec<Segment> {
        self.fetched.lock().unwrap().segments.clone()
    }

    /// What went wrong so far.
    pub fn errors(&self) -> Vec<String> {
        self.fetched.lock().unwrap().errors.clone()
    }

    /// Waits until `count` segments have been fetched in all.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn reaches(&self, count: usize) {
        let what = format!("{count} segments of {}", self.uri);
        until(Duration::from_secs(60), &what, async || {
            (self.fetched.lock().unwrap().segments.len() >= count).then_some(())
        })
        .await;
    }

    /// Writes the segments so far as one fMP4 file, and returns its path.
    ///
    /// # Panics
    /// When a part is missing or the initialization section changed in mid-stream.
    pub fn save(&self, directory: &Path) -> PathBuf {
        let fetched = self.fetched.lock().unwrap();
        let first = fetched.segments.first().expect("a segment");
        let mut file = fetched.inits.get(&first.init).expect("its init").clone();
        for segment in &fetched.segments {
            assert_eq!(segment.init, first.init, "{}: the init section changed", self.uri);
            file.extend_from_slice(&segment.body);
        }
        let path = directory.join(format!("{}.mp4", self.uri.replace('/', "-")));
        std::fs::write(&path, file).unwrap();
        path
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(client: Client, playlist: String, fetched: Arc<Mutex<Fetched>>) {
    let base = playlist.rsplit_once('/').map_or("", |(base, _)| base).to_owned();
    let mut next = 0;
    loop {
        match fetch(&client, &playlist).await {
            Err(error) => fetched.lock().unwrap().errors.push(error),
            Ok(body) => {
                for mut segment in parse_media(&String::from_utf8_lossy(&body)) {
                    if segment.sequence < next {
                        continue;
                    }
                    if next > 0 && segment.sequence > next {
                        let error = format!("{next} was listed too briefly to be seen");
                        fetched.lock().unwrap().errors.push(error);
                    }
                    next = segment.sequence + 1;
                    let known = fetched.lock().unwrap().inits.contains_key(&segment.init);
                    if !known {
                        keep_init(&client, &base, &segment.init, &fetched).await;
                    }
                    if !segment.gap {
                        match fetch(&client, &format!("{base}/{}", segment.uri)).await {
                            Ok(body) => segment.body = body,
                            Err(error) => fetched.lock().unwrap().errors.push(error),
                        }
                    }
                    fetched.lock().unwrap().segments.push(segment);
                }
            }
        }
        sleep(RELOAD).await;
    }
}

async fn keep_init(client: &Client, base: &str, uri: &str, fetched: &Mutex<Fetched>) {
    let body = fetch(client, &format!("{base}/{uri}")).await;
    let mut fetched = fetched.lock().unwrap();
    match body {
        Ok(body) => drop(fetched.inits.insert(uri.to_owned(), body)),
        Err(error) => fetched.errors.push(error),
    }
}

async fn fetch(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let answer = client.get(url).send().await;
    let answer = answer.map_err(|error| format!("{url}: {error}"))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{url}: {}", answer.status()));
    }
    let body = answer.bytes().await;
    body.map(Into::into).map_err(|error| format!("{url}: {error}"))
}

/// Parses a multivariant playlist (RFC 8216, 4.3.4).
pub fn parse_multivariant(text: &str) -> Vec<Variant> {
    let mut variants = Vec::new();
    let mut pending = None;
    for line in text.lines() {
        if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            pending = Some(attributes(list));
        } else if let Some(list) = line.strip_prefix("#EXT-X-MEDIA:") {
            let attributes = attributes(list);
            if let Some(uri) = attributes.get("URI").cloned() {
                variants.push(Variant { uri, attributes });
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            let uri = line.to_owned();
            let attributes = pending.take().unwrap_or_default();
            variants.push(Variant { uri, attributes });
        }
    }
    variants
}

/// Parses a media playlist (RFC 8216, 4.3.2 and 4.3.3).
pub fn parse_media(text: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut sequence = 0;
    let (mut duration, mut time, mut discontinuity, mut gap) = (0.0, None, false, false);
    let mut init = String::new();
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            sequence = value.trim().parse().unwrap_or(0);
        } else if let Some(value) = line.strip_prefix("#EXTINF:") {
            let seconds = value.split(',').next().unwrap_or_default();
            duration = seconds.parse().unwrap_or(0.0);
        } else if let Some(value) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            time = value.trim().parse().ok();
        } else if let Some(list) = line.strip_prefix("#EXT-X-MAP:") {
            init = attributes(list).remove("URI").unwrap_or_default();
        } else if line == "#EXT-X-DISCONTINUITY" {
            discontinuity = true;
        } else if line == "#EXT-X-GAP" {
            gap = true;
        } else if !line.is_empty() && !line.starts_with('#') {
            segments.push(Segment {
                sequence,
                duration,
                time: time.take(),
                discontinuity: std::mem::take(&mut discontinuity),
                gap: std::mem::take(&mut gap),
                init: init.clone(),
                uri: line.to_owned(),
                body: Vec::new(),
            });
            sequence += 1;
        }
    }
    segments
}

/// Splits an attribute list at commas outside quotes.
fn attributes(list: &str) -> BTreeMap<String, String> {
    let mut quoted = false;
    list.split(|letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    })
    .filter_map(|pair| pair.split_once('='))
    .map(|(key, value)| (key.trim().to_owned(), value.trim_matches('"').to_owned()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_media_playlist() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"init-0.mp4\"\n\
                    #EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:00.000Z\n#EXTINF:2.000,\n7.m4s\n\
                    #EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:1.5,\n8.m4s\n";
        let segments = parse_media(text);
        assert_eq!(segments.len(), 2);
        assert_eq!((segments[0].sequence, segments[1].sequence), (7, 8));
        assert!(segments[0].time.is_some() && !segments[0].discontinuity && !segments[0].gap);
        assert!(segments[1].discontinuity && segments[1].gap);
        assert_eq!(segments[1].init, "init-0.mp4");
    }

    #[test]
    fn a_comma_in_quotes_does_not_end_an_attribute() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64001f,mp4a.40.2\"\na/index.m3u8\n";
        let variants = parse_multivariant(text);
        assert_eq!(variants[0].uri, "a/index.m3u8");
        assert_eq!(variants[0].attributes["CODECS"], "avc1.64001f,mp4a.40.2");
    }
}
