//! Where each tag of a room goes. No I/O, no clock: times are passed in.
//!
//! The source is passed through everywhere it can be; the worker only makes what the source is
//! not. Its sound is added to every rung, so that the rungs differ in their pictures alone.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use flv::aac::{AudioSpecificConfig, adts_header};
use flv::interleave::Interleaver;
use flv::metadata::Metadata;
use flv::timeline::{Rebase, Steps};
use flv::{Headers, Seen, Tag, TagKind, file_header};

use super::mounts::{self, Header};
use crate::fanout::{Frame, Mount};
use crate::hls::Packager;

/// How long the small FLV's sound waits for its picture, in milliseconds of media: longer than
/// the worker takes to encode one.
const RUNG_LAG_MS: u32 = 2_000;

/// A publisher's clock that is further off than this is not believed, in milliseconds: a box
/// without a battery starts in 1970.
const CLOCK_TRUST_MS: u64 = 24 * 3_600 * 1_000;

/// The way of one room's tags.
#[derive(Debug)]
pub struct Pipeline {
    mounts: BTreeMap<String, Mount>,
    packager: Packager,
    rebase: Rebase,
    high: FlvStream,
    low: FlvStream,
    low_order: Interleaver,
    /// The rung that makes the small FLV.
    low_rung: Option<String>,
    asc: Option<AudioSpecificConfig>,
    /// Room time and UTC of the same moment, both in milliseconds.
    wallclock: Option<(u64, i64)>,
}

impl Pipeline {
    /// The pipeline into `mounts` and `packager`; `low_rung` names the lowest rung of the ladder.
    #[must_use]
    pub fn new(
        mounts: BTreeMap<String, Mount>,
        packager: Packager,
        low_rung: Option<String>,
    ) -> Self {
        Self {
            mounts,
            packager,
            rebase: Rebase::new(Steps::default()),
            high: FlvStream::default(),
            low: FlvStream::default(),
            low_order: Interleaver::new(RUNG_LAG_MS),
            low_rung,
            asc: None,
            wallclock: None,
        }
    }

    /// A publisher begins, `room_ms` after the room was opened.
    pub fn session(&mut self, room_ms: u64) {
        self.rebase.begin_session(room_ms);
        self.wallclock = None;
    }

    /// The publisher is gone: what it sent last is shown to the end, and who joins now waits for
    /// the next one.
    pub fn gone(&mut self) {
        self.packager.discontinuity();
        if let Some(mount) = self.mounts.get(mounts::FLV_LOW.name) {
            while let Some(tag) = self.low_order.drain() {
                self.low.push(mount, &tag);
            }
        }
        for mount in self.mounts.values() {
            mount.interrupt();
        }
    }

    /// The next tag of the source, at `utc_ms` by our own clock. Returns it in room time, for the
    /// transcode worker.
    pub fn source(&mut self, tag: &Tag, utc_ms: i64) -> (u64, Tag) {
        let placed = self.rebase.place(tag.kind, tag.timestamp);
        let at = placed.ms;
        if placed.discontinuity {
            self.packager.discontinuity();
            self.wallclock = None;
        }
        let tag = at_room_time(tag, at);
        self.tell_time(&tag, at, utc_ms);
        let utc_of_tag = self.wallclock.map_or(utc_ms, |(room, utc)| {
            utc.saturating_add_unsigned(at).saturating_sub_unsigned(room)
        });

        self.packager.source(at, &tag, utc_of_tag);
        if let Some(mount) = self.mounts.get(mounts::FLV_HIGH.name) {
            self.high.push(mount, &tag);
        }
        if tag.kind == TagKind::Audio {
            self.adts(&tag);
            self.low_push(tag.clone());
        }
        (at, tag)
    }

    /// A picture of a rung, from the worker.
    pub fn rung(&mut self, name: &str, room_ms: u64, tag: &Tag) {
        self.packager.rendition_video(name, room_ms, tag);
        if self.low_rung.as_deref() == Some(name) {
            self.low_push(tag.clone());
        }
    }

    /// A rung that will not come: smaller sources have fewer rungs.
    pub fn rung_failed(&mut self, name: &str) {
        self.packager.rendition_failed(name);
    }

    /// The header of a progressive stream that the worker makes.
    pub fn header(&self, stream: &str, data: Bytes) {
        let Some((format, mount)) = self.transcode_mount(stream) else { return };
        match format.header {
            Header::InStream => mount.change_header(data.clone(), data),
            Header::Once => mount.set_header(data),
            Header::None => {}
        }
    }

    /// A frame of a progressive stream that the worker makes.
    pub fn frame(&self, stream: &str, data: Bytes, sync: bool) {
        if let Some((_, mount)) = self.transcode_mount(stream) {
            mount.push(Frame { data, sync });
        }
    }

    /// The size of the source's picture.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        let config = self.high.headers.video.as_ref()?.payload();
        flv::avc::AvcConfig::parse(&config).ok().map(|avc| (avc.width, avc.height))
    }

    fn transcode_mount(&self, stream: &str) -> Option<(mounts::Progressive, &Mount)> {
        let format = mounts::of_transcode(stream)?;
        Some((format, self.mounts.get(format.name)?))
    }

    /// Learns UTC from the publisher's metadata, else takes our own at the first tag.
    fn tell_time(&mut self, tag: &Tag, at: u64, utc_ms: i64) {
        let told = (tag.kind == TagKind::Script)
            .then(|| Metadata::from_tag(tag))
            .flatten()
            .and_then(|metadata| metadata.wallclock_ms)
            .filter(|told| told.abs_diff(utc_ms) < CLOCK_TRUST_MS);
        match (told, self.wallclock) {
            (Some(told), _) => self.wallclock = Some((at, told)),
            (None, None) => self.wallclock = Some((at, utc_ms)),
            (None, Some(_)) => {}
        }
    }

    fn adts(&mut self, tag: &Tag) {
        let payload = tag.payload();
        if tag.is_sequence_header() {
            self.asc = AudioSpecificConfig::parse(&payload).ok();
        } else if let Some(asc) = &self.asc
            && let Some(mount) = self.mounts.get(mounts::AAC.name)
            && let Ok(header) = adts_header(asc, payload.len())
        {
            let mut data = BytesMut::with_capacity(header.len() + payload.len());
            data.extend_from_slice(&header);
            data.extend_from_slice(&payload);
            mount.push(Frame { data: data.freeze(), sync: true });
        }
    }

    fn low_push(&mut self, tag: Tag) {
        let Some(mount) = self.mounts.get(mounts::FLV_LOW.name) else { return };
        if self.low_rung.is_none() {
            return;
        }
        // A header waits for nothing: whoever joins needs both before the first picture.
        if tag.is_sequence_header() {
            self.low.push(mount, &tag);
            return;
        }
        self.low_order.push(tag);
        while let Some(tag) = self.low_order.pop() {
            self.low.push(mount, &tag);
        }
    }
}

/// An FLV stream on a mount: its headers are what a new client needs before the first frame.
#[derive(Debug, Default)]
struct FlvStream {
    headers: Headers,
}

impl FlvStream {
    fn push(&mut self, mount: &Mount, tag: &Tag) {
        match self.headers.keep(tag) {
            Seen::Media => {
                let sync = self.headers.start_at(tag);
                mount.push(Frame { data: tag.to_bytes(), sync });
            }
            // Every segment brings its headers along; only a change is news.
            Seen::Again => {}
            // Metadata tells each segment's time, which a viewer that is already there does not
            // need.
            Seen::Changed if tag.kind != TagKind::Script => {
                mount.change_header(self.header(), tag.to_bytes());
            }
            Seen::First | Seen::Changed => mount.set_header(self.header()),
        }
    }

    fn header(&self) -> Bytes {
        let Headers { audio, video, .. } = &self.headers;
        let mut header = BytesMut::new();
        header.extend_from_slice(&file_header(audio.is_some(), video.is_some()));
        // At time 0: players take later metadata for a stream of its own.
        for tag in self.headers.at(0) {
            tag.encode(&mut header);
        }
        header.freeze()
    }
}

fn at_room_time(tag: &Tag, room_ms: u64) -> Tag {
    // FLV's 32 bits of milliseconds wrap after 49 days; readers unroll them.
    Tag { timestamp: (room_ms & u64::from(u32::MAX)) as u32, ..tag.clone() }
}

#[cfg(test)]
mod tests {
    use flv::{Limits, Parser};
    use futures_util::FutureExt as _;

    use super::*;
    use crate::hls::HlsConfig;
    use crate::room::task;

    const NOW: i64 = 1_790_000_000_000;

    fn pipeline() -> (Pipeline, BTreeMap<String, Mount>) {
        let mounts = task::mounts();
        let packager = Packager::new(HlsConfig::default(), Vec::new());
        let mut pipeline = Pipeline::new(mounts.clone(), packager, Some("240p".to_owned()));
        pipeline.session(0);
        (pipeline, mounts)
    }

    fn tags(bytes: &[u8]) -> Vec<Tag> {
        let mut parser = Parser::new(Limits::default());
        parser.push(bytes);
        std::iter::from_fn(|| parser.next_tag().expect("FLV")).collect()
    }

    fn segment(pipeline: &mut Pipeline, at: u32, avcc: &[u8], wallclock_ms: i64) {
        let metadata = Metadata { wallclock_ms: Some(wallclock_ms), ..Metadata::default() };
        for tag in [
            metadata.to_tag(at),
            Tag::avc_sequence_header(at, avcc),
            Tag::avc_frame(at, 0, true, b"key"),
            Tag::avc_frame(at + 40, 0, false, b"delta"),
        ] {
            pipeline.source(&tag, NOW);
        }
    }

    #[tokio::test]
    async fn the_source_passes_with_one_header_however_many_segments_bring_it() {
        let (mut pipeline, mounts) = pipeline();
        let mount = &mounts[mounts::FLV_HIGH.name];
        let mut reader = mount.subscribe();
        let mut bytes = Vec::new();
        for (at, avcc) in [(0, b"one"), (2_000, b"one"), (4_000, b"two")] {
            segment(&mut pipeline, at, avcc, NOW + i64::from(at));
            while let Some(chunk) = reader.next().now_or_never() {
                bytes.extend_from_slice(&chunk.unwrap());
            }
        }
        let tags = tags(&bytes);
        let headers: Vec<_> = tags.iter().filter(|tag| tag.is_sequence_header()).collect();
        assert_eq!(headers.len(), 2);
        assert_eq!((headers[1].payload(), headers[1].timestamp), ("two".into(), 4_000));
        assert_eq!(tags.iter().filter(|tag| tag.is_keyframe()).count(), 3);
        assert!(tags.iter().map(|tag| tag.timestamp).is_sorted());
    }

    #[tokio::test]
    async fn the_sources_sound_goes_to_adts_as_it_is() {
        let (mut pipeline, mounts) = pipeline();
        let mount = &mounts[mounts::AAC.name];
        let mut reader = mount.subscribe();
        // AAC-LC, 48 kHz, stereo (ISO 14496-3, 1.6.2.1).
        pipeline.source(&Tag::aac_sequence_header(0, &[0x11, 0x90]), NOW);
        for n in 0..60 {
            pipeline.source(&Tag::aac_frame(n * 21, b"sound"), NOW);
        }
        let bytes = reader.next().await.unwrap();
        assert_eq!(bytes[0], 0xff, "an ADTS syncword");
        assert!(bytes.windows(5).any(|window| window == b"sound"));
    }

    #[test]
    fn the_last_words_of_a_publisher_are_published() {
        let packager = Packager::new(HlsConfig::default(), Vec::new());
        let store = packager.store();
        let mut pipeline = Pipeline::new(BTreeMap::new(), packager, None);
        pipeline.session(0);
        pipeline.source(&Tag::aac_sequence_header(0, &[0x11, 0x90]), NOW);
        // Not a whole number of segments.
        for n in 0..400 {
            pipeline.source(&Tag::aac_frame(n * 64 / 3, b"sound"), NOW);
        }
        let before = store.live_edge().expect("some segments of sound");
        pipeline.gone();
        let after = store.live_edge().unwrap();
        assert_eq!(after.msn, before.msn + 1);
        assert!(after.end_ms > before.end_ms);
    }

    #[test]
    fn a_clock_from_1970_is_not_believed() {
        let (mut pipeline, _) = pipeline();
        segment(&mut pipeline, 0, b"one", 12_000);
        assert_eq!(pipeline.wallclock, Some((0, NOW)));
        segment(&mut pipeline, 2_000, b"one", NOW + 1_990);
        assert_eq!(pipeline.wallclock, Some((2_000, NOW + 1_990)));
    }

    #[test]
    fn the_small_flv_is_ordered_picture_and_sound() {
        let (mut pipeline, mounts) = pipeline();
        pipeline.source(&Tag::aac_sequence_header(0, &[0x11, 0x90]), NOW);
        pipeline.rung("240p", 0, &Tag::avc_sequence_header(0, b"small"));
        for n in 0..50 {
            pipeline.source(&Tag::aac_frame(n * 20, b"sound"), NOW);
        }
        pipeline.rung("240p", 0, &Tag::avc_frame(0, 0, true, b"key"));
        pipeline.rung("240p", 40, &Tag::avc_frame(40, 0, false, b"delta"));
        assert!(mounts[mounts::FLV_LOW.name].ready());
    }
}
