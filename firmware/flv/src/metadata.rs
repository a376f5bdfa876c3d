//! `onMetaData`: what a stream says about itself (FLV 10.1, E.5).
//!
//! Backrow adds `backrowWallclock`, the collector's UTC clock at the first frame of a segment in
//! milliseconds since 1970, from which the encoder dates its playlists.

use crate::amf0::{self, Reader, Value};
use crate::{Tag, TagKind};
use bytes::BytesMut;

const NAME: &str = "onMetaData";
const WALLCLOCK: &str = "backrowWallclock";
const ROOM: &str = "backrowRoom";

/// What is read from, and written to, `onMetaData`. Other properties are passed over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// Picture width, pixels.
    pub width: Option<f64>,
    /// Picture height, pixels.
    pub height: Option<f64>,
    /// Frames per second.
    pub framerate: Option<f64>,
    /// Video bit rate, kbit/s.
    pub video_kbit: Option<f64>,
    /// Audio bit rate, kbit/s.
    pub audio_kbit: Option<f64>,
    /// UTC at the segment's first frame, milliseconds since 1970 (`backrowWallclock`).
    pub wallclock_ms: Option<i64>,
    /// The room (`backrowRoom`).
    pub room: Option<String>,
    /// The program that made the stream.
    pub encoder: Option<String>,
}

impl Metadata {
    /// The script tag.
    pub fn to_tag(&self, ts: u32) -> Tag {
        let numbers = [
            ("width", self.width),
            ("height", self.height),
            ("framerate", self.framerate),
            ("videodatarate", self.video_kbit),
            ("audiodatarate", self.audio_kbit),
            (WALLCLOCK, self.wallclock_ms.map(|ms| ms as f64)),
        ];
        let texts = [(ROOM, &self.room), ("encoder", &self.encoder)];
        let pairs = numbers
            .into_iter()
            .filter_map(|(key, number)| Some((key.to_owned(), Value::Number(number?))))
            .chain(
                texts
                    .into_iter()
                    .filter_map(|(key, text)| Some((key.to_owned(), Value::String(text.clone()?)))),
            )
            .collect();
        let mut data = BytesMut::new();
        amf0::write(&mut data, &Value::String(NAME.into()));
        amf0::write(&mut data, &Value::Object(pairs));
        Tag { kind: TagKind::Script, timestamp: ts, data: data.freeze() }
    }

    /// Reads an `onMetaData` tag, with or without the "@setDataFrame" that RTMP publishers put
    /// before it. `None` for any other tag. Properties of unexpected type are passed over.
    pub fn from_tag(tag: &Tag) -> Option<Self> {
        if tag.kind != TagKind::Script {
            return None;
        }
        let mut reader = Reader::new(&tag.data);
        let text = |value| if let Value::String(text) = value { Some(text) } else { None };
        let mut name = text(reader.value()?)?;
        if name == "@setDataFrame" {
            name = text(reader.value()?)?;
        }
        if name != NAME {
            return None;
        }
        let mut metadata = Self::default();
        if let Some(Value::Object(pairs)) = reader.value() {
            for (key, value) in pairs {
                metadata.set(&key, value);
            }
        }
        Some(metadata)
    }

    fn set(&mut self, key: &str, value: Value) {
        match (key, value) {
            (WALLCLOCK, Value::Number(ms)) if ms.abs() < 1e15 => {
                self.wallclock_ms = Some(ms as i64);
            }
            (_, Value::Number(number)) if number.is_finite() => {
                let field = match key {
                    "width" => &mut self.width,
                    "height" => &mut self.height,
                    "framerate" => &mut self.framerate,
                    "videodatarate" => &mut self.video_kbit,
                    "audiodatarate" => &mut self.audio_kbit,
                    _ => return,
                };
                *field = Some(number);
            }
            (ROOM, Value::String(text)) => self.room = Some(text),
            ("encoder", Value::String(text)) => self.encoder = Some(text),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Metadata {
        Metadata {
            width: Some(1280.0),
            height: Some(720.0),
            framerate: Some(25.0),
            wallclock_ms: Some(1_795_000_000_123),
            room: Some("großer Saal".into()),
            ..Metadata::default()
        }
    }

    #[test]
    fn set_data_frame_is_passed_over() {
        let tag = example().to_tag(9);
        let mut data = BytesMut::new();
        amf0::write(&mut data, &Value::String("@setDataFrame".into()));
        data.extend_from_slice(&tag.data);
        let published = Tag { data: data.freeze(), ..tag.clone() };
        assert_eq!(Metadata::from_tag(&published), Some(example()));
        assert_eq!(Metadata::from_tag(&tag), Some(example()));
    }

    #[test]
    fn other_tags_are_not_metadata() {
        let mut data = BytesMut::new();
        amf0::write(&mut data, &Value::String("onCuePoint".into()));
        let tag = Tag { kind: TagKind::Script, timestamp: 0, data: data.freeze() };
        assert_eq!(Metadata::from_tag(&tag), None);
        assert_eq!(Metadata::from_tag(&Tag::aac_frame(0, b"")), None);
    }

    #[test]
    fn what_stands_before_a_fault_is_kept() {
        let tag = example().to_tag(0);
        let cut = Tag { data: tag.data.slice(..tag.data.len() - 8), ..tag };
        let read = Metadata::from_tag(&cut).unwrap();
        assert_eq!((read.width, read.wallclock_ms), (Some(1280.0), Some(1_795_000_000_123)));
    }

    proptest! {
        #[test]
        fn mutations_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
            let tag = example().to_tag(0);
            let mut data = tag.data.to_vec();
            let at = at.index(data.len());
            data[at] = byte;
            let _ = Metadata::from_tag(&Tag { data: data.into(), ..tag });
        }
    }
}
