//! What a stream says once: whoever joins it later must be told again.

use crate::{Tag, TagKind};

/// The newest metadata and sequence headers of a stream.
#[derive(Debug, Default, Clone)]
pub struct Headers {
    /// `onMetaData`.
    pub metadata: Option<Tag>,
    /// The AVC sequence header.
    pub video: Option<Tag>,
    /// The AAC sequence header.
    pub audio: Option<Tag>,
}

/// What a tag is to those who have seen the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No header: picture or sound.
    Media,
    /// A header they have.
    Again,
    /// The first header of its kind.
    First,
    /// A header that replaces another.
    Changed,
}

impl Headers {
    /// Keeps `tag` if it is a header.
    pub fn keep(&mut self, tag: &Tag) -> Seen {
        let slot = match tag.kind {
            TagKind::Script => &mut self.metadata,
            TagKind::Video if tag.is_sequence_header() => &mut self.video,
            TagKind::Audio if tag.is_sequence_header() => &mut self.audio,
            TagKind::Video | TagKind::Audio => return Seen::Media,
        };
        match slot.replace(tag.clone()) {
            None => Seen::First,
            Some(old) if old.data == tag.data => Seen::Again,
            Some(_) => Seen::Changed,
        }
    }

    /// All there are, in the order a decoder wants them, at the time `timestamp`.
    pub fn at(&self, timestamp: u32) -> impl Iterator<Item = Tag> {
        self.all().map(move |tag| Tag { timestamp, ..tag })
    }

    /// All there are, in the order a decoder wants them, as they came.
    pub fn all(&self) -> impl Iterator<Item = Tag> {
        [&self.metadata, &self.video, &self.audio].into_iter().flatten().cloned()
    }

    /// Whether decoding can start at `tag`: at a keyframe, or at any sound without a picture.
    pub fn start_at(&self, tag: &Tag) -> bool {
        tag.is_keyframe() || (self.video.is_none() && tag.kind == TagKind::Audio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_kept_and_a_change_is_told() {
        let mut headers = Headers::default();
        assert_eq!(headers.keep(&Tag::avc_frame(0, 0, true, b"key")), Seen::Media);
        assert_eq!(headers.keep(&Tag::aac_sequence_header(0, b"aac")), Seen::First);
        assert_eq!(headers.keep(&Tag::avc_sequence_header(0, b"one")), Seen::First);
        assert_eq!(headers.keep(&Tag::avc_sequence_header(40, b"one")), Seen::Again);
        assert_eq!(headers.keep(&Tag::avc_sequence_header(80, b"two")), Seen::Changed);
        let all: Vec<_> = headers.at(7).collect();
        assert_eq!(all, [Tag::avc_sequence_header(7, b"two"), Tag::aac_sequence_header(7, b"aac")]);
    }

    #[test]
    fn sound_alone_can_start_anywhere() {
        let mut headers = Headers::default();
        let sound = Tag::aac_frame(0, b"sound");
        assert!(headers.start_at(&sound));
        headers.keep(&Tag::avc_sequence_header(0, b"avcc"));
        assert!(!headers.start_at(&sound));
        assert!(headers.start_at(&Tag::avc_frame(0, 0, true, b"key")));
        assert!(!headers.start_at(&Tag::avc_frame(0, 0, false, b"delta")));
    }
}
