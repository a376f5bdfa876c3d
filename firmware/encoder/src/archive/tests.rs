//! The archive on a real disk.

use flv::metadata::Metadata;
use flv::{Parser, Tag, TagKind};
use futures_util::TryStreamExt;
use tempfile::TempDir;

use super::*;

fn room() -> (TempDir, Archive) {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::new(directory.path(), &"demo".parse().unwrap(), 0);
    (directory, archive)
}

fn session() -> SessionId {
    "01JZZZZZZZZZZZZZZZZZZZZZZZ".parse().unwrap()
}

/// Segment `seq`: two seconds, three frames and a sound.
fn segment(seq: u32) -> (Vec<u8>, Vec<Tag>) {
    let at = seq * 2000 + 500;
    let metadata =
        Metadata { wallclock_ms: Some(1_790_000_000_000 + i64::from(at)), ..Metadata::default() };
    let tags = vec![
        metadata.to_tag(at),
        Tag::avc_sequence_header(at, b"avcc"),
        Tag::aac_sequence_header(at, &[0x12, 0x10]),
        Tag::avc_frame(at, 0, true, &[1; 3000]),
        Tag::aac_frame(at + 10, b"sound"),
        Tag::avc_frame(at + 40, 0, false, &[2; 300]),
        Tag::avc_frame(at + 1960, 0, false, &seq.to_be_bytes()),
    ];
    let mut bytes = flv::file_header(true, true).to_vec();
    for tag in &tags {
        bytes.extend_from_slice(&tag.to_bytes());
    }
    (bytes, tags)
}

async fn begin(archive: &Archive, seq: u64, bytes: &[u8]) -> SegmentWriter {
    let mut writer = archive.create(session(), seq).await.unwrap();
    let mut parser = Parser::default();
    for piece in bytes.chunks(777) {
        writer.write(piece).await;
        parser.push(piece);
        while let Some(tag) = parser.next_tag().unwrap() {
            writer.note(parser.position(), &tag);
        }
    }
    writer
}

async fn put(archive: &Archive, seq: u32) -> Stored {
    begin(archive, seq.into(), &segment(seq).0).await.finish().await.unwrap()
}

fn files(archive: &Archive) -> Vec<String> {
    let found = std::fs::read_dir(archive.session_path(session())).unwrap();
    let mut names: Vec<_> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn whole(archive: &Archive) -> (Vec<u8>, Vec<Tag>) {
    let stream = archive.whole(session()).await.unwrap();
    let bytes = stream.try_collect::<Vec<_>>().await.unwrap().concat();
    let (mut parser, mut tags) = (Parser::default(), Vec::new());
    parser.push(&bytes);
    while let Some(tag) = parser.next_tag().unwrap() {
        tags.push(tag);
    }
    parser.finish().unwrap();
    (bytes, tags)
}

#[tokio::test]
async fn a_segment_is_stored_once_and_never_written_over() {
    let (_directory, archive) = room();
    let (bytes, _) = segment(3);
    let Stored::New(confirmation) = put(&archive, 3).await else { panic!() };
    assert_eq!(confirmation.bytes, bytes.len() as u64);
    assert_eq!(confirmation.sha256.len(), 64);
    assert_eq!(put(&archive, 3).await, Stored::Already(confirmation.clone()));

    // Other bytes under the same number: the first keep the place, the others are kept too.
    for other in 4..7 {
        let stored = begin(&archive, 3, &segment(other).0).await.finish().await.unwrap();
        assert!(matches!(stored, Stored::Beside(_)), "{stored:?}");
        let stored = begin(&archive, 3, &segment(other).0).await.finish().await.unwrap();
        assert!(matches!(stored, Stored::Already(_)), "{stored:?}");
    }
    let error = begin(&archive, 3, &segment(7).0).await.finish().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "segment 3 of session 01JZZZZZZZZZZZZZZZZZZZZZZZ was sent with 4 different contents"
    );
    let path = archive.session_path(session()).join("0000000003.flv");
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    let listing = archive.listing(session()).await.unwrap();
    assert_eq!(listing.segments.len(), 1);
    assert_eq!(listing.segments[0].sha256, confirmation.sha256);
    assert!(files(&archive).iter().all(|name| !name.ends_with(".tmp")), "{:?}", files(&archive));
}

#[tokio::test]
async fn of_a_broken_upload_the_whole_tags_are_kept_until_the_whole_segment_comes() {
    let (_directory, archive) = room();
    let (bytes, tags) = segment(3);
    let partial = archive.session_path(session()).join("0000000003.partial.flv");
    let end = |count: usize| 13 + tags[..count].iter().map(Tag::encoded_len).sum::<usize>();

    begin(&archive, 3, &bytes[..end(5) + 100]).await.abort().await;
    assert_eq!(std::fs::read(&partial).unwrap(), bytes[..end(5)]);
    // A shorter try takes nothing away, a longer one is taken instead.
    begin(&archive, 3, &bytes[..end(4)]).await.abort().await;
    assert_eq!(std::fs::read(&partial).unwrap(), bytes[..end(5)]);
    begin(&archive, 3, &bytes[..end(6) + 3]).await.abort().await;
    assert_eq!(std::fs::read(&partial).unwrap(), bytes[..end(6)]);
    assert_eq!(archive.listing(session()).await.unwrap().segments, []);

    // Headers alone are nothing.
    begin(&archive, 4, &bytes[..end(3)]).await.abort().await;
    assert_eq!(files(&archive), ["0000000003.partial.flv"]);

    put(&archive, 3).await;
    begin(&archive, 3, &bytes[..end(6)]).await.abort().await;
    assert_eq!(files(&archive), ["0000000003.flv", "index.jsonl"]);
}

#[tokio::test]
async fn what_a_crash_leaves_is_repaired() {
    let (_directory, archive) = room();
    assert_eq!(archive.repair().await.unwrap(), repair::Repaired::default());
    put(&archive, 1).await;
    let directory = archive.session_path(session());
    let (bytes, tags) = segment(2);
    let end = 13 + tags[..6].iter().map(Tag::encoded_len).sum::<usize>();
    std::fs::write(directory.join("0000000002.01ABC.tmp"), &bytes[..end + 7]).unwrap();
    std::fs::write(directory.join("0000000001.01ABC.tmp"), &segment(1).0[..900]).unwrap();
    std::fs::write(directory.join("0000000003.01ABC.tmp"), b"rubbish").unwrap();
    let repaired = archive.repair().await.unwrap();
    assert_eq!(repaired, repair::Repaired { kept: 1, removed: 2 });
    assert_eq!(files(&archive), ["0000000001.flv", "0000000002.partial.flv", "index.jsonl"]);
    assert_eq!(std::fs::read(directory.join("0000000002.partial.flv")).unwrap(), bytes[..end]);
}

#[tokio::test]
async fn the_index_can_be_lost() {
    let (_directory, archive) = room();
    for seq in 0..4 {
        put(&archive, seq).await;
    }
    let before = archive.listing(session()).await.unwrap();
    let index = archive.session_path(session()).join("index.jsonl");
    let text = std::fs::read_to_string(&index).unwrap();
    // Torn in the middle of a line, then gone, then with a line for a file that has changed.
    std::fs::write(&index, &text[..text.len() / 2]).unwrap();
    assert_eq!(archive.listing(session()).await.unwrap(), before);
    put(&archive, 4).await;
    assert_eq!(archive.listing(session()).await.unwrap().segments.len(), 5);
    std::fs::remove_file(&index).unwrap();
    assert_eq!(archive.listing(session()).await.unwrap().segments[..4], before.segments);
    std::fs::write(&index, text.replace("\"bytes\":", "\"bytes\":1")).unwrap();
    assert_eq!(archive.listing(session()).await.unwrap().segments[..4], before.segments);
}

#[tokio::test]
async fn a_session_is_one_recording_with_its_holes() {
    let (_directory, archive) = room();
    for seq in [2, 3, 7] {
        put(&archive, seq).await;
    }
    let (bytes, tags) = segment(5);
    let end = 13 + tags[..6].iter().map(Tag::encoded_len).sum::<usize>();
    begin(&archive, 5, &bytes[..end]).await.abort().await;

    let (bytes, got) = whole(&archive).await;
    assert_eq!(bytes[..13], flv::file_header(true, true));
    // Times count from the first frame; of the headers, the first of each kind are there.
    let mut wanted = Vec::new();
    for (seq, count) in [(2, 7), (3, 7), (5, 6), (7, 7)] {
        for mut tag in segment(seq).1.drain(..count).skip(if seq == 2 { 0 } else { 3 }) {
            tag.timestamp -= 4500;
            wanted.push(tag);
        }
    }
    assert_eq!(got, wanted);

    let summaries = archive.sessions().await.unwrap();
    let [summary] = summaries.as_slice() else { panic!("{summaries:?}") };
    assert_eq!(summary.started.as_millisecond(), 1_790_000_004_500);
    assert_eq!((summary.segments, summary.partial), (3, 1));
    assert_eq!(summary.gaps, [Gap { from: 4, to: 4 }, Gap { from: 6, to: 6 }]);
    assert_eq!(summary.duration_ms, 5 * 2000 + 1960);

    // A damaged file is used up to the damage.
    let path = archive.session_path(session()).join("0000000003.flv");
    let mut damaged = std::fs::read(&path).unwrap();
    let at = damaged.len() - 2;
    damaged[at] ^= 0xFF;
    std::fs::write(&path, damaged).unwrap();
    let (_, got) = whole(&archive).await;
    assert_eq!(got.len(), wanted.len() - 1);

    let other = "01JZZZZZZZZZZZZZZZZZZZZZZY".parse().unwrap();
    let Err(error) = archive.whole(other).await else { panic!() };
    assert_eq!(
        error.to_string(),
        "room \"demo\" has no recording of session 01JZZZZZZZZZZZZZZZZZZZZZZY"
    );
}

#[tokio::test]
async fn changed_headers_are_repeated_and_sound_alone_is_said_to_be_so() {
    let (_directory, archive) = room();
    let tags = |seq: u32, config: &[u8]| {
        vec![
            Tag::aac_sequence_header(seq * 2000, config),
            Tag::aac_frame(seq * 2000, b"sound"),
            Tag::aac_frame(seq * 2000 + 20, b"sound"),
        ]
    };
    let mut wanted = Vec::new();
    for (seq, config) in [(0, b"aa"), (1, b"aa"), (2, b"bb")] {
        let tags = tags(seq, config);
        let body: Vec<u8> = tags.iter().flat_map(|tag| tag.to_bytes()).collect();
        let bytes = [flv::file_header(true, false).as_ref(), &body].concat();
        begin(&archive, seq.into(), &bytes).await.finish().await.unwrap();
        wanted.extend(tags.into_iter().skip(usize::from(seq == 1)));
    }
    let (bytes, got) = whole(&archive).await;
    assert_eq!(got, wanted);
    assert_eq!(bytes[..13], flv::file_header(true, false));
    assert!(got.iter().all(|tag| tag.kind == TagKind::Audio));
}

#[tokio::test]
async fn space_is_left_free() {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::new(directory.path(), &"demo".parse().unwrap(), u64::MAX);
    let error = archive.create(session(), 0).await.unwrap_err();
    assert!(matches!(error, Error::DiskFull { wanted: u64::MAX, .. }));
    let text = error.to_string();
    let place = directory.path().join("demo");
    let begin = format!("the archive's disk is full: {} has ", place.display());
    assert!(text.starts_with(&begin) && text.ends_with(" GiB is wanted"), "{text}");
}
