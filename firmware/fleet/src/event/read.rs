//! Reads the two files of an event; everything that is wrong is told at once.

use std::{collections::BTreeMap, fs, io, path::Path};

use protocol::{
    config::{
        Url,
        diagnose::{nearest, shown},
    },
    names::{DeviceName, RoomName},
    register::Group,
};

use super::{
    Event, Kind, Machine, Place, Problem, Room, SECRETS, SETTINGS, Source, browsers,
    reader::Reader,
    templates,
    tree::{self, Node, Tree, Value},
};

/// Names of certificates that are nobody's device; nor are the users of the broker.
const RESERVED: &[&str] = &["authority", "broker"];

/// Reads an event's folder.
///
/// # Errors
/// Every problem, in the order of the files.
pub fn load(dir: &Path) -> Result<Event, Vec<Problem>> {
    let read = |source: Source| match fs::read_to_string(dir.join(source.file())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && source == Source::Secret => {
            Ok(String::new())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message =
                format!("there is no such file in {}; `backrow init {0}` makes one", dir.display());
            Err(vec![Problem::at(Place { source, line: 1 }, message)])
        }
        Err(error) => {
            let message = format!("it cannot be read: {error}");
            Err(vec![Problem::at(Place { source, line: 1 }, message)])
        }
        Ok(text) => Ok(text),
    };
    parse(&read(Source::Event)?, &read(Source::Secret)?, dir)
}

/// Reads an event from the text of its two files.
///
/// # Errors
/// Every problem, in the order of the files.
pub fn parse(event: &str, secret: &str, dir: &Path) -> Result<Event, Vec<Problem>> {
    let (event, secret) = (tree::parse(event, Source::Event), tree::parse(secret, Source::Secret));
    let (mut root, secret) = match (event, secret) {
        (Ok(event), Ok(secret)) => (event, secret),
        (event, secret) => {
            let faults = [event.err(), secret.err()];
            return Err(faults.into_iter().flatten().flatten().collect());
        }
    };
    let mut problems = Vec::new();
    in_the_open(&root, &mut problems);
    tree::merge(&mut root, &secret);
    let event = whole(&root, dir, &mut problems);
    problems.sort();
    problems.dedup();
    match event {
        Some(event) if problems.is_empty() => Ok(event),
        _ => Err(problems),
    }
}

/// Secrets in the file that everybody may see.
fn in_the_open(tree: &Tree, problems: &mut Vec<Problem>) {
    for (key, node) in tree {
        match &node.value {
            Value::Table(inner) => in_the_open(inner, problems),
            Value::List(items) => {
                for item in items {
                    if let Value::Table(inner) = &item.value {
                        in_the_open(inner, problems);
                    }
                }
            }
            Value::Text(text) if SECRETS.contains(&key.as_str()) && !text.contains("{{") => {
                let secret = Source::Secret.file();
                let message = format!(
                    "`{key}` is a secret: write it into {secret}, in a table of the same name"
                );
                problems.push(Problem::at(node.at, message));
            }
            _ => {}
        }
    }
}

fn whole(root: &Tree, dir: &Path, problems: &mut Vec<Problem>) -> Option<Event> {
    let top = Place { source: Source::Event, line: 1 };
    let mut reader = Reader::new(root, "the event", top, problems);
    let [head, defaults, templates] =
        ["event", "defaults", "templates"].map(|key| reader.get(key).cloned());
    let (rooms, machines) = (reader.tables("rooms"), reader.tables("machines"));
    let users = reader.tables("browsers");
    reader.close();

    let empty = Tree::new();
    let table = |node: &Option<Node>| match node {
        Some(Node { value: Value::Table(table), at }) => (table.clone(), *at),
        Some(Node { at, .. }) => (Tree::new(), *at),
        None => (Tree::new(), top),
    };
    let (head, at) = table(&head);
    let mut reader = Reader::new(&head, "[event]", at, problems);
    let name =
        reader.required("name", "name = \"our-conference\"").map(|(name, _)| name.to_owned());
    let broker = reader.parsed::<Url>("broker");
    if let Some((url, at)) = &broker
        && (!matches!(url.scheme(), "mqtt" | "mqtts") || url.host_str().is_none_or(str::is_empty))
    {
        let message = "`broker` in [event] must begin with mqtts:// (or mqtt://) and a host, for \
                       example: broker = \"mqtts://broker.example.org:8883\"";
        reader.problem(*at, message);
    }
    let browsers = reader.parsed::<Url>("browsers");
    reader.close();
    let browsers = browsers::read(browsers, &users, problems);
    let tls = broker.as_ref().is_some_and(|(url, _)| url.scheme() == "mqtts");
    let (defaults, at) = table(&defaults);
    let defaults = Reader::new(&defaults, "[defaults]", at, problems).settings(SETTINGS);
    let rooms = read_rooms(&rooms, problems);
    let machines = read_machines(&machines, &rooms, problems);
    if machines.is_empty() {
        problems.push(Problem::at(top, "there is no machine; add one: [machines.NAME]"));
    }
    if let Some(machine) = machines.values().find(|machine| machine.broker && !tls) {
        let message = "`broker = true`: the broker that is set up here speaks TLS: [event] needs \
                       broker = \"mqtts://…\"";
        problems.push(Problem::at(machine.at, message));
    }
    let far = machines.iter().filter(|(_, machine)| machine.kind == Kind::Box);
    for (name, machine) in far.filter(|(_, machine)| machine.host.is_none() && !tls) {
        let message = format!(
            "[machines.{name}] has no `host`, so it gets its settings over the broker, signed: [event] \
             needs broker = \"mqtts://…\""
        );
        problems.push(Problem::at(machine.at, message));
    }
    across(&rooms, &machines, problems);
    if let Some(browsers) = &browsers {
        let broker = broker.as_ref().map(|(url, _)| url);
        browsers::across(browsers, broker, machines.values(), problems);
    }
    let (templates, _) = match &templates {
        Some(Node { value: Value::Table(table), at }) => (table, *at),
        _ => (&empty, top),
    };
    let templates = templates::read(templates, dir, problems);
    let dir = dir.to_owned();
    Some(Event { dir, name: name?, broker, browsers, defaults, rooms, machines, templates })
}

fn read_rooms(
    tables: &[(&str, &Tree, Place)],
    problems: &mut Vec<Problem>,
) -> BTreeMap<RoomName, Room> {
    let mut rooms = BTreeMap::new();
    for (name, table, at) in tables {
        let mut reader = Reader::new(table, format!("[rooms.{}]", shown(name)), *at, problems);
        let known = name.parse::<RoomName>();
        if let Err(error) = &known {
            reader.problem(*at, format!("[rooms.{}]: {error}", shown(name)));
        }
        let room = Room {
            title: reader.text("title").map(|(title, _)| title.to_owned()),
            group: reader.parsed("group").map(|(group, _)| group),
            token: reader.parsed("token"),
            at: *at,
            settings: reader.settings(SETTINGS),
        };
        if let Ok(name) = known {
            rooms.insert(name, room);
        }
    }
    rooms
}

fn read_machines(
    tables: &[(&str, &Tree, Place)],
    rooms: &BTreeMap<RoomName, Room>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<DeviceName, Machine> {
    let mut machines = BTreeMap::new();
    for (name, table, at) in tables {
        let place = format!("[machines.{}]", shown(name));
        let mut reader = Reader::new(table, place.clone(), *at, problems);
        let known = name.parse::<DeviceName>();
        match &known {
            Err(error) => reader.problem(*at, format!("{place}: {error}")),
            Ok(_) if RESERVED.contains(name) || browsers::USERS.contains(name) => {
                reader.problem(*at, format!("{place}: this name is taken; choose another"));
            }
            Ok(_) => {}
        }
        let kind = reader.required("kind", "kind = \"box\"");
        let kind = kind.and_then(|(text, at)| match text.parse::<Kind>() {
            Ok(kind) => Some(kind),
            Err(why) => {
                reader.problem(at, format!("`kind` in {place} is \"{}\"; {why}", shown(text)));
                None
            }
        });
        // A box without gets its settings over the broker.
        let host = match kind {
            Some(Kind::Box) => reader.text("host"),
            _ => reader.required("host", "host = \"root@main-hall.local\""),
        };
        if let Some((host, at)) = host
            && (host.starts_with('-') || host.chars().any(|c| c.is_whitespace() || c.is_control()))
        {
            reader.problem(at, format!("`host` in {place} must be what one types after `ssh`"));
        }
        let wanted = wanted_rooms(&mut reader, kind, rooms, *at);
        let sudo = reader.flag("sudo");
        let broker = reader.flag("broker");
        if broker && kind == Some(Kind::Box) {
            reader.problem(
                *at,
                format!("`broker` in {place}: a box has no broker; name another machine"),
            );
        }
        let https = reader.text("https");
        if let Some((https, at)) = https {
            if kind.is_some_and(|kind| kind != Kind::Encoder) {
                reader.problem(at, format!("`https` in {place}: only an encoder has viewers"));
            } else if !is_name(https) {
                let message = format!(
                    "`https` in {place} must be the name that leads to the machine, for example: https \
                     = \"encoder.example.org\""
                );
                reader.problem(at, message);
            }
        }
        let settings = reader.settings(SETTINGS);
        if let (Ok(name), Some(kind)) = (known, kind) {
            let [host, https] = [host, https].map(|it| it.map(|(text, _)| text.to_owned()));
            let rooms = wanted;
            let machine = Machine { kind, host, sudo, broker, https, rooms, settings, at: *at };
            machines.insert(name, machine);
        }
    }
    machines
}

/// Whether a text is a host's name as a web server's configuration can have it: no address, since no
/// authority signs for that.
fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    text.chars().all(is_letter)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.contains('.')
        && text.parse::<std::net::IpAddr>().is_err()
}

/// The rooms of a machine: `room = "a"`, `rooms = ["a", "b"]`, or `rooms = "all"` of an encoder.
fn wanted_rooms(
    reader: &mut Reader<'_, '_>,
    kind: Option<Kind>,
    rooms: &BTreeMap<RoomName, Room>,
    at: Place,
) -> Vec<RoomName> {
    let mut named: Vec<(String, Place)> = Vec::new();
    if let Some((room, at)) = reader.text("room") {
        named.push((room.to_owned(), at));
    }
    let mut all = false;
    match reader.get("rooms") {
        None => {}
        Some(Node { value: Value::Text(text), .. }) if text == "all" => all = true,
        Some(Node { value: Value::List(items), at }) => {
            for item in items {
                match &item.value {
                    Value::Text(room) => named.push((room.clone(), item.at)),
                    _ => reader.problem(*at, "`rooms` must be a list of names"),
                }
            }
        }
        Some(node) => reader.problem(node.at, "`rooms` must be a list of names, or \"all\""),
    }
    let mut found = Vec::new();
    for (name, at) in &named {
        match rooms.keys().find(|room| room.as_str() == name) {
            Some(room) if !found.contains(room) => found.push(room.clone()),
            Some(_) => reader.problem(*at, format!("room \"{name}\" is named twice")),
            None => {
                let near = nearest(name, rooms.keys().map(RoomName::as_str));
                let mean = near.map(|near| format!("; did you mean \"{near}\"?"));
                let mean = mean.unwrap_or_else(|| format!("; add it: [rooms.{}]", shown(name)));
                reader
                    .problem(at.to_owned(), format!("there is no room \"{}\"{mean}", shown(name)));
            }
        }
    }
    if all {
        found = rooms.keys().cloned().collect();
    }
    let name = reader.name.clone();
    match kind {
        Some(Kind::Encoder) if named.is_empty() && found.is_empty() => {
            reader.problem(at, format!("{name} has no room; for example: rooms = \"all\""));
        }
        Some(Kind::Box | Kind::Collector) if named.is_empty() && !all => {
            reader.problem(at, format!("{name} has no room; for example: room = \"main-hall\""));
        }
        Some(Kind::Box | Kind::Collector) if all || named.len() > 1 => {
            reader.problem(at, format!("{name} captures one room; it cannot have several"));
        }
        _ => {}
    }
    found
}

/// What is wrong between rooms and machines that are right by themselves.
fn across(
    rooms: &BTreeMap<RoomName, Room>,
    machines: &BTreeMap<DeviceName, Machine>,
    problems: &mut Vec<Problem>,
) {
    let mut tell = |at: Place, message: String| problems.push(Problem::at(at, message));
    let mut spelled: BTreeMap<String, &RoomName> = BTreeMap::new();
    let mut groups: BTreeMap<&Group, &RoomName> = BTreeMap::new();
    let mut tokens: BTreeMap<&str, &RoomName> = BTreeMap::new();
    for (name, room) in rooms {
        if let Some(other) = spelled.insert(name.as_str().to_lowercase(), name) {
            tell(
                room.at,
                format!("room \"{name}\" is room \"{other}\" in other letters; rename one"),
            );
        }
        if let Some(group) = &room.group
            && let Some(other) = groups.insert(group, name)
        {
            tell(room.at, format!("rooms \"{other}\" and \"{name}\" have the same `group`"));
        }
        match &room.token {
            None => tell(
                room.at,
                format!(
                    "`token` of room \"{name}\" is missing; write it into {}: [rooms.{name}] and \
                     token = \"…\" (`backrow token` makes one)",
                    Source::Secret.file()
                ),
            ),
            Some((token, at)) => {
                if let Some(other) = tokens.insert(token.reveal(), name) {
                    tell(*at, format!("rooms \"{other}\" and \"{name}\" have the same `token`"));
                }
            }
        }
        let is = |kind: fn(Kind) -> bool| {
            let those =
                machines.iter().filter(move |(_, m)| kind(m.kind) && m.rooms.contains(name));
            those.map(|(name, machine)| (name, machine.at)).collect::<Vec<_>>()
        };
        if let [(first, _), (second, at), ..] = is(|kind| kind != Kind::Encoder)[..] {
            tell(
                at,
                format!(
                    "room \"{name}\" has two collectors, {first} and {second}; the encoder takes one"
                ),
            );
        }
        let encoders = machines.values().any(|machine| machine.kind == Kind::Encoder);
        if encoders && is(|kind| kind == Kind::Encoder).is_empty() {
            tell(room.at, format!("room \"{name}\" is in no encoder's `rooms`"));
        }
    }
    let mut hosts: BTreeMap<(&str, Kind), &DeviceName> = BTreeMap::new();
    for (name, machine) in machines {
        let Some(host) = &machine.host else { continue };
        if let Some(other) = hosts.insert((host, machine.kind), name) {
            tell(
                machine.at,
                format!("machines \"{other}\" and \"{name}\" are one: the same `host` and kind"),
            );
        }
    }
    let brokers: Vec<_> = machines.iter().filter(|(_, machine)| machine.broker).collect();
    if let [(first, _), (second, machine), ..] = brokers[..] {
        tell(machine.at, format!("the broker is to run on two machines, {first} and {second}"));
    }
}
