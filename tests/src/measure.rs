//! Looks at decoded pictures and sound: flashes, beeps, their distance, and frame counters.

use std::path::Path;

use serde_json::Value;

use crate::tool;

/// A decoded picture: its time in seconds and its 8-bit luma.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Presentation time in seconds.
    pub at: f64,
    /// `width * height` bytes.
    pub luma: Vec<u8>,
}

/// All pictures of a file.
#[derive(Debug)]
pub struct Pictures {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// In order of presentation.
    pub frames: Vec<Picture>,
}

/// Decodes all video of `file`.
///
/// # Panics
/// When it has none, or decoders disagree on the number of pictures.
pub async fn pictures(file: &Path) -> Pictures {
    let name = file.display().to_string();
    let shown = [
        "-v",
        "error",
        "-of",
        "json",
        "-select_streams",
        "v:0",
        "-show_entries",
        "frame=best_effort_timestamp_time,width,height",
        &name,
    ];
    let json: Value = serde_json::from_slice(&tool::run("ffprobe", &shown).await).unwrap();
    let shown = json["frames"].as_array().cloned().unwrap_or_default();
    let first = shown.first().expect("a video with at least one picture");
    let side = |key: &str| u32::try_from(first[key].as_u64().unwrap()).unwrap();
    let (width, height) = (side("width"), side("height"));
    let line = "-i {} -map 0:v:0 -fps_mode passthrough -f rawvideo -pix_fmt gray -";
    let raw = tool::ffmpeg(line, &[file]).await;
    let luma: Vec<_> = raw.chunks_exact((width * height) as usize).collect();
    assert_eq!(luma.len(), shown.len(), "pictures decoded by ffmpeg and seen by ffprobe in {name}");
    let frames = shown
        .iter()
        .zip(luma)
        .map(|(frame, luma)| Picture {
            at: seconds(&frame["best_effort_timestamp_time"]).expect("a picture with a time"),
            luma: luma.to_vec(),
        })
        .collect();
    Pictures { width, height, frames }
}

impl Pictures {
    /// Times at which a dark picture is followed by a bright one.
    pub fn flashes(&self) -> Vec<f64> {
        let bright: Vec<_> = self.frames.iter().map(|frame| mean(&frame.luma)).collect();
        let (low, high) = bounds(&bright);
        if high - low < 40.0 {
            return Vec::new();
        }
        let middle = f64::midpoint(low, high);
        (1..bright.len())
            .filter(|at| bright[*at] > middle && bright[at - 1] <= middle)
            .map(|at| self.frames[at].at)
            .collect()
    }

    /// Mean luma of a picture, and the mean change from the picture before: what tells a
    /// moving picture from a black or a frozen one.
    pub fn liveliness(&self) -> (f64, f64) {
        let brightness = self.frames.iter().map(|frame| mean(&frame.luma)).sum::<f64>();
        let change = self
            .frames
            .windows(2)
            .map(|pair| difference(&pair[0].luma, &pair[1].luma))
            .sum::<f64>();
        let count = f64::from(u32::try_from(self.frames.len()).unwrap());
        (brightness / count, change / (count - 1.0).max(1.0))
    }
}

/// Samples per second that sound is decoded to.
const RATE: usize = 48_000;
/// Samples that are judged together: 5 ms.
const WINDOW: usize = RATE / 200;
/// Windows of silence that must come before a beep: 200 ms.
const REST: usize = 40;

/// Decoded sound, mixed to one channel.
#[derive(Debug)]
pub struct Sound {
    start: f64,
    samples: Vec<i16>,
}

/// Decodes all sound of `file`.
///
/// # Panics
/// When it has none.
pub async fn sound(file: &Path) -> Sound {
    let name = file.display().to_string();
    let shown = [
        "-v",
        "error",
        "-of",
        "json",
        "-select_streams",
        "a:0",
        "-show_entries",
        "frame=best_effort_timestamp_time",
        "-read_intervals",
        "%+#8",
        &name,
    ];
    let json: Value = serde_json::from_slice(&tool::run("ffprobe", &shown).await).unwrap();
    let start = seconds(&json["frames"][0]["best_effort_timestamp_time"]).unwrap_or(0.0);
    let line = format!("-i {{}} -map 0:a:0 -f s16le -ac 1 -ar {RATE} -");
    let raw = tool::ffmpeg(&line, &[file]).await;
    let samples: Vec<_> =
        raw.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    assert!(!samples.is_empty(), "no sound in {name}");
    Sound { start, samples }
}

impl Sound {
    /// Seconds of sound.
    pub fn duration(&self) -> f64 {
        samples_as_seconds(self.samples.len())
    }

    /// Loudest window, as a fraction of full scale.
    pub fn peak(&self) -> f64 {
        self.loudness().into_iter().fold(0.0, f64::max)
    }

    /// Times at which a beep begins after silence.
    pub fn beeps(&self) -> Vec<f64> {
        let loudness = self.loudness();
        let peak = self.peak();
        if peak < 0.01 {
            return Vec::new();
        }
        let loud: Vec<_> = loudness.iter().map(|value| *value > peak / 4.0).collect();
        (REST..loud.len())
            .filter(|at| loud[*at] && !loud[at - REST..*at].contains(&true))
            .map(|at| self.start + samples_as_seconds(at * WINDOW))
            .collect()
    }

    fn loudness(&self) -> Vec<f64> {
        self.samples
            .chunks_exact(WINDOW)
            .map(|window| {
                let energy: f64 = window.iter().map(|sample| f64::from(*sample).powi(2)).sum();
                (energy / f64::from(u32::try_from(WINDOW).unwrap())).sqrt() / f64::from(i16::MAX)
            })
            .collect()
    }
}

/// Seconds by which the sound lags behind the picture (negative: leads), for each flash that
/// has a beep within half a second.
pub fn offsets(flashes: &[f64], beeps: &[f64]) -> Vec<f64> {
    flashes
        .iter()
        .filter_map(|flash| {
            beeps
                .iter()
                .map(|beep| beep - flash)
                .filter(|offset| offset.abs() < 0.5)
                .min_by(|one, other| one.abs().total_cmp(&other.abs()))
        })
        .collect()
}

/// Checks that picture and sound of `file` are less than `limit` seconds apart at every flash,
/// of which there must be at least `least`.
///
/// # Panics
/// With the offsets, when they are not.
pub async fn assert_in_sync(what: &str, file: &Path, least: usize, limit: f64) {
    let flashes = pictures(file).await.flashes();
    let beeps = sound(file).await.beeps();
    let offsets = offsets(&flashes, &beeps);
    assert!(
        offsets.len() >= least,
        "{what}: {} flashes at {flashes:.2?} and beeps at {beeps:.2?} pair up, fewer than {least}",
        offsets.len()
    );
    assert!(
        offsets.iter().all(|offset| offset.abs() < limit),
        "{what}: sound is off by {offsets:.3?} s"
    );
}

/// Every how many-th pixel is looked at: a prime, so that no column is preferred.
const STEP: usize = 13;

fn mean(values: &[u8]) -> f64 {
    let seen = values.iter().step_by(STEP);
    let count = seen.len() as u64;
    as_f64(seen.map(|value| u64::from(*value)).sum()) / as_f64(count)
}

fn difference(one: &[u8], other: &[u8]) -> f64 {
    let pairs = one.iter().step_by(STEP).zip(other.iter().step_by(STEP));
    let count = pairs.len() as u64;
    let sum = pairs.map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    as_f64(sum) / as_f64(count)
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)))
}

fn samples_as_seconds(samples: usize) -> f64 {
    as_f64(samples as u64) / as_f64(RATE as u64)
}

/// Numbers here stay far below 2^52.
fn as_f64(value: u64) -> f64 {
    value as f64
}

fn seconds(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}
