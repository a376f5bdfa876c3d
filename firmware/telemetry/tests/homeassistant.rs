//! What Home Assistant hears is what its documentation asks for (home-assistant.io, "MQTT": device
//! discovery; and the pages of its sensor, binary sensor, button and camera).
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

#[allow(dead_code, reason = "the broker's other clients are for other tests")]
mod broker;

use broker::{Broker, Listener, PATIENCE};
use protocol::{
    config::Mqtt,
    payload::{Birth, Role, VERSION},
};
use serde_json::{Map, Value};
use telemetry::mqtt::Reporter;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use watchdog::{board::Board, clock};

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    /// A text without wildcards, to publish to or subscribe to.
    Topic,
    Template,
    /// One of these.
    OneOf(&'static [&'static str]),
    Texts,
    Qos,
}

use Kind::{OneOf, Qos, Template, Text, Texts, Topic};

/// A key, what it holds, and whether it must be there.
type Key = (&'static str, Kind, bool);

const DEVICE: &[Key] = &[
    ("identifiers", Texts, true),
    ("name", Text, true),
    ("manufacturer", Text, false),
    ("model", Text, false),
    ("sw_version", Text, false),
    ("suggested_area", Text, false),
];
const ORIGIN: &[Key] = &[("name", Text, true), ("sw_version", Text, false)];
const AVAILABILITY: &[Key] = &[
    ("topic", Topic, true),
    ("value_template", Template, false),
    ("payload_available", Text, false),
    ("payload_not_available", Text, false),
];
/// Of every entity in a device's message.
const ENTITY: &[Key] = &[
    ("platform", OneOf(&["sensor", "binary_sensor", "button", "camera"]), true),
    ("unique_id", Text, true),
    ("name", Text, false),
    ("entity_category", OneOf(&["config", "diagnostic"]), false),
];
const SENSOR: &[Key] = &[
    ("state_topic", Topic, true),
    ("value_template", Template, false),
    ("device_class", OneOf(&["enum", "duration", "temperature", "data_size"]), false),
    ("state_class", OneOf(&["measurement", "total", "total_increasing"]), false),
    ("unit_of_measurement", Text, false),
    ("options", Texts, false),
];
const BINARY_SENSOR: &[Key] = &[
    ("state_topic", Topic, true),
    ("value_template", Template, false),
    ("device_class", OneOf(&["problem", "sound", "connectivity"]), false),
];
const BUTTON: &[Key] = &[
    ("command_topic", Topic, true),
    ("command_template", Template, false),
    ("device_class", OneOf(&["identify", "restart", "update"]), false),
];
const CAMERA: &[Key] = &[("topic", Topic, true)];
/// The units of each class of a sensor.
const UNITS: &[(&str, &[&str])] = &[
    ("duration", &["ms", "s", "min", "h", "d"]),
    ("temperature", &["°C", "°F", "K"]),
    ("data_size", &["B", "kB", "MB", "GB", "KiB", "MiB", "GiB"]),
];

fn check(what: &str, value: &Value, kind: Kind) {
    let good = match kind {
        Text => value.as_str().is_some_and(|text| !text.is_empty()),
        Topic => value.as_str().is_some_and(|topic| {
            !topic.is_empty() && !topic.contains(['+', '#', '~', '\0']) && !topic.starts_with('/')
        }),
        Template => value.as_str().is_some_and(|text| {
            text.contains("{{")
                && text.matches("{{").count() == text.matches("}}").count()
                && text.matches("{%").count() == text.matches("%}").count()
        }),
        OneOf(these) => value.as_str().is_some_and(|text| these.contains(&text)),
        Texts => value.as_array().is_some_and(|all| {
            !all.is_empty() && all.iter().all(|it| it.as_str().is_some_and(|it| !it.is_empty()))
        }),
        Qos => value.as_u64().is_some_and(|qos| qos <= 2),
    };
    assert!(good, "{what} is {value}, and should be {kind:?}");
}

/// Every key is known and right, and none that must be there is missing.
fn check_all(what: &str, value: &Value, keys: &[Key]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{what} is no object: {value}"));
    for (name, value) in object {
        let (_, kind, _) = keys
            .iter()
            .find(|(known, ..)| known == name)
            .unwrap_or_else(|| panic!("{what}: Home Assistant does not know {name:?}"));
        check(&format!("{what}: {name}"), value, *kind);
    }
    for (name, _, must) in keys {
        assert!(!must || object.contains_key(*name), "{what}: {name} is missing");
    }
}

fn check_entity(id: &str, entity: &Value) {
    let platform = entity["platform"].as_str().unwrap_or_default();
    let own = match platform {
        "sensor" => SENSOR,
        "binary_sensor" => BINARY_SENSOR,
        "button" => BUTTON,
        _ => CAMERA,
    };
    check_all(id, entity, &[ENTITY, own].concat());
    if platform != "sensor" {
        return;
    }
    let class = entity["device_class"].as_str();
    let unit = entity["unit_of_measurement"].as_str();
    if class == Some("enum") {
        assert!(entity["options"].is_array(), "{id}: an enum has options");
        assert!(unit.is_none() && entity["state_class"].is_null(), "{id}: an enum is no number");
    } else {
        assert!(entity["options"].is_null(), "{id}: only an enum has options");
    }
    if let Some((_, units)) = UNITS.iter().find(|(known, _)| Some(*known) == class) {
        assert!(unit.is_some_and(|unit| units.contains(&unit)), "{id}: {unit:?}");
    }
}

/// The message is valid; its entities.
fn check_message(payload: &str) -> Map<String, Value> {
    let message: Value = serde_json::from_str(payload).unwrap();
    let known = ["device", "origin", "components", "availability", "qos"];
    for name in message.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{name:?} is no option that entities share");
    }
    check_all("device", &message["device"], DEVICE);
    check_all("origin", &message["origin"], ORIGIN);
    check("qos", &message["qos"], Qos);
    for topic in message["availability"].as_array().into_iter().flatten() {
        check_all("availability", topic, AVAILABILITY);
    }
    let entities = message["components"].as_object().unwrap().clone();
    assert!(!entities.is_empty());
    let mut ids = Vec::new();
    for (id, entity) in &entities {
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{id}");
        check_entity(id, entity);
        ids.push(entity["unique_id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), entities.len(), "ids are unique");
    entities
}

fn tell(broker: Mqtt, role: Option<Role>) -> (CancellationToken, JoinHandle<()>) {
    let clock = clock::system();
    let board = Board::new(clock.clone());
    let cancel = CancellationToken::new();
    let device: protocol::names::DeviceName = "box-7".parse().unwrap();
    let reporter = match role {
        Some(role) => {
            let birth = Birth {
                v: VERSION,
                device,
                role,
                version: "1.2.3".to_owned(),
                started: clock.utc(),
                rooms: vec!["demo".parse().unwrap()],
                revision: None,
            };
            Reporter::new(broker, birth)
        }
        None => {
            let (commands, _) = mpsc::channel(1);
            let (_, answers) = mpsc::channel(1);
            Reporter::companion(broker, device, "box.mqtt").commands(commands, answers)
        }
    };
    let task = reporter.spawn(board, clock, cancel.clone());
    (cancel, task)
}

#[tokio::test]
async fn every_voice_of_a_device_is_described_as_home_assistant_documents_it() {
    let broker = Broker::open().await;
    let voices = [
        (Some(Role::Collector), "collector", 11),
        (Some(Role::Encoder), "encoder", 8),
        (None, "box", 2),
    ];
    for (role, voice, entities) in voices {
        let (cancel, task) = tell(broker.config("mqtt", ""), role);
        let topic = format!("homeassistant/device/box-7/{voice}/config");
        // Kept: Home Assistant may come later.
        let mut home = Listener::of_home_assistant(&broker).await;
        let payload = home.until(&topic, "").await;
        assert_eq!(check_message(&payload).len(), entities, "{voice}");
        cancel.cancel();
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    let mut late = Listener::of_home_assistant(&broker).await;
    late.until("homeassistant/device/box-7/box/config", "identify").await;
}

#[tokio::test]
async fn another_prefix_is_used_and_off_takes_back_what_was_told() {
    let broker = Broker::open().await;
    let mut home = Listener::of_home_assistant(&broker).await;
    let table = "home_assistant = \"homeassistant/venue\"\n";
    let (cancel, task) = tell(broker.config("mqtt", table), Some(Role::Collector));
    home.until("homeassistant/venue/device/box-7/collector/config", "backrow_box-7_mood").await;
    cancel.cancel();
    task.await.unwrap();

    let (cancel, task) = tell(broker.config("mqtt", ""), Some(Role::Collector));
    let topic = "homeassistant/device/box-7/collector/config";
    home.until(topic, "backrow_box-7_mood").await;
    cancel.cancel();
    task.await.unwrap();
    let (cancel, task) =
        tell(broker.config("mqtt", "home_assistant = \"off\"\n"), Some(Role::Collector));
    loop {
        let (heard, payload) = home.next().await;
        if heard == topic && payload.is_empty() {
            break;
        }
    }
    cancel.cancel();
    task.await.unwrap();
}
