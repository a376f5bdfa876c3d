//! `backrow update`, `restart`, `identify` and `status --watch`: the real program at a real broker, and
//! boxes of a script.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::process::Stdio;
use std::time::Duration;

use backrow_tests::broker::Broker;
use backrow_tests::devices::{Device, Voice};
use backrow_tests::mqtt::Subscriber;
use backrow_tests::process::{Launch, Process, binary};
use backrow_tests::until;
use protocol::command::{AckState, Command, Order};
use protocol::mood::Mood;
use protocol::payload::Role;
use tempfile::TempDir;

/// How long anything may take.
const SOON: Duration = Duration::from_secs(120);
const BUNDLE: &str = "https://updates.example.org/backrow.raucb";

/// An event of three boxes.
struct Event {
    directory: TempDir,
    broker: Broker,
}

/// A box of the script, at the broker.
struct Player {
    device: Device,
    voice: Voice,
}

impl Event {
    async fn start() -> Self {
        let (directory, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
        let mut text = format!(
            "[event]\nname = \"test\"\nbroker = \"{}\"\n\
             [defaults.encoder]\nurl = \"http://127.0.0.1:8080\"\n",
            broker.url()
        );
        let mut secret = String::new();
        for n in 1..=3 {
            text += &format!(
                "[rooms.hall-{n}]\n[machines.b{n}]\nkind = \"box\"\nhost = \"b{n}.invalid\"\n\
                 room = \"hall-{n}\"\n"
            );
            secret += &format!("[rooms.hall-{n}]\ntoken = \"token-of-hall-{n}\"\n");
        }
        std::fs::write(directory.path().join("event.toml"), text).unwrap();
        std::fs::write(directory.path().join("event.secret.toml"), secret).unwrap();
        Self { directory, broker }
    }

    async fn boxed(&self, name: &str) -> Player {
        let device = Device::new(name, Role::Collector, &[&name.replace('b', "hall-")]);
        let voice = Voice::connect(&self.broker, Some(&device.name)).await;
        device.is_born(&voice).await;
        Player { device, voice }
    }

    fn args(&self, words: &[&str]) -> Vec<String> {
        let event = self.directory.path().display().to_string();
        words.iter().copied().chain(["--event", &event]).map(str::to_owned).collect()
    }

    /// Begins `backrow WORDS`.
    fn backrow(&self, words: &[&str]) -> Running {
        let mut command = tokio::process::Command::new(binary("backrow"));
        command.args(self.args(words)).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Running(command.spawn().unwrap())
    }
}

/// `backrow`, while it runs.
struct Running(tokio::process::Child);

impl Running {
    /// Waits for its end; each line of its table has to begin with these words.
    async fn ends(self, status: i32, table: &[&str]) {
        let output = tokio::time::timeout(SOON, self.0.wait_with_output()).await;
        let output = output.expect("it ends").unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let as_wanted = said.lines().count() == table.len()
            && table.iter().all(|row| said.lines().any(|line| line.starts_with(row)));
        assert!(
            output.status.code() == Some(status) && as_wanted,
            "{:?} is not {status} with {table:#?}\n{said}\n{told}",
            output.status
        );
    }
}

impl Player {
    async fn is_asked(&mut self) -> Command {
        let command = self.voice.order().await;
        assert!(command.expires.unwrap() > jiff::Timestamp::now(), "it has an end, ahead");
        command
    }

    async fn says(&self, order: &Command, state: AckState, words: &str) {
        self.device.answers(&self.voice, order, state, words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_goes_to_one_box_and_then_to_all_others_at_once() {
    let event = Event::start().await;
    let (mut b1, mut b2, mut b3) =
        (event.boxed("b1").await, event.boxed("b2").await, event.boxed("b3").await);
    let update = event.backrow(&["update", BUNDLE]);
    let first = b1.is_asked().await;
    let Order::Update { url, sha256: None } = &first.order else { panic!("{first:?}") };
    assert_eq!(url.as_str(), BUNDLE);
    b1.says(&first, AckState::Accepted, "installing 1.3.0: 40 %").await;
    // While the first is at it, no other begins; what it says last lets them.
    assert!(b2.voice.is_unasked() && b3.voice.is_unasked());
    b1.says(&first, AckState::Done, "1.3.0 runs and is good").await;
    let (second, third) = (b2.is_asked().await, b3.is_asked().await);
    assert_ne!(second.id, third.id, "each has its own");
    // An answer that is lost: it is asked again, by the same id. One that comes twice is one.
    let again = b2.is_asked().await;
    assert_eq!(again.id, second.id);
    b2.says(&again, AckState::Done, "1.3.0 runs here already").await;
    b3.says(&third, AckState::Done, "1.3.0 runs and is good").await;
    b3.says(&third, AckState::Done, "1.3.0 runs and is good").await;
    let rows =
        ["b1  done       1.3.0 runs", "b2  done       1.3.0 runs", "b3  done       1.3.0 runs"];
    update.ends(0, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_falls_back_holds_all_others() {
    let event = Event::start().await;
    let (mut b1, b2, b3) =
        (event.boxed("b1").await, event.boxed("b2").await, event.boxed("b3").await);
    let update = event.backrow(&["update", BUNDLE]);
    let order = b1.is_asked().await;
    b1.says(&order, AckState::Failed, "1.3.0 was tried 3 times: the collector failed").await;
    let rows = ["b1  failed     1.3.0 was tried 3 times", "b2  held", "b3  held"];
    update.ends(5, &rows).await;
    assert!(b2.voice.is_unasked() && b3.voice.is_unasked(), "nobody else was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_is_away_or_refuses_is_no_canary() {
    let event = Event::start().await;
    // b1 was there, and the broker has lost it.
    let told = Subscriber::start(&event.broker).await;
    drop(event.boxed("b1").await);
    told.wait(SOON, "backrow/b1/state", |it| it["state"] == "lost").await;
    let (mut b2, mut b3) = (event.boxed("b2").await, event.boxed("b3").await);
    let update = event.backrow(&["update", BUNDLE]);
    let second = b2.is_asked().await;
    assert!(b3.voice.is_unasked());
    b2.says(&second, AckState::Refused, "not now: another update is being installed").await;
    let third = b3.is_asked().await;
    b3.says(&third, AckState::Done, "1.3.0 runs and is good").await;
    let rows = ["b1  away", "b2  refused    not now", "b3  done"];
    update.ends(4, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_hears_no_orders_is_told_and_keeps_nobody_waiting() {
    let event = Event::start().await;
    let (b1, mut b2) = (event.boxed("b1").await, event.boxed("b2").await);
    let restart = event.backrow(&["restart", "b1", "b2"]);
    let order = b2.is_asked().await;
    assert_eq!(order.order, Order::Restart);
    b2.says(&order, AckState::Done, "the collector was started anew").await;
    restart.ends(5, &["b1  no answer  nothing within 20 s", "b2  done"]).await;
    assert!(!b1.voice.is_unasked(), "it was asked");
    let identify = event.backrow(&["identify", "b2", "--seconds", "5"]);
    let order = b2.is_asked().await;
    assert_eq!(order.order, Order::Identify { seconds: 5 });
    b2.says(&order, AckState::Done, "the box shows itself for 5 s").await;
    identify.ends(0, &["b2  done       the box shows itself for 5 s"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_goes_on_and_tells_what_changes() {
    let event = Event::start().await;
    let b1 = event.boxed("b1").await;
    b1.device.component(&b1.voice, "uplink", Mood::Happy, "sending", 60).await;
    let log = event.directory.path().join("watch.log");
    let args = event.args(&["status", "--watch", "b1"]);
    let watching = Process::start("status", Launch::new(binary("backrow")).args(args), &log);
    let shows = async |what: &str| {
        until(SOON, &format!("the words \"{what}\""), async || {
            watching
                .log()
                .lines()
                .any(|line| line.contains("b1") && line.contains(what))
                .then_some(())
        })
        .await;
    };
    shows("happy").await;
    b1.device.component(&b1.voice, "uplink", Mood::Sad, "the encoder does not answer", 1).await;
    shows("uplink: the encoder does not answer").await;
    drop(b1);
    shows("lost").await;
    assert!(watching.is_running(), "{}", watching.log());
}
