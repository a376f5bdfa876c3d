//! Recordings, as ffprobe and ffmpeg see them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::site::{Site, TOKEN, confirmation, refusal, session, until};
use super::sources::{ffmpeg, segments};

/// What ffprobe counts in a file: frames of video and audio, seconds. Fails on any complaint.
pub(crate) fn probe(path: &Path) -> (u64, u64, f64) {
    let output = Command::new("ffprobe")
        .args(["-v", "warning", "-count_frames", "-show_streams", "-show_format"])
        .args(["-show_entries", "format=duration", "-of", "json"])
        .arg(path)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames = |kind: &str| {
        let streams = found["streams"].as_array().unwrap();
        let stream = streams.iter().find(|stream| stream["codec_type"] == kind);
        let count = stream.and_then(|stream| stream["nb_read_frames"].as_str());
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    };
    assert_eq!(found["streams"].as_array().unwrap().len(), 2, "{found:#}");
    // Decoded whole, without a complaint.
    let path = path.to_str().unwrap();
    let decoded = ffmpeg("-xerror -i").arg(path).args(["-f", "null", "-"]).output().unwrap();
    let complaints = String::from_utf8_lossy(&decoded.stderr).into_owned();
    assert!(decoded.status.success() && complaints.is_empty(), "{complaints}");
    let packets = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=dts_time"])
        .args(["-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let times: Vec<f64> = String::from_utf8(packets.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.trim_matches(',').parse().ok())
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "times go back: {times:?}");
    (frames("video"), frames("audio"), times.last().unwrap() - times.first().unwrap())
}

async fn download(site: &Site, session: &str) -> tempfile::NamedTempFile {
    let response = site.get(&format!("/demo/archive/{session}.flv")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "video/x-flv");
    let file = tempfile::Builder::new().suffix(".flv").tempfile().unwrap();
    std::fs::write(file.path(), response.bytes().await.unwrap()).unwrap();
    file
}

/// The one recording of room `demo`, probed.
pub(crate) async fn probe_only_session(site: &Site) -> (u64, u64, f64) {
    let sessions = site.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    probe(download(site, &sessions[0]).await.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talk_is_one_playable_file() {
    let site = Site::start().await;
    let (segments, run) = (segments(), session(1));
    for (seq, segment) in (0..).zip(&segments) {
        confirmation(site.put(run, seq, segment.bytes.clone()).send().await.unwrap(), 201).await;
    }
    let (video, audio, seconds) = probe_only_session(&site).await;
    assert_eq!(video, 150);
    assert!((255..=262).contains(&audio), "{audio}");
    assert!((seconds - 5.96).abs() < 0.01, "{seconds}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talk_with_a_gap_and_a_broken_segment_plays_too() {
    let site = Site::start().await;
    let (segments, run) = (segments(), session(1));
    for seq in [0, 1, 5] {
        let bytes = segments[seq].bytes.clone();
        confirmation(site.put(run, seq as u64, bytes).send().await.unwrap(), 201).await;
    }
    // Of segment 2 half came; 3 and 4 never did.
    let cut = segments[2].bytes[..segments[2].bytes.len() / 2].to_vec();
    let kept = super::sources::tags_of(&{
        let mut whole = 0;
        while whole < segments[2].tags.len() && segments[2].upto(whole + 1) <= cut.len() {
            whole += 1;
        }
        cut[..segments[2].upto(whole)].to_vec()
    });
    let (status, code, _) = refusal(site.put(run, 2, cut).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (400, "broken-flv"));
    let pictures = kept
        .iter()
        .filter(|tag| tag.video().is_some_and(|video| video.packet == flv::AvcPacket::Nalu));
    let pictures = pictures.count() as u64;
    assert!(pictures > 1);
    let (video, _, seconds) = probe_only_session(&site).await;
    assert_eq!(video, 75 + pictures);
    assert!((seconds - 5.96).abs() < 0.01, "{seconds}");

    let found: Value = site.get("/demo/archive/").await.json().await.unwrap();
    let recording = &found["sessions"][0];
    assert_eq!(recording["session"], run.to_string());
    assert_eq!(recording["url"], format!("/demo/archive/{run}.flv"));
    assert_eq!((&recording["segments"], &recording["partial"]), (&3.into(), &1.into()));
    assert_eq!(recording["gaps"], serde_json::json!([{ "from": 3, "to": 4 }]));
    assert!(recording["duration_ms"].as_u64().is_some_and(|ms| (5950..6050).contains(&ms)));
    assert!(recording["started"].as_str().is_some_and(|at| at.starts_with("2026-09-21T")));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_for_who_has_the_token() {
    let site = Site::start().await;
    let run = session(1);
    let bytes = segments()[0].bytes.clone();
    confirmation(site.put(run, 0, bytes).send().await.unwrap(), 201).await;
    let get = async |path: String| site.client.get(site.url(&path)).send().await.unwrap();
    for path in ["/demo/archive/".to_owned(), format!("/demo/archive/{run}.flv")] {
        let (status, code, _) = refusal(get(path.clone()).await).await;
        assert_eq!((status, code.as_str()), (401, "missing-token"));
        let (status, code, _) = refusal(get(format!("{path}?token=wrong-token")).await).await;
        assert_eq!((status, code.as_str()), (401, "wrong-token"));
        assert_eq!(get(format!("{path}?token={TOKEN}")).await.status(), 200);
    }
    let other = session(5);
    let (status, code, text) = refusal(site.get(&format!("/demo/archive/{other}.flv")).await).await;
    assert_eq!((status, code.as_str()), (404, "unknown-session"));
    assert_eq!(text, format!("room \"demo\" has no recording of session {other}"));
    let (status, code, _) = refusal(site.get("/demo/archive/..%2F..%2Fsecret.flv").await).await;
    assert_eq!((status, code.as_str()), (400, "bad-path"));
    until("it is recorded", || site.files(&run.to_string()).len() == 2).await;
    site.stop().await;
}
