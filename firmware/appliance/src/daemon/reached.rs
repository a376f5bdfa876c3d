//! Whether encoder and broker are reached, from what the collector and our own connection tell.

use std::{sync::Arc, time::Duration};

use protocol::{
    mood::Mood,
    status::{CollectorStatus, FILE},
};
use telemetry::life::Pulse;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;

use super::MQTT;
use crate::{kept, paths::Paths};

/// Between two looks: the collector writes each second.
const LOOK: Duration = Duration::from_secs(1);
/// Looks at a status that does not change, and it is as good as none.
const STALE: u32 = 15;

/// What was reached; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// Encoder or broker, now.
    pub(super) now: Arc<watch::Sender<bool>>,
    /// In this run: the broker if there is one, else the encoder.
    pub(super) once: Arc<watch::Sender<bool>>,
}

impl Default for Reached {
    fn default() -> Self {
        Self { now: Arc::new(watch::Sender::new(false)), once: Arc::new(watch::Sender::new(false)) }
    }
}

/// What is looked at.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) paths: Paths,
    pub(super) board: Board,
    pub(super) has_broker: bool,
    pub(super) pulse: Pulse,
}

impl Watched {
    /// Looks until cancelled. This is the daemon's main loop as far as its pulse goes.
    pub(super) async fn run(self, reached: Reached, cancel: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<CollectorStatus> = None;
        let mut same = 0u32;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => self.pulse.beat(),
            }
            let status = kept::read_json::<CollectorStatus>(&self.paths.collector().join(FILE));
            same = if status == last { same.saturating_add(1) } else { 0 };
            last = status;
            let fresh = last.as_ref().filter(|_| same < STALE);
            let encoder = fresh.is_some_and(encoder);
            let broker = self.board.get(MQTT).is_some_and(|own| own.mood == Mood::Happy)
                || fresh.is_some_and(|status| is_happy(status, "mqtt"));
            set(&reached.now, encoder || broker);
            if if self.has_broker { broker } else { encoder } {
                set(&reached.once, true);
            }
        }
    }
}

/// The encoder has confirmed something, and is there.
fn encoder(status: &CollectorStatus) -> bool {
    status.confirmed && is_happy(status, "uplink")
}

fn is_happy(status: &CollectorStatus, component: &str) -> bool {
    status.components.get(component).is_some_and(|it| it.mood == Mood::Happy)
}

fn set(what: &watch::Sender<bool>, to: bool) {
    what.send_if_modified(|now| std::mem::replace(now, to) != to);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uplink: &str, confirmed: bool, at: u32) -> String {
        format!(
            r#"{{"v":1,"at":"2026-02-03T04:05:{at:02}Z","room":"hall","device":"box-1","confirmed":{confirmed},
            "components":{{"uplink":{{"mood":"{uplink}","since":"2026-02-03T04:05:06Z","reason":"x"}}}}}}"#
        )
    }

    #[tokio::test]
    async fn the_encoder_counts_when_it_has_confirmed_something() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let put = |text: String| {
            kept::write(&paths.collector().join(FILE), text.as_bytes(), 0o644).unwrap();
        };
        put(status("happy", false, 1));
        let cancel = CancellationToken::new();
        let reached = Reached::default();
        let (mut now, once) = (reached.now.subscribe(), reached.once.subscribe());
        let watched = Watched {
            paths: paths.clone(),
            board: Board::new(watchdog::clock::system()),
            has_broker: false,
            pulse: Pulse::default(),
        };
        let task = tokio::spawn(watched.run(reached, cancel.clone()));
        let patience = Duration::from_secs(60);
        put(status("happy", true, 2));
        tokio::time::timeout(patience, now.wait_for(|now| *now)).await.unwrap().unwrap();
        put(status("sad", true, 3));
        tokio::time::timeout(patience, now.wait_for(|now| !*now)).await.unwrap().unwrap();
        assert!(*once.borrow(), "once is once");
        cancel.cancel();
        task.await.unwrap();
    }
}
