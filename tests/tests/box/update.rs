//! Updates: what is refused and why, a good one, and one that never gets well.

use backrow_tests::machine::{HOST, Machine, Setup, Stage, Stopwatch, bundle, patience};
use backrow_tests::process::{Launch, Process};
use backrow_tests::{tool, until};
use serde_json::{Value, json};

/// A web server on the host with the bundles.
pub(crate) struct Shelf {
    _process: Process,
    port: u16,
    _log: tempfile::TempDir,
}

impl Shelf {
    pub(crate) async fn open() -> Self {
        let log = tempfile::tempdir().unwrap();
        let folder = bundle("good").parent().unwrap().display().to_string();
        let args = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", &folder];
        let launch = Launch::new("python3").args(args);
        let process = Process::start("the shelf", launch, &log.path().join("log"));
        let port = until(patience(60), "the bundles' server", async || {
            let log = process.log();
            log.split(" port ").nth(1)?.split_whitespace().next()?.parse().ok()
        })
        .await;
        Self { _process: process, port, _log: log }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{HOST}:{}/{name}.raucb", self.port)
    }
}

/// Gives the box an order, and returns its id.
pub(crate) async fn order(stage: &Stage, number: u8, command: Value) -> String {
    let id = format!("01JF00000000000000000000{number:02}");
    let mut payload = json!({ "v": 1, "id": id });
    payload.as_object_mut().unwrap().extend(command.as_object().unwrap().clone());
    let port = stage.broker.address().port().to_string();
    let payload = payload.to_string();
    let line =
        ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", "backrow/box/command", "-m", &payload];
    tool::run("mosquitto_pub", &line).await;
    id
}

/// Waits for the answer to an order.
pub(crate) async fn answer(stage: &Stage, id: &str, state: &str, seconds: u64) -> String {
    let fits = |it: &Value| it["id"] == *id && it["state"] == *state;
    let answer = stage.told.seen(patience(seconds), "backrow/box/command/ack", fits).await;
    answer["message"].as_str().unwrap_or_default().to_owned()
}

pub(crate) async fn version(machine: &Machine) -> String {
    machine.ssh("sed -n 's/^BACKROW_VERSION=//p' /usr/lib/backrow/image").await.trim().to_owned()
}

pub(crate) async fn slot(machine: &Machine) -> String {
    machine.ssh("grep -o 'rauc.slot=[AB]' /proc/cmdline").await.trim().replace("rauc.slot=", "")
}

/// Waits until the running image has been marked good.
pub(crate) async fn works(stage: &Stage, version: &str) {
    stage
        .component(400, "box.update", |it| {
            it["mood"] == "happy" && it["reason"].as_str().is_some_and(|it| it.contains(version))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_update_stays_and_a_bad_one_is_taken_back() {
    let shelf = Shelf::open().await;
    let mut stage = Stage::set(Setup::new(), |site| site).await;
    let watch = Stopwatch::start();
    stage.up().await;
    let first = version(&stage.machine).await;
    assert_eq!(slot(&stage.machine).await, "A");
    works(&stage, &first).await;
    watch.lap("the first image is good");

    // Refused, with a reason that helps.
    for (name, words) in
        [("older", "older"), ("wrong-key", "sign"), ("wrong-compatible", "other_board")]
    {
        let file = format!("/tmp/{name}.raucb");
        stage.machine.copy(&bundle(name), &file).await;
        let (status, out, err) = stage.machine.run(&format!("appliance update {file} 2>&1")).await;
        let said = format!("{out}{err}");
        assert_ne!(status, 0, "{name} was taken: {said}");
        eprintln!("{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
        stage.machine.ssh(&format!("rm {file}")).await;
    }
    assert_eq!(stage.machine.told("RESET"), 0);
    watch.lap("three were refused");

    // By order over MQTT.
    let command = json!({ "command": "update", "url": shelf.url("good") });
    let id = order(&stage, 1, command).await;
    stage.machine.resets(1, 900).await;
    watch.lap("installed, restarting");
    stage.machine.up().await;
    assert_eq!(version(&stage.machine).await, "0.2.0");
    assert_eq!(slot(&stage.machine).await, "B");
    let message = answer(&stage, &id, "done", 400).await;
    eprintln!("{message}");
    works(&stage, "0.2.0").await;
    let status = stage.machine.ssh("rauc status 2>&1").await;
    assert!(status.contains("good"), "{status}");
    watch.lap("0.2.0 is good");

    // Asked for again, it is done already.
    let again = order(&stage, 3, json!({ "command": "update", "url": shelf.url("good") })).await;
    let message = answer(&stage, &again, "done", 240).await;
    assert_eq!(message, "0.2.0 is not installed: 0.2.0 runs here already");
    works(&stage, "0.2.0").await;
    assert_eq!(stage.machine.told("RESET"), 1);
    watch.lap("0.2.0 again: it runs already");

    // An update whose collector never gets well. Nobody waits; they pull the plug.
    order(&stage, 2, json!({ "command": "update", "url": shelf.url("never-healthy") })).await;
    stage.machine.resets(2, 900).await;
    stage.machine.up().await;
    assert_eq!(version(&stage.machine).await, "0.3.0");
    stage
        .component(300, "box.update", |it| {
            it["reason"]
                .as_str()
                .is_some_and(|it| it.contains("on trial") && it.contains("collector"))
        })
        .await;
    watch.lap("0.3.0 is on trial");
    for next in [2, 3] {
        stage.machine.cut_power().await;
        stage.machine.start().await;
        let words = format!("slot A, try {next}");
        let machine = &stage.machine;
        until(patience(180), &words, async || machine.serial().contains(&words).then_some(()))
            .await;
    }
    stage.machine.cut_power().await;
    stage.machine.start().await;
    stage.machine.up().await;
    assert_eq!(version(&stage.machine).await, "0.2.0");
    let reason = stage.taken_back("0.3.0").await;
    eprintln!("{reason}");
    assert!(reason.contains("0.2.0") && reason.contains("collector"), "{reason}");
    stage.confirmed().await;
    watch.lap("0.2.0 again, and it says why");
}
