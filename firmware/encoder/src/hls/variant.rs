//! One variant: what is announced of it, and where it stands.

use super::fmp4;
use super::playlist::RenditionInfo;
use super::rung::Rung;
use bytes::Bytes;
use flv::aac::AudioSpecificConfig;
use flv::avc::AvcConfig;
use std::collections::VecDeque;

/// A variant's tracks: a change needs a new initialization segment.
pub(super) type Tracks = (Option<Bytes>, Option<Vec<u8>>);

/// One variant's state.
#[derive(Debug, Default)]
pub(super) struct Variant {
    pub(super) name: String,
    /// Announced at least, bit/s.
    nominal: u64,
    /// The initialization segment in use, and what for.
    pub(super) init: Option<(u64, Tracks)>,
    pub(super) info: RenditionInfo,
    /// Bytes and milliseconds of the segments listed.
    sizes: VecDeque<(usize, u64)>,
    peak: u64,
    pub(super) last_dts: Option<u64>,
    pub(super) rung: Rung,
    pub(super) failed: bool,
}

impl Variant {
    /// One that has shown nothing yet; `nominal` is its expected bit rate.
    pub(super) fn new(name: String, nominal: u64) -> Self {
        Self { name, nominal, ..Self::default() }
    }

    /// Counts a segment into the bit rates that are announced.
    pub(super) fn measure(&mut self, bytes: usize, duration_ms: u64, window: usize) {
        self.sizes.push_back((bytes, duration_ms));
        if self.sizes.len() > window.max(1) {
            self.sizes.pop_front();
        }
        let rate = |bytes: usize, ms: u64| bytes as u64 * 8000 / ms.max(1);
        // A stub at the end of a session says nothing about the rate.
        if duration_ms >= 500 {
            self.peak = self.peak.max(rate(bytes, duration_ms));
        }
        let (bytes, ms) = self.sizes.iter().fold((0, 0), |(b, m), (bytes, ms)| (b + bytes, m + ms));
        self.info.average_bandwidth = rate(bytes, ms);
        self.info.bandwidth = self.peak.max(self.nominal).max(self.info.average_bandwidth);
    }

    /// Says what the latest segment was made of.
    pub(super) fn describe(
        &mut self,
        avc: Option<&AvcConfig>,
        asc: Option<&AudioSpecificConfig>,
        pictures: usize,
        duration_ms: u64,
    ) {
        let info = &mut self.info;
        info.name.clone_from(&self.name);
        info.audio_only = avc.is_none();
        let codecs = avc.map(AvcConfig::codec_string).into_iter();
        let codecs: Vec<String> = codecs.chain(asc.map(|asc| asc.codec_string())).collect();
        info.codecs = codecs.join(",");
        (info.width, info.height) = avc.map_or((0, 0), fmp4::shown_size);
        let measured = pictures as f64 * 1000.0 / duration_ms.max(1) as f64;
        info.framerate = avc.map_or(0.0, |avc| avc.framerate.unwrap_or(measured));
    }
}
