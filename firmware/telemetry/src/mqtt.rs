//! Telling an MQTT broker how the device is. See `protocol::topics` for what is told where.
//!
//! ```text
//! board, events, numbers, preview ──▶ outbox (bounded) ──one message at a time──▶ broker
//! answers to commands ─────────────▶    gauges: newest wins                         │
//!                                       events: in order, the oldest dropped and counted
//!      commands, configuration ◀────────────────────────────────────────────────────┘
//!
//!   ┌─▶ connecting ──accepted──▶ connected: init, birth, moods, ready ──cancel──▶ disconnected
//!   │        │ refused, no answer     │ lost
//!   └──wait──┴────────────────────────┘     (twice as long each time, with jitter)
//! ```
//! Nothing here ever makes anybody wait. A broker that is missing or wrong shows as the component
//! `mqtt` on the board, with a reason; all else goes on. If the program dies, the broker publishes
//! its last will: state `lost`. Home Assistant is told what there is to show, if it was not switched
//! off; a broker that does not take that is no fault.

mod connect;
mod homeassistant;
mod outbox;
mod session;
mod sources;

use std::{fmt, time::Duration};

pub use self::connect::{explain, tls};

use bytes::Bytes;
use protocol::{command::Ack, config::Mqtt, names::DeviceName, payload::Birth, push::ConfigState};
use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use watchdog::{board::Board, clock::SharedClock};

/// The component's name on the board.
pub const COMPONENT: &str = "mqtt";
/// The largest preview sent, bytes; a larger one is passed over.
pub const MAX_PREVIEW: usize = 20_000;

/// How often gauges are sent, and how patient the reporter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Periods {
    /// Between two `health`.
    pub health: Duration,
    /// Between two `preview`.
    pub preview: Duration,
    /// The first wait after a failure.
    pub retry: Duration,
    /// The longest.
    pub retry_cap: Duration,
    /// To connect, with encryption and log-in.
    pub connect: Duration,
    /// Silence after which the connection is tested; a broker waits half as long again.
    pub keep_alive: Duration,
    /// For the last words when the daemon stops.
    pub farewell: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            health: Duration::from_secs(5),
            preview: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            retry_cap: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            keep_alive: Duration::from_secs(10),
            farewell: Duration::from_secs(2),
        }
    }
}

type Numbers = Box<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// A message to the device: an order, not understood yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// As it came.
    pub payload: Bytes,
    /// The broker had kept it: it may be old, and will come again with the next connection.
    pub retained: bool,
}

/// What is told, and to whom.
pub struct Reporter {
    broker: Mqtt,
    device: DeviceName,
    /// `None` for a companion.
    birth: Option<Birth>,
    /// The connection's name on the board.
    component: &'static str,
    commands: Option<mpsc::Sender<Incoming>>,
    answers: Option<mpsc::Receiver<Ack>>,
    configs: Option<mpsc::Sender<Incoming>>,
    config_state: Option<watch::Receiver<Option<ConfigState>>>,
    numbers: Numbers,
    preview: Option<watch::Receiver<Option<Bytes>>>,
    periods: Periods,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl Reporter {
    /// A reporter for a device, which `birth` names.
    #[must_use]
    pub fn new(broker: Mqtt, birth: Birth) -> Self {
        let device = birth.device.clone();
        Self { birth: Some(birth), ..Self::companion(broker, device, COMPONENT) }
    }

    /// A reporter for a second program of a device, beside the one that tells its state, birth and
    /// health and leaves its last will: this one tells only its components and events. `component`
    /// is its connection's name on the board.
    #[must_use]
    pub fn companion(broker: Mqtt, device: DeviceName, component: &'static str) -> Self {
        Self {
            broker,
            device,
            birth: None,
            component,
            commands: None,
            answers: None,
            configs: None,
            config_state: None,
            numbers: Box::new(Map::new),
            preview: None,
            periods: Periods::default(),
        }
    }

    /// The role's own numbers, put into every `health`. Called on the reporter's task: it must not
    /// wait.
    #[must_use]
    pub fn numbers(
        mut self,
        numbers: impl Fn() -> Map<String, Value> + Send + Sync + 'static,
    ) -> Self {
        self.numbers = Box::new(numbers);
        self
    }

    /// Hears the device's commands, and tells the answers to them. Commands that nobody takes in
    /// time are passed over: whoever reads them must not wait.
    #[must_use]
    pub fn commands(
        mut self,
        commands: mpsc::Sender<Incoming>,
        answers: mpsc::Receiver<Ack>,
    ) -> Self {
        self.commands = Some(commands);
        self.answers = Some(answers);
        self
    }

    /// Hears the revisions that are pushed to the device, and tells what it made of them.
    #[must_use]
    pub fn configs(
        mut self,
        configs: mpsc::Sender<Incoming>,
        state: watch::Receiver<Option<ConfigState>>,
    ) -> Self {
        self.configs = Some(configs);
        self.config_state = Some(state);
        self
    }

    /// Where the newest preview JPEG is found.
    #[must_use]
    pub fn preview(mut self, preview: watch::Receiver<Option<Bytes>>) -> Self {
        self.preview = Some(preview);
        self
    }

    /// Other periods than the usual ones.
    #[must_use]
    pub fn periods(mut self, periods: Periods) -> Self {
        self.periods = periods;
        self
    }

    /// Starts telling. When cancelled, it sends what is still to be told, says `disconnected`, and
    /// the task ends, within [`Periods::farewell`]. Aborting the task leaves the last will to speak.
    #[must_use = "wait for the task at the end, so that the last words get out"]
    pub fn spawn(
        self,
        board: Board,
        clock: SharedClock,
        cancel: CancellationToken,
    ) -> JoinHandle<()> {
        tokio::spawn(session::run(self, board, clock, cancel))
    }
}
