//! Looks through a segment's bytes: how much of it is whole, and when it is. Pure.

use flv::metadata::Metadata;
use flv::{Parser, TagKind};

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Where the last whole tag ends: cut here, and it is a segment.
    pub whole: u64,
    /// Nothing is behind that.
    pub complete: bool,
    /// It can be played: it begins with a keyframe, or is sound only.
    pub playable: bool,
    /// From its first frame to its last, milliseconds.
    pub ms: u64,
    /// When it begins by the box's clock, milliseconds since 1970.
    pub wallclock_ms: Option<i64>,
}

/// Looks through `bytes`.
#[must_use]
pub fn measure(bytes: &[u8]) -> Measured {
    let mut parser = Parser::default();
    let (mut video, mut keyframe, mut sound) = (false, false, false);
    let (mut first, mut last) = (None, None);
    let mut wallclock_ms = None;
    // In pieces: the parser keeps what is pushed until it is taken.
    for piece in bytes.chunks(64 * 1024) {
        parser.push(piece);
        while let Ok(Some(tag)) = parser.next_tag() {
            if tag.kind == TagKind::Script {
                wallclock_ms = wallclock_ms.or_else(|| Metadata::from_tag(&tag)?.wallclock_ms);
            } else if !tag.is_sequence_header() {
                first.get_or_insert(tag.timestamp);
                last = Some(tag.timestamp);
                // What comes before the first keyframe plays nothing, but does no harm either.
                keyframe |= tag.is_keyframe();
                sound |= tag.kind == TagKind::Audio;
            }
            video |= tag.kind == TagKind::Video;
        }
    }
    let ms = first.zip(last).map_or(0, |(first, last)| {
        let since: u32 = u32::wrapping_sub(last, first);
        // A timeline that steps back has no length.
        if since > u32::MAX / 2 { 0 } else { u64::from(since) }
    });
    Measured {
        whole: parser.position(),
        complete: parser.finish().is_ok(),
        playable: keyframe || (sound && !video),
        ms,
        wallclock_ms,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use flv::Tag;
    use flv::segmenter::{Options, SegmentEvent, Segmenter};

    use super::*;

    /// Segments of a second each, a keyframe and nine more, as the segmenter cuts them.
    pub(in crate::spool) fn segments(count: u32) -> Vec<Vec<SegmentEvent>> {
        let mut segmenter = Segmenter::new(Options::default());
        segmenter.set_room("demo");
        segmenter.set_wallclock(1_790_000_000_000);
        let mut events = Vec::new();
        events.extend(segmenter.push(Tag::avc_sequence_header(0, &[1, 0x42, 0, 30, 255])));
        for frame in 0..count * 10 {
            let data = vec![frame as u8; 8];
            events.extend(segmenter.push(Tag::avc_frame(frame * 100, 0, frame % 10 == 0, &data)));
        }
        events.extend(segmenter.finish());
        let mut segments: Vec<Vec<SegmentEvent>> = Vec::new();
        for event in events {
            if matches!(event, SegmentEvent::Start { .. }) {
                segments.push(Vec::new());
            }
            segments.last_mut().unwrap().push(event);
        }
        assert_eq!(segments.len() as u32, count);
        segments
    }

    /// The bytes of a segment.
    pub(in crate::spool) fn bytes(segment: &[SegmentEvent]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in segment {
            match event {
                SegmentEvent::Start { header, .. } => bytes.extend_from_slice(header),
                SegmentEvent::Data(data) => bytes.extend_from_slice(data),
                SegmentEvent::End { .. } => {}
            }
        }
        bytes
    }

    #[test]
    fn a_segment_is_measured_wherever_it_is_cut() {
        let whole = bytes(&segments(1)[0]);
        let measured = measure(&whole);
        assert_eq!((measured.whole, measured.complete), (whole.len() as u64, true));
        assert_eq!((measured.playable, measured.ms), (true, 900));
        assert_eq!(measured.wallclock_ms, Some(1_790_000_000_000));
        let mut longest = 0;
        for cut in 0..whole.len() {
            let torn = measure(&whole[..cut]);
            assert!(torn.whole as usize <= cut && torn.whole >= longest, "at {cut}");
            assert_eq!(torn.complete, cut > 0 && torn.whole as usize == cut, "at {cut}");
            let kept = measure(&whole[..torn.whole as usize]);
            assert_eq!((kept.playable, kept.ms), (torn.playable, torn.ms), "at {cut}");
            assert!(!kept.playable || kept.complete, "at {cut}");
            longest = torn.whole;
        }
        assert!(!measure(b"rubbish").complete);
    }
}
