//! Real media: made once by ffmpeg, cut into segments as a collector does.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use flv::segmenter::{SegmentEvent, Segmenter};
use flv::{Parser, Tag};

/// One segment: its bytes, and the tags in it.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) bytes: Vec<u8>,
    pub(crate) tags: Vec<Tag>,
}

impl Segment {
    /// The bytes up to the end of this many tags.
    pub(crate) fn upto(&self, tags: usize) -> usize {
        flv::FILE_HEADER + self.tags[..tags].iter().map(Tag::encoded_len).sum::<usize>()
    }
}

pub(crate) fn tags_of(bytes: &[u8]) -> Vec<Tag> {
    let (mut parser, mut tags) = (Parser::default(), Vec::new());
    parser.push(bytes);
    while let Some(tag) = parser.next_tag().unwrap() {
        tags.push(tag);
    }
    parser.finish().unwrap();
    tags
}

pub(crate) fn ffmpeg(arguments: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "warning", "-y"]);
    command.args(arguments.split_whitespace());
    command.stdin(Stdio::null());
    command
}

/// 6 s at 25 frames a second with sound, in six segments of one GOP.
pub(crate) fn segments() -> Vec<Segment> {
    static MADE: OnceLock<Vec<Segment>> = OnceLock::new();
    MADE.get_or_init(|| {
        let output = ffmpeg(
            "-f lavfi -i testsrc2=size=320x180:rate=25:duration=6 \
             -f lavfi -i sine=sample_rate=44100:duration=6 \
             -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 -b:v 300k \
             -c:a aac -b:a 64k -flvflags no_duration_filesize -f flv -",
        )
        .output()
        .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut segmenter = Segmenter::new(flv::segmenter::Options::default());
        let mut events = Vec::new();
        for (count, tag) in tags_of(&output.stdout).into_iter().enumerate() {
            segmenter.set_wallclock(1_790_000_000_000 + count as i64);
            events.extend(segmenter.push(tag));
        }
        events.extend(segmenter.finish());
        let mut segments: Vec<Segment> = Vec::new();
        for event in events {
            match event {
                SegmentEvent::Start { header, .. } => {
                    segments.push(Segment { bytes: header.to_vec(), tags: Vec::new() });
                }
                SegmentEvent::Data(bytes) => {
                    segments.last_mut().unwrap().bytes.extend_from_slice(&bytes);
                }
                SegmentEvent::End { .. } => {}
            }
        }
        for segment in &mut segments {
            segment.tags = tags_of(&segment.bytes);
        }
        assert_eq!(segments.len(), 6);
        segments
    })
    .clone()
}
