//! Tells the box it runs on: `status.json` and `preview.jpg` in the runtime directory, for the box's
//! own page and screen. Written only where systemd has made such a directory.
//!
//! Both are small and go to memory (`/run`), so that writing them holds nothing up; a reader sees a
//! whole file always, since each is written beside the old one and takes its place.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::config::Site;
use protocol::config::site::Destination;
use protocol::mood::Mood;
use protocol::names::SessionId;
use protocol::status::{CollectorStatus, Component, FILE, PREVIEW, Sending, Source, VERSION};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use super::numbers;
use crate::capture::report::Health;
use crate::uplink::http::COMPONENT as UPLINK;
use crate::uplink::queue::Queue;

/// How often the file is written when nothing changes.
const TICK: Duration = Duration::from_secs(1);
/// How soon it may be written again.
const SPACING: Duration = Duration::from_millis(100);
/// Over how long the bit rate is measured: a few GOPs.
const RATE_OVER: Duration = Duration::from_secs(6);

/// Counts bytes made; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Made(Arc<AtomicU64>);

impl Made {
    /// So many more.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is told, and where it is found.
pub struct Local {
    /// The directory.
    pub dir: PathBuf,
    /// The configuration.
    pub site: Arc<Site>,
    /// This run.
    pub session: SessionId,
    /// Moods.
    pub board: Board,
    /// The time.
    pub clock: SharedClock,
    /// What waits to be sent.
    pub queue: Queue,
    /// What has been made.
    pub made: Made,
    /// Health of picture and sound.
    pub health: watch::Receiver<Option<Health>>,
    /// How loud it is.
    pub levels: watch::Receiver<Vec<f64>>,
    /// What is captured.
    pub source: watch::Receiver<Option<Source>>,
    /// The newest picture.
    pub preview: watch::Receiver<Option<Bytes>>,
}

/// Where systemd wants this to be; it lists several directories with colons between them.
#[must_use]
pub fn runtime_directory() -> Option<PathBuf> {
    let list = std::env::var("RUNTIME_DIRECTORY").ok()?;
    list.split(':').find(|path| !path.is_empty()).map(PathBuf::from)
}

impl Local {
    /// Writes until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut board = self.board.subscribe();
        let mut rate = Rate::default();
        let mut confirmed = false;
        let mut complained = false;
        loop {
            confirmed |= self.is_confirmed();
            rate.see(self.made.bytes(), self.clock.monotonic());
            let written = self.write(&rate, confirmed);
            if let Err(error) = &written
                && !complained
            {
                tracing::warn!("the box's page will not know how we are: {error}");
            }
            complained = written.is_err();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(SPACING) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
                Ok(()) = board.changed() => {}
                Ok(()) = self.levels.changed() => {}
                Ok(()) = self.source.changed() => {}
            }
        }
    }

    /// Whether the encoder is known to take what is sent. RTMP servers confirm nothing: that they
    /// take it must do.
    fn is_confirmed(&self) -> bool {
        match self.site.encoder {
            Destination::Ingest { .. } => self.queue.with(|ledger| ledger.totals()).confirmed > 0,
            Destination::Rtmp { .. } => {
                self.board.get(UPLINK).is_some_and(|status| status.mood == Mood::Happy)
            }
        }
    }

    fn write(&mut self, rate: &Rate, confirmed: bool) -> io::Result<()> {
        let text = serde_json::to_vec(&self.status(rate, confirmed))?;
        replace(&self.dir, FILE, &text)?;
        let is_new = self.preview.has_changed().unwrap_or(false);
        match &*self.preview.borrow_and_update() {
            Some(jpeg) if self.source.borrow().is_some() => {
                if is_new || !self.dir.join(PREVIEW).exists() {
                    replace(&self.dir, PREVIEW, jpeg)?;
                }
                Ok(())
            }
            // A picture of what was there before is no preview.
            _ => match std::fs::remove_file(self.dir.join(PREVIEW)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    fn status(&self, rate: &Rate, confirmed: bool) -> CollectorStatus {
        let components = self.board.snapshot().into_iter().map(|(name, status)| {
            let component = Component {
                mood: status.mood,
                since: status.since,
                reason: status.reason,
                restarts: status.restarts,
            };
            (name, component)
        });
        let video = &self.site.video;
        let sending = (self.made.bytes() > 0).then(|| Sending {
            codecs: "H.264 and AAC".to_owned(),
            width: video.width,
            height: video.height,
            framerate: video.framerate,
            bits_per_second: rate.bits_per_second(),
        });
        CollectorStatus {
            v: VERSION,
            at: self.clock.utc(),
            room: self.site.room.clone(),
            device: self.site.device.clone(),
            session: self.session.to_string(),
            encoder: self.site.encoder.shown(),
            source: self.source.borrow().clone(),
            sending,
            components: components.collect(),
            numbers: numbers(&self.queue, &self.health),
            levels_db: self.levels.borrow().clone(),
            confirmed,
        }
    }
}

/// Puts a whole new file in the place of the old one.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, dir.join(name))
}

/// Bytes a second over the last seconds.
#[derive(Debug, Default)]
struct Rate {
    /// A total, and when it was so; oldest first, one a second.
    seen: VecDeque<(Duration, u64)>,
    newest: (Duration, u64),
}

impl Rate {
    fn see(&mut self, bytes: u64, now: Duration) {
        self.newest = (now, bytes);
        if self.seen.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= TICK) {
            self.seen.push_back(self.newest);
        }
        while self.seen.front().is_some_and(|(at, _)| now.saturating_sub(*at) > RATE_OVER) {
            self.seen.pop_front();
        }
    }

    fn bits_per_second(&self) -> u64 {
        let Some((from, bytes)) = self.seen.front() else { return 0 };
        let ms = self.newest.0.saturating_sub(*from).as_millis();
        let bits = u128::from(self.newest.1.saturating_sub(*bytes)) * 8 * 1000;
        u64::try_from(bits.checked_div(ms).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rate_is_of_the_last_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.bits_per_second(), 0);
        for second in 0..20 {
            rate.see(second * 100_000, Duration::from_secs(second));
        }
        assert_eq!(rate.bits_per_second(), 800_000);
        for second in 20..30 {
            rate.see(1_900_000, Duration::from_secs(second));
        }
        assert_eq!(rate.bits_per_second(), 0, "nothing has come for ten seconds");
        assert!(rate.seen.len() < 10);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), FILE, b"{}").unwrap();
        replace(dir.path(), FILE, b"{\"v\":1}").unwrap();
        assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), b"{\"v\":1}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    proptest! {
        #[test]
        fn the_rate_never_fails(steps in prop::collection::vec((0u64..3000, any::<u32>()), 0..100)) {
            let (mut rate, mut now, mut total) = (Rate::default(), Duration::ZERO, 0u64);
            for (ms, bytes) in steps {
                now += Duration::from_millis(ms);
                total += u64::from(bytes);
                rate.see(total, now);
                let _ = rate.bits_per_second();
                prop_assert!(rate.seen.len() <= 8);
            }
        }
    }
}
