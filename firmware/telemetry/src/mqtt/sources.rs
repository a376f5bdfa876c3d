//! Where what is told comes from: the board, its events, the machine, the preview.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use protocol::{
    command::Ack,
    payload::{self, Event as BoardEvent, Health, Lifecycle},
    push::ConfigState,
    topics::ComponentName,
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{Interval, MissedTickBehavior, interval},
};
use watchdog::{board::Board, clock::SharedClock, mood::Mood};

use super::{MAX_PREVIEW, Reporter, outbox::Outbox};
use crate::vitals::Vitals;

/// Where what is told comes from.
pub(super) struct Sources<'a> {
    reporter: &'a Reporter,
    pub(super) board: &'a Board,
    pub(super) clock: &'a SharedClock,
    born: Duration,
    changes: watch::Receiver<u64>,
    events: broadcast::Receiver<BoardEvent>,
    preview: Option<watch::Receiver<Option<Bytes>>>,
    answers: Option<mpsc::Receiver<Ack>>,
    config_state: Option<watch::Receiver<Option<ConfigState>>>,
    health_ticks: Interval,
    preview_ticks: Interval,
}

impl<'a> Sources<'a> {
    pub(super) fn new(
        reporter: &'a Reporter,
        board: &'a Board,
        clock: &'a SharedClock,
        answers: Option<mpsc::Receiver<Ack>>,
        outbox: &mut Outbox,
    ) -> Self {
        let ticks = |period: Duration| {
            let mut ticks = interval(period.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let mut changes = board.subscribe();
        changes.mark_changed();
        let mut preview = reporter.preview.clone();
        if let Some(preview) = &mut preview {
            preview.mark_changed();
        }
        let mut config_state = reporter.config_state.clone();
        if let Some(state) = &mut config_state {
            state.mark_changed();
        }
        // What happened before we came is told too.
        let (earlier, events) = board.follow_events();
        for event in earlier {
            outbox.push_event(event);
        }
        Self {
            reporter,
            board,
            clock,
            born: clock.monotonic(),
            changes,
            events,
            preview,
            answers,
            config_state,
            health_ticks: ticks(reporter.periods.health),
            preview_ticks: ticks(reporter.periods.preview),
        }
    }

    /// Waits for news and puts it into the outbox. Cancel-safe.
    pub(super) async fn next(&mut self, outbox: &mut Outbox) {
        tokio::select! {
            changed = self.changes.changed() => match changed {
                Ok(()) => self.moods(outbox),
                Err(_) => pending().await,
            },
            event = self.events.recv() => match event {
                Ok(event) => outbox.push_event(event),
                Err(broadcast::error::RecvError::Lagged(count)) => outbox.missed_events(count),
                Err(broadcast::error::RecvError::Closed) => pending().await,
            },
            answer = next_answer(&mut self.answers) => outbox.push_answer(answer),
            state = next_state(&mut self.config_state) => {
                if let Some(state) = state {
                    outbox.set_config(state);
                }
            }
            _ = self.health_ticks.tick() => outbox.set_health(self.health(outbox.dropped())),
            _ = self.preview_ticks.tick() => self.take_preview(outbox),
        }
    }

    /// Events that came and were not gathered yet, and the moods as they are at last.
    pub(super) fn take_waiting_events(&mut self, outbox: &mut Outbox) {
        while let Ok(event) = self.events.try_recv() {
            outbox.push_event(event);
        }
        while let Some(Ok(answer)) = self.answers.as_mut().map(mpsc::Receiver::try_recv) {
            outbox.push_answer(answer);
        }
        if let Some(state) =
            self.config_state.as_mut().and_then(|it| it.borrow_and_update().clone())
        {
            outbox.set_config(state);
        }
        self.moods(outbox);
    }

    fn moods(&self, outbox: &mut Outbox) {
        let snapshot = self.board.snapshot();
        // Whoever reads this is connected, so our own mood is no cause for alarm.
        let alarm = snapshot.iter().any(|(name, status)| {
            name != self.reporter.component && matches!(status.mood, Mood::Sad | Mood::Lost)
        });
        outbox.set_state(if alarm { Lifecycle::Alert } else { Lifecycle::Ready });
        let named = snapshot
            .iter()
            .map(|(name, status)| (ComponentName::made_safe(name), status.into()))
            .collect();
        outbox.set_components(named);
    }

    fn health(&self, events_dropped: u64) -> Health {
        let Vitals { load, memory_bytes, temperature_c } = Vitals::read();
        Health {
            v: payload::VERSION,
            at: self.clock.utc(),
            mood: self.board.worst().0,
            uptime_s: self.clock.monotonic().saturating_sub(self.born).as_secs(),
            load,
            memory_bytes,
            temperature_c,
            events_dropped,
            more: (self.reporter.numbers)(),
        }
    }

    fn take_preview(&mut self, outbox: &mut Outbox) {
        let Some(preview) = &mut self.preview else { return };
        // An error means that nobody makes previews any more.
        if !preview.has_changed().unwrap_or(false) {
            return;
        }
        let jpeg = preview.borrow_and_update().clone();
        match jpeg {
            Some(jpeg) if jpeg.len() <= MAX_PREVIEW => outbox.set_preview(jpeg),
            Some(jpeg) => tracing::warn!(
                "a preview of {} bytes is more than the {MAX_PREVIEW} that are sent",
                jpeg.len()
            ),
            None => {}
        }
    }
}

/// What became of a revision, when that changes; for ever, when nobody tells. Cancel-safe.
async fn next_state(
    from: &mut Option<watch::Receiver<Option<ConfigState>>>,
) -> Option<ConfigState> {
    if let Some(state) = from {
        if state.changed().await.is_ok() {
            return state.borrow_and_update().clone();
        }
        *from = None;
    }
    pending().await
}

/// The next answer to a command; for ever, when there is nobody who answers. Cancel-safe.
async fn next_answer(answers: &mut Option<mpsc::Receiver<Ack>>) -> Ack {
    if let Some(from) = answers {
        if let Some(answer) = from.recv().await {
            return answer;
        }
        *answers = None;
    }
    pending().await
}
