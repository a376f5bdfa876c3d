//! The reporter with a real broker.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

#[allow(dead_code, reason = "one of the broker's listeners is for another test")]
mod broker;

use std::time::Duration;

use broker::{Authority, Broker, Gate, Listener, Operator, PATIENCE, mqtt};
use bytes::Bytes;
use protocol::{
    command::{Ack, AckState},
    config::Mqtt,
    payload::{Birth, ComponentState, Event, EventKind, Health, Role, VERSION},
};
use rustix::process::{Signal, kill_process};
use telemetry::mqtt::{COMPONENT, MAX_PREVIEW, Periods, Reporter};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use watchdog::{
    board::Board,
    clock,
    mood::{ComponentStatus, Mood},
};

/// A device that tells.
struct Device {
    board: Board,
    preview: watch::Sender<Option<Bytes>>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// Short enough for a test; nothing depends on their lengths.
fn periods() -> Periods {
    Periods {
        health: Duration::from_millis(50),
        preview: Duration::from_millis(50),
        retry: Duration::from_millis(20),
        retry_cap: Duration::from_millis(200),
        keep_alive: Duration::from_secs(5),
        farewell: PATIENCE,
        ..Periods::default()
    }
}

impl Device {
    fn tells(broker: Mqtt) -> Self {
        Self::with(broker, periods())
    }

    fn with(broker: Mqtt, periods: Periods) -> Self {
        let clock = clock::system();
        let board = Board::new(clock.clone());
        board.set("capture", Mood::Happy, "working");
        board.set("demo/480p", Mood::Hungry, "no input");
        let birth = Birth {
            v: VERSION,
            device: "box-7".parse().unwrap(),
            role: Role::Collector,
            version: "1.2.3".to_owned(),
            started: clock.utc(),
            rooms: vec!["demo".parse().unwrap()],
            revision: Some("3f2a91c07b54".parse().unwrap()),
        };
        let (preview, previews) = watch::channel(None);
        let cancel = CancellationToken::new();
        let task = Reporter::new(broker, birth)
            .numbers(|| [("frames_out".to_owned(), 1234.into())].into_iter().collect())
            .preview(previews)
            .periods(periods)
            .spawn(board.clone(), clock, cancel.clone());
        Self { board, preview, cancel, task }
    }

    /// Waits until the component `mqtt` is so.
    async fn until(&self, condition: impl Fn(&ComponentStatus) -> bool) -> ComponentStatus {
        let mut changes = self.board.subscribe();
        let wait = async {
            loop {
                if let Some(status) = self.board.get(COMPONENT).filter(&condition) {
                    return status;
                }
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("{:#?}", self.board.events()))
    }

    async fn until_failed(&self) -> String {
        self.until(|s| matches!(s.mood, Mood::Sad | Mood::Lost)).await.reason
    }

    async fn until_connected(&self) {
        self.until(|s| s.mood == Mood::Happy).await;
    }

    async fn leave(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
    }
}

#[tokio::test]
async fn every_topic_is_told_and_the_leaving_is_in_good_order() {
    let broker = Broker::open().await;
    let mut listener = Listener::at(&broker).await;
    let device = Device::tells(broker.config("mqtt", ""));

    let beginning = [
        ("state", r#"{"v":1,"state":"init"}"#),
        ("birth", r#""device":"box-7","role":"collector","version":"1.2.3""#),
        ("component/capture", r#""mood":"happy""#),
        ("component/demo/480p", r#""mood":"hungry""#),
        ("component/mqtt", r#""mood":"happy""#),
        ("state", r#"{"v":1,"state":"ready"}"#),
        ("event", r#""seq":1,"#),
        ("event", r#""seq":2,"#),
    ];
    for (topic, part) in beginning {
        let (heard, payload) = listener.next().await;
        assert_eq!(heard, topic);
        assert!(payload.contains(part), "{payload}");
    }
    let health: Health = serde_json::from_str(&listener.until("health", "{").await).unwrap();
    assert_eq!(health.more["frames_out"], 1234);
    assert_eq!(health.mood, Mood::Hungry);
    assert!(health.memory_bytes.is_some_and(|bytes| bytes > 0) && health.load.is_some());

    device.preview.send_replace(Some(Bytes::from(vec![b'x'; MAX_PREVIEW + 1])));
    device.board.event(EventKind::Notice, "capture", "a preview too large");
    listener.until("event", "too large").await;
    let largest = "y".repeat(MAX_PREVIEW);
    device.preview.send_replace(Some(Bytes::from(largest.clone())));
    loop {
        let (topic, payload) = listener.next().await;
        if topic == "preview" {
            assert_eq!(payload, largest, "the one that is too large is passed over");
            break;
        }
    }

    device.board.set("capture", Mood::Sad, "the grabber is gone");
    let payload = listener.until("component/capture", "the grabber is gone").await;
    let told: ComponentState = serde_json::from_str(&payload).unwrap();
    assert_eq!(told, (&device.board.get("capture").unwrap()).into());
    listener.until("state", "alert").await;
    device.board.remove("demo/480p");
    listener.until("component/demo/480p", "").await;
    device.board.set("capture", Mood::Happy, "working");
    listener.until("state", "ready").await;

    device.board.event(EventKind::Notice, "capture", "the last word");
    device.leave().await;
    listener.until("event", "the last word").await;
    listener.until("state", "disconnected").await;
    // Whoever comes later finds that, and no last will.
    let mut late = Listener::at(&broker).await;
    let retained = late.hear(&["state", "birth", "component/capture", "component/mqtt"]).await;
    assert_eq!(retained["state"], r#"{"v":1,"state":"disconnected"}"#);
    assert!(retained["birth"].contains("box-7"));
}

#[tokio::test]
async fn a_device_that_drops_dead_leaves_its_last_will() {
    let broker = Broker::open().await;
    let mut listener = Listener::at(&broker).await;
    let device = Device::tells(broker.config("mqtt", ""));
    listener.until("state", "ready").await;
    device.task.abort();
    listener.until("state", "lost").await;
    let mut late = Listener::at(&broker).await;
    assert_eq!(late.until("state", "").await, r#"{"v":1,"state":"lost"}"#);
}

#[tokio::test]
async fn a_broker_that_restarts_is_told_all_again() {
    let mut broker = Broker::open().await;
    let device = Device::tells(broker.config("mqtt", ""));
    device.until_connected().await;
    broker.kill();
    let reason = device.until_failed().await;
    let shown = format!("the broker at mqtt://127.0.0.1:{} ", broker.port());
    assert!(reason.starts_with(&shown), "{reason}");
    assert!(reason.contains("; trying again in "), "{reason}");
    let refused = format!("{shown}refused the connection; trying again in 1 s");
    device.until(|s| s.reason == refused).await;
    broker.restart().await;
    device.until_connected().await;
    let mut listener = Listener::at(&broker).await;
    let all = ["state", "birth", "component/capture", "component/demo/480p", "component/mqtt"];
    let retained = listener.hear(&all).await;
    assert!(retained["component/capture"].contains("working"), "{retained:?}");
    device.leave().await;
}

#[tokio::test]
async fn events_of_an_outage_come_in_order_after_it() {
    let broker = Broker::open().await;
    let mut listener = Listener::at(&broker).await;
    let gate = Gate::to(&broker).await;
    let device = Device::tells(gate.config());
    listener.until("state", "ready").await;
    gate.shut();
    listener.until("state", "lost").await;
    device.until_failed().await;
    for i in 0..20 {
        device.board.event(EventKind::Notice, "capture", format!("meanwhile {i}"));
    }
    gate.open();
    for i in 0..20 {
        let payload = listener.until("event", "meanwhile").await;
        let event: Event = serde_json::from_str(&payload).unwrap();
        assert_eq!(event.message, format!("meanwhile {i}"));
    }
    device.until_connected().await;
    device.leave().await;
}

#[tokio::test]
async fn too_many_events_are_bounded_counted_and_spoken_of() {
    let broker = Broker::open().await;
    let mut listener = Listener::at(&broker).await;
    let gate = Gate::to(&broker).await;
    gate.shut();
    let device = Device::tells(gate.config());
    device.until_failed().await;
    for i in 0..1000 {
        device.board.event(EventKind::Notice, "capture", format!("meanwhile {i}"));
        if i % 100 == 0 {
            // The reporter has its turn, as it would in any daemon.
            tokio::task::yield_now().await;
        }
    }
    gate.open();
    let mut seqs = Vec::new();
    let dropped = loop {
        let event: Event = serde_json::from_str(&listener.until("event", "").await).unwrap();
        seqs.push(event.seq);
        if event.kind == EventKind::Loss {
            break event.message;
        }
    };
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    let told = dropped.strip_suffix(" events were dropped while the broker was away").unwrap();
    assert!(told.parse::<u64>().unwrap() >= 1000 - 256, "{dropped}");
    // Not one is unaccounted for: what was not told is counted.
    let missing = seqs.last().unwrap() - u64::try_from(seqs.len()).unwrap();
    listener.until("health", &format!("\"events_dropped\":{missing},")).await;
    device.leave().await;
}

#[tokio::test]
async fn a_broker_that_freezes_is_noticed() {
    let broker = Broker::open().await;
    let periods = Periods { keep_alive: Duration::from_secs(1), ..periods() };
    let device = Device::with(broker.config("mqtt", ""), periods);
    device.until_connected().await;
    kill_process(broker.pid(), Signal::STOP).unwrap();
    let status = device.until(|s| s.mood == Mood::Lost).await;
    assert!(status.reason.contains("does not answer"), "{}", status.reason);
    kill_process(broker.pid(), Signal::CONT).unwrap();
    device.until_connected().await;
    device.leave().await;
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwords");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&file)
        .args(["box-7", "right"])
        .status();
    assert!(made.expect("mosquitto_passwd is installed").success());
    let options = format!("allow_anonymous false\npassword_file {}\n", file.display());
    let broker = Broker::start(dir, options).await;
    let wrong =
        Device::tells(broker.config("mqtt", "username = \"box-7\"\npassword = \"wrong\"\n"));
    let reason = wrong.until_failed().await;
    assert!(
        reason.contains("refused our user name, password or certificate; trying again"),
        "{reason}"
    );
    wrong.leave().await;
    let right =
        Device::tells(broker.config("mqtt", "username = \"box-7\"\npassword = \"right\"\n"));
    right.until_connected().await;
    right.leave().await;
}

#[tokio::test]
async fn two_devices_of_one_name_are_told_so() {
    let broker = Broker::open().await;
    let first = Device::tells(broker.config("mqtt", ""));
    first.until_connected().await;
    let second = Device::tells(broker.config("mqtt", ""));
    let question = "again and again: is there another device named \"box-7\"?";
    let status = first.until(|s| s.reason.contains(question)).await;
    assert_eq!(status.mood, Mood::Sad);
    first.leave().await;
    second.leave().await;
}

#[tokio::test]
async fn a_name_that_is_not_known_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // Names below .invalid never are (RFC 6761, section 6.4).
    let device = Device::tells(mqtt("url = \"mqtt://broker.invalid\"", dir.path()));
    let reason = device.until_failed().await;
    assert!(reason.contains("mqtt://broker.invalid:1883"), "{reason}");
    // Without any network a name server may take longer to fail than we wait for it.
    assert!(reason.contains("is not known") || reason.contains("does not answer"), "{reason}");
    device.leave().await;
}

#[tokio::test]
async fn client_certificates_and_each_device_in_its_own_branch() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::make(dir.path(), &["box-7", "box-8", "listener"]);
    let acl = "user listener\ntopic read #\npattern readwrite backrow/%u/#\n";
    std::fs::write(authority.file("acl"), acl).unwrap();
    let path = |name| authority.file(name).display().to_string();
    let options = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
         use_identity_as_username true\nacl_file {}\n",
        path("ca.pem"),
        path("server.pem"),
        path("server.key"),
        path("acl")
    );
    let broker = Broker::start(dir, options).await;
    let mut listener = Listener::with_certificate(&broker, &authority, "listener").await;

    let keys = |name: &str| {
        format!("ca = \"ca.pem\"\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"\n")
    };
    let device = Device::tells(broker.config("mqtts", &keys("box-7")));
    listener.until("state", "ready").await;
    // These rules know nothing of Home Assistant; that is no fault of the connection.
    listener.until("health", "{").await;
    assert_eq!(device.board.get(COMPONENT).unwrap().mood, Mood::Happy);
    device.leave().await;
    listener.until("state", "disconnected").await;

    // Another device's certificate gets nothing into this one's branch, and is told so.
    let foreign = Device::tells(broker.config("mqtts", &keys("box-8")));
    let status = foreign.until(|s| s.mood == Mood::Sad).await;
    assert!(status.reason.contains("does not take backrow/box-7/"), "{}", status.reason);
    foreign.leave().await;

    let without = Device::tells(broker.config("mqtts", "ca = \"ca.pem\"\n"));
    without.until(|s| s.reason.contains("wants a client certificate")).await;
    without.leave().await;

    let unknown = Device::tells(broker.config("mqtts", ""));
    let reason = unknown.until_failed().await;
    assert!(reason.contains("certificate of an unknown CA"), "{reason}");
    unknown.leave().await;

    let missing = Device::tells(broker.config("mqtts", "ca = \"missing.pem\"\n"));
    let reason = missing.until_failed().await;
    let file = broker.dir().join("missing.pem");
    assert!(reason.starts_with(&format!("{}: there is no such file", file.display())), "{reason}");
    missing.leave().await;
}

#[tokio::test]
async fn encryption_and_none_do_not_mix() {
    let broker = Broker::open().await;
    let device = Device::tells(broker.config("mqtts", ""));
    let reason = device.until_failed().await;
    assert!(reason.contains("closed the connection") || reason.contains("TLS"), "{reason}");
    device.leave().await;
}

/// A second program of the device.
#[tokio::test]
async fn a_companion_hears_commands_answers_them_and_leaves_the_device_alone() {
    let broker = Broker::open().await;
    let mut listener = Listener::at(&broker).await;
    let operator = Operator::at(&broker);
    operator.say("backrow/box-7/command", "kept", true).await;
    operator.say("backrow/box-8/command", "for another", true).await;
    let device = Device::tells(broker.config("mqtt", ""));
    listener.until("state", "ready").await;

    let clock = clock::system();
    let board = Board::new(clock.clone());
    board.set("box.update", Mood::Happy, "version 1.2.3 works");
    let cancel = CancellationToken::new();
    let (commands, mut heard) = mpsc::channel(8);
    let (answer, answers) = mpsc::channel(8);
    let name = "box-7".parse().unwrap();
    let task = Reporter::companion(broker.config("mqtt", ""), name, "box.mqtt")
        .periods(periods())
        .commands(commands, answers)
        .spawn(board.clone(), clock, cancel.clone());
    let told = listener.hear(&["component/box.update", "component/box.mqtt"]).await;
    assert!(told["component/box.update"].contains("version 1.2.3 works"), "{told:?}");

    let mut next = async || timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    let first = next().await;
    assert_eq!((&first.payload[..], first.retained), (&b"kept"[..], true));
    // Taking back what was kept, and what nobody could take, are no commands.
    operator.say("backrow/box-7/command", "", true).await;
    operator.say("backrow/box-7/command", &"x".repeat(200_000), false).await;
    operator.say("backrow/box-7/command", "now", false).await;
    let second = next().await;
    assert_eq!((&second.payload[..], second.retained), (&b"now"[..], false));

    answer.send(Ack::new(None, AckState::Done, "it is done")).await.unwrap();
    let ack = listener.until("command/ack", "it is done").await;
    assert_eq!(ack, r#"{"v":1,"id":"","state":"done","message":"it is done"}"#);
    answer.send(Ack::new(None, AckState::Done, "last words")).await.unwrap();
    cancel.cancel();
    timeout(PATIENCE, task).await.expect("it ends").unwrap();
    listener.until("command/ack", "last words").await;
    // It went, and the device's state and connection are as they were.
    device.board.set("capture", Mood::Sad, "broken");
    assert!(listener.until("state", "").await.contains("alert"));
    device.leave().await;
}
