//! One rung of the ladder: its pictures wait here until they fill a slot that the source closed.

use super::cutter::{Cut, Picture};
use flv::avc::AvcConfig;
use std::collections::VecDeque;
use std::sync::Arc;

/// Timestamps of a rung are the source's, give or take rounding, milliseconds.
const TOLERANCE_MS: u64 = 7;
/// Pictures waiting at most: a minute at 60 per second.
const MAX_WAITING: usize = 3600;
/// Bytes waiting at most.
const MAX_BYTES: usize = 48 << 20;

/// What a rung needs to know of a closed slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) last_pts_ms: u64,
    pub(super) independent: bool,
    pub(super) key_next: bool,
}

impl From<&Cut> for Span {
    fn from(cut: &Cut) -> Self {
        let Cut { start_ms, end_ms, last_pts_ms, independent, key_next, .. } = *cut;
        Self { start_ms, end_ms, last_pts_ms, independent, key_next }
    }
}

/// What a rung has for a slot.
#[derive(Debug)]
pub(super) enum Filled {
    /// Its pictures have not come to the slot's end.
    NotYet,
    /// It has nothing that can be shown.
    Missed,
    Pictures(Arc<AvcConfig>, Vec<Picture>),
}

/// The pictures of a rung that are in no segment yet.
#[derive(Debug, Default)]
pub(super) struct Rung {
    config: Option<Arc<AvcConfig>>,
    waiting: VecDeque<(Arc<AvcConfig>, Picture)>,
    bytes: usize,
}

impl Rung {
    pub(super) fn set_config(&mut self, config: AvcConfig) {
        if self.config.as_ref().is_none_or(|old| old.bytes != config.bytes) {
            self.config = Some(Arc::new(config));
        }
    }

    pub(super) fn push(&mut self, picture: Picture) {
        let Some(config) = &self.config else { return };
        self.bytes += picture.data.len();
        self.waiting.push_back((Arc::clone(config), picture));
        if self.waiting.len() > MAX_WAITING || self.bytes > MAX_BYTES {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }

    /// Takes the pictures of a closed slot, once they are all there.
    pub(super) fn fill(&mut self, span: Span) -> Filled {
        // From before the slot: it was given up, or the source broke off.
        self.take_while(|picture| picture.pts_ms + TOLERANCE_MS < span.start_ms);
        let after = |picture: &Picture| {
            // In decoding order the next keyframe is the boundary. A picture from well after it
            // says that the keyframe is missing.
            (picture.key && picture.pts_ms + TOLERANCE_MS >= span.end_ms)
                || picture.dts_ms > span.end_ms + TOLERANCE_MS
                || (!span.key_next && picture.dts_ms + TOLERANCE_MS >= span.end_ms)
        };
        let beyond = self.waiting.iter().any(|(_, picture)| after(picture));
        let all = |(_, picture): &(_, Picture)| picture.pts_ms + TOLERANCE_MS >= span.last_pts_ms;
        if !beyond && !self.waiting.iter().any(all) {
            return Filled::NotYet;
        }
        let taken = self.take_while(|picture| !after(picture));
        let Some((config, first)) = taken.first() else { return Filled::Missed };
        let decodable = first.key || !span.independent;
        if !decodable || taken.iter().any(|(other, _)| other.bytes != config.bytes) {
            return Filled::Missed;
        }
        Filled::Pictures(
            Arc::clone(config),
            taken.into_iter().map(|(_, picture)| picture).collect(),
        )
    }

    fn take_while(&mut self, wanted: impl Fn(&Picture) -> bool) -> Vec<(Arc<AvcConfig>, Picture)> {
        let mut taken = Vec::new();
        while let Some(item) = self.waiting.pop_front_if(|(_, picture)| wanted(picture)) {
            self.bytes -= item.1.data.len();
            taken.push(item);
        }
        taken
    }
}
