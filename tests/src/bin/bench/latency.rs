//! How soon a room is on the air, and how soon again after a crash.

use std::time::Duration;

use backrow_tests::{CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, until};
use flv::TagKind;
use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, timeout};

use crate::table::{Report, Takes, Target};

/// Milliseconds from picture to picture above which some are missing between them.
const GAP: u32 = 70;

/// 720p25 from the test source.
fn config(encoder: &EncoderProcess) -> CollectorConfig {
    CollectorConfig {
        source: "kind = \"test\"".into(),
        picture: (1280, 720, 25),
        bitrate: "1500k".into(),
        ..CollectorConfig::flash(encoder)
    }
}

/// From the start of the collector's process to its first confirmed segment.
pub(crate) async fn start(report: &mut Report, runs: usize) {
    let mut takes = Takes::default();
    for _ in 0..runs {
        let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
        let config = config(&encoder);
        let began = Instant::now();
        let _collector = CollectorProcess::start(&config);
        until(Duration::from_secs(30), "a confirmed segment", async || {
            let archive = encoder.archive("demo").await?;
            let session = archive["sessions"].as_array()?.first()?["session"].as_str()?.to_owned();
            // What the listing names is what was confirmed.
            let listing = encoder.json(&format!("/ingest/demo/{session}")).await?;
            (!listing["segments"].as_array()?.is_empty()).then_some(())
        })
        .await;
        takes.0.push(began.elapsed().as_secs_f64());
    }
    let what = "collector's start to its first confirmed segment";
    report.row(what, "s", takes, Target::AtMost(2.0));
}

/// From SIGKILL of the capture worker to the next picture that the encoder gives out.
pub(crate) async fn recovery(report: &mut Report, runs: usize) {
    let mut takes = Takes::default();
    for _ in 0..runs {
        // A collector whose worker has not failed before: the back-off is not what is measured.
        let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
        let collector = CollectorProcess::start(&config(&encoder));
        encoder.live("demo").await;
        let mut stream = Stream::open(&encoder).await;
        // Two seconds of media without a gap: it is well.
        let mut steady = 0;
        while steady < 50 {
            steady = if stream.picture().await > GAP { 0 } else { steady + 1 };
        }
        let worker = collector.process().worker("capture", None).await;
        kill_process(worker, Signal::KILL).unwrap();
        let killed = Instant::now();
        // Pictures that were under way still come; the first one made after the kill comes
        // after a gap in the room's time, whatever else delays us.
        while stream.picture().await <= GAP {}
        let back = killed.elapsed();
        takes.0.push(back.as_secs_f64());
    }
    let what = "SIGKILL of the capture worker to the next picture at the encoder";
    report.row(what, "s", takes, Target::AtMost(2.0));
}

/// The room's FLV as it came, tag by tag.
struct Stream {
    answer: reqwest::Response,
    parser: flv::Parser,
    last: Option<u32>,
}

impl Stream {
    async fn open(encoder: &EncoderProcess) -> Self {
        Self {
            answer: encoder.get("/demo/webcast-high.flv").await,
            parser: flv::Parser::new(flv::Limits::default()),
            last: None,
        }
    }

    /// Waits for the next picture, and returns the milliseconds of room time since the one
    /// before.
    async fn picture(&mut self) -> u32 {
        loop {
            while let Some(tag) = self.parser.next_tag().unwrap() {
                if tag.kind == TagKind::Video && !tag.is_sequence_header() {
                    let last = self.last.replace(tag.timestamp);
                    return last.map_or(0, |last| tag.timestamp.saturating_sub(last));
                }
            }
            let chunk = timeout(Duration::from_secs(60), self.answer.chunk()).await;
            let chunk = chunk.expect("the stream goes on").unwrap();
            self.parser.push(&chunk.expect("the stream is not ended"));
        }
    }
}
