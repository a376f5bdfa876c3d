//! The main loop: its pulse, the meters, and the wishes that it end.

use std::sync::Arc;
use std::time::Duration;

use protocol::payload::EventKind;
use telemetry::life::{Pulse, Wish, Wishes};
use telemetry::systemd;
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use crate::control::{Control, Progress};
use crate::drain::{Drain, Seen, Step};
use crate::http::Audience;
use crate::register::{Meters, Presence};
use crate::room::Rooms;

/// How often it looks, and shows that it lives.
const TURN: Duration = Duration::from_secs(1);
/// How much longer systemd is asked to wait at every turn, while viewers may stay. What comes after
/// that is included.
const EXTENSION: Duration = Duration::from_secs(30);
/// Who tells of it in MQTT.
const COMPONENT: &str = "encoder";

/// What the loop looks at.
pub(super) struct MainLoop {
    pub(super) rooms: Arc<Rooms>,
    pub(super) audience: Audience,
    pub(super) meters: Meters,
    pub(super) presence: Presence,
    /// Cancelled when websites are to be told no more.
    pub(super) announcing: CancellationToken,
    /// How long viewers may stay if the order does not say.
    pub(super) limit: Duration,
    pub(super) board: Board,
    pub(super) clock: SharedClock,
    pub(super) pulse: Pulse,
    pub(super) control: Option<Control>,
    pub(super) drain: Option<Drain>,
}

impl MainLoop {
    /// Runs until it is time to stop, and says why it is.
    pub(super) async fn run(&mut self, wishes: &mut Wishes) -> String {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                wish = wishes.next() => match wish {
                    Wish::Interrupt => return "interrupted".to_owned(),
                    Wish::Terminate if self.drain.is_some() => return "told twice".to_owned(),
                    Wish::Terminate => self.order(None),
                },
                limit = order(&mut self.control) => self.order(limit),
                _ = turn.tick() => {
                    self.pulse.beat();
                    self.measure();
                }
            }
            if let Some(why) = self.look() {
                return why;
            }
        }
    }

    fn measure(&self) {
        let now = self.clock.monotonic();
        for room in self.rooms.iter() {
            self.meters.sample(&room.name, now, self.audience.counts(room));
        }
    }

    fn order(&mut self, limit: Option<Duration>) {
        let (now, limit) = (self.clock.monotonic(), limit.unwrap_or(self.limit));
        match &mut self.drain {
            Some(drain) => drain.again(now, limit),
            None => {
                self.drain = Some(Drain::new(now, limit));
                self.announcing.cancel();
                let seconds = limit.as_secs_f32();
                let message = format!("told to stop: viewers may stay for {seconds} s");
                self.board.event(EventKind::Notice, COMPONENT, message);
            }
        }
    }

    /// Why to stop now, if it is time.
    fn look(&self) -> Option<String> {
        let seen = Seen { viewers: self.audience.viewers(), listed_until: self.presence.until() };
        match self.drain?.look(seen, self.clock.monotonic()) {
            Step::Stop(end) => Some(end.to_string()),
            Step::Wait(waiting) => {
                let waiting = waiting.to_string();
                systemd::extend(EXTENSION);
                systemd::status(&format!("draining: {waiting}"));
                if let Some(control) = &self.control {
                    control.progress(Progress::Draining(waiting));
                }
                None
            }
        }
    }
}

/// The next order of an operator, with its limit if it has one.
async fn order(control: &mut Option<Control>) -> Option<Duration> {
    match control {
        Some(control) => control.order().await,
        None => std::future::pending().await,
    }
}
