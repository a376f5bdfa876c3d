//! Two tracks made one: audio and video, each in decoding order, merged into one stream in
//! decoding order.
//!
//! A head waits until the other track has something later, but no longer than a bound of media
//! time: a track that stalls holds nothing up for longer than that, and is not lost when it comes.

use crate::{Tag, TagKind};
use std::collections::VecDeque;

/// Tags waiting in one track at most, where timestamps stand still.
const MAX_WAITING: usize = 1024;

/// The merger. Sans I/O: push tags, pop tags.
#[derive(Debug)]
pub struct Interleaver {
    max_wait_ms: u32,
    audio: Track,
    video: Track,
    script: VecDeque<Tag>,
}

#[derive(Debug)]
struct Track {
    waiting: VecDeque<Tag>,
    expected: bool,
}

impl Track {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), expected: true }
    }

    /// Media time that has piled up, milliseconds.
    fn span(&self) -> u32 {
        match (self.waiting.front(), self.waiting.back()) {
            (Some(first), Some(last)) => {
                (last.timestamp.wrapping_sub(first.timestamp) as i32).max(0) as u32
            }
            _ => 0,
        }
    }
}

impl Interleaver {
    /// A merger in which no tag waits for more than `max_wait_ms` of its own track's time.
    pub fn new(max_wait_ms: u32) -> Self {
        Self { max_wait_ms, audio: Track::new(), video: Track::new(), script: VecDeque::new() }
    }

    /// Says which tracks there are; both, unless told otherwise. Nothing waits for one that is not.
    pub fn expect(&mut self, audio: bool, video: bool) {
        self.audio.expected = audio;
        self.video.expected = video;
    }

    /// Adds a tag at the end of its track.
    pub fn push(&mut self, tag: Tag) {
        match tag.kind {
            TagKind::Audio => self.audio.waiting.push_back(tag),
            TagKind::Video => self.video.waiting.push_back(tag),
            TagKind::Script => self.script.push_back(tag),
        }
    }

    /// The next tag that need not wait. Script tags go first. Of two at the same time the picture
    /// goes first, so that a keyframe leads its GOP.
    pub fn pop(&mut self) -> Option<Tag> {
        if let Some(script) = self.script.pop_front() {
            return Some(script);
        }
        let (Some(audio), Some(video)) = (self.audio.waiting.front(), self.video.waiting.front())
        else {
            return self.pop_alone();
        };
        let audio_first = (audio.timestamp.wrapping_sub(video.timestamp) as i32) < 0;
        self.track(audio_first).waiting.pop_front()
    }

    /// The next tag, waiting for nothing: for the end of a stream.
    pub fn drain(&mut self) -> Option<Tag> {
        self.pop()
            .or_else(|| self.video.waiting.pop_front())
            .or_else(|| self.audio.waiting.pop_front())
    }

    /// Tags waiting.
    pub fn waiting(&self) -> usize {
        self.audio.waiting.len() + self.video.waiting.len() + self.script.len()
    }

    /// One track is empty: does the other's head still wait for it?
    fn pop_alone(&mut self) -> Option<Tag> {
        let max_wait_ms = self.max_wait_ms;
        let is_audio = self.video.waiting.is_empty();
        let other_expected = self.track(!is_audio).expected;
        let track = self.track(is_audio);
        let waited = track.span() > max_wait_ms || track.waiting.len() > MAX_WAITING;
        if waited || !other_expected { track.waiting.pop_front() } else { None }
    }

    fn track(&mut self, audio: bool) -> &mut Track {
        if audio { &mut self.audio } else { &mut self.video }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(interleaver: &mut Interleaver) -> Vec<(TagKind, u32)> {
        std::iter::from_fn(|| interleaver.pop()).map(|tag| (tag.kind, tag.timestamp)).collect()
    }

    #[test]
    fn a_head_waits_for_the_other_track() {
        use TagKind::{Audio, Video};
        let mut interleaver = Interleaver::new(500);
        interleaver.push(Tag::avc_frame(0, 0, true, b""));
        interleaver.push(Tag::avc_frame(40, 0, false, b""));
        assert_eq!(all(&mut interleaver), []);
        interleaver.push(Tag::aac_frame(0, b""));
        interleaver.push(Tag::aac_frame(21, b""));
        assert_eq!(all(&mut interleaver), [(Video, 0), (Audio, 0), (Audio, 21)]);
        // Sound stalls: pictures go on, half a second late.
        for ts in (80..=640).step_by(40) {
            interleaver.push(Tag::avc_frame(ts, 0, false, b""));
        }
        assert_eq!(all(&mut interleaver), [(Video, 40), (Video, 80), (Video, 120)]);
        // And comes: nothing of it is lost.
        interleaver.push(Tag::aac_frame(42, b""));
        assert_eq!(all(&mut interleaver), [(Audio, 42)]);
    }

    #[test]
    fn nothing_waits_for_a_track_that_is_not_there() {
        let mut interleaver = Interleaver::new(500);
        interleaver.expect(true, false);
        interleaver.push(Tag::aac_frame(0, b""));
        assert_eq!(all(&mut interleaver), [(TagKind::Audio, 0)]);
    }

    /// Two steady tracks, handed over in an order in which neither is ahead by more than `lead`.
    fn tracks() -> impl Strategy<Value = (Vec<Tag>, u32)> {
        let steps = prop::collection::vec((any::<bool>(), 0u32..60), 1..200);
        (steps, any::<u32>(), 0u32..400).prop_map(|(steps, start, lead)| {
            let (mut audio, mut video) = (0u32, 0u32);
            let tags = steps
                .into_iter()
                .map(|(wants_audio, step)| {
                    let is_audio = match () {
                        () if audio > video + lead => false,
                        () if video > audio + lead => true,
                        () => wants_audio,
                    };
                    if is_audio {
                        audio += step;
                        Tag::aac_frame(start.wrapping_add(audio), b"")
                    } else {
                        video += step;
                        Tag::avc_frame(start.wrapping_add(video), 0, false, b"")
                    }
                })
                .collect();
            (tags, lead)
        })
    }

    proptest! {
        #[test]
        fn ordered_and_complete((tags, lead) in tracks()) {
            // Neither track is ever further ahead than its lead and two steps.
            let mut interleaver = Interleaver::new(lead + 120);
            let mut out = Vec::new();
            for tag in &tags {
                interleaver.push(tag.clone());
                out.extend(std::iter::from_fn(|| interleaver.pop()));
            }
            out.extend(std::iter::from_fn(|| interleaver.drain()));
            prop_assert_eq!(out.len(), tags.len());
            for pair in out.windows(2) {
                prop_assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32 >= 0);
            }
            for kind in [TagKind::Audio, TagKind::Video] {
                let of = |tags: &[Tag]| tags.iter().filter(|t| t.kind == kind).cloned().collect::<Vec<_>>();
                prop_assert_eq!(of(&out), of(&tags));
            }
        }

        #[test]
        fn any_input_keeps_each_track_and_is_bounded(
            input in prop::collection::vec((any::<bool>(), any::<u32>()), 0..300),
            wait in 0u32..1000,
        ) {
            let mut interleaver = Interleaver::new(wait);
            let (mut put, mut out) = (Vec::new(), Vec::new());
            for (audio, ts) in input {
                let tag = if audio { Tag::aac_frame(ts, b"") } else { Tag::avc_frame(ts, 0, false, b"") };
                put.push(tag.clone());
                interleaver.push(tag);
                out.extend(std::iter::from_fn(|| interleaver.pop()));
                prop_assert!(interleaver.waiting() <= 2 * MAX_WAITING);
            }
            out.extend(std::iter::from_fn(|| interleaver.drain()));
            for kind in [TagKind::Audio, TagKind::Video] {
                let of = |tags: &[Tag]| tags.iter().filter(|t| t.kind == kind).cloned().collect::<Vec<_>>();
                prop_assert_eq!(of(&out), of(&put));
            }
        }
    }
}
