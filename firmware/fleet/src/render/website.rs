//! What is right and yet of no use: an encoder that a website sends viewers to, who find nothing. Pure.

use std::net::SocketAddr;

use super::{Settings, environment};
use crate::event::{
    Event, Kind, Problem,
    tree::{Node, Tree, Value},
};

/// What an operator should know of websites in an event that is right.
#[must_use]
pub fn unreached(event: &Event) -> Vec<Problem> {
    let environment = environment();
    let mut told = Vec::new();
    for (name, machine) in event.machines.iter().filter(|(_, it)| it.kind == Kind::Encoder) {
        let Ok(settings) = Settings::of(event, name, machine, &environment) else { continue };
        let Some(Node { value: Value::List(websites), at }) = settings.tree.get("register") else {
            continue;
        };
        if websites.is_empty() {
            continue;
        }
        if let Some(http) = alone(&settings.tree) {
            let message = format!(
                "warning: a website sends viewers to http://{name}'s own address:8080/, where nobody \
                 answers: `listen.http` there is {http}. Let it be \"0.0.0.0:8080\", and let in that port"
            );
            told.push(Problem::at(*at, message));
        }
        if machine.rooms.len() > 1 {
            let message = format!(
                "warning: a website sends viewers to the streams at the root, which only an encoder with \
                 one room has; {name} has {}",
                machine.rooms.len()
            );
            told.push(Problem::at(*at, message));
        }
    }
    told
}

/// Where an encoder listens that hears its own machine alone.
fn alone(settings: &Tree) -> Option<&str> {
    let Some(Node { value: Value::Table(listen), .. }) = settings.get("listen") else {
        return None;
    };
    let Some(Node { value: Value::Text(http), .. }) = listen.get("http") else { return None };
    http.parse::<SocketAddr>().is_ok_and(|it| it.ip().is_loopback()).then_some(http)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::parse;

    fn said(rooms: &[&str], more: &str) -> String {
        let mut event = format!(
            "[event]\nname = \"demo\"\n\
             [machines.enc]\nkind = \"encoder\"\nhost = \"enc\"\nrooms = \"all\"\n{more}\n"
        );
        let mut secret =
            "[[defaults.register]]\nurl = \"http://w.example.org/r\"\nsecret = \"hush\"\n"
                .to_owned();
        for room in rooms {
            event += &format!("[rooms.{room}]\n");
            secret += &format!("[rooms.{room}]\ntoken = \"token-of-{room}\"\n");
        }
        let event = parse(&event, &secret, Path::new(".")).unwrap();
        unreached(&event).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn viewers_who_would_find_nothing_are_told_of() {
        assert_eq!(said(&["a"], ""), "");
        let https = "https = \"enc.example.org\"";
        let told = said(&["a"], https);
        assert!(told.contains("`listen.http` there is 127.0.0.1:8080"), "{told}");
        let open = format!("{https}\nlisten.http = \"0.0.0.0:8080\"");
        assert_eq!(said(&["a"], &open), "");
        let told = said(&["a", "b"], "");
        assert!(told.ends_with("only an encoder with one room has; enc has 2"), "{told}");
    }
}
