//! What is sent now: the counters of who takes what, looked at once a second. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::names::RoomName;
use protocol::register::{Format, Load, Report};

use crate::room::mounts;

/// "Now" is the last so many seconds: long enough for HLS, whose segments go out in bursts.
const WINDOW: Duration = Duration::from_secs(10);

/// The stream of a format, by its name in addresses.
#[must_use]
pub fn stream(format: Format) -> &'static str {
    match format {
        Format::WebmHigh => mounts::WEBM_HIGH.name,
        Format::WebmLow => mounts::WEBM_LOW.name,
        Format::FlvHigh => mounts::FLV_HIGH.name,
        Format::FlvLow => mounts::FLV_LOW.name,
        Format::OggHigh => mounts::OGG.name,
        Format::AacHigh => mounts::AAC.name,
        Format::Mp3High => mounts::MP3.name,
    }
}

/// One stream's counters at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Who takes it now.
    pub clients: u64,
    /// Bytes sent to all clients since the encoder began.
    pub sent: u64,
    /// Bytes of the stream itself since the encoder began; 0 if that is not known.
    pub made: u64,
}

/// A room's counters at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// In the order of [`Format::ALL`].
    pub formats: [Counted; Format::ALL.len()],
    /// HLS.
    pub hls: Counted,
    /// The loop-through.
    pub looped: Counted,
}

/// A room's counters over the last seconds.
#[derive(Debug, Default)]
struct Meter {
    samples: VecDeque<(Duration, Counts)>,
}

impl Meter {
    fn sample(&mut self, now: Duration, counts: Counts) {
        self.samples.push_back((now, counts));
        // The oldest kept is the newest that is at least the window old.
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    fn report(&self) -> Report {
        let (Some((began, old)), Some((ended, new))) = (self.samples.front(), self.samples.back())
        else {
            return Report::default();
        };
        let over = ended.saturating_sub(*began);
        let load = |old: &Counted, new: &Counted| Load {
            clients: new.clients,
            bitrate: rate(old.sent, new.sent, over),
            stream_bitrate: rate(old.made, new.made, over),
        };
        let mut hls = load(&old.hls, &new.hls);
        // Renditions differ: what one client takes is the mean.
        hls.stream_bitrate = hls.bitrate / hls.clients.max(1);
        let mut formats = [Load::default(); Format::ALL.len()];
        for (to, (old, new)) in formats.iter_mut().zip(old.formats.iter().zip(&new.formats)) {
            *to = load(old, new);
        }
        Report { formats, hls, looped: load(&old.looped, &new.looped) }
    }
}

/// Bits per second between two counts of bytes.
fn rate(old: u64, new: u64, over: Duration) -> u64 {
    let bits = u128::from(new.saturating_sub(old)) * 8 * 1000;
    u64::try_from(bits.checked_div(over.as_millis()).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// The meters of all rooms. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Meters(Arc<Mutex<BTreeMap<RoomName, Meter>>>);

impl Meters {
    /// Notes a room's counters.
    pub fn sample(&self, room: &RoomName, now: Duration, counts: Counts) {
        self.lock().entry(room.clone()).or_default().sample(now, counts);
    }

    /// What is to be reported of a room; zeros before the first sample.
    #[must_use]
    pub fn report(&self, room: &RoomName) -> Report {
        self.lock().get(room).map_or_else(Report::default, Meter::report)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RoomName, Meter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn counts(clients: u64, sent: u64, made: u64) -> Counts {
        let one = Counted { clients, sent, made };
        Counts { formats: [one; 7], hls: Counted { made: 0, ..one }, looped: one }
    }

    #[test]
    fn it_tells_the_present_and_forgets_the_past() {
        let mut meter = Meter::default();
        assert_eq!(meter.report(), Report::default());
        meter.sample(SECOND * 100, counts(0, 1 << 40, 1 << 30));
        assert_eq!(meter.report().formats[0].bitrate, 0, "one look is no rate");
        // Ten seconds with two viewers of 1 Mbit/s, then twenty with none.
        for second in 1..=10 {
            let bytes = second * 125_000;
            let now = SECOND * (100 + u32::try_from(second).unwrap());
            meter.sample(now, counts(2, (1 << 40) + 2 * bytes, (1 << 30) + bytes));
        }
        let report = meter.report();
        let load = Load { clients: 2, bitrate: 2_000_000, stream_bitrate: 1_000_000 };
        assert_eq!((report.formats[3], report.looped, report.hls), (load, load, load));
        for second in 11..=30 {
            let made = (1 << 30) + 125_000 * u64::from(second);
            meter.sample(SECOND * (100 + second), counts(0, (1 << 40) + 2_500_000, made));
        }
        let load = Load { clients: 0, bitrate: 0, stream_bitrate: 1_000_000 };
        assert_eq!(meter.report().formats[3], load);
        assert!(meter.samples.len() <= 12, "{}", meter.samples.len());
    }

    #[test]
    fn every_format_has_a_stream_of_its_own() {
        let names: std::collections::BTreeSet<_> = Format::ALL.map(stream).into_iter().collect();
        let all: std::collections::BTreeSet<_> =
            mounts::ALL.map(|it| it.name).into_iter().collect();
        assert_eq!(names, all);
    }

    proptest! {
        #[test]
        fn odd_counters_and_clocks_do_no_harm(
            looks in proptest::collection::vec((any::<u32>(), any::<u64>()), 0..50)
        ) {
            let mut meter = Meter::default();
            for (at, bytes) in looks {
                meter.sample(Duration::from_millis(at.into()), counts(1, bytes, bytes));
                let _ = meter.report().to_json();
            }
        }
    }
}
