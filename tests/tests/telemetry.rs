//! What a real broker sees of both daemons, and what the daemons do without one.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::time::Duration;

use backrow_tests::mqtt::{Message, Subscriber};
use backrow_tests::{
    Broker, CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, broker, until,
};
use protocol::payload::{Birth, ComponentState, Event, Health, Lifecycle, Role, State};
use protocol::topics::Topic;
use serde::de::DeserializeOwned;

const DEVICES: [&str; 2] = ["enc-under-test", "box-under-test"];
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn every_topic_is_published_and_a_crash_leaves_the_last_will() {
    let broker = Broker::start().await;
    let subscriber = Subscriber::start(&broker).await;
    let config = EncoderConfig::light("demo").with_broker(&broker);
    let encoder = EncoderProcess::start(config).await;
    let config = CollectorConfig::flash(&encoder).with_broker(&broker);
    let collector = CollectorProcess::start(&config);

    for device in DEVICES {
        let topic = |leaf: &str| format!("backrow/{device}/{leaf}");
        subscriber.wait(SOON, &topic("state"), |state| state["state"] == "ready").await;
        let birth = subscriber.wait(SOON, &topic("birth"), |_| true).await;
        let birth: Birth = serde_json::from_value(birth).unwrap();
        assert_eq!(birth.rooms.iter().map(ToString::to_string).collect::<Vec<_>>(), ["demo"]);
        let role = if device.starts_with("enc") { Role::Encoder } else { Role::Collector };
        assert_eq!(birth.role, role);
        // Two, so that it is seen to be repeated.
        let health = topic("health");
        until(SOON, &format!("{health} to be repeated"), async || {
            let messages = subscriber.messages();
            (messages.iter().filter(|message| message.topic == health).count() >= 2).then_some(())
        })
        .await;
        subscriber.seen(SOON, &topic("event"), |_| true).await;
    }
    for component in ["capture", "uplink"] {
        let topic = format!("backrow/box-under-test/component/{component}");
        subscriber.wait(SOON, &topic, |state| state["mood"] == "happy").await;
    }
    for component in ["ingest", "transcode", "archive"] {
        let topic = format!("backrow/enc-under-test/component/demo.{component}");
        subscriber.wait(SOON, &topic, |state| state["mood"] == "happy").await;
    }
    let free = |health: &serde_json::Value| health["archive_free_bytes"].as_u64() > Some(0);
    subscriber.wait(SOON, "backrow/enc-under-test/health", free).await;
    let preview = "backrow/box-under-test/preview";
    until(SOON, "a preview", async || {
        let message = subscriber.newest().remove(preview)?;
        assert!(message.payload.starts_with(&[0xff, 0xd8]), "the preview is no JPEG");
        assert!(message.payload.len() <= 20_000, "{} bytes", message.payload.len());
        Some(())
    })
    .await;
    let messages = subscriber.messages();
    for message in &messages {
        check(message);
    }
    for device in DEVICES {
        check_events_are_numbered(device, &messages);
    }

    encoder.process().kill().await;
    collector.process().kill().await;
    for device in DEVICES {
        let topic = format!("backrow/{device}/state");
        subscriber.wait(SOON, &topic, |state| state["state"] == "lost").await;
    }
    // Who comes later is told as well: the will was kept.
    let late = Subscriber::start(&broker).await;
    for device in DEVICES {
        let topic = format!("backrow/{device}/state");
        late.wait(SOON, &topic, |state| state["state"] == "lost").await;
        assert!(late.newest()[&topic].retained);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_broker_delays_nothing_and_is_joined_when_it_comes() {
    let address = broker::free_port();
    let mut config = EncoderConfig::light("demo");
    config.mqtt = Some(format!("mqtt://{address}"));
    let encoder = EncoderProcess::start(config).await;
    let mut config = CollectorConfig::flash(&encoder);
    config.mqtt = Some(format!("mqtt://{address}"));
    let collector = CollectorProcess::start(&config);
    encoder.live("demo").await;

    let broker = Broker::start_on(address).await.expect("the port, still free");
    let subscriber = Subscriber::start(&broker).await;
    for device in DEVICES {
        let topic = format!("backrow/{device}/state");
        // The back-off has grown by now.
        subscriber.wait(Duration::from_secs(90), &topic, |state| state["state"] == "ready").await;
    }
    // Leaving in good order is told too, and is not a loss.
    assert!(collector.process().stop().await.success());
    let topic = "backrow/box-under-test/state";
    subscriber.wait(SOON, topic, |state| state["state"] == "disconnected").await;
}

/// A message is on a topic of ours, and its body is what the protocol says.
fn check(message: &Message) {
    let (_, topic) = Topic::parse(&message.topic).unwrap_or_else(|error| panic!("{error}"));
    match topic {
        Topic::State => {
            let state: State = parse(message);
            assert_ne!(state.state, Lifecycle::Lost, "{message:?}");
        }
        Topic::Birth => drop(parse::<Birth>(message)),
        Topic::Health => drop(parse::<Health>(message)),
        Topic::Component(_) => {
            let component: ComponentState = parse(message);
            assert!(!component.reason.is_empty(), "{} has no reason", message.topic);
        }
        Topic::Event => drop(parse::<Event>(message)),
        Topic::Preview => {}
        Topic::Config | Topic::ConfigState | Topic::Command | Topic::CommandAck => {
            panic!("nobody asked for {}", message.topic)
        }
    }
}

fn parse<T: DeserializeOwned>(message: &Message) -> T {
    serde_json::from_slice(&message.payload).unwrap_or_else(|error| {
        let body = String::from_utf8_lossy(&message.payload);
        panic!("{}: {error}: {body}", message.topic)
    })
}

/// Events carry numbers from one on, in order.
fn check_events_are_numbered(device: &str, messages: &[Message]) {
    let topic = format!("backrow/{device}/event");
    let numbers: Vec<_> = messages
        .iter()
        .filter(|message| message.topic == topic)
        .map(|message| parse::<Event>(message).seq)
        .collect();
    let wanted: Vec<_> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, wanted, "events of {device}");
}
