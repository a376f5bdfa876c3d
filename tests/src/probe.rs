//! What ffprobe says about a file.

use std::path::Path;

use serde_json::Value;

use crate::tool;

/// A stream of a file.
#[derive(Debug, Clone)]
pub struct Stream {
    /// `video` or `audio`.
    pub kind: String,
    /// Codec, by ffmpeg's name.
    pub codec: String,
    /// Width and height in pixels; zero for audio.
    pub size: (u64, u64),
    /// Samples per second; zero for video.
    pub rate: u64,
    /// Channels; zero for video.
    pub channels: u64,
}

/// The streams of `file`.
///
/// # Panics
/// When ffprobe cannot read it.
pub async fn streams(file: &Path) -> Vec<Stream> {
    let json = show(file, "-show_streams").await;
    let streams = json["streams"].as_array().cloned().unwrap_or_default();
    streams
        .iter()
        .map(|stream| Stream {
            kind: text(&stream["codec_type"]),
            codec: text(&stream["codec_name"]),
            size: (number(&stream["width"]), number(&stream["height"])),
            rate: text(&stream["sample_rate"]).parse().unwrap_or(0),
            channels: number(&stream["channels"]),
        })
        .collect()
}

/// `video codec WxH` and `audio codec` of each stream, in a form that is easily compared.
///
/// # Panics
/// When ffprobe cannot read it.
pub async fn summary(file: &Path) -> Vec<String> {
    let mut summary: Vec<_> = streams(file)
        .await
        .iter()
        .map(|stream| match stream.kind.as_str() {
            "video" => format!("video {} {}x{}", stream.codec, stream.size.0, stream.size.1),
            kind => format!("{kind} {}", stream.codec),
        })
        .collect();
    summary.sort();
    summary
}

/// A packet of a stream; times in seconds.
#[derive(Debug, Clone)]
pub struct Packet {
    /// `video` or `audio`.
    pub kind: String,
    /// Presentation time.
    pub pts: f64,
    /// Decoding time.
    pub dts: f64,
    /// Whether decoding can begin here.
    pub key: bool,
    /// Bytes.
    pub size: u64,
}

/// All packets of `file`, in file order.
///
/// # Panics
/// When ffprobe cannot read it, or a packet has no time.
pub async fn packets(file: &Path) -> Vec<Packet> {
    let json = show(file, "-show_packets").await;
    let packets = json["packets"].as_array().cloned().unwrap_or_default();
    let seconds = |packet: &Value, key: &str| text(&packet[key]).parse::<f64>().ok();
    packets
        .iter()
        .map(|packet| {
            let pts = seconds(packet, "pts_time");
            let dts = seconds(packet, "dts_time").or(pts);
            Packet {
                kind: text(&packet["codec_type"]),
                pts: pts.or(dts).expect("a packet with a time"),
                dts: dts.expect("a packet with a time"),
                key: text(&packet["flags"]).starts_with('K'),
                size: text(&packet["size"]).parse().unwrap_or(0),
            }
        })
        .collect()
}

/// The packets of one kind.
pub fn of_kind<'a>(packets: &'a [Packet], kind: &str) -> Vec<&'a Packet> {
    packets.iter().filter(|packet| packet.kind == kind).collect()
}

/// Checks that decoding times of each kind only grow, and that no two packets of a kind are
/// further apart than `gap` seconds.
///
/// # Panics
/// With the place where they do not.
pub fn assert_monotonic(what: &str, packets: &[Packet], gap: f64) {
    for kind in ["video", "audio"] {
        for pair in of_kind(packets, kind).windows(2) {
            let step = pair[1].dts - pair[0].dts;
            assert!(
                step > 0.0,
                "{what}: {kind} goes from {:.3} s back to {:.3} s",
                pair[0].dts,
                pair[1].dts
            );
            assert!(
                step <= gap,
                "{what}: {kind} has a gap of {step:.3} s after {:.3} s",
                pair[0].dts
            );
        }
    }
}

/// Seconds from the first packet of `kind` to the last; zero if there are none.
pub fn span(packets: &[Packet], kind: &str) -> f64 {
    let packets = of_kind(packets, kind);
    match (packets.first(), packets.last()) {
        (Some(first), Some(last)) => last.dts - first.dts,
        _ => 0.0,
    }
}

async fn show(file: &Path, what: &str) -> Value {
    let file = file.display().to_string();
    let args = ["-v", "error", "-of", "json", what, file.as_str()];
    let json = tool::run("ffprobe", &args).await;
    serde_json::from_slice(&json).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
