//! The conference's way (docs/deploy.md, docs/event.md): the packages by hand, the rest by
//! `backrow push`, and a room published by RTMP.

use std::fs;
use std::path::{Path, PathBuf};

use backrow_tests::machine::{Machine, patience};
use backrow_tests::process::binary;
use backrow_tests::publish::Publisher;
use backrow_tests::tool;

use crate::mirror::Mirror;
use crate::outside::Outside;
use crate::rented::{Rented, package};

/// The name in its certificate: one for which Caddy is its own authority, as no other could be asked.
const NAME: &str = "encoder.localhost";
const ROOM: &str = "main-hall";

/// Makes the event with `backrow init`, and changes what its comments and the documents say for this
/// network: one port for the broker inside and outside, and HTTPS.
async fn event(directory: &Path, broker: u16) -> PathBuf {
    let event = directory.join("event");
    let dir = event.display().to_string();
    let backrow = binary("backrow").display().to_string();
    tool::run(&backrow, &["init", &dir, "--host", "localhost", "--room", ROOM]).await;
    let file = event.join("event.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    for (from, to) in [
        ("mqtts://localhost:8883", format!("mqtts://localhost:{broker}")),
        ("wss://localhost:8084", format!("wss://{NAME}/mqtt")),
        ("http://localhost:8080", format!("https://{NAME}")),
        ("broker = true\n", format!("broker = true\nhttps = \"{NAME}\"\nlisten.rtmp = \"0.0.0.0:1935\"\n")),
        // The processor is emulated: the picture is only passed on.
        ("[defaults.dashboard]", "[defaults]\nladder = []\n[defaults.webm]\nhigh = \"off\"\nlow = \"off\"\n\n[defaults.dashboard]".to_owned()),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}: {text}");
        text = text.replace(from, &to);
    }
    fs::write(&file, text).unwrap();
    let said = tool::run(&backrow, &["check", &dir]).await;
    assert_eq!(String::from_utf8_lossy(&said), "event: 1 rooms, 2 machines, nothing wrong\n");
    event
}

/// The operator's ssh configuration.
fn ssh(directory: &Path, machine: &Machine) -> String {
    let file = directory.join("ssh");
    let text = format!(
        "Host localhost\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {}\n  StrictHostKeyChecking accept-new\n",
        machine.ssh_port(),
        machine.private_key().display(),
        directory.join("known_hosts").display()
    );
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// Runs `backrow WORDS` with this ssh; exit status, and all that was said.
async fn backrow(words: &[&str], ssh: &str) -> (Option<i32>, String) {
    let args: Vec<_> = words.iter().copied().chain(["-F", ssh]).collect();
    let output = tool::output_within(patience(1200), binary("backrow"), &args).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Pushes to the encoder.
async fn push(event: &Path, ssh: &str) -> (Option<i32>, String) {
    let dir = event.display().to_string();
    backrow(&["push", &dir, "--only", "encoder", "--patience", "600"], ssh).await
}

/// What an operator does while it runs: its logs, what a helper would ask for, a restart.
async fn looked_after(rented: &Rented, event: &Path, ssh: &str, folder: &Path) {
    let dir = event.display().to_string();
    let (status, logs) = backrow(&["logs", "encoder", "--event", &dir, "-n", "500"], ssh).await;
    assert_eq!(status, Some(0), "{logs}");
    assert!(logs.contains("backrow-encoder["), "{logs}");
    assert!(!logs.contains("Fontconfig error"), "{logs}");
    let output = folder.join("diagnostics");
    let diag = ["diag", "encoder", "--event", &dir, "--output", &output.display().to_string()];
    let (status, said) = backrow(&diag, ssh).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("encoder  done "), "{said}");
    let text = fs::read_to_string(output.join("encoder.txt")).unwrap();
    for part in ["Mem:", "Filesystem", "Active: active (running)", "backrow-encoder["] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains(&token(event)), "the room's token is in it");
    let pid = "systemctl show -P MainPID backrow-encoder";
    let before = rented.machine.ssh(pid).await;
    let (status, said) = backrow(&["restart", "encoder", "--event", &dir], ssh).await;
    assert_eq!((status, said.as_str()), (Some(0), "encoder  done       started anew, by ssh\n"));
    assert_ne!(before, rented.machine.ssh(pid).await);
}

/// The room's token.
fn token(event: &Path) -> String {
    let text = fs::read_to_string(event.join("event.secret.toml")).unwrap();
    let table = text.split_once(&format!("[rooms.{ROOM}]\ntoken = \"")).unwrap().1;
    table.split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_machine_is_pushed_to_and_streams() {
    let mirror = Mirror::start().await;
    let mut rented = Rented::start(&mirror, "#cloud-config\n{}\n").await;
    let folder = tempfile::tempdir().unwrap();

    // "install them by hand": on the encoder its package, caddy and mosquitto.
    rented.machine.copy(&package(), "/root/backrow-encoder_0_amd64.deb").await;
    rented.install("./backrow-encoder_0_amd64.deb caddy mosquitto").await;
    rented.watch.lap("the packages are installed");
    // Without a configuration there is nothing to start.
    let state = rented.machine.run("systemctl is-active backrow-encoder").await.1;
    assert_eq!(state, "inactive\n");

    let broker = rented.machine.forward_same().await;
    let event = event(folder.path(), broker).await;
    let ssh = ssh(folder.path(), &rented.machine);
    let (status, said) = push(&event, &ssh).await;
    assert_eq!(status, Some(0), "{said}");
    let row = said.lines().rfind(|line| line.starts_with("encoder ")).unwrap_or_default();
    assert!(row.contains("pushed"), "{said}");
    rented.watch.lap("pushed");
    let active = rented.machine.ssh("systemctl is-active backrow-encoder mosquitto caddy").await;
    assert_eq!(active, "active\nactive\nactive\n");

    let authority = rented.authority().await;
    let https = rented.machine.forward(443).await;
    let outside = Outside::new(NAME, https, &authority);
    outside.answers().await;
    looked_after(&rented, &event, &ssh, folder.path()).await;
    rented.watch.lap("logs, diagnostics, a restart");
    let rtmp = rented.machine.forward(1935).await;
    let token = token(&event);
    let url = format!("rtmp://127.0.0.1:{rtmp}/{ROOM}/{token}");
    let publisher = Publisher::ffmpeg(&url);
    outside.watch(ROOM, folder.path()).await;
    assert!(publisher.process().is_running());
    rented.watch.lap("played");
    outside.recording(ROOM, &token, folder.path()).await;
    // An emulated processor that is busy may be too slow for the room, which makes the encoder sad.
    drop(publisher);

    // It all stands: nothing is started anew.
    let before = rented.machine.ssh("systemctl show -P MainPID backrow-encoder").await;
    let (status, said) = push(&event, &ssh).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("up to date"), "{said}");
    let after = rented.machine.ssh("systemctl show -P MainPID backrow-encoder").await;
    assert_eq!(before, after);
    rented.watch.lap("pushed again: up to date");
}
