//! Cuts a stream of tags into segments that each play alone: one GOP, or two seconds of sound.
//!
//! ```text
//!            AVC header and keyframe,                     keyframe, and min_ms have passed
//!            or audio_only_ms of sound without video      ┌──────────┐
//!  Waiting ───────────────────────────────▶ Open(seq) ────┘ End, Start(seq + 1)
//!    │  ▲ until then, tags are dropped         │
//!    └──┘                                      │ finish, reset: End
//!  Waiting ◀───────────────────────────────────┘
//! ```
//!
//! The events of one segment are `Start`, any number of `Data`, `End`. The segment's bytes are the
//! `Start`'s header and every `Data`, in order: a body can be sent tag by tag while the GOP is
//! still being made, and the bytes are the same for whoever writes them down.

use crate::metadata::Metadata;
use crate::{AacPacket, AvcPacket, Tag, TagKind, file_header};
use bytes::{Bytes, BytesMut};

/// How to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A keyframe sooner than this after the segment's start does not cut, milliseconds of media.
    pub min_ms: u32,
    /// Without video, cut every so often; also how long sound waits for video to turn up at the
    /// start of a stream. Milliseconds of media.
    pub audio_only_ms: u32,
    /// The first segment's number.
    pub first_seq: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { min_ms: 0, audio_only_ms: 2000, first_seq: 0 }
    }
}

/// What to do with the segment at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentEvent {
    /// A segment begins.
    Start {
        /// Its number: one more than the last.
        seq: u64,
        /// FLV header, onMetaData and sequence headers.
        header: Bytes,
        /// Timestamp of its first tag, milliseconds, as it came.
        start_ts: u32,
    },
    /// One whole tag.
    Data(Bytes),
    /// The segment is complete.
    End {
        /// Its number.
        seq: u64,
        /// From its first tag to the first of the next segment, or to its own last one when no
        /// segment follows; milliseconds.
        duration_ms: u32,
    },
}

#[derive(Debug)]
struct Open {
    seq: u64,
    start_ts: u32,
    /// Milliseconds from `start_ts` to the latest tag.
    length: u32,
    /// The same, to the latest video frame.
    video_length: Option<u32>,
}

/// The cutter. Pure: tags in, events out.
#[derive(Debug)]
pub struct Segmenter {
    options: Options,
    next_seq: u64,
    metadata: Metadata,
    wallclock_ms: Option<i64>,
    avc: Option<Tag>,
    aac: Option<Tag>,
    /// Headers that changed since the segment began and are not in its bytes yet.
    new_avc: bool,
    new_aac: bool,
    open: Option<Open>,
    /// Sound held back at the start, until it is known whether there is video.
    held: Vec<Tag>,
    dropped: u64,
}

impl Segmenter {
    /// A segmenter at the start of a stream.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            next_seq: options.first_seq,
            metadata: Metadata::default(),
            wallclock_ms: None,
            avc: None,
            aac: None,
            new_avc: false,
            new_aac: false,
            open: None,
            held: Vec::new(),
            dropped: 0,
        }
    }

    /// UTC of the tag that comes next, milliseconds since 1970: it goes into the header of the next
    /// segment to start. Cheap: call it before every push.
    pub fn set_wallclock(&mut self, utc_ms: i64) {
        self.wallclock_ms = Some(utc_ms);
    }

    /// Names the room in every segment's metadata.
    pub fn set_room(&mut self, room: &str) {
        self.metadata.room = Some(room.to_owned());
    }

    /// Tags that went into no segment because none had begun.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Number of the segment that is open, or that opens next.
    pub fn seq(&self) -> u64 {
        self.open.as_ref().map_or(self.next_seq, |open| open.seq)
    }

    /// Takes one tag.
    pub fn push(&mut self, tag: Tag) -> Vec<SegmentEvent> {
        let mut events = Vec::new();
        let video = tag.video();
        let audio = tag.audio();
        match (tag.kind, video.map(|v| v.packet), audio.map(|a| a.packet)) {
            (TagKind::Script, ..) => self.script(&tag),
            (_, Some(AvcPacket::SequenceHeader), _) => {
                if self.avc.as_ref().is_none_or(|old| old.data != tag.data) {
                    self.new_avc = true;
                    self.avc = Some(tag);
                }
            }
            (_, _, Some(AacPacket::SequenceHeader)) => {
                if self.aac.as_ref().is_none_or(|old| old.data != tag.data) {
                    self.new_aac = true;
                    self.aac = Some(tag);
                }
            }
            (TagKind::Video, ..) => self.video(tag, &mut events),
            (TagKind::Audio, ..) => self.sound(tag, &mut events),
        }
        events
    }

    /// Ends the open segment. The next one starts as at the start of a stream, with the headers
    /// that are known.
    pub fn finish(&mut self) -> Vec<SegmentEvent> {
        let mut events = Vec::new();
        self.begin_held(&mut events);
        if let Some(open) = self.open.take() {
            events.push(SegmentEvent::End { seq: open.seq, duration_ms: open.length });
        }
        events
    }

    fn script(&mut self, tag: &Tag) {
        if let Some(mut metadata) = Metadata::from_tag(tag) {
            metadata.room = metadata.room.or(self.metadata.room.take());
            self.metadata = metadata;
        }
    }

    fn video(&mut self, tag: Tag, events: &mut Vec<SegmentEvent>) {
        let keyframe = tag.is_keyframe() && self.avc.is_some();
        match &self.open {
            // Sound held back belongs to a stream that has video after all.
            None if keyframe => {
                self.drop_held();
                self.begin(tag.timestamp, events);
            }
            None => {
                self.dropped += 1;
                return;
            }
            Some(open) if keyframe => {
                // A step back in time cuts too: the publisher started anew.
                let since = tag.timestamp.wrapping_sub(open.start_ts) as i32;
                let due = since < 0 || since as u32 >= self.options.min_ms;
                if due || self.new_avc || open.video_length.is_none() {
                    self.cut(tag.timestamp, events);
                }
            }
            Some(_) => {}
        }
        self.write(tag, events);
    }

    fn sound(&mut self, tag: Tag, events: &mut Vec<SegmentEvent>) {
        let limit = self.options.audio_only_ms;
        let Some(open) = &self.open else {
            if self.avc.is_some() || self.aac.is_none() {
                self.drop_held();
                self.dropped += 1;
                return;
            }
            let first = self.held.first().map_or(tag.timestamp, |held| held.timestamp);
            let waited = tag.timestamp.wrapping_sub(first);
            self.held.push(tag);
            // The count bounds it where timestamps stand still.
            if waited >= limit || self.held.len() > 1000 {
                self.begin_held(events);
            }
            return;
        };
        let since = tag.timestamp.wrapping_sub(open.start_ts) as i32;
        let silent_video = match open.video_length {
            None => true,
            // Pictures stopped coming: sound must not pile up in one segment.
            Some(seen) => since >= 0 && (since as u32).saturating_sub(seen) > limit.max(2000),
        };
        if silent_video && (since < 0 || since as u32 >= limit) {
            self.cut(tag.timestamp, events);
        }
        self.write(tag, events);
    }

    fn begin_held(&mut self, events: &mut Vec<SegmentEvent>) {
        let held = std::mem::take(&mut self.held);
        if let (Some(first), None) = (held.first(), &self.open) {
            self.begin(first.timestamp, events);
            for tag in held {
                self.write(tag, events);
            }
        }
    }

    fn drop_held(&mut self) {
        self.dropped += self.held.len() as u64;
        self.held.clear();
    }

    fn cut(&mut self, at: u32, events: &mut Vec<SegmentEvent>) {
        if let Some(open) = self.open.take() {
            let since = at.wrapping_sub(open.start_ts) as i32;
            let duration_ms = if since < 0 { open.length } else { since as u32 };
            events.push(SegmentEvent::End { seq: open.seq, duration_ms });
        }
        self.begin(at, events);
    }

    fn begin(&mut self, start_ts: u32, events: &mut Vec<SegmentEvent>) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.new_avc = false;
        self.new_aac = false;
        self.open = Some(Open { seq, start_ts, length: 0, video_length: None });
        let mut header = BytesMut::new();
        header.extend_from_slice(&file_header(self.aac.is_some(), self.avc.is_some()));
        let metadata = Metadata { wallclock_ms: self.wallclock_ms, ..self.metadata.clone() };
        metadata.to_tag(start_ts).encode(&mut header);
        for tag in [&self.avc, &self.aac].into_iter().flatten() {
            Tag { timestamp: start_ts, ..tag.clone() }.encode(&mut header);
        }
        events.push(SegmentEvent::Start { seq, header: header.freeze(), start_ts });
    }

    /// A media tag into the open segment, after the headers that changed since it began.
    fn write(&mut self, tag: Tag, events: &mut Vec<SegmentEvent>) {
        let Some(open) = &mut self.open else { return };
        let since = tag.timestamp.wrapping_sub(open.start_ts) as i32;
        open.length = open.length.max(since.max(0) as u32);
        let (changed, header) = match tag.kind {
            TagKind::Video => {
                open.video_length = Some(open.length);
                (&mut self.new_avc, &self.avc)
            }
            _ => (&mut self.new_aac, &self.aac),
        };
        if std::mem::take(changed)
            && let Some(header) = header
        {
            let header = Tag { timestamp: tag.timestamp, ..header.clone() };
            events.push(SegmentEvent::Data(header.to_bytes()));
        }
        events.push(SegmentEvent::Data(tag.to_bytes()));
    }
}

#[cfg(test)]
mod tests;
