//! Puts the parts together: tags in, segments and playlists into the store.

use super::cutter::{self, Cut, Cutter, Picture};
use super::fmp4::{self, AudioSample, VideoSample};
use super::playlist::{self, RenditionInfo};
use super::rung::{Filled, Span};
use super::store::{LiveEdge, Store};
use super::variant::Variant;
use super::window::{Entry, Slot, Window};
use super::{AUDIO, HlsConfig, RenditionSpec, SOURCE};
use bytes::Bytes;
use flv::aac::AudioSpecificConfig;
use flv::avc::AvcConfig;
use flv::{AacPacket, AvcPacket, Tag};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A rung this many slots behind the source lists a gap for the oldest.
const MAX_LAG: u64 = 5;
/// The multivariant playlist waits so long for rungs that have shown nothing, milliseconds of media.
const RUNG_WAIT_MS: u64 = 6000;

/// A clock that is off by more has been set, milliseconds.
const UTC_STEP_MS: i64 = 1000;

const SOURCE_INDEX: usize = 0;
const AUDIO_INDEX: usize = 1;
const FIRST_RUNG: usize = 2;

/// What a rung needs of a slot that the source has closed.
#[derive(Debug)]
struct Closed {
    slot: Slot,
    span: Span,
    next_dts_ms: Option<u64>,
    sound: Vec<AudioSample>,
    asc: Option<Arc<AudioSpecificConfig>>,
}

/// Makes HLS of a room. Pure but for the [`Store`] it fills.
#[derive(Debug)]
pub struct Packager {
    config: HlsConfig,
    store: Arc<Store>,
    cutter: Cutter,
    window: Window,
    avc: Option<Arc<AvcConfig>>,
    asc: Option<Arc<AudioSpecificConfig>>,
    /// Whether the latest segment had pictures, and sound.
    tracks: Option<(bool, bool)>,
    closed: VecDeque<Closed>,
    variants: Vec<Variant>,
    first_slot_ms: Option<u64>,
}

impl Packager {
    /// A packager for a room with these rungs below the source.
    #[must_use]
    pub fn new(config: HlsConfig, rungs: Vec<RenditionSpec>) -> Self {
        let fixed = [SOURCE, AUDIO].map(|name| Variant::new(name.into(), 0));
        let rungs = rungs.into_iter().map(|spec| Variant::new(spec.name, spec.bitrate));
        let variants: Vec<Variant> = fixed.into_iter().chain(rungs).collect();
        let segment_ms = u64::try_from(config.segment.as_millis()).unwrap_or(2000);
        Self {
            config,
            store: Arc::default(),
            cutter: Cutter::new(segment_ms),
            window: Window::new(config.window, config.first_msn, segment_ms, variants.len())
                .discontinuities_from(config.first_discontinuity),
            avc: None,
            asc: None,
            tracks: None,
            closed: VecDeque::new(),
            variants,
            first_slot_ms: None,
        }
    }

    /// What HTTP serves.
    #[must_use]
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Takes a tag of the source: `ts_ms` is its room time, `utc_ms` the publisher's clock there,
    /// milliseconds since 1970. Tags of other codecs are passed over.
    pub fn source(&mut self, ts_ms: u64, tag: &Tag, utc_ms: i64) {
        let cuts = match (tag.video(), tag.audio()) {
            (Some(video), _) => match video.packet {
                AvcPacket::SequenceHeader => return self.picture_header(&tag.payload()),
                AvcPacket::Nalu if self.avc.is_some() => {
                    let Some(picture) = picture(ts_ms, tag) else { return };
                    self.cutter.picture(picture, utc_ms)
                }
                _ => return,
            },
            (_, Some(audio)) => match audio.packet {
                AacPacket::SequenceHeader => return self.sound_header(&tag.payload()),
                AacPacket::Raw => self.cutter.sound(ts_ms, tag.payload(), utc_ms),
            },
            _ => return,
        };
        for cut in cuts {
            self.close(cut);
        }
    }

    /// Takes a video tag of a rung, at its room time. A rung that had failed is back.
    pub fn rendition_video(&mut self, name: &str, ts_ms: u64, tag: &Tag) {
        let Some(index) = self.rung_index(name) else {
            tracing::debug!(rendition = name, "frames of an unknown rendition");
            return;
        };
        let Some(variant) = self.variants.get_mut(index) else { return };
        match tag.video().map(|video| video.packet) {
            Some(AvcPacket::SequenceHeader) => match AvcConfig::parse(&tag.payload()) {
                Ok(config) => variant.rung.set_config(config),
                Err(error) => tracing::warn!(rendition = name, %error, "unusable H.264 header"),
            },
            Some(AvcPacket::Nalu) => {
                variant.failed = false;
                if let Some(picture) = picture(ts_ms, tag) {
                    variant.rung.push(picture);
                    self.advance(index);
                }
            }
            _ => {}
        }
    }

    /// What comes next does not continue what was: another session, or a jump in time. The open
    /// segment is closed.
    pub fn discontinuity(&mut self) {
        if let Some(cut) = self.cutter.break_off() {
            self.close(cut);
        }
    }

    /// A rung has failed: players are not sent to it until it has frames again.
    pub fn rendition_failed(&mut self, name: &str) {
        if let Some(variant) = self.rung_index(name).and_then(|at| self.variants.get_mut(at)) {
            variant.failed = true;
            variant.rung.clear();
            self.announce();
        }
    }

    fn rung_index(&self, name: &str) -> Option<usize> {
        let rungs = self.variants.iter().skip(FIRST_RUNG);
        rungs.zip(FIRST_RUNG..).find(|(variant, _)| variant.name == name).map(|(_, index)| index)
    }

    fn picture_header(&mut self, data: &[u8]) {
        if self.avc.as_ref().is_some_and(|old| old.bytes == data) {
            return;
        }
        match AvcConfig::parse(data) {
            Ok(config) => {
                if self.avc.is_some() && self.cutter.has_video() {
                    self.discontinuity();
                }
                self.avc = Some(Arc::new(config));
            }
            Err(error) => tracing::warn!(%error, "unusable H.264 header from the publisher"),
        }
    }

    fn sound_header(&mut self, data: &[u8]) {
        if self.asc.as_ref().is_some_and(|old| old.bytes == data) {
            return;
        }
        match AudioSpecificConfig::parse(data) {
            Ok(config) => {
                if self.asc.is_some() {
                    self.discontinuity();
                }
                self.cutter.set_audio(config.rate, config.frame_samples);
                self.asc = Some(Arc::new(config));
            }
            Err(error) => tracing::warn!(%error, "unusable AAC header from the publisher"),
        }
    }

    /// The source has come to the end of a slot.
    fn close(&mut self, mut cut: Cut) {
        let avc = self.avc.clone().filter(|_| !cut.pictures.is_empty());
        let has_sound = !cut.sound.is_empty()
            || (!cut.discontinuity && self.tracks.is_some_and(|(_, sound)| sound));
        let asc = self.asc.clone().filter(|_| has_sound);
        let tracks = (avc.is_some(), asc.is_some());
        let new_tracks = self.tracks.is_some_and(|old| old != tracks);
        // The very first segment continues nothing, and need not say so.
        let discontinuity = self.tracks.is_some() && (cut.discontinuity || new_tracks);
        self.tracks = Some(tracks);
        let duration = cut.end_ms - cut.start_ms;
        let utc_ms = self.steady(&cut, discontinuity);
        let slot =
            self.window.close(cut.start_ms, duration, utc_ms, discontinuity, cut.independent);
        self.first_slot_ms.get_or_insert(cut.start_ms);

        let video = self.samples(SOURCE_INDEX, &cut.pictures, cut.next_dts_ms);
        self.put(SOURCE_INDEX, slot, avc, asc.clone(), &video, &cut.sound);
        self.put(AUDIO_INDEX, slot, None, asc.clone(), &[], &cut.sound);
        let edge = LiveEdge {
            msn: slot.msn,
            end_ms: cut.end_ms,
            utc_ms: slot.utc_ms.saturating_add_unsigned(duration),
        };
        self.store.set_edge(edge, Duration::from_secs(self.window.target()));

        let span = Span::from(&cut);
        let sound = std::mem::take(&mut cut.sound);
        self.closed.push_back(Closed { slot, span, next_dts_ms: cut.next_dts_ms, sound, asc });
        let lag = MAX_LAG.min(self.config.window.saturating_sub(2) as u64).max(1);
        for index in FIRST_RUNG..self.variants.len() {
            while self.window.next(index) + lag <= slot.msn {
                self.put_gap(index);
            }
            self.advance(index);
        }
        while self.closed.len() as u64 > lag {
            self.closed.pop_front();
        }
        self.announce();
    }

    /// The publisher's clock at a cut, without the jitter of its readings: dates follow each other
    /// by the segments' lengths, and are drawn slowly to what is read.
    fn steady(&self, cut: &Cut, discontinuity: bool) -> i64 {
        let Some(edge) = self.store.live_edge().filter(|_| !discontinuity) else {
            return cut.utc_ms;
        };
        let hole = cut.start_ms.saturating_sub(edge.end_ms);
        let expected = edge.utc_ms.saturating_add_unsigned(hole);
        let off = cut.utc_ms.saturating_sub(expected);
        if off.abs() < UTC_STEP_MS { expected + off / 8 } else { cut.utc_ms }
    }

    /// Fills as many slots of a rung as its pictures allow.
    fn advance(&mut self, index: usize) {
        let mut moved = false;
        while let Some(slot) = self.window.due(index) {
            let Some(variant) = self.variants.get_mut(index) else { return };
            let Some(closed) = self.closed.iter().position(|closed| closed.slot == slot) else {
                self.put_gap(index);
                continue;
            };
            let Closed { span, next_dts_ms, .. } = self.closed[closed];
            match variant.rung.fill(span) {
                Filled::NotYet => break,
                Filled::Missed => self.put_gap(index),
                Filled::Pictures(avc, pictures) => {
                    let video = self.samples(index, &pictures, next_dts_ms);
                    let Closed { sound, asc, .. } = &mut self.closed[closed];
                    let (sound, asc) = (std::mem::take(sound), asc.clone());
                    self.put(index, slot, Some(avc), asc, &video, &sound);
                    self.closed[closed].sound = sound;
                }
            }
            moved = true;
        }
        if moved {
            self.announce();
        }
    }

    fn samples(
        &mut self,
        index: usize,
        pictures: &[Picture],
        end: Option<u64>,
    ) -> Vec<VideoSample> {
        match self.variants.get_mut(index) {
            Some(variant) => cutter::samples(pictures, &mut variant.last_dts, end),
            None => Vec::new(),
        }
    }

    /// Writes a variant's segment for the slot that is due, or a gap where there is nothing.
    fn put(
        &mut self,
        index: usize,
        slot: Slot,
        avc: Option<Arc<AvcConfig>>,
        asc: Option<Arc<AudioSpecificConfig>>,
        video: &[VideoSample],
        sound: &[AudioSample],
    ) {
        if video.is_empty() && sound.is_empty() {
            return self.put_gap(index);
        }
        let Some(variant) = self.variants.get_mut(index) else { return };
        let tracks = (avc.as_ref().map(|c| c.bytes.clone()), asc.as_ref().map(|c| c.bytes.clone()));
        let made = match &variant.init {
            Some((init, old)) if *old == tracks => Ok(*init),
            _ => fmp4::init(avc.as_deref(), asc.as_deref()).map(|data| {
                self.store.put_init(&variant.name, slot.msn, data);
                variant.init = Some((slot.msn, tracks));
                slot.msn
            }),
        };
        let made = made.and_then(|init| {
            // Only the order matters, and 32 bits of it are enough.
            Ok((init, fmp4::segment(slot.msn as u32, video, sound)?))
        });
        let (init, data) = match made {
            Ok(made) => made,
            Err(error) => {
                let rendition = &variant.name;
                tracing::warn!(%rendition, msn = slot.msn, %error, "a segment is left out");
                return self.put_gap(index);
            }
        };
        variant.measure(data.len(), slot.duration_ms, self.config.window);
        variant.describe(avc.as_deref(), asc.as_deref(), video.len(), slot.duration_ms);
        self.window.fill(index, Entry::Segment { init });
        self.show(index, Some((slot.msn, data)));
    }

    fn put_gap(&mut self, index: usize) {
        self.window.fill(index, Entry::Gap);
        self.show(index, None);
    }

    /// Publishes a variant's playlist as it stands.
    fn show(&self, index: usize, segment: Option<(u64, Bytes)>) {
        let Some(variant) = self.variants.get(index) else { return };
        let playlist = self.window.listing(index).map(|listing| playlist::media(&listing));
        self.store.publish(&variant.name, segment, playlist, self.window.oldest_kept());
    }

    /// Publishes the multivariant playlist, when there is enough to choose from.
    fn announce(&self) {
        let Some(first) = self.first_slot_ms else { return };
        let media = self.store.live_edge().map_or(0, |edge| edge.end_ms.saturating_sub(first));
        let listed = |index: usize| {
            let listing = self.window.listing(index);
            listing.is_some_and(|l| l.entries.iter().any(|(_, entry)| *entry != Entry::Gap))
        };
        let mut rungs = self.variants.iter().zip(0..).skip(FIRST_RUNG);
        let complete = rungs.all(|(variant, index)| variant.failed || listed(index));
        if !complete && media < RUNG_WAIT_MS {
            return;
        }
        let order = (SOURCE_INDEX..=SOURCE_INDEX).chain(FIRST_RUNG..self.variants.len());
        let shown: Vec<RenditionInfo> = order
            .chain([AUDIO_INDEX])
            .filter(|&index| listed(index))
            .filter_map(|index| self.variants.get(index))
            .filter(|variant| !variant.failed)
            .map(|variant| variant.info.clone())
            .collect();
        self.store.set_multivariant(playlist::multivariant(&shown), shown);
    }
}

fn picture(ts_ms: u64, tag: &Tag) -> Option<Picture> {
    let video = tag.video()?;
    let pts_ms = ts_ms.saturating_add_signed(video.composition_ms.into());
    Some(Picture { dts_ms: ts_ms, pts_ms, key: video.keyframe, data: tag.payload() })
}
