//! What Home Assistant is told of a device, so that it shows up there by itself: one retained
//! message with every entity ("device discovery", in its documentation of MQTT, since 2024.11).
//!
//! Topic: `{prefix}/device/{device}/{voice}/config`. A box has two voices, its collector and the box
//! itself; both name the same device, and Home Assistant puts them together.

use bytes::Bytes;
use protocol::{
    config::mqtt::HOME_ASSISTANT,
    mood::Mood,
    names::DeviceName,
    payload::{Birth, Role},
    topics::Topic,
};
use serde_json::{Map, Value, json};

/// A message for Home Assistant; an empty one takes back what was told before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Discovery {
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

/// What a device is, as far as Home Assistant cares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) device: &'a DeviceName,
    /// `None` for the second voice of a box.
    pub(super) birth: Option<&'a Birth>,
    /// Whether it takes commands.
    pub(super) commands: bool,
}

/// The message for `prefix`; without one, that there is no such device. `None`: this voice has
/// nothing to show.
pub(super) fn discovery(prefix: Option<&str>, who: Who<'_>) -> Option<Discovery> {
    let voice = match who.birth.map(|birth| birth.role) {
        Some(Role::Collector) => "collector",
        Some(Role::Encoder) => "encoder",
        None => "box",
    };
    let entities = entities(who);
    if entities.is_empty() {
        return None;
    }
    let base = prefix.unwrap_or(HOME_ASSISTANT);
    let topic = format!("{base}/device/{}/{voice}/config", who.device);
    let payload = match prefix {
        None => Bytes::new(),
        Some(_) => payload(who, voice, entities).to_string().into(),
    };
    Some(Discovery { topic, payload })
}

fn payload(who: Who<'_>, voice: &str, entities: Map<String, Value>) -> Value {
    let Who { device, birth, .. } = who;
    let mut described = json!({
        "identifiers": [format!("backrow_{device}")],
        "name": device,
        "manufacturer": "Backrow",
    });
    if let (Some(birth), Some(described)) = (birth, described.as_object_mut()) {
        described.insert("model".into(), voice.into());
        described.insert("sw_version".into(), birth.version.as_str().into());
        if let [room] = birth.rooms.as_slice() {
            described.insert("suggested_area".into(), room.as_str().into());
        }
    }
    let mut payload = json!({
        "device": described,
        "origin": { "name": "Backrow", "sw_version": env!("CARGO_PKG_VERSION") },
        "components": entities,
        "qos": 1,
    });
    // A button must work when all else is gone.
    if birth.is_some()
        && let Some(payload) = payload.as_object_mut()
    {
        let template =
            "{{ 'offline' if value_json.state in ['lost', 'disconnected'] else 'online' }}";
        let state = Topic::State.of(device);
        payload
            .insert("availability".into(), json!([{ "topic": state, "value_template": template }]));
    }
    payload
}

fn entities(who: Who<'_>) -> Map<String, Value> {
    let mut entities = Entities { who, all: Map::new() };
    if let Some(birth) = who.birth {
        entities.of_every_daemon();
        match birth.role {
            Role::Collector => entities.of_collector(),
            Role::Encoder => entities.of_encoder(birth),
        }
    }
    if who.commands {
        entities.buttons();
    }
    entities.all
}

struct Entities<'a> {
    who: Who<'a>,
    all: Map<String, Value>,
}

impl Entities<'_> {
    /// An entity; `more` is merged into what every one has.
    fn add(&mut self, platform: &str, id: &str, name: &str, more: Value) {
        let unique = format!("backrow_{}_{id}", self.who.device);
        let mut entity = json!({ "platform": platform, "unique_id": unique, "name": name });
        if let (Some(entity), Value::Object(more)) = (entity.as_object_mut(), more) {
            entity.extend(more);
        }
        self.all.insert(id.to_owned(), entity);
    }

    /// A number of `health`.
    fn number(&mut self, id: &str, name: &str, template: &str, more: Value) {
        let mut all = json!({
            "state_topic": Topic::Health.of(self.who.device),
            "value_template": template,
            "state_class": "measurement",
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        self.add("sensor", id, name, all);
    }

    fn of_every_daemon(&mut self) {
        let (state, health) = (Topic::State.of(self.who.device), Topic::Health.of(self.who.device));
        self.add(
            "sensor",
            "mood",
            "Mood",
            json!({
                "state_topic": health,
                "value_template": "{{ value_json.mood }}",
                "device_class": "enum",
                "options": Mood::ALL,
            }),
        );
        self.add(
            "binary_sensor",
            "problem",
            "Needs a person",
            json!({
                "state_topic": state,
                "value_template": "{{ 'ON' if value_json.state == 'alert' else 'OFF' }}",
                "device_class": "problem",
            }),
        );
        let about_it = |device_class: Option<&str>, unit: Option<&str>| {
            let mut more = json!({ "entity_category": "diagnostic" });
            if let Some(more) = more.as_object_mut() {
                more.extend(device_class.map(|it| ("device_class".to_owned(), it.into())));
                more.extend(unit.map(|it| ("unit_of_measurement".to_owned(), it.into())));
            }
            more
        };
        // "None" means that nothing is known; a machine may have no thermometer.
        let known = |key: &str| format!("{{{{ value_json.{key} | default(none) }}}}");
        self.number("load", "Load", &known("load"), about_it(None, None));
        self.number(
            "memory",
            "Memory",
            &known("memory_bytes"),
            about_it(Some("data_size"), Some("B")),
        );
        self.number(
            "temperature",
            "Temperature",
            &known("temperature_c"),
            about_it(Some("temperature"), Some("°C")),
        );
        self.number(
            "uptime",
            "Running for",
            &known("uptime_s"),
            about_it(Some("duration"), Some("s")),
        );
    }

    fn of_collector(&mut self) {
        let seconds = json!({ "device_class": "duration", "unit_of_measurement": "s" });
        let in_seconds = |key: &str| format!("{{{{ (value_json.{key} / 1000) | round(1) }}}}");
        self.number("backlog", "Waiting to be sent", &in_seconds("backlog_ms"), seconds.clone());
        self.number("lost", "Lost", &in_seconds("lost_ms"), seconds);
        let audio = "{% set audio = (value_json.capture | default({})).audio | default([]) %}\
                     {{ audio | map(attribute='peak_db') | max if audio else none }}";
        self.number("level", "Sound level", audio, json!({ "unit_of_measurement": "dB" }));
        self.add(
            "binary_sensor",
            "sound",
            "Sound",
            json!({
                "state_topic": Topic::Health.of(self.who.device),
                "value_template": "{% if value_json.capture is defined %}\
                     {{ 'OFF' if value_json.capture.silent.on else 'ON' }}\
                     {% else %}None{% endif %}",
                "device_class": "sound",
            }),
        );
        self.picture();
    }

    fn of_encoder(&mut self, birth: &Birth) {
        let viewers = "{% set told = namespace(all=0) %}\
                       {% for room in value_json.rooms.values() %}\
                       {% set told.all = told.all + room.viewers | default(room.progressive_clients) %}\
                       {% endfor %}{{ told.all }}";
        self.number("viewers", "Viewers", viewers, json!({ "unit_of_measurement": "viewers" }));
        // With several rooms each collector shows its own.
        if birth.rooms.len() == 1 {
            self.picture();
        }
    }

    fn picture(&mut self) {
        let topic = Topic::Preview.of(self.who.device);
        self.add("camera", "picture", "Picture", json!({ "topic": topic }));
    }

    fn buttons(&mut self) {
        let press = |command: &str| {
            // An id that no other press has: a ULID may be digits alone. Late presses are not meant.
            let template = format!(
                "{{\"v\":1,\"id\":\"{{{{ '%026d' | format((as_timestamp(now()) * 1000) | int) }}}}\",\
                 \"command\":\"{command}\",\
                 \"expires\":\"{{{{ (utcnow() + timedelta(seconds=60)).isoformat() }}}}\"}}"
            );
            let topic = Topic::Command.of(self.who.device);
            json!({ "command_topic": topic, "command_template": template, "device_class": command })
        };
        let (restart, identify) = (press("restart"), press("identify"));
        self.add("button", "restart", "Restart", restart);
        self.add("button", "identify", "Identify", identify);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn birth(role: Role, rooms: &[&str]) -> Birth {
        Birth {
            v: 1,
            device: "hall-1".parse().unwrap(),
            role,
            version: "1.2.3".to_owned(),
            started: jiff::Timestamp::UNIX_EPOCH,
            rooms: rooms.iter().map(|room| room.parse().unwrap()).collect(),
            revision: None,
        }
    }

    fn told(birth: Option<&Birth>, commands: bool) -> Option<(String, Value)> {
        let device = "hall-1".parse().unwrap();
        let who = Who { device: &device, birth, commands };
        let Discovery { topic, payload } = discovery(Some("homeassistant"), who)?;
        Some((topic, serde_json::from_slice(&payload).unwrap()))
    }

    #[test]
    fn a_collector_is_shown_with_its_room_and_everything_it_tells() {
        let birth = birth(Role::Collector, &["main-hall"]);
        let (topic, payload) = told(Some(&birth), false).unwrap();
        assert_eq!(topic, "homeassistant/device/hall-1/collector/config");
        assert_eq!(payload["device"]["suggested_area"], "main-hall");
        assert_eq!(payload["device"]["sw_version"], "1.2.3");
        let ids: Vec<_> = payload["components"].as_object().unwrap().keys().cloned().collect();
        let expected = [
            "backlog",
            "level",
            "load",
            "lost",
            "memory",
            "mood",
            "picture",
            "problem",
            "sound",
            "temperature",
            "uptime",
        ];
        assert_eq!(ids, expected);
        assert_eq!(payload["components"]["picture"]["topic"], "backrow/hall-1/preview");
    }

    #[test]
    fn an_encoder_of_many_rooms_has_no_area_and_no_picture() {
        let one = birth(Role::Encoder, &["a"]);
        assert!(told(Some(&one), false).unwrap().1["components"]["picture"].is_object());
        let many = birth(Role::Encoder, &["a", "b"]);
        let (topic, payload) = told(Some(&many), true).unwrap();
        assert_eq!(topic, "homeassistant/device/hall-1/encoder/config");
        assert!(payload["components"]["picture"].is_null());
        assert!(payload["device"]["suggested_area"].is_null());
        assert!(payload["components"]["restart"].is_object());
    }

    #[test]
    fn a_box_has_buttons_that_work_when_its_collector_is_gone() {
        assert_eq!(told(None, false), None);
        let (topic, payload) = told(None, true).unwrap();
        assert_eq!(topic, "homeassistant/device/hall-1/box/config");
        assert!(payload["availability"].is_null());
        let button = &payload["components"]["identify"];
        assert_eq!(button["command_topic"], "backrow/hall-1/command");
        // With its templates filled in, it is a command that a box understands.
        let command = button["command_template"].as_str().unwrap();
        let (id, expires) = (
            "{{ '%026d' | format((as_timestamp(now()) * 1000) | int) }}",
            "{{ (utcnow() + timedelta(seconds=60)).isoformat() }}",
        );
        let command = command
            .replace(id, "00000000000001790000000000")
            .replace(expires, "2026-05-01T10:00:00.123456+00:00");
        let command = protocol::command::parse(command.as_bytes()).unwrap();
        assert_eq!(command.order, protocol::command::Order::Identify { seconds: 30 });
        assert!(command.expires.is_some());
    }

    #[test]
    fn switched_off_it_takes_back_what_was_told() {
        let device = "hall-1".parse().unwrap();
        let birth = birth(Role::Encoder, &["a"]);
        let who = Who { device: &device, birth: Some(&birth), commands: false };
        let gone = discovery(None, who).unwrap();
        assert_eq!(gone.topic, "homeassistant/device/hall-1/encoder/config");
        assert!(gone.payload.is_empty());
    }
}
