//! What `agent.sh` and we say to one another: its answers, and the archive that it takes. Pure.

use super::decide::{Found, sum};
use crate::render::{Reload, Rendered};

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    File(String, u64),
    None(String),
    Ok,
    Failed(String),
    Unchanged(String),
}

/// Reads a line of an answer; `None` if it is none.
pub(super) fn frame(line: &str) -> Option<Frame> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "ok" => Some(Frame::Ok),
        "failed" => Some(Frame::Failed(said(rest))),
        "unchanged" => Some(Frame::Unchanged(said(rest))),
        "none" => Some(Frame::None(rest.to_owned())),
        "file" => {
            let (path, size) = rest.rsplit_once(' ')?;
            Some(Frame::File(path.to_owned(), size.parse().ok()?))
        }
        _ => None,
    }
}

fn said(text: &str) -> String {
    match text.trim() {
        "" => "it does not say why".to_owned(),
        text => text.to_owned(),
    }
}

/// How the agent begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The revision that was pushed last.
    pub(super) revision: Option<String>,
    /// The revision on trial.
    pub(super) trial: Option<String>,
}

/// Reads a greeting, or why there is none; `None` if the line is something else.
pub(super) fn greeting(line: &str) -> Option<Result<Greeting, String>> {
    if let Some(why) = line.strip_prefix("busy ") {
        return Some(Err(why.to_owned()));
    }
    let mut words = line.strip_prefix("backrow-agent 1 ")?.split(' ');
    let mut revision = || words.next().filter(|word| *word != "-").map(str::to_owned);
    Some(Ok(Greeting { revision: revision(), trial: revision() }))
}

/// What has to be started anew: what reads a file that changes; all, if the files are there and have
/// not been read.
fn reloads(rendered: &Rendered, found: &Found) -> String {
    let changes = |file: &&crate::render::File| {
        let here = found.files.get(&file.view).and_then(Option::as_deref);
        here != Some(file.content.as_bytes())
    };
    let any = rendered.files.iter().any(|file| changes(&file));
    let mut lines: Vec<String> = Vec::new();
    for file in rendered.files.iter().filter(|file| !any || changes(file)) {
        let line = match &file.reload {
            Some(Reload::Unit(unit)) => format!("unit {unit}\n"),
            Some(Reload::Run(command)) => format!("run {command}\n"),
            None => continue,
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let gone = |path: &str| rendered.files.iter().all(|file| file.path != path);
    let gone = found.manifest.iter().filter(|entry| gone(&entry.path));
    for line in gone.filter_map(|entry| without(&entry.path)) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    // The broker before those that want to reach it.
    lines.sort_by_key(|line| !line.contains("mosquitto"));
    lines.concat()
}

/// What has to be started anew, or to end, where a file of ours is not wanted any more; and the other
/// way round, when it comes back.
fn without(path: &str) -> Option<String> {
    let folders = [
        ("/etc/mosquitto/", "unit mosquitto.service\n"),
        // Without its one file Caddy cannot start.
        (
            "/etc/caddy/",
            "run if [ -e /etc/caddy/Caddyfile ]; then systemctl restart caddy.service; \
             else systemctl stop caddy.service; fi\n",
        ),
        ("/etc/backrow/encoder.toml", "unit backrow-encoder.service\n"),
        ("/etc/backrow/site.toml", "unit backrow-collector.service\n"),
    ];
    let (_, line) = folders.iter().find(|(folder, _)| path.starts_with(folder))?;
    Some((*line).to_owned())
}

/// What the agent's `put` takes.
pub(super) fn archive(rendered: &Rendered, found: &Found) -> std::io::Result<Vec<u8>> {
    let mut manifest = String::new();
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        archive.append_data(&mut header, name, content)
    };
    for (number, file) in (1..).zip(&rendered.files) {
        let content = file.content.as_bytes();
        add(&format!("{number}"), content)?;
        let group = file.group.as_deref().unwrap_or("-");
        manifest.push_str(&format!(
            "{} {} {group} {} {}\n",
            sum(content),
            file.mode,
            file.path,
            file.view
        ));
    }
    add("manifest", manifest.as_bytes())?;
    add("revision", format!("{}\n", rendered.revision).as_bytes())?;
    add("reload", reloads(rendered, found).as_bytes())?;
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(frame("ok"), Some(Frame::Ok));
        assert_eq!(frame("file /etc/a 12"), Some(Frame::File("/etc/a".into(), 12)));
        assert_eq!(frame("failed "), Some(Frame::Failed("it does not say why".into())));
        assert_eq!(frame("Welcome to Debian"), None);
        let revisions = |revision: Option<&str>, trial: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Some(Ok(Greeting { revision: owned(revision), trial: owned(trial) }))
        };
        assert_eq!(greeting("backrow-agent 1 - -"), revisions(None, None));
        assert_eq!(greeting("backrow-agent 1 3f2a -"), revisions(Some("3f2a"), None));
        assert_eq!(greeting("backrow-agent 1 - 3f2a"), revisions(None, Some("3f2a")));
        assert_eq!(greeting("busy two at once"), Some(Err("two at once".to_owned())));
    }

    #[test]
    fn only_what_reads_a_changed_file_is_started_anew() {
        let file = |path: &str, unit: &str| crate::render::File {
            path: path.to_owned(),
            view: path.to_owned(),
            mode: "0640".to_owned(),
            group: None,
            content: "new".to_owned(),
            reload: Some(Reload::Unit(unit.to_owned())),
            secret: false,
        };
        let wanted = Rendered {
            machine: "m".parse().unwrap(),
            revision: "2".parse().unwrap(),
            state: "/state".to_owned(),
            files: vec![file("/a", "one"), file("/b", "mosquitto"), file("/c", "one")],
        };
        let here = |a: &str, b: &str| {
            let content = |text: &str| Some(text.as_bytes().to_vec());
            let files = [("/a", content(a)), ("/b", content(b)), ("/c", content("new"))];
            let files = files.map(|(path, content)| (path.to_owned(), content));
            Found { files: files.into(), ..Found::default() }
        };
        assert_eq!(reloads(&wanted, &here("old", "new")), "unit one\n");
        assert_eq!(reloads(&wanted, &here("new", "old")), "unit mosquitto\n");
        for all in [here("old", "old"), here("new", "new"), Found::default()] {
            assert_eq!(reloads(&wanted, &all), "unit mosquitto\nunit one\n");
        }
    }

    #[test]
    fn what_read_a_file_that_is_gone_does_not_go_on_with_it() {
        let wanted = Rendered {
            machine: "m".parse().unwrap(),
            revision: "2".parse().unwrap(),
            state: "/state".to_owned(),
            files: Vec::new(),
        };
        let entry = |path: &str| super::super::decide::Entry {
            sum: String::new(),
            path: path.to_owned(),
            view: path.to_owned(),
        };
        let paths = [
            "/etc/caddy/Caddyfile",
            "/etc/mosquitto/conf.d/backrow-browsers.conf",
            "/etc/mosquitto/backrow/passwords",
            "/etc/motd",
        ];
        let found = Found { manifest: paths.map(entry).into(), ..Found::default() };
        let lines = reloads(&wanted, &found);
        assert_eq!(lines.lines().next(), Some("unit mosquitto.service"), "{lines}");
        assert_eq!(lines.matches("mosquitto").count(), 1, "{lines}");
        assert!(lines.contains("else systemctl stop caddy.service"), "{lines}");
        assert_eq!(lines.lines().count(), 2, "{lines}");
    }

    proptest! {
        #[test]
        fn any_line_is_an_answer_or_none(line in any::<String>()) {
            let _ = (frame(&line), greeting(&line));
        }
    }
}
