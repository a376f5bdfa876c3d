//! `backrow` and a box that no ssh reaches: pushing to it, looking at it, giving it orders. The broker as
//! it is rendered, the box's own daemon and its collector, and an encoder.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use backrow_tests::broker::{free_port, mosquitto};
use backrow_tests::far_box::FarBox;
use backrow_tests::process::{Launch, binary};
use backrow_tests::{EncoderConfig, EncoderProcess, Process, tool, until};
use serde_json::Value;
use tempfile::TempDir;

/// For whatever has to start first.
const SOON: Duration = Duration::from_secs(180);
/// Tries at a free port for the broker.
const TRIES: usize = 5;
/// What of the box's daemons must not start anew when nothing is applied.
const UNITS: [&str; 2] = ["backrow-collector.service", "backrow-appliance.service"];

/// An event with one box that is there and one that never is, its broker, and its encoder.
struct Conference {
    directory: TempDir,
    port: u16,
    encoder: EncoderProcess,
    _broker: Process,
}

impl Conference {
    async fn start() -> Self {
        let encoder = EncoderProcess::start(EncoderConfig::light("main")).await;
        for _ in 0..TRIES {
            let directory = tempfile::tempdir().unwrap();
            let dir = directory.path();
            std::fs::create_dir(dir.join("event")).unwrap();
            let address = free_port();
            write(dir, address.port(), &encoder, &url(&encoder), 16);
            backrow(dir, &["certificates"]).await;
            render(dir).await;
            // Where the files of the machine with the broker would be.
            let there = dir.join("rendered/hub/etc/mosquitto");
            let text = std::fs::read_to_string(there.join("conf.d/backrow.conf")).unwrap();
            let place = there.join("backrow").display().to_string();
            let text = text.replace("/etc/mosquitto/backrow", &place);
            if let Some(broker) = mosquitto(dir, &text, address).await {
                return Self { port: address.port(), directory, encoder, _broker: broker };
            }
        }
        panic!("mosquitto found no free port in {TRIES} tries");
    }

    fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Another revision: with this encoder, and so much memory for what it has not confirmed.
    fn change(&self, encoder: &str, memory: u32) {
        write(self.dir(), self.port, &self.encoder, encoder, memory);
    }

    async fn push(&self, machine: &str, more: &[&str]) -> Pushed {
        let mut args = vec!["push", "--only", machine];
        if !more.contains(&"--settle") {
            args.extend(["--settle", "2"]);
        }
        args.extend(more);
        Pushed(backrow(self.dir(), &args).await)
    }

    /// The box's site as it is to be.
    async fn wanted(&self) -> String {
        render(self.dir()).await;
        std::fs::read_to_string(files(self.dir()).join("site.toml")).unwrap()
    }

    /// Arguments that make one of mosquitto's clients come by this name's certificate.
    fn client(&self, name: &str) -> Vec<String> {
        let file =
            |name: &str| self.dir().join("event/certificates").join(name).display().to_string();
        let port = self.port.to_string();
        let (ca, pem, key) =
            (file("authority.pem"), file(&format!("{name}.pem")), file(&format!("{name}.key")));
        ["-V", "5", "-h", "127.0.0.1", "-p", &port, "--cafile", &ca, "--cert", &pem, "--key", &key]
            .map(str::to_owned)
            .to_vec()
    }

    /// What the broker keeps at a topic.
    async fn kept(&self, topic: &str) -> Option<String> {
        let mut args = self.client("operator");
        args.extend(["-t", topic, "-C", "1", "-W", "5"].map(str::to_owned));
        let output = tool::output("mosquitto_sub", &args).await;
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.success() && !text.is_empty()).then(|| text.trim_end().to_owned())
    }

    /// Has the broker keep a message at a topic.
    async fn publish(&self, topic: &str, message: &str) {
        let file = self.dir().join("message");
        std::fs::write(&file, message).unwrap();
        let mut args = self.client("operator");
        let file = file.display().to_string();
        args.extend(["-q", "1", "-r", "-t", topic, "-f", &file].map(str::to_owned));
        tool::run("mosquitto_pub", &args).await;
    }

    /// Has this client say something; what the broker has against it.
    async fn say(&self, name: &str, topic: &str, message: &str) -> String {
        let mut args = self.client(name);
        args.extend(["-q", "1", "-t", topic, "-m", message].map(str::to_owned));
        let output = tool::output("mosquitto_pub", &args).await;
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Listens to what b1 answers from now on, in its log.
    async fn answers(&self) -> Process {
        let mut args = vec!["-oL".to_owned(), "mosquitto_sub".to_owned()];
        args.extend(self.client("operator"));
        args.extend(["-d", "-t", "backrow/b1/command/ack"].map(str::to_owned));
        let log = self.dir().join("answers");
        let hearing = Process::start("answers", Launch::new("stdbuf").killed().args(args), &log);
        until(SOON, "the subscription", async || {
            hearing.log().contains("Subscribed").then_some(())
        })
        .await;
        hearing
    }

    /// What the box says of what was pushed.
    async fn state(&self) -> Option<Value> {
        serde_json::from_str(&self.kept("backrow/b1/config/state").await?).ok()
    }

    /// Waits until the box refuses, with these words.
    async fn refused(&self, the_box: &FarBox, words: &str) {
        let mut last = Value::Null;
        until(SOON, &format!("the box to refuse: {words}"), async || {
            last = self.state().await?;
            let reason = last["reason"].as_str().unwrap_or_default();
            (last["state"] == "refused" && reason.contains(words)).then_some(())
        })
        .await;
        assert!(!the_box.log().contains("panicked"), "{}", the_box.log());
    }
}

fn url(encoder: &EncoderProcess) -> String {
    format!("http://{}", encoder.http())
}

fn write(dir: &Path, broker: u16, encoder: &EncoderProcess, url: &str, memory: u32) {
    let text = format!(
        "[event]\nname = \"test\"\nbroker = \"mqtts://127.0.0.1:{broker}\"\n\
         [defaults.encoder]\nurl = \"{url}\"\n[defaults.source]\nkind = \"test\"\n\
         [defaults.uplink]\nmemory = \"{memory}MiB\"\n\
         [defaults.video]\nwidth = 64\nheight = 64\nframerate = 5\nbitrate = \"50k\"\n\
         [rooms.main]\n[rooms.side]\n\
         [machines.hub]\nkind = \"encoder\"\nhost = \"hub\"\nrooms = \"all\"\nbroker = true\n\
         [machines.b1]\nkind = \"box\"\nroom = \"main\"\n\
         [machines.b2]\nkind = \"box\"\nroom = \"side\"\n"
    );
    std::fs::write(dir.join("event/event.toml"), text).unwrap();
    let token = encoder.token();
    let secret =
        format!("[rooms.main]\ntoken = \"{token}\"\n[rooms.side]\ntoken = \"token-of-side\"\n");
    std::fs::write(dir.join("event/event.secret.toml"), secret).unwrap();
}

/// The box's files as they are rendered.
fn files(dir: &Path) -> PathBuf {
    dir.join("rendered/b1/data/backrow/push/site")
}

async fn render(dir: &Path) {
    let out = dir.join("rendered").display().to_string();
    let event = dir.join("event").display().to_string();
    tool::run(binary("backrow").to_str().unwrap(), &["render".to_owned(), out, event]).await;
}

/// Runs `backrow COMMAND DIR REST`.
async fn backrow(dir: &Path, args: &[&str]) -> Output {
    let event = dir.join("event").display().to_string();
    let (command, rest) = args.split_first().unwrap();
    let all: Vec<&str> = [*command, &event].into_iter().chain(rest.iter().copied()).collect();
    // A push takes longer than other tools.
    let run = tokio::process::Command::new(binary("backrow")).args(&all).output();
    tokio::time::timeout(Duration::from_secs(600), run).await.unwrap().unwrap()
}

/// What came of a push.
struct Pushed(Output);

impl Pushed {
    fn expect(&self, status: i32, words: &str, the_box: &FarBox) {
        let shown = String::from_utf8_lossy(&self.0.stdout);
        let progress = String::from_utf8_lossy(&self.0.stderr);
        assert!(
            self.0.status.code() == Some(status) && shown.contains(words),
            "{:?} is not {status} with {words:?}\n{shown}\n{progress}\n{}",
            self.0.status,
            the_box.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_behind_nat_takes_what_is_signed_and_goes_back_when_it_is_not_well() {
    let conference = Conference::start().await;
    let good = url(&conference.encoder);
    let mut the_box = FarBox::flashed(&files(conference.dir()));
    the_box.power_on();
    until(SOON, "the box to be at the broker", async || {
        let dry = conference.push("b1", &["--dry-run"]).await;
        (dry.0.status.code() == Some(0)).then_some(())
    })
    .await;
    let processes =
        |the_box: &FarBox| UNITS.map(|unit| the_box.process_of(unit).expect("a daemon"));
    let fresh = processes(&the_box);
    let same = conference.push("b1", &["--patience", "120"]).await;
    same.expect(0, "up to date", &the_box);

    // Applied.
    conference.change(&good, 17);
    let dry = conference.push("b1", &["--dry-run"]).await;
    dry.expect(3, "would change", &the_box);
    assert_eq!(processes(&the_box), fresh, "looking changes nothing");
    let first = conference.push("b1", &["--patience", "120"]).await;
    first.expect(0, "pushed", &the_box);
    let applied = conference.wanted().await;
    assert_eq!(the_box.site(), applied);
    let running = processes(&the_box);
    assert!(fresh.iter().zip(&running).all(|(old, new)| old != new));
    let again = conference.push("b1", &["--patience", "120"]).await;
    again.expect(0, "up to date", &the_box);
    assert_eq!(processes(&the_box), running);
    let older = conference.kept("backrow/b1/config").await.unwrap();

    // Not well with it: back, and not taken again by the box as it starts anew.
    conference.change("http://127.0.0.1:1", 18);
    let second = conference.push("b1", &["--patience", "40"]).await;
    second.expect(5, "went back: uplink: ", &the_box);
    assert_eq!(the_box.site(), applied);
    the_box.power_off().await;
    the_box.power_on();
    let state = until(SOON, "the box to be there again", async || {
        UNITS.iter().all(|unit| the_box.process_of(unit).is_some()).then_some(())?;
        conference.state().await
    })
    .await;
    assert_eq!(state["state"], "went_back", "{state}");
    // What comes after it at the same topic is heard after it.
    conference.publish("backrow/b1/config", "{").await;
    conference.refused(&the_box, "not understood").await;
    assert_eq!(the_box.site(), applied);

    // Refused: changed on the way, another machine's, older, signed by a machine.
    let running = processes(&the_box);
    let mut tampered: Value = serde_json::from_str(&older).unwrap();
    let document = tampered["document"].as_str().unwrap().replace("17MiB", "99MiB");
    tampered["document"] = document.into();
    conference.publish("backrow/b1/config", &tampered.to_string()).await;
    conference.refused(&the_box, "changed after it was signed").await;
    let away = conference.push("b2", &["--patience", "5"]).await;
    away.expect(4, "the revision waits there for it", &the_box);
    let others = conference.kept("backrow/b2/config").await.unwrap();
    conference.publish("backrow/b1/config", &others).await;
    conference.refused(&the_box, "it is for the machine b2").await;
    conference.publish("backrow/b1/config", &older).await;
    conference.refused(&the_box, "it is older").await;
    let mut machines: Value = serde_json::from_str(&older).unwrap();
    let certificate = conference.dir().join("event/certificates/b2.pem");
    machines["certificates"] = std::fs::read_to_string(certificate).unwrap().into();
    conference.publish("backrow/b1/config", &machines.to_string()).await;
    conference.refused(&the_box, "not one for signing settings").await;
    assert_eq!(the_box.site(), applied);
    assert_eq!(processes(&the_box), running);

    // And nothing of that is in the way of what is right.
    conference.change(&good, 19);
    let third = conference.push("b1", &["--patience", "120"]).await;
    third.expect(0, "pushed", &the_box);
    assert_eq!(the_box.site(), conference.wanted().await);
}

/// Runs `backrow COMMAND WORDS --event DIR`.
async fn operate(dir: &Path, args: &[&str]) -> (i32, String) {
    let event = dir.join("event").display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["--event", &event]).collect();
    let output = tool::output(binary("backrow"), &args).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_every_machine_and_gives_a_box_orders() {
    let conference = Conference::start().await;
    let dir = conference.dir();
    let mut the_box = FarBox::flashed(&files(dir));
    the_box.power_on();
    // Its numbers are there, and so are rows for those that are not.
    let mut seen = String::new();
    let row = until(SOON, "the box to be seen", async || {
        (_, seen) = operate(dir, &["status", "--json"]).await;
        let status: Value = serde_json::from_str(&seen).ok()?;
        let rows = status["machines"].as_array()?.clone();
        let of = |name: &str| rows.iter().find(|row| row["machine"] == name).cloned();
        assert_eq!(of("b2")?["why"], "never seen at the broker", "{seen}");
        // It misses a time server, and nothing else.
        of("b1").filter(|row| row["mood"] == "hungry" && row["sound_db"].is_number())
    })
    .await;
    assert_eq!((&row["kind"], &row["source"]), (&"box".into(), &"picture".into()), "{row}");
    assert_eq!(row["rooms"][0], "main");
    assert!(row["version"].is_string() && row["behind_ms"].is_number(), "{row}");
    let (status, said) = operate(dir, &["status", "b1"]).await;
    assert!(status == 0 && said.contains("picture"), "{status} {said}");
    let (status, said) = operate(dir, &["status"]).await;
    assert!(status == 5 && said.contains("never seen"), "{status} {said}");

    let (status, said) = operate(dir, &["identify", "b1", "--seconds", "5"]).await;
    assert!(status == 0 && said.contains("b1  done"), "{status} {said}\n{}", the_box.log());
    let before = the_box.process_of(UNITS[0]);
    let (status, said) = operate(dir, &["restart", "b1"]).await;
    assert!(status == 0 && said.contains("done"), "{status} {said}\n{}", the_box.log());
    until(SOON, "the collector to start anew", async || {
        let now = the_box.process_of(UNITS[0]);
        (now.is_some() && now != before).then_some(())
    })
    .await;

    // An order whose end has passed, or that somebody gives who may not, changes nothing.
    let running = the_box.process_of(UNITS[0]);
    let late = r#"{"v":1,"id":"01JF0000000000000000000001","command":"restart","expires":"2026-01-01T00:00:00Z"}"#;
    let answers = conference.answers().await;
    conference.say("operator", "backrow/b1/command", late).await;
    until(SOON, "the order to be refused", async || {
        let said = answers.log();
        (said.contains(r#""state":"refused""#) && said.contains("it expired at")).then_some(())
    })
    .await;
    let order = late.replace("0001", "0002").replace("2026-01", "2096-01");
    let said = conference.say("b2", "backrow/b1/command", &order).await;
    assert!(said.contains("Not authorized"), "{said}");
    // What comes after it is heard after it.
    conference.say("operator", "backrow/b1/command", &late.replace("0001", "0003")).await;
    until(SOON, "the last order to be refused", async || {
        answers.log().contains("0003").then_some(())
    })
    .await;
    assert!(!answers.log().contains("0002"), "{}", answers.log());
    assert_eq!(the_box.process_of(UNITS[0]), running);

    // Who is away is told at once, and who refuses says why.
    let (status, said) = operate(dir, &["identify", "b2", "hub"]).await;
    assert!(status == 4 && said.contains("not at the broker"), "{status} {said}");
    assert!(said.contains("only a box has"), "{said}");
    let (status, said) = operate(dir, &["update", "http://127.0.0.1:1/x.raucb"]).await;
    assert!(status == 4 && said.contains("not run from one of the box's own slots"), "{said}");
    for (words, wrong) in [
        (&["update", "/tmp/x.raucb"][..], "relative URL"),
        (&["update", "ftp://x/y"], "must be https:// or http://"),
        (&["update", "http://x/y", "hub"], "hub: this is no box"),
        (&["restart"], "required"),
        (&["restart", "aula"], "aula: there is no such machine"),
    ] {
        let (status, said) = operate(dir, words).await;
        assert!(matches!(status, 1 | 2) && said.contains(wrong), "{words:?}: {status} {said}");
    }
}
