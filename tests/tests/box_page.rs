//! The box's own page in a real browser: served as the box serves it, with a scripted box under it,
//! and once with a real collector.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use appliance::page::{Action, Answer, LIMITS, Order, app};
use appliance::paths::Paths;
use appliance::status;
use backrow_tests::browser::{Browser, PATIENCE};
use backrow_tests::{CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess};
use backrow_tests::{footage, tool, until};
use jiff::Timestamp;
use pages::listener::{bind, serve};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;

const TOKEN: &str = "rosy-otter-42";

/// A box of files, and its page.
struct Venue {
    dir: TempDir,
    address: SocketAddr,
    orders: mpsc::Receiver<Order>,
    stop: CancellationToken,
    serving: Vec<JoinHandle<()>>,
}

impl Drop for Venue {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Venue {
    /// A box where all is well, but for the collector, which says nothing yet.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("data/backrow/token", TOKEN),
            ("run/backrow/site.toml", "room = \"hall\"\n"),
            (
                "run/backrow/outcome.json",
                r#"{"v":1,"ok":true,"problems":[],"source":"config","network":"new"}"#,
            ),
            ("run/systemd/timesync/synchronized", ""),
            ("proc/uptime", "754.1 1200.0\n"),
            ("proc/sys/kernel/hostname", "hall-1\n"),
            ("proc/mounts", "/dev/sda5 /data ext4 rw,noatime 0 0\n"),
            ("proc/cmdline", "ro rauc.slot=A backrow.try=0\n"),
            (
                "usr/lib/backrow/image",
                "BACKROW_VERSION=1.2.0\nBACKROW_BOARD=pc_x86_64\nBACKROW_BUILT=1760000000\n",
            ),
            ("sys/class/thermal/thermal_zone0/temp", "47200\n"),
            ("sys/class/net/eth0/device/vendor", "0x8086\n"),
            ("sys/class/net/eth0/carrier", "1\n"),
            (
                "proc/net/route",
                "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                 eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n\
                 eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n",
            ),
            ("proc/net/fib_trie", "     |-- 10.0.0.57\n        /32 host LOCAL\n"),
        ] {
            put(dir.path(), path, content.as_bytes());
        }
        let (_, orders) = mpsc::channel(1);
        let address = "127.0.0.1:0".parse().unwrap();
        let stop = CancellationToken::new();
        let mut venue = Self { dir, address, orders, stop, serving: Vec::new() };
        venue.switch_on();
        venue
    }

    /// Serves the page; at its old address after it was switched off.
    fn switch_on(&mut self) {
        let paths = Paths::under(self.dir.path());
        let (sender, orders) = mpsc::channel(4);
        self.orders = orders;
        self.stop = CancellationToken::new();
        let (_, doing) = watch::channel(String::new());
        let clock = watchdog::clock::system();
        let (seen, looking) = status::spawn(
            paths.clone(),
            clock.clone(),
            Board::new(clock),
            doing,
            self.stop.clone(),
        );
        let listener = bind(self.address, &LIMITS).unwrap();
        self.address = listener.local_addr().unwrap();
        let page = app(paths, seen, sender);
        let serving = tokio::spawn(serve(listener, page, LIMITS, self.stop.clone()));
        self.serving = vec![looking, serving];
    }

    async fn switch_off(&mut self) {
        self.stop.cancel();
        for task in self.serving.drain(..) {
            task.await.unwrap();
        }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn put(&self, path: &str, content: &str) {
        put(self.dir.path(), path, content.as_bytes());
    }

    fn collector_dir(&self) -> PathBuf {
        self.dir.path().join("run/backrow-collector")
    }

    /// The collector speaks, twice a second, with these levels and whatever else is given.
    fn collector(&self, levels: [f64; 2], otherwise: Value) -> Talk {
        let levels = watch::Sender::new(levels);
        let (mut heard, dir) = (levels.subscribe(), self.collector_dir());
        let task = tokio::spawn(async move {
            loop {
                let text = told(*heard.borrow_and_update(), &otherwise).to_string();
                put(&dir, "status.json", text.as_bytes());
                let preview = std::fs::File::options().write(true).open(dir.join("preview.jpg"));
                preview.unwrap().set_modified(Timestamp::now().into()).unwrap();
                let changed = tokio::time::timeout(Duration::from_millis(500), heard.changed());
                if matches!(changed.await, Ok(Err(_))) {
                    return;
                }
            }
        });
        Talk { levels, task }
    }
}

/// A scripted collector.
struct Talk {
    levels: watch::Sender<[f64; 2]>,
    task: JoinHandle<()>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn put(dir: &Path, path: &str, content: &[u8]) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// What a collector says when all is well.
fn told(levels: [f64; 2], otherwise: &Value) -> Value {
    let now = Timestamp::now();
    let happy = |reason: &str| json!({ "mood": "happy", "since": now, "reason": reason });
    let off = json!({ "on": false, "since": now });
    let mut told = json!({
        "v": 1, "at": now, "room": "hall", "device": "hall-1", "session": "01JD4W8Z7M3T5V9XKQ2R6B0CEF",
        "encoder": "https://encoder.example.org", "confirmed": true, "levels_db": levels,
        "source": { "description": "USB Video (MJPEG 1280×720 at 30/s)" },
        "sending": { "codecs": "H.264 and AAC", "width": 1280, "height": 720, "framerate": 25,
                     "bits_per_second": 1_640_000 },
        "components": { "capture": happy("capturing"), "mqtt": happy("connected"),
                        "uplink": happy("sending; the encoder confirms every segment") },
        "numbers": { "confirmed_segments": 371, "confirmed_bytes": 152_400_000,
                     "backlog_segments": 1, "backlog_ms": 0, "lost_segments": 0, "lost_ms": 0,
                     "capture": { "black": off, "frozen": off, "silent": off } },
    });
    merge(&mut told, otherwise);
    told
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// A picture as a collector makes it: a frame of real footage, small.
async fn picture(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let clip = footage::clip("bigbuckbunny.mp4");
    let line = "-ss 3 -i {} -frames:v 1 -vf scale=640:360 -q:v 4 {}";
    tool::ffmpeg(line, &[&clip, &dir.join("preview.jpg")]).await;
}

/// What the page shows of a row: light, word, sentence, and what to do.
async fn row(browser: &Browser, id: &str) -> (String, String, String, String) {
    let told = browser
        .run(&format!(
            "const head = document.querySelector('#row-{id} .head');
             const text = (part) => {{ const it = head.querySelector(part); return it.hidden ? '' : it.textContent }};
             return [head.dataset.light, text('.lamp b'), text('.says'), text('.todo')]"
        ))
        .await;
    serde_json::from_value(told).unwrap()
}

async fn row_is(browser: &Browser, id: &str, light: &str, says: &str) -> String {
    let what = format!("{id} to be {light}: {says}");
    until(PATIENCE, &what, async || {
        let (now, word, now_says, todo) = row(browser, id).await;
        let words = [("green", "OK"), ("amber", "Look"), ("red", "Fix"), ("grey", "–")];
        assert!(words.contains(&(now.as_str(), word.as_str())), "{now}: {word}");
        (now == light && now_says.contains(says)).then_some(todo)
    })
    .await
}

/// The meter: the width of each bar, per cent, and the word beside it.
async fn meter(browser: &Browser) -> (Vec<f64>, String) {
    let told = browser
        .run(
            "const bars = document.querySelectorAll('#bars i');
             const wide = (it) => parseFloat(it.style.width);
             return [Array.from(bars).map(wide), document.getElementById('zone').textContent]",
        )
        .await;
    serde_json::from_value(told).unwrap()
}

async fn meter_says(browser: &Browser, word: &str, widths: [f64; 2]) {
    until(PATIENCE, &format!("the meter to say {word}"), async || {
        let (bars, says) = meter(browser).await;
        let close = bars.iter().zip(widths).all(|(is, wanted)| (is - wanted).abs() < 1.0);
        (says == word && bars.len() == 2 && close).then_some(())
    })
    .await;
}

/// A screenshot is kept where `SCREENSHOTS` says, to be looked at.
async fn keep(browser: &Browser, name: &str) {
    if let Some(dir) = std::env::var_os("SCREENSHOTS") {
        browser.screenshot(&Path::new(&dir).join(name)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checklist_follows_the_box() {
    let mut venue = Venue::start().await;
    picture(&venue.collector_dir()).await;
    let browser = Browser::open(1280, 940).await;
    browser.resize(1280, 1060, true).await;
    browser.goto(&venue.url()).await;
    row_is(&browser, "picture", "red", "The capture program gives no answer.").await;

    // The collector comes: everything turns green, without a reload.
    browser.run("window.sameLoad = true").await;
    let talk = venue.collector([-14.0, -18.5], json!({}));
    for id in ["power", "network", "picture", "sound", "encoder", "dashboard", "disk", "sending"] {
        assert_eq!(row_is(&browser, id, "green", "").await, "", "nothing is to be done: {id}");
    }
    until(PATIENCE, "the headline", async || {
        browser.text().await.contains("All is well: the room is being streamed.").then_some(())
    })
    .await;
    until(PATIENCE, "the preview", async || {
        let width =
            "const it = document.querySelector('#preview img'); return it ? it.naturalWidth : 0";
        (browser.run(width).await == 640).then_some(())
    })
    .await;
    meter_says(&browser, "Good", [76.7, 69.2]).await;
    keep(&browser, "box.png").await;

    // Somebody whispers, shouts, and is silent.
    talk.levels.send_replace([-45.0, -48.0]);
    meter_says(&browser, "Too quiet", [25.0, 20.0]).await;
    talk.levels.send_replace([-0.1, -6.0]);
    meter_says(&browser, "Too loud", [99.8, 90.0]).await;
    talk.levels.send_replace([-100.0, -100.0]);
    meter_says(&browser, "Silent", [0.0, 0.0]).await;

    // The cable is pulled, and put back.
    venue.put("sys/class/net/eth0/carrier", "0\n");
    let todo = row_is(&browser, "network", "red", "No network cable is plugged in").await;
    assert_eq!(todo, "Plug the network cable in; the light beside the socket must blink.");
    venue.put("sys/class/net/eth0/carrier", "1\n");
    row_is(&browser, "network", "green", "Connected by cable, address 10.0.0.57.").await;

    // The box is switched off, and on again.
    venue.switch_off().await;
    until(PATIENCE, "the page to say that the box is gone", async || {
        browser.shows("#gone").await.then_some(())
    })
    .await;
    venue.switch_on();
    until(PATIENCE, "the page to come back", async || {
        (!browser.shows("#gone").await).then_some(())
    })
    .await;
    assert_eq!(browser.run("return window.sameLoad === true").await, true, "it was loaded anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_shown_on_a_phone_with_what_to_do() {
    let venue = Venue::start().await;
    picture(&venue.collector_dir()).await;
    let on = json!({ "on": true, "since": Timestamp::now() });
    let _talk = venue.collector(
        [-100.0, -100.0],
        json!({
            "numbers": { "backlog_ms": 84_000, "capture": { "silent": on } },
            "components": { "uplink": { "mood": "sad", "reason": "the encoder gives no answer" } },
        }),
    );
    venue.put("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    let browser = Browser::open(500, 940).await;
    browser.resize(360, 1230, true).await;
    browser.goto(&venue.url()).await;
    row_is(&browser, "power", "red", "The power supply is too weak").await;
    row_is(&browser, "sound", "red", "There is no sound.").await;
    row_is(&browser, "encoder", "red", "The encoder gives no answer.").await;
    row_is(&browser, "sending", "amber", "84 s of the talk wait to be sent; they are kept.").await;
    let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.run(wide).await, 0, "the page is wider than the phone");
    until(PATIENCE, "the preview", async || {
        let width =
            "const it = document.querySelector('#preview img'); return it ? it.naturalWidth : 0";
        (browser.run(width).await == 640).then_some(())
    })
    .await;
    keep(&browser, "box-phone.png").await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

async fn answers(browser: &Browser, words: &str) {
    until(PATIENCE, &format!("the page to say {words:?}"), async || {
        let told = browser.run("return document.getElementById('told').textContent").await;
        told.as_str().unwrap_or_default().contains(words).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_wants_the_token_once() {
    let mut venue = Venue::start().await;
    picture(&venue.collector_dir()).await;
    let _talk = venue.collector([-14.0, -18.5], json!({}));
    let browser = Browser::open(1280, 940).await;
    browser.goto(&venue.url()).await;
    row_is(&browser, "encoder", "green", "").await;

    // A guess is refused, and the page asks again.
    browser.click("[data-order=restart]").await;
    assert!(
        browser.shows("#token").await && browser.text().await.contains("The stream breaks off")
    );
    browser.run("document.getElementById('token').value = 'a-wrong-one'").await;
    browser.click("#go").await;
    answers(&browser, "The token is wrong. It is on the box's own screen").await;
    assert!(venue.orders.try_recv().is_err(), "a guess reached the box");

    // The right one does it, and is not asked for again.
    browser.run(&format!("document.getElementById('token').value = '{TOKEN}'")).await;
    browser.click("#go").await;
    let order = venue.orders.recv().await.unwrap();
    assert_eq!(order.action, Action::Restart);
    order.answer.send(Answer::Done("the stream starts again".into())).unwrap();
    answers(&browser, "The stream starts again.").await;
    browser.click("[data-order=identify]").await;
    let order = venue.orders.recv().await.unwrap();
    assert_eq!(order.action, Action::Identify);
    order.answer.send(Answer::Refused("it has no lights".into())).unwrap();
    answers(&browser, "It has no lights.").await;

    // A reset says what it does before it does it.
    browser.click("[data-order=factory-reset]").await;
    assert!(browser.text().await.contains("The box forgets its settings"));
    browser.click("#recordings").await;
    browser.click("#go").await;
    let order = venue.orders.recv().await.unwrap();
    assert_eq!(order.action, Action::FactoryReset { recordings: true });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_is_seen_and_heard() {
    let venue = Venue::start().await;
    let mut config = EncoderConfig::light("hall");
    config.webm = false;
    let encoder = EncoderProcess::start(config).await;
    let collector = CollectorConfig::flash(&encoder).file(&footage::clip("bigbuckbunny.mp4"));
    let dir = venue.collector_dir();
    std::fs::create_dir_all(&dir).unwrap();
    let _collector = CollectorProcess::start_in(&collector.to_toml(), &dir);
    let browser = Browser::open(1280, 940).await;
    browser.goto(&venue.url()).await;
    row_is(&browser, "picture", "green", "There is a moving picture, from").await;
    row_is(&browser, "encoder", "green", "The encoder takes what is sent").await;
    row_is(&browser, "sending", "green", "640×360 at 25 a second").await;
    until(PATIENCE, "the preview", async || {
        let width =
            "const it = document.querySelector('#preview img'); return it ? it.naturalWidth : 0";
        (browser.run(width).await == 320).then_some(())
    })
    .await;
    // The bars move by themselves.
    let first = until(PATIENCE, "a level", async || {
        let (bars, _) = meter(&browser).await;
        bars.first().copied().filter(|it| *it > 1.0)
    })
    .await;
    until(PATIENCE, "another level", async || {
        let (bars, _) = meter(&browser).await;
        bars.first().filter(|it| (**it - first).abs() > 0.5).map(|_| ())
    })
    .await;
}
