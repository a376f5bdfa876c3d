//! Decoded frames on their way to the renditions: sizes, keyframes, caps.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use gstreamer as gst;
use gstreamer_video::VideoInfo;

use super::{
    geometry::{Size, Source},
    keys::{Cadence, KeyPlan, Ledger},
    report::Report,
    scale::{self, Scaler},
    slot::Slot,
};

/// What the intake learns from tags, and the decoded frames are told by.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Keyframes inside the decoder.
    pub keys: Ledger,
    /// Frame rate.
    pub cadence: Cadence,
}

/// What a rendition wants of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// H.264 this high, if that is smaller than the source.
    Rung(u32),
    /// The source's size, up to this height.
    AtMost(u32),
    /// A small picture every few seconds.
    Preview,
}

/// Between previews, ms.
const PREVIEW_EVERY: u64 = 5_000;
const PREVIEW_BOX: (u32, u32) = (320, 240);

/// One rendition as frames see it.
pub(crate) struct Consumer {
    slot: Arc<Slot>,
    want: Want,
    /// For rungs: keyframes inside its encoder, with their composition times.
    keys: Arc<Mutex<Ledger>>,
    size: Option<Size>,
    caps: Option<gst::Caps>,
    plan: KeyPlan,
    generation: Option<u32>,
    last_preview: Option<u64>,
}

impl Consumer {
    /// `keys` is read again where the encoder's output comes out.
    pub(crate) fn new(slot: Arc<Slot>, want: Want, keys: Arc<Mutex<Ledger>>) -> Self {
        Self {
            slot,
            want,
            keys,
            size: None,
            caps: None,
            plan: KeyPlan::default(),
            generation: None,
            last_preview: None,
        }
    }

    fn fit(&mut self, source: Source, info: &VideoInfo) {
        self.size = match self.want {
            Want::Rung(height) => source.rung(height),
            Want::AtMost(height) => Some(source.at_most(height)),
            Want::Preview => Some(source.within(PREVIEW_BOX.0, PREVIEW_BOX.1)),
        };
        self.caps = self.size.and_then(|size| scale::info(size, info).ok()?.to_caps().ok());
        self.slot.leave_out(match (self.want, self.size) {
            (Want::Rung(height), None) => Some(format!(
                "left out: {height} lines are not fewer than the source's {}",
                source.height
            )),
            _ => None,
        });
    }

    /// Whether this frame is for it, and whether as a keyframe.
    fn takes(&mut self, pts: u64, source_key: Option<u64>) -> Option<bool> {
        self.size?;
        let generation = self.slot.generation();
        let fresh = generation != self.generation;
        if generation.is_none() {
            self.slot.count_dropped(u64::from(self.want != Want::Preview));
            self.generation = None;
            return None;
        }
        match self.want {
            Want::Preview => {
                let due = self.last_preview.is_none_or(|at| pts.abs_diff(at) >= PREVIEW_EVERY);
                self.slot.fed();
                if !due || !self.slot.has_room() {
                    return None;
                }
                self.last_preview = Some(pts);
                self.generation = generation;
                Some(false)
            }
            Want::AtMost(_) => {
                if fresh {
                    self.plan = KeyPlan::default();
                    self.generation = generation;
                }
                Some(self.plan.wants(pts, source_key.is_some()))
            }
            Want::Rung(_) => {
                if fresh {
                    // Segments begin at the source's keyframes, so this one begins there too.
                    if source_key.is_none() {
                        self.slot.count_dropped(1);
                        return None;
                    }
                    self.generation = generation;
                    self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
                if let Some(composition) = source_key {
                    let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                    keys.keyframe(pts, composition);
                }
                Some(source_key.is_some())
            }
        }
    }
}

/// All renditions of the picture.
pub(crate) struct Pictures {
    known: Arc<Mutex<Known>>,
    consumers: Vec<Consumer>,
    decoded: Option<gst::Caps>,
    rate: (i32, i32),
    scaler: Option<Scaler>,
}

impl Pictures {
    /// `known` is filled by the intake.
    pub(crate) fn new(known: Arc<Mutex<Known>>, consumers: Vec<Consumer>) -> Self {
        Self { known, consumers, decoded: None, rate: (25, 1), scaler: None }
    }

    /// Takes a decoded frame to everyone; waits for those who are behind.
    pub(crate) fn frame(&mut self, sample: &gst::Sample) {
        if let Err(problem) = self.distribute(sample) {
            Report::Log { message: format!("a frame was left out: {problem}") }.write();
        }
    }

    fn distribute(&mut self, sample: &gst::Sample) -> Result<(), String> {
        let caps = sample.caps_owned().ok_or("it has no format")?;
        let mut buffer = sample.buffer_owned().ok_or("it is empty")?;
        let pts = buffer.pts().ok_or("it has no time")?.mseconds();
        let (key, rate) = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            (known.keys.decoded(pts), known.cadence.rate())
        };
        let changed = self.decoded.as_ref() != Some(&caps);
        if changed || (rate != self.rate && key.is_some()) {
            self.fit(&caps, rate)?;
        }
        let scaler = self.scaler.as_mut().ok_or("its size is not known")?;
        let (n, d) = (self.rate.0.max(1).unsigned_abs(), self.rate.1.max(1).unsigned_abs());
        let frame = gst::ClockTime::from_nseconds(1_000_000_000 * u64::from(d) / u64::from(n));
        let source = scaler.size();
        buffer.make_mut().set_duration(frame);

        let mut made = BTreeMap::from([(source, buffer)]);
        for consumer in &mut self.consumers {
            let (Some(size), Some(caps)) = (consumer.size, consumer.caps.clone()) else { continue };
            let Some(keyframe) = consumer.takes(pts, key) else { continue };
            if !made.contains_key(&size) {
                // Halving is cheapest; else the nearest larger one is the least to read.
                let double = Size { width: size.width * 2, height: size.height * 2 };
                let larger = || made.range(size..).find(|(s, _)| s.width >= size.width);
                let (from, frame) = (made.get_key_value(&double))
                    .or_else(larger)
                    .or_else(|| made.last_key_value())
                    .ok_or("no picture")?;
                let scaled = scaler.scale(*from, frame, size)?;
                made.insert(size, scaled);
            }
            if let Some(frame) = made.get(&size) {
                consumer.slot.offer(&caps, frame, keyframe);
            }
        }
        Ok(())
    }

    fn fit(&mut self, caps: &gst::Caps, rate: (i32, i32)) -> Result<(), String> {
        let decoded = VideoInfo::from_caps(caps).map_err(|e| e.to_string())?;
        let (width, height) = (decoded.width(), decoded.height());
        let info = VideoInfo::builder(decoded.format(), width, height)
            .fps(gst::Fraction::new(rate.0, rate.1))
            .par(decoded.par())
            .colorimetry(&decoded.colorimetry())
            .build()
            .map_err(|e| e.to_string())?;
        let pixel = decoded.par();
        let pixel = (pixel.numer().max(1).unsigned_abs(), pixel.denom().max(1).unsigned_abs());
        let source = Source { width, height, pixel };
        for consumer in &mut self.consumers {
            consumer.fit(source, &info);
        }
        // Largest first: each size is made from one already there.
        self.consumers.sort_by_key(|c| std::cmp::Reverse(c.size));
        self.scaler = Some(Scaler::new(info));
        self.decoded = Some(caps.clone());
        self.rate = rate;
        Ok(())
    }
}
