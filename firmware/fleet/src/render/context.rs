//! What a template can name: the event, the machine, its rooms, its settings, its certificates.

use std::collections::BTreeMap;

use minijinja::{Environment, Value, value::Serde};
use protocol::{names::DeviceName, register::Group};
use serde::Serialize;

use super::{passwords, undefined, who};
use crate::{
    certificates::{BROKER, Certificates},
    event::{
        Event, Kind, LOCAL_PORT, Machine, Place, Problem, TLS_PORT,
        tree::{self, Node, Tree},
    },
};

/// What a collector reads.
const COLLECTOR: &[&str] = &["encoder", "source", "video", "audio", "uplink", "mqtt"];
/// What a box reads besides.
const BOX: &[&str] = &["network", "ssh", "time", "log"];
/// What an encoder reads.
const ENCODER: &[&str] =
    &["listen", "archive", "hls", "ladder", "webm", "mqtt", "register", "drain", "dashboard"];
/// Where an encoder listens for the web server before it, if the event does not say.
const BEHIND: &str = "127.0.0.1:8080";
/// The broker's configuration as it ships, and the line in it that says where it listens.
const SHIPPED: &str = include_str!("../../../../deploy/broker/mosquitto.conf");
const SHIPPED_LISTENER: &str = "listener 8883";

/// Anything serde can write, as a template's value.
fn serialized<T: Serialize>(value: T) -> Value {
    Value::from(Serde(value))
}

/// What a template can name.
type Values = BTreeMap<String, Value>;

/// A machine's settings: what goes into its file, and what is for templates alone.
pub(super) struct Settings {
    /// The tables of its file.
    pub(super) tree: Tree,
    vars: Tree,
}

#[derive(Serialize)]
struct RoomValues<'a> {
    name: &'a str,
    title: &'a str,
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
}

fn rooms<'a>(event: &'a Event, machine: &'a Machine) -> Vec<RoomValues<'a>> {
    let values = |name: &'a protocol::names::RoomName| {
        let room = event.rooms.get(name)?;
        Some(RoomValues {
            name: name.as_str(),
            title: room.title.as_deref().unwrap_or(name.as_str()),
            token: room.token.as_ref().map_or("", |(token, _)| token.reveal()),
            group: room.group.as_ref().map(Group::as_str),
        })
    };
    machine.rooms.iter().filter_map(values).collect()
}

fn base(event: &Event, name: &DeviceName, machine: &Machine) -> Values {
    let mut map = Values::new();
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    let event_values = BTreeMap::from([("name", event.name.as_str())]);
    put("event", serialized(event_values));
    let mut machine_values =
        BTreeMap::from([("name", name.as_str()), ("kind", machine.kind.as_str())]);
    if let Some(host) = &machine.host {
        machine_values.insert("host", host);
    }
    if let Some(https) = &machine.https {
        machine_values.insert("https", https);
    }
    put("machine", serialized(machine_values));
    let rooms = rooms(event, machine);
    if machine.kind != Kind::Encoder
        && let Some(room) = rooms.first()
    {
        put("room", serialized(room));
    }
    put("rooms", serialized(&rooms));
    map
}

impl Settings {
    /// Merges a machine's settings, fills in what the event knows by itself, and then what stands in
    /// double braces.
    pub(super) fn of(
        event: &Event,
        name: &DeviceName,
        machine: &Machine,
        environment: &Environment<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let mut all = event.settings(machine);
        let mut vars = match all.remove("vars") {
            Some(Node { value: tree::Value::Table(vars), .. }) => vars,
            _ => Tree::new(),
        };
        let mut values = base(event, name, machine);
        let mut problems = Vec::new();
        let mut expand = |tree: &mut Tree, values: &Values| {
            let values = Value::from(values.clone());
            let mut path = Vec::new();
            fill(tree, &mut path, &mut |text, path, at| {
                environment.render_named_str(at.source.file(), text, values.clone()).map_err(
                    |error| {
                        let key = path.join(".");
                        let why = format!("{}: `{key}`: {}", who(name, machine), undefined(&error));
                        problems.push(Problem::at(at, why));
                    },
                )
            });
        };
        expand(&mut vars, &values);
        values.insert("vars".to_owned(), serialized(&vars));
        let wanted: Vec<&str> = match machine.kind {
            Kind::Encoder => ENCODER.to_vec(),
            Kind::Collector => COLLECTOR.to_vec(),
            Kind::Box => [COLLECTOR, BOX].concat(),
        };
        all.retain(|key, _| wanted.contains(&key.as_str()));
        expand(&mut all, &values);
        own(&mut all, event, name, machine);
        if problems.is_empty() { Ok(Self { tree: all, vars }) } else { Err(problems) }
    }
}

/// Fills in a text, which has this path and place.
type Fill<'a> = &'a mut dyn FnMut(&str, &[String], Place) -> Result<String, ()>;

/// Fills in the texts with double braces in them.
fn fill(tree: &mut Tree, path: &mut Vec<String>, render: Fill<'_>) {
    fn one(node: &mut Node, path: &mut Vec<String>, render: Fill<'_>) {
        match &mut node.value {
            tree::Value::Text(text) if text.contains("{{") || text.contains("{%") => {
                if let Ok(filled) = render(text, path, node.at) {
                    *text = filled;
                }
            }
            tree::Value::List(items) => items.iter_mut().for_each(|item| one(item, path, render)),
            tree::Value::Table(inner) => fill(inner, path, render),
            _ => {}
        }
    }
    for (key, node) in tree {
        path.push(key.clone());
        one(node, path, render);
        path.pop();
    }
}

/// What the event knows without being told: the room's token, the broker, the certificates' files,
/// where the dashboard finds the broker.
fn own(all: &mut Tree, event: &Event, name: &DeviceName, machine: &Machine) {
    let mut default = |table: &str, key: &str, value: &str, at: Place| {
        let empty = Node { value: tree::Value::Table(Tree::new()), at };
        let table = all.entry(table.to_owned()).or_insert(empty);
        if let tree::Value::Table(table) = &mut table.value {
            table.entry(key.to_owned()).or_insert_with(|| Node::text(value, at));
        }
    };
    if let Some((url, at)) = &event.broker {
        default("mqtt", "url", url.as_str().trim_end_matches('/'), *at);
        if url.scheme() == "mqtts" {
            default("mqtt", "ca", "backrow-ca.pem", *at);
            default("mqtt", "certificate", &format!("backrow-{name}.pem"), *at);
            default("mqtt", "key", &format!("backrow-{name}.key"), *at);
        }
    }
    if machine.kind == Kind::Encoder {
        if let Some(browsers) = &event.browsers {
            default("dashboard", "broker", browsers.url.as_str(), browsers.at);
        }
        if machine.https.is_some() {
            default("listen", "http", BEHIND, machine.at);
        }
        return;
    }
    let http = match all.get("encoder").map(|node| &node.value) {
        Some(tree::Value::Table(encoder)) => match encoder.get("url").map(|node| &node.value) {
            // An RTMP server takes no token.
            Some(tree::Value::Text(url)) => !url.starts_with("rtmp"),
            _ => true,
        },
        _ => true,
    };
    let room = machine.rooms.first().and_then(|room| event.rooms.get(room));
    if let Some((token, at)) = room.and_then(|room| room.token.as_ref())
        && http
    {
        let empty = Node { value: tree::Value::Table(Tree::new()), at: machine.at };
        let table = all.entry("encoder".to_owned()).or_insert(empty);
        if let tree::Value::Table(table) = &mut table.value {
            table.entry("token".to_owned()).or_insert_with(|| Node::text(token.reveal(), *at));
        }
    }
}

/// All that a template can name.
pub(super) fn context(
    event: &Event,
    name: &DeviceName,
    machine: &Machine,
    settings: &Settings,
    certificates: &Certificates,
    revision: &str,
) -> Value {
    let mut values = base(event, name, machine);
    let mut put = |key: &str, value: Value| values.insert(key.to_owned(), value);
    put("settings", serialized(&settings.tree));
    put("vars", serialized(&settings.vars));
    put("revision", Value::from(revision));
    let mut pem = BTreeMap::new();
    if let Some(authority) = &certificates.authority {
        pem.insert("authority", authority.as_str());
    }
    if let Some(pair) = certificates.pairs.get(name.as_str()) {
        pem.insert("certificate", &pair.certificate);
        pem.insert("key", &pair.key);
    }
    if let Some(pair) = certificates.pairs.get(BROKER).filter(|_| machine.broker) {
        pem.insert("broker", &pair.certificate);
        pem.insert("broker_key", &pair.key);
    }
    put("certificates", serialized(pem));
    if let Some((url, _)) = &event.broker {
        let port = url.port().unwrap_or(TLS_PORT);
        let listener = format!("listener {port}");
        let configuration = SHIPPED.replace(SHIPPED_LISTENER, &listener);
        put("broker", serialized(BTreeMap::from([("configuration", configuration)])));
    }
    if let Some(browsers) = event.browsers.as_ref().filter(|_| machine.broker) {
        let authority = certificates.authority.as_deref().unwrap_or_default();
        let port = browsers.own_port();
        let mut values = Values::new();
        values.insert("own_port".to_owned(), Value::from(port.is_some()));
        values.insert("port".to_owned(), Value::from(port.unwrap_or(LOCAL_PORT)));
        values.insert("path".to_owned(), Value::from(browsers.url.path()));
        values.insert("passwords".to_owned(), passwords::file(browsers, authority).into());
        put("browsers", Value::from(values));
    }
    Value::from(values)
}
