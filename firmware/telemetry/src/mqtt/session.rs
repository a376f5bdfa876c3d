//! The reporter's task: gathers what is to be told, keeps a connection, and tells.

use std::{
    future::pending,
    pin::{Pin, pin},
    time::Duration,
};

use protocol::{
    command::Ack,
    payload::{EventKind, Lifecycle},
    topics::Topic,
};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Outgoing, Packet, PublishNoticeError,
    PublishOptions, QoS,
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use watchdog::{
    backoff::{Backoff, jitter},
    board::Board,
    clock::SharedClock,
    mood::Mood,
};

use super::{
    Incoming, Reporter, connect,
    homeassistant::{self, Who},
    outbox::{Item, Outbox},
    sources::Sources,
};

/// A connection that held this long was a good one.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// So many shorter ones in a row are no accident.
const SHORT_ONES: u32 = 3;

/// Why a session ended.
enum End {
    /// The connection is gone, or never came.
    Lost { mood: Mood, reason: String, lasted: Option<Duration> },
    /// We were told to stop.
    Cancelled,
}

/// Tells until cancelled.
pub(super) async fn run(
    mut reporter: Reporter,
    board: Board,
    clock: SharedClock,
    cancel: CancellationToken,
) {
    let shown = reporter.broker.shown();
    let mut backoff = Backoff::new(reporter.periods.retry, reporter.periods.retry_cap);
    let mut short_ones = 0u32;
    let answers = reporter.answers.take();
    let component = reporter.component;
    let mut desk = Desk::new(&reporter, &board, &clock, answers);
    board.set(component, Mood::Waking, format!("connecting to {shown}"));
    loop {
        let (mood, mut reason, lasted) = match desk.session(&cancel).await {
            End::Lost { mood, reason, lasted } => (mood, reason, lasted),
            End::Cancelled => break,
        };
        match lasted {
            Some(lasted) if lasted >= GOOD_CONNECTION => {
                backoff.reset();
                short_ones = 0;
            }
            Some(_) => short_ones = short_ones.saturating_add(1),
            None => short_ones = 0,
        }
        if short_ones >= SHORT_ONES {
            // Not every broker says why (mosquitto 2.0 does not), and this is the usual reason.
            let device = &reporter.device;
            reason =
                format!("{reason} again and again: is there another device named \"{device}\"?");
        }
        let wait = backoff.next(jitter());
        let seconds = wait.as_secs_f64().ceil();
        board.set(component, mood, format!("{reason}; trying again in {seconds} s"));
        if !desk.gather_for(wait, &cancel).await {
            break;
        }
    }
    board.set(component, Mood::Sleeping, "stopped on purpose");
}

/// Everything the task works with.
struct Desk<'a> {
    reporter: &'a Reporter,
    outbox: Box<Outbox>,
    sources: Sources<'a>,
    /// Dropped events that were not spoken of yet.
    dropped_told: u64,
}

impl<'a> Desk<'a> {
    fn new(
        reporter: &'a Reporter,
        board: &'a Board,
        clock: &'a SharedClock,
        answers: Option<mpsc::Receiver<Ack>>,
    ) -> Self {
        let who = Who {
            device: &reporter.device,
            birth: reporter.birth.as_ref(),
            commands: reporter.commands.is_some(),
        };
        let prefix = reporter.broker.home_assistant.as_deref();
        let discovery = homeassistant::discovery(prefix, who);
        let (device, birth) = (reporter.device.clone(), reporter.birth.clone());
        let mut outbox = Box::new(Outbox::new(device, birth, discovery));
        let sources = Sources::new(reporter, board, clock, answers, &mut outbox);
        Self { reporter, outbox, sources, dropped_told: 0 }
    }

    /// Gathers without a connection; `false` when cancelled.
    async fn gather_for(&mut self, wait: Duration, cancel: &CancellationToken) -> bool {
        let mut over = pin!(tokio::time::sleep(wait));
        loop {
            tokio::select! {
                () = cancel.cancelled() => return false,
                () = &mut over => return true,
                () = self.sources.next(&mut self.outbox) => {}
            }
        }
    }

    /// One connection, from the attempt to its end.
    async fn session(&mut self, cancel: &CancellationToken) -> End {
        let Reporter { broker, periods, component, .. } = self.reporter;
        let companion = self.reporter.birth.is_none();
        let device = self.outbox.device().clone();
        let shown = broker.shown();
        let options = match connect::options(broker, &device, periods, companion) {
            Ok(options) => options,
            Err(reason) => return End::Lost { mood: Mood::Sad, reason, lasted: None },
        };
        let (client, eventloop) = AsyncClient::builder(options).capacity(4).build();
        let accepted = Notify::new();
        let Reporter { commands, configs, .. } = self.reporter;
        let orders: Vec<(String, mpsc::Sender<Incoming>)> =
            [(Topic::Command, commands), (Topic::Config, configs)]
                .into_iter()
                .filter_map(|(topic, to)| Some((topic.of(&device), to.clone()?)))
                .collect();
        let mut pump = pin!(pump(eventloop, &accepted, &orders));
        let mut connected: Option<Duration> = None;
        let mut under_way: Option<UnderWay> = None;
        loop {
            if connected.is_some() && under_way.is_none() {
                under_way = UnderWay::begin(&client, &self.outbox);
            }
            tokio::select! {
                error = &mut pump => {
                    if let Some(under_way) = &under_way {
                        self.outbox.cut_off(&under_way.item);
                    }
                    let (mood, reason) = connect::explain(&error, &shown, &device);
                    let now = self.sources.clock.monotonic();
                    let lasted = connected.map(|since| now.saturating_sub(since));
                    return End::Lost { mood, reason, lasted };
                }
                () = accepted.notified(), if connected.is_none() => {
                    connected = Some(self.sources.clock.monotonic());
                    self.outbox.connected();
                    for (topic, _) in &orders {
                        if let Err(error) = client.try_subscribe(topic.as_str(), QoS::AtLeastOnce) {
                            tracing::warn!("{topic} cannot be asked for: {error}");
                        }
                    }
                    self.sources.board.set(component, Mood::Happy, format!("connected to {shown}"));
                    self.speak_of_dropped();
                }
                outcome = UnderWay::outcome(&mut under_way) => {
                    if let Some((item, outcome)) = outcome {
                        self.account(&item, outcome, &shown);
                    }
                }
                () = self.sources.next(&mut self.outbox) => {}
                () = cancel.cancelled() => break,
            }
        }
        if connected.is_some() {
            self.sources.take_waiting_events(&mut self.outbox);
            let farewell = self.farewell(&client, pump, under_way);
            if timeout(periods.farewell, farewell).await.is_err() {
                tracing::warn!("the broker at {shown} did not take the last words in time");
            }
        }
        End::Cancelled
    }

    /// Tells what is left and that we leave.
    async fn farewell(
        &mut self,
        client: &AsyncClient,
        mut pump: Pin<&mut impl Future<Output = ConnectionError>>,
        mut under_way: Option<UnderWay>,
    ) {
        self.outbox.leaving();
        let last_words = async {
            self.tell_all(client, &mut under_way).await;
            self.outbox.set_state(Lifecycle::Disconnected);
            self.tell_all(client, &mut under_way).await;
            // Normal disconnection: the broker throws the last will away.
            client.disconnect().await
        };
        tokio::select! {
            _ = &mut pump => {}
            _ = last_words => {
                let _ = pump.await;
            }
        }
    }

    /// Tells until nothing is left to tell.
    async fn tell_all(&mut self, client: &AsyncClient, under_way: &mut Option<UnderWay>) {
        loop {
            *under_way = under_way.take().or_else(|| UnderWay::begin(client, &self.outbox));
            if under_way.is_none() {
                return;
            }
            if let Some((item, _)) = UnderWay::outcome(under_way).await {
                self.outbox.told(&item);
            }
        }
    }

    /// Takes note of how a message went.
    fn account(&mut self, item: &Item, outcome: Result<(), PublishNoticeError>, shown: &str) {
        match outcome {
            Ok(()) => self.outbox.told(item),
            // The connection is going; its end says why, and the item is told again after it.
            Err(PublishNoticeError::Recv | PublishNoticeError::SessionReset) => {}
            Err(PublishNoticeError::Qos0NotFlushed) => {}
            // Home Assistant is not everybody's: a broker whose rules do not know it is no fault.
            Err(error) if *item == Item::Discovery => {
                let topic = self.outbox.message(item).topic;
                tracing::info!("the broker at {shown} does not take {topic}: {error}");
                self.outbox.told(item);
            }
            Err(error) => {
                // Refused for good: telling it again and again would keep back everything else.
                let topic = self.outbox.message(item).topic;
                let reason = format!("the broker at {shown} does not take {topic}: {error}");
                self.sources.board.set(self.reporter.component, Mood::Sad, reason);
                self.outbox.told(item);
            }
        }
    }

    fn speak_of_dropped(&mut self) {
        let new = self.outbox.dropped().saturating_sub(self.dropped_told);
        if new > 0 {
            self.dropped_told = self.outbox.dropped();
            let message = format!("{new} events were dropped while the broker was away");
            self.sources.board.event(EventKind::Loss, self.reporter.component, message);
        }
    }
}

/// A message that was handed over and is not confirmed yet. There is one at a time: so a gauge
/// that changes meanwhile is sent once with its newest value, and nothing queues up elsewhere.
struct UnderWay {
    item: Item,
    confirmed: Pin<Box<dyn Future<Output = Result<(), PublishNoticeError>> + Send>>,
}

impl UnderWay {
    fn begin(client: &AsyncClient, outbox: &Outbox) -> Option<Self> {
        let item = outbox.next()?;
        let message = outbox.message(&item);
        let options = if message.surely {
            PublishOptions::at_least_once()
        } else {
            PublishOptions::at_most_once()
        };
        let options = options.retain(message.retain);
        // With nothing under way there is always room; an error means that the connection is going.
        let notice = client.try_publish_tracked(message.topic, message.payload, options).ok()?;
        Some(Self { item, confirmed: Box::pin(notice.wait_completion_async()) })
    }

    /// Waits for the confirmation; for ever when nothing is under way. Cancel-safe.
    async fn outcome(this: &mut Option<Self>) -> Option<(Item, Result<(), PublishNoticeError>)> {
        let Some(under_way) = this else { return pending().await };
        let outcome = under_way.confirmed.as_mut().await;
        this.take().map(|under_way| (under_way.item, outcome))
    }
}

/// Keeps the connection going; returns with its end. Never dropped half-way through a packet.
async fn pump(
    mut eventloop: EventLoop,
    accepted: &Notify,
    orders: &[(String, mpsc::Sender<Incoming>)],
) -> ConnectionError {
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => accepted.notify_one(),
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let whose = orders.iter().find(|(topic, _)| publish.topic == topic.as_bytes());
                let Some((topic, to)) = whose else { continue };
                // An empty message only takes back what the broker kept.
                if publish.payload.is_empty() {
                    continue;
                }
                let incoming = Incoming { payload: publish.payload, retained: publish.retain };
                if to.try_send(incoming).is_err() {
                    tracing::warn!("too much at once on {topic}; one message was passed over");
                }
            }
            Ok(Event::Incoming(Packet::SubAck(answer))) => {
                tracing::debug!("subscribed: the broker answered {:?}", answer.return_codes);
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => {
                tracing::debug!("disconnected");
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
