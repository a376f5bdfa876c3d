//! Streams to transcode, and a look at what came of them, by ffmpeg and ffprobe.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use flv::{Tag, TagKind};

/// A scratch directory that goes with the test.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

/// Real footage.
pub(crate) fn footage(name: &str) -> PathBuf {
    let directory = std::env::var_os("FOOTAGE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/footage"),
        PathBuf::from,
    );
    let path = directory.join(name);
    assert!(path.is_file(), "no footage at {}: run `make footage`", path.display());
    path
}

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().expect("ffmpeg is installed");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && errors.trim().is_empty(), "{program} {args:?}: {errors}");
    String::from_utf8(out.stdout).expect("text")
}

/// What a camera, mixer or browser would send: H.264 and AAC in FLV, keyframes `gop` frames apart.
pub(crate) fn publish(inputs: &[&str], codecs: &[&str], to: &Path) -> PathBuf {
    let base = ["-v", "error", "-y", "-threads", "1"];
    let to = to.to_string_lossy().into_owned();
    run("ffmpeg", &[&base[..], inputs, codecs, &["-f", "flv", &to]].concat());
    to.into()
}

/// A moving picture of this size with a tone, `seconds` long, 25 frames a second.
pub(crate) fn test_stream(size: &str, seconds: u32, to: &Path) -> PathBuf {
    let picture = format!("testsrc2=size={size}:rate=25:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let inputs = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone];
    publish(&inputs, &[LIVE, AAC].concat(), to)
}

/// Encoding as for live: no frames out of order.
pub(crate) const LIVE: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "50",
    "-sc_threshold",
    "0",
];
/// Sound.
pub(crate) const AAC: &[&str] = &["-c:a", "aac", "-b:a", "96k", "-ac", "2"];

/// One packet as ffprobe sees it.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Presentation time, ms.
    pub pts: i64,
    /// Decode time, ms.
    pub dts: i64,
    /// A keyframe.
    pub key: bool,
}

/// One stream of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probed {
    /// Its fields, as ffprobe names them.
    pub fields: BTreeMap<String, String>,
    /// Its packets.
    pub packets: Vec<Packet>,
}

impl Probed {
    /// A field, or an empty text.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    /// `width`x`height`.
    pub(crate) fn size(&self) -> String {
        format!("{}x{}", self.get("width"), self.get("height"))
    }

    /// From the first packet to the last, ms.
    pub(crate) fn span(&self) -> i64 {
        let pts = || self.packets.iter().map(|p| p.pts);
        pts().max().unwrap_or(0) - pts().min().unwrap_or(0)
    }

    /// Decode times rise, and no packet is more than `gap` ms after the one before.
    pub(crate) fn assert_monotonic(&self, gap: i64) {
        for pair in self.packets.windows(2) {
            let step = pair[1].dts - pair[0].dts;
            assert!((1..=gap).contains(&step), "step of {step} ms: {pair:?}");
        }
    }

    /// Presentation times of keyframes.
    pub(crate) fn keys(&self) -> Vec<i64> {
        self.packets.iter().filter(|p| p.key).map(|p| p.pts).collect()
    }
}

/// Every stream of a file, by codec type; every frame is decoded, and ffprobe must not complain.
pub(crate) fn probe(file: &Path) -> BTreeMap<String, Probed> {
    let file = file.to_string_lossy();
    let show = ["-v", "error", "-count_frames", "-show_streams", "-show_packets", "-of", "json"];
    let text = run("ffprobe", &[&show[..], &[&file]].concat());
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut streams = BTreeMap::new();
    for stream in json["streams"].as_array().expect("streams") {
        let fields = (stream.as_object().expect("a stream").iter())
            .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
            .collect();
        let packets = (json["packets"].as_array().expect("packets").iter())
            .filter(|p| p["stream_index"] == stream["index"])
            .map(|p| {
                let ms = |field: &str| {
                    let seconds: f64 = p[field].as_str().and_then(|t| t.parse().ok())?;
                    Some((seconds * 1000.0).round() as i64)
                };
                let key = p["flags"].as_str().unwrap_or_default().contains('K');
                let pts = ms("pts_time").expect("a packet has a time");
                Packet { pts, dts: ms("dts_time").unwrap_or(pts), key }
            })
            .collect();
        let kind = stream["codec_type"].as_str().expect("a kind").to_owned();
        streams.insert(kind, Probed { fields, packets });
    }
    streams
}

/// The tags of an FLV file.
pub(crate) fn tags(file: &Path) -> Vec<Tag> {
    let mut parser = flv::Parser::new(flv::Limits::default());
    parser.push(&std::fs::read(file).expect("the file"));
    std::iter::from_fn(|| parser.next_tag().expect("FLV")).collect()
}

/// FLV of tags.
pub(crate) fn flv(tags: &[Tag]) -> Vec<u8> {
    let parts = tags.iter().map(Tag::to_bytes);
    [flv::file_header(true, true)].into_iter().chain(parts).collect::<Vec<Bytes>>().concat()
}

/// Frames of a kind among tags.
pub(crate) fn frames(tags: &[Tag], kind: TagKind) -> usize {
    tags.iter().filter(|t| t.kind == kind && !t.is_sequence_header() && t.data.len() > 5).count()
}
