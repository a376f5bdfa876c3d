//! The ingest contract with a real HTTP client.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use encoder::ingest::Options;
use flv::Tag;
use protocol::ingest::{SessionListing, session_path};
use sha2::{Digest, Sha256};

use super::site::{Site, TOKEN, confirmation, refusal, session, slow_body, until};
use super::sources::segments;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_confirmed_listed_and_put_on_air() {
    let site = Site::start().await;
    let (segments, run) = (segments(), session(1));
    for (seq, segment) in (10u64..).zip(&segments) {
        let response = site.put(run, seq, segment.bytes.clone()).send().await.unwrap();
        let confirmed = confirmation(response, 201).await;
        assert_eq!(confirmed.bytes, segment.bytes.len() as u64);
        assert_eq!(confirmed.sha256, sha256(&segment.bytes));
    }
    let sent: Vec<Tag> = segments.iter().flat_map(|segment| segment.tags.clone()).collect();
    until("every tag is on air", || site.demo.tags().len() == sent.len()).await;
    assert_eq!(site.demo.tags(), sent);
    assert_eq!(site.demo.changes(), [format!("{run} box-7")]);
    assert!(site.other.changes().is_empty());
    let status = site.board.get("demo.ingest").unwrap();
    assert_eq!((status.mood.as_str(), status.reason.as_str()), ("happy", "box-7 is publishing"));

    // The same again is known, and not shown again.
    let response = site.put(run, 11, segments[1].bytes.clone()).send().await.unwrap();
    assert_eq!(confirmation(response, 200).await.sha256, sha256(&segments[1].bytes));
    // Other contents under its number are kept beside it.
    let response = site.put(run, 11, segments[4].bytes.clone()).send().await.unwrap();
    assert_eq!(confirmation(response, 201).await.sha256, sha256(&segments[4].bytes));
    assert_eq!(site.file(run, "0000000011.flv"), segments[1].bytes);
    assert_eq!(site.file(run, "0000000011.other-1.flv"), segments[4].bytes);
    assert_eq!(site.demo.tags().len(), sent.len());

    let room = "demo".parse().unwrap();
    let listing: SessionListing = site.get(&session_path(&room, &run)).await.json().await.unwrap();
    let listed: Vec<_> = listing.segments.iter().map(|s| (s.seq, s.sha256.clone())).collect();
    let wanted: Vec<_> = (10..).zip(&segments).map(|(seq, s)| (seq, sha256(&s.bytes))).collect();
    assert_eq!(listed, wanted);
    let listing: SessionListing =
        site.get(&session_path(&room, &session(99))).await.json().await.unwrap();
    assert_eq!(listing.segments, []);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_segment_may_begin_before_this_one_has_ended() {
    let site = Site::start().await;
    let (segments, run) = (segments(), session(1));
    let (first, second) = (&segments[0], &segments[1]);
    let (sender, body) = slow_body();
    let request = tokio::spawn(site.put(run, 0, body).send());
    let half = first.upto(20);
    sender.send(first.bytes[..half].to_vec()).await.unwrap();
    // It is on air while it is being sent.
    until("20 tags are on air", || site.demo.tags().len() == 20).await;
    confirmation(site.put(run, 1, second.bytes.clone()).send().await.unwrap(), 201).await;
    assert_eq!(site.demo.tags().len(), 20);
    sender.send(first.bytes[half..].to_vec()).await.unwrap();
    drop(sender);
    confirmation(request.await.unwrap().unwrap(), 201).await;
    let wanted = [first.tags.clone(), second.tags.clone()].concat();
    until("both are on air", || site.demo.tags().len() == wanted.len()).await;
    assert_eq!(site.demo.tags(), wanted);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_is_kept_and_its_retry_goes_on() {
    let site = Site::start().await;
    let (segments, run) = (segments(), session(1));
    let segment = &segments[0];
    let cut = segment.upto(12) + 5;
    // A client that dies in the middle of a chunked body.
    let mut socket = TcpStream::connect(site.http).unwrap();
    let path = site.segment_url(run, 0);
    let path = &path[path.find("/ingest").unwrap()..];
    write!(
        socket,
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
         backrow-device: box-7\r\nTransfer-Encoding: chunked\r\n\r\n{cut:x}\r\n"
    )
    .unwrap();
    socket.write_all(&segment.bytes[..cut]).unwrap();
    until("12 tags are on air", || site.demo.tags().len() == 12).await;
    drop(socket);
    until("the part is kept", || site.files(&run.to_string()) == ["0000000000.partial.flv"]).await;
    assert_eq!(site.file(run, "0000000000.partial.flv"), segment.bytes[..segment.upto(12)]);

    confirmation(site.put(run, 0, segment.bytes.clone()).send().await.unwrap(), 201).await;
    until("the rest is on air", || site.demo.tags().len() == segment.tags.len()).await;
    assert_eq!(site.demo.tags(), segment.tags);
    assert_eq!(site.files(&run.to_string()), ["0000000000.flv", "index.jsonl"]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_segment_is_left_after_two_seconds_and_kept_when_it_comes() {
    let site = Site::start().await;
    let (segments, run) = (segments(), session(1));
    let (sender, body) = slow_body();
    let request = tokio::spawn(site.put(run, 0, body).send());
    let half = segments[0].upto(9);
    sender.send(segments[0].bytes[..half].to_vec()).await.unwrap();
    until("9 tags are on air", || site.demo.tags().len() == 9).await;
    confirmation(site.put(run, 1, segments[1].bytes.clone()).send().await.unwrap(), 201).await;
    let wanted = [segments[0].tags[..9].to_vec(), segments[1].tags.clone()].concat();
    until("live goes on", || site.demo.tags().len() == wanted.len()).await;
    let events = site.board.events();
    let gap = "live goes on at segment 1; segment 0 stopped after 9 tags";
    assert!(events.iter().any(|event| event.message == gap), "{events:?}");
    // What comes late is for the archive alone.
    sender.send(segments[0].bytes[half..].to_vec()).await.unwrap();
    drop(sender);
    confirmation(request.await.unwrap().unwrap(), 201).await;
    assert_eq!(site.file(run, "0000000000.flv"), segments[0].bytes);
    assert_eq!(site.demo.tags(), wanted);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_clear_and_disturbs_nobody() {
    let options = Options { stall: Duration::from_secs(1), segment: 1 << 20, ..Options::default() };
    let site = Site::start_with(options, 0).await;
    let (segments, run) = (segments(), session(1));
    confirmation(site.put(run, 0, segments[0].bytes.clone()).send().await.unwrap(), 201).await;
    let bytes = &segments[1].bytes;
    let token = format!("Bearer {TOKEN}");
    let put = |path: &str, device: &str, body: Vec<u8>| {
        let request = site.client.put(site.url(path)).header("authorization", token.clone());
        request.header("backrow-device", device).body(body)
    };
    let check = async |request: reqwest::RequestBuilder, status: u16, code: &str, text: &str| {
        let (got_status, got_code, got_text) = refusal(request.send().await.unwrap()).await;
        assert_eq!((got_status, got_code.as_str(), got_text.as_str()), (status, code, text));
    };
    let own =
        |seq: u64, body: Vec<u8>| put(&format!("/ingest/demo/{run}/{seq:010}.flv"), "box-7", body);

    let path = format!("/ingest/nowhere/{run}/0000000001.flv");
    let text = "this encoder has no room \"nowhere\"";
    check(put(&path, "box-7", bytes.clone()), 404, "unknown-room", text).await;
    let request = site.client.put(site.segment_url(run, 1)).body(bytes.clone());
    check(request, 401, "missing-token", "room \"demo\" asks for its token").await;
    let request = site.client.put(site.segment_url(run, 1)).body(bytes.clone());
    let request = request.header("authorization", "Bearer correct-hors3");
    check(request, 401, "wrong-token", "that is not the token of room \"demo\"").await;
    let text = "\"today\" is not a session id (26 letters and digits, a ULID)";
    let path = "/ingest/demo/today/0000000001.flv";
    check(put(path, "box-7", bytes.clone()), 400, "bad-path", text).await;
    let path = format!("/ingest/demo/{run}/1.flv");
    let text = "\"1.flv\" is not a segment's name";
    check(put(&path, "box-7", bytes.clone()), 400, "bad-path", text).await;
    let path = format!("/ingest/demo/{run}/0000000001.flv");
    let text = "the header backrow-device: a device name has only letters A-Z a-z, digits, - and _, \
                so ' ' cannot be in it";
    check(put(&path, "box 7", bytes.clone()), 400, "bad-device", text).await;

    // Another device while this one is live: it has just sent something.
    confirmation(site.put(run, 0, segments[0].bytes.clone()).send().await.unwrap(), 200).await;
    let path = format!("/ingest/demo/{}/0000000000.flv", session(2));
    let response = put(&path, "box-8", bytes.clone()).send().await.unwrap();
    let (status, code, text) = refusal(response).await;
    assert_eq!((status, code.as_str()), (409, "room-occupied"));
    let begin = "room \"demo\" is taken: it is being published by device box-7 since 20";
    let end = format!(" UTC, session {run}");
    assert!(text.starts_with(begin) && text.ends_with(&end), "{text}");

    // What is in the body. Each is kept to its last whole tag, and none shown beyond it.
    let text = "segment 1 of room \"demo\": not FLV: ";
    let (status, code, got) = refusal(own(1, b"<html>".to_vec()).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (400, "broken-flv"));
    assert!(got.starts_with(text), "{got}");
    let at = segments[1].upto(8);
    let mut corrupt = bytes.clone();
    corrupt[at] = 77;
    let text = format!(
        "segment 1 of room \"demo\": the tag at byte {at} has type 77, which is not audio (8), \
         video (9) or script (18)"
    );
    check(own(1, corrupt), 400, "broken-flv", &text).await;
    let text = format!(
        "segment 1 of room \"demo\": the stream ends at byte {}, inside the tag that starts at byte {at}",
        at + 6
    );
    check(own(1, bytes[..at + 6].to_vec()), 400, "broken-flv", &text).await;
    let mut huge = bytes[..at].to_vec();
    huge.extend_from_slice(&[9, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0]);
    let text = format!(
        "segment 1 of room \"demo\": the tag at byte {at} says it is 16777215 bytes long; the limit \
         is 8388608"
    );
    check(own(1, huge), 413, "oversize-tag", &text).await;
    let text = "a segment has at most 1048576 bytes";
    check(own(1, vec![0; (1 << 20) + 1]), 413, "oversize-segment", text).await;
    let (sender, body) = slow_body();
    let feed = tokio::spawn(async move {
        let filler = Tag::avc_frame(0, 0, false, &[0; 60_000]).to_bytes().to_vec();
        let mut piece = flv::file_header(true, true).to_vec();
        while sender.send(piece).await.is_ok() {
            piece = filler.clone();
        }
    });
    check(site.put(run, 9, body), 413, "oversize-segment", text).await;
    feed.await.unwrap();
    let (sender, body) = slow_body();
    let request = site.put(run, 1, body);
    let stalled = tokio::spawn(async move { refusal(request.send().await.unwrap()).await });
    sender.send(bytes[..at].to_vec()).await.unwrap();
    let text = "segment 1 of room \"demo\": nothing came for 1 s";
    assert_eq!(stalled.await.unwrap(), (408, "stalled".to_owned(), text.to_owned()));

    // After all that the publisher goes on as if nothing had been.
    confirmation(own(1, bytes.clone()).send().await.unwrap(), 201).await;
    let wanted = [segments[0].tags.clone(), segments[1].tags.clone()].concat();
    until("both segments are on air", || site.demo.tags().len() == wanted.len()).await;
    assert_eq!(site.demo.tags(), wanted);
    assert_eq!(site.demo.changes(), [format!("{run} box-7")]);
    assert!(site.other.changes().is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_codec_is_named_and_gives_up_the_room() {
    let site = Site::start().await;
    let hevc = Tag {
        kind: flv::TagKind::Video,
        timestamp: 0,
        data: b"\x1c\0\0\0\0hvcC".as_slice().into(),
    };
    let bytes = [flv::file_header(false, true), hevc.to_bytes()].concat();
    let (status, code, text) = refusal(site.put(session(1), 0, bytes).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (415, "wrong-codec"));
    let wanted =
        "segment 0 of room \"demo\": video is HEVC; only H.264 video and AAC audio are taken";
    assert_eq!(text, wanted);
    assert!(site.demo.changes().is_empty());
    // Another may have it at once.
    let request = site.put(session(2), 0, segments()[0].bytes.clone());
    let request = request.header("backrow-device", "box-8");
    confirmation(request.send().await.unwrap(), 201).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_collector_takes_over_and_backfills() {
    let site = Site::start().await;
    let segments = segments();
    let (before, after) = (session(1), session(2));
    confirmation(site.put(before, 0, segments[0].bytes.clone()).send().await.unwrap(), 201).await;
    confirmation(site.put(after, 0, segments[1].bytes.clone()).send().await.unwrap(), 201).await;
    // What the first run left behind is kept, and not shown.
    confirmation(site.put(before, 1, segments[2].bytes.clone()).send().await.unwrap(), 201).await;
    confirmation(site.put(after, 1, segments[3].bytes.clone()).send().await.unwrap(), 201).await;
    let wanted = [&segments[0], &segments[1], &segments[3]].map(|s| s.tags.clone()).concat();
    until("three are on air", || site.demo.tags().len() == wanted.len()).await;
    assert_eq!(site.demo.tags(), wanted);
    let changes = [format!("{before} box-7"), format!("{after} box-7")];
    assert_eq!(site.demo.changes(), changes);
    assert_eq!(site.file(before, "0000000001.flv"), segments[2].bytes);
    // Five seconds after its last data the room is anybody's.
    until("the silent publisher is let go", || site.demo.changes().len() == 3).await;
    assert_eq!(site.demo.changes()[2], "gone");
    let status = site.board.get("demo.ingest").unwrap();
    let reason = "box-7 has fallen silent; nobody is publishing";
    assert_eq!((status.mood.as_str(), status.reason.as_str()), ("hungry", reason));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_goes_on_when_the_archive_is_full() {
    let site = Site::start_with(Options::default(), u64::MAX).await;
    let (segment, run) = (segments()[0].clone(), session(1));
    let response = site.put(run, 0, segment.bytes.clone()).send().await.unwrap();
    let (status, code, text) = refusal(response).await;
    assert_eq!((status, code.as_str()), (507, "disk-full"));
    assert!(
        text.starts_with("the archive's disk is full: /") && text.contains(" free, and "),
        "{text}"
    );
    until("it is on air", || site.demo.tags().len() == segment.tags.len()).await;
    let status = site.board.get("demo.archive").unwrap();
    assert_eq!((status.mood.as_str(), status.reason), ("sad", text));
    site.stop().await;
}
