//! The dashboard in a real browser, at a real broker: a scripted event, real daemons among it.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
#![allow(clippy::print_stdout)] // what a tile said is told when the test fails

use std::path::Path;
use std::time::Duration;

use backrow_tests::broker::Broker;
use backrow_tests::browser::{Browser, PATIENCE};
use backrow_tests::devices::{Device, Pulse, Voice};
use backrow_tests::{CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess};
use backrow_tests::{footage, tool, until};
use protocol::command::Order;
use protocol::mood::Mood;
use protocol::payload::{EventKind, Role};
use serde_json::{Value, json};

/// An encoder that serves the dashboard, and tells it of the broker.
async fn serving(mut config: EncoderConfig, broker: &Broker) -> EncoderProcess {
    config.dashboard = Some(broker.websocket_url());
    EncoderProcess::start(config).await
}

/// What a tile shows: its light, the word beside it, and the sentence.
async fn tile(browser: &Browser, room: &str) -> Option<(String, String, String)> {
    let told = browser
        .run(&format!(
            "const tile = document.querySelector('.tile[href$=\"/{room}\"]');
             return tile && [tile.dataset.light, tile.querySelector('.lamp b').textContent,
                             tile.querySelector('.says').textContent]"
        ))
        .await;
    serde_json::from_value(told).ok()
}

/// Waits until a tile says that.
async fn says(browser: &Browser, room: &str, light: &str, words: &str) -> String {
    says_within(PATIENCE, browser, room, light, words).await
}

async fn says_within(
    patience: Duration,
    browser: &Browser,
    room: &str,
    light: &str,
    words: &str,
) -> String {
    let what = format!("{room} to be {light}: {words}");
    let mut last = None;
    until(patience, &what, async || {
        let now = tile(browser, room).await;
        if now != last {
            println!("{room}: {now:?}");
            last.clone_from(&now);
        }
        let (shown, word, text) = now?;
        let expected = match shown.as_str() {
            "red" => "Fix",
            "amber" => "Look",
            "green" => "OK",
            _ => "Off",
        };
        assert_eq!(word, expected, "the word says what the colour says");
        (shown == light && text.contains(words)).then_some(text)
    })
    .await
}

async fn is_true(browser: &Browser, what: &str, script: &str) {
    until(PATIENCE, what, async || (browser.run(script).await == true).then_some(())).await;
}

/// A screenshot is kept where `SCREENSHOTS` says, to be looked at.
async fn keep(browser: &Browser, name: &str) {
    if let Some(dir) = std::env::var_os("SCREENSHOTS") {
        browser.screenshot(&Path::new(&dir).join(name)).await;
    }
}

/// Things that anybody may have left on a broker.
async fn garbage(broker: &Broker) {
    let voice = Voice::connect(broker, None).await;
    let script = r#"{"v":1,"mood":"sad","since":"2026-05-01T10:00:00Z","reason":"<img src=x onerror='window.pwned = 1'>","restarts":0}"#;
    let left: [(&str, Vec<u8>); 12] = [
        ("backrow/hall-1/state", b"\xff\xfe\x00".to_vec()),
        ("backrow/hall-1/birth", b"{\"v\":1,\"rooms\":{}}".to_vec()),
        ("backrow/hall-1/component/capture", vec![b'['; 60_000]),
        ("backrow/hall-1/component/constructor", b"null".to_vec()),
        ("backrow/hall-1/health", b"{\"v\":1,\"at\":\"never\"}".to_vec()),
        ("backrow/hall-1/preview", b"GIF89a".to_vec()),
        ("backrow/hall-1/event", b"{\"v\":99}".to_vec()),
        ("backrow/hall-1/command/ack", vec![0; 100]),
        ("backrow/big/state", vec![b'x'; 300_000]),
        ("backrow/attic-1/component/evil", script.into()),
        ("backrow//state", b"{}".to_vec()),
        ("backrow/\u{1f3a5}/state/\u{1f3a5}", b"{}".to_vec()),
    ];
    for (topic, payload) in left {
        voice.raw(topic, payload, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_followed_from_its_first_room_to_a_restart_of_the_broker() {
    let broker = Broker::start_for_browsers().await;
    garbage(&broker).await;
    let config = EncoderConfig::light("demo").with_broker(&broker);
    let encoder = serving(config, &broker).await;
    let browser = Browser::open(1440, 900).await;
    browser.resize(1440, 900, false).await;
    browser.goto(&encoder.url("/dashboard")).await;
    browser.run("window.sameLoad = true").await;
    // Nothing was typed: the encoder told the page where the broker is.
    says(&browser, "demo", "grey", "Nobody is publishing.").await;

    // Rooms start: a real one, and two of the script.
    let clip = footage::clip("bigbuckbunny.mp4");
    let config = CollectorConfig::flash(&encoder).file(&clip).with_broker(&broker);
    let collector = CollectorProcess::start(&config);
    let hall = Device::new("hall-1", Role::Collector, &["hall"]);
    let mut attic = Device::new("attic-1", Role::Collector, &["attic"]);
    let hall_voice = Voice::connect(&broker, Some(&hall.name)).await;
    let mut attic_voice = Voice::connect(&broker, Some(&attic.name)).await;
    for (device, voice) in [(&hall, &hall_voice), (&attic, &attic_voice)] {
        device.level(-14.0, None);
        device.number("backlog_ms", 1500.into());
        device.is_born(voice).await;
        device.component(voice, "uplink", Mood::Happy, "sending", 60).await;
        device.component(voice, "sound", Mood::Happy, "there is sound", 60).await;
        // As a flashed box has it.
        device.component(voice, "box.mqtt", Mood::Happy, "connected", 60).await;
    }
    let hall_pulse = Pulse::of(&hall_voice, &[&hall]);
    let attic_pulse = Pulse::of(&attic_voice, &[&attic]);
    says(&browser, "hall", "green", "Picture and sound reach the encoder.").await;
    says(&browser, "attic", "amber", "<img src=x onerror='window.pwned = 1'>").await;
    attic.component(&attic_voice, "evil", Mood::Happy, "no more", 1).await;
    says(&browser, "attic", "green", "reach the encoder").await;
    assert!(browser.run("return window.pwned === undefined").await == true, "text became markup");
    says_within(PATIENCE * 4, &browser, "demo", "green", "Live for").await;
    let picture = "const it = document.querySelector('.tile[href$=\"/demo\"] img');
                   return it !== null && it.naturalWidth > 100";
    is_true(&browser, "the real room's picture", picture).await;
    let levels = "return Array.from(document.querySelectorAll('.tile[href$=\"/hall\"] .vu-bar i'))
                    .every((it) => parseFloat(it.style.getPropertyValue('--level')) > 50)";
    is_true(&browser, "the hall's level", levels).await;
    let unread = "return document.getElementById('unread').textContent.includes('not understood')";
    is_true(&browser, "the garbage to be counted", unread).await;

    // The hall loses its sound.
    hall.level(-100.0, Some(40));
    hall.component(&hall_voice, "sound", Mood::Hungry, "no sound for 40 s: …", 30).await;
    let text = says(&browser, "hall", "amber", "is the mixer's output muted?").await;
    let seconds: u64 =
        text.strip_prefix("No sound for ").unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((40..120).contains(&seconds), "{text}");

    // It loses its box.
    drop((hall_pulse, hall_voice));
    says(&browser, "hall", "red", "The box hall-1 is lost for").await;
    let newest =
        "return document.getElementById('newest').innerText.includes('the broker lost it')";
    is_true(&browser, "the loss among the events", newest).await;

    // A box of another room cannot reach the encoder, and its segments pile up.
    attic.number("backlog_ms", 184_000.into());
    attic.component(&attic_voice, "uplink", Mood::Sad, "the encoder does not answer", 60).await;
    attic.event(&attic_voice, EventKind::Loss, "uplink", "segment 12 (2.0 s) is lost").await;
    says(&browser, "attic", "red", "The encoder is not reached: the encoder does not answer.")
        .await;
    browser.click(".count[data-light=red]").await;
    is_true(&browser, "only red rooms", "return document.querySelectorAll('.tile').length === 2")
        .await;
    browser.click(".count[data-light=red]").await;
    browser.click(".tile[href$='/attic']").await;
    let also =
        "return document.querySelector('.sentences').innerText.includes('3 min of the talk')";
    is_true(&browser, "the backlog as the second sentence", also).await;

    // An order, by its button, and the answer to it.
    browser.click(".machines a[href='#machine/attic-1']").await;
    browser.click(".orders .buttons button:first-child").await;
    let order = attic.obeys(&mut attic_voice).await;
    assert_eq!(order.order, Order::Identify { seconds: 30 });
    assert!(order.expires.is_some());
    let answer =
        "return document.querySelector('.told').innerText.includes('The lights blink for 30 s.')";
    is_true(&browser, "the answer", answer).await;
    let curve = "return document.querySelectorAll('.curve:not([hidden]) path[d^=M]').length >= 4";
    is_true(&browser, "the graphs", curve).await;
    // An encoder hears no orders; the page says what does it there.
    browser.run("location.hash = '#machine/enc-under-test'").await;
    let elsewhere = "const it = document.querySelector('.orders .elsewhere');
        return it !== null && it.innerText.includes('backrow restart enc-under-test')";
    is_true(&browser, "the way for an encoder", elsewhere).await;
    let watching = "return /^[0-9]+ viewers? in all$/.test(
        document.getElementById('watching').innerText.trim())";
    is_true(&browser, "how many watch in all", watching).await;
    browser.run("document.querySelector('h1').focus(); location.hash = ''").await;
    let complaints = browser.complaints().await;
    assert_eq!(complaints, Vec::<String>::new());

    // The hall recovers.
    let hall_voice = Voice::connect(&broker, Some(&hall.name)).await;
    hall.level(-12.0, None);
    hall.is_born(&hall_voice).await;
    hall.component(&hall_voice, "sound", Mood::Happy, "there is sound", 1).await;
    let hall_pulse = Pulse::of(&hall_voice, &[&hall]);
    says(&browser, "hall", "green", "reach the encoder").await;

    // The broker goes, with all that it kept: the picture stays, and says how old it is.
    broker.kill().await;
    drop((hall_pulse, attic_pulse, hall_voice, attic_voice));
    let old = "return !document.getElementById('gone').hidden
                 && /What you see is \\d+ s old/.test(document.getElementById('gone').innerText)";
    is_true(&browser, "the page to say that it is old", old).await;
    says(&browser, "attic", "red", "The encoder is not reached").await;
    says(&browser, "hall", "green", "reach the encoder").await;

    // It comes back, and with it everybody; the attic by now without a source.
    let broker = broker.start_again().await;
    let voice = Voice::connect(&broker, Some(&attic.name)).await;
    attic.number("backlog_ms", 0.into());
    attic.is_born(&voice).await;
    attic.component(&voice, "uplink", Mood::Happy, "sending", 1).await;
    attic.component(&voice, "capture", Mood::Hungry, "no capture device is plugged in", 5).await;
    let _pulse = Pulse::of(&voice, &[&attic]);
    says(&browser, "attic", "red", "No picture is captured: no capture device is plugged in.")
        .await;
    // The hall's box did not come back: the broker does not know, the page does.
    says(&browser, "hall", "red", "The box hall-1 has said nothing for").await;
    is_true(&browser, "the connection", "return document.getElementById('gone').hidden").await;
    // The real daemons meanwhile had a machine to share with all this: they may need some time.
    says_within(PATIENCE * 4, &browser, "demo", "green", "Live for").await;
    assert!(browser.run("return window.sameLoad === true").await == true, "it was loaded anew");
    assert!(collector.process().is_running());
}

/// Names of rooms as conferences have them.
fn room_names() -> Vec<String> {
    let known = ["main-hall", "janson", "k1-105", "h1301", "h1302", "h1308", "h2213", "h2214"];
    let known = known.into_iter().map(str::to_owned);
    known.chain((1..).map(|number| format!("workshop-{number}"))).take(60).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_rooms_are_in_sight_on_a_laptop_and_each_is_large_on_a_phone() {
    let broker = Broker::start_for_browsers().await;
    // It only serves the page: the sixty are of the script.
    let encoder = serving(EncoderConfig::light("demo"), &broker).await;
    let voice = Voice::connect(&broker, None).await;
    let rooms = room_names();
    let pictures = pictures(encoder.directory()).await;
    let mut boxes: Vec<Device> = rooms
        .iter()
        .map(|room| Device::new(&format!("box-{room}"), Role::Collector, &[room]))
        .collect();
    let names: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let cloud = Device::new("cloud-1", Role::Encoder, &names);
    let viewers =
        |(index, room): (usize, &String)| (room.clone(), json!({ "viewers": index * 37 % 211 }));
    cloud.number("rooms", rooms.iter().enumerate().map(viewers).collect());
    cloud.is_born(&voice).await;
    for (index, (device, room)) in boxes.iter().zip(&rooms).enumerate() {
        device.level(-8.0 - (index * 7 % 23) as f64, None);
        device.number("backlog_ms", 1500.into());
        device.is_born(&voice).await;
        device.component(&voice, "uplink", Mood::Happy, "sending", 600).await;
        device.component(&voice, "box.mqtt", Mood::Happy, "connected", 600).await;
        let since = 600 + 90 * index as u64;
        let ingest = format!("{room}.ingest");
        cloud.component(&voice, &ingest, Mood::Happy, "the box is publishing", since).await;
        device.preview(&voice, &pictures[index % pictures.len()]).await;
    }
    // What goes wrong in a day.
    boxes[3].level(-100.0, Some(40));
    boxes[3].component(&voice, "sound", Mood::Hungry, "no sound", 30).await;
    boxes[17].component(&voice, "picture", Mood::Hungry, "black", 60).await;
    let why = "no capture device is plugged in; a test picture is not wanted";
    boxes[24].component(&voice, "capture", Mood::Hungry, why, 20).await;
    boxes[33].number("backlog_ms", 184_000.into());
    boxes[33].number("backlog_bytes", 42_000_000.into());
    boxes[33].component(&voice, "uplink", Mood::Sad, "the encoder does not answer", 184).await;
    let why = "1.3.0 was taken back: the collector was not ready in time";
    boxes[41].component(&voice, "box.update", Mood::Sad, why, 900).await;
    let rung = format!("{}.480p", rooms[52]);
    cloud.component(&voice, &rung, Mood::Sleeping, "the machine cannot keep up", 90).await;
    let everybody: Vec<&Device> = boxes.iter().chain([&cloud]).collect();
    let _pulse = Pulse::of(&voice, &everybody);

    let browser = Browser::open(1440, 900).await;
    browser.resize(1440, 900, false).await;
    browser.goto(&encoder.url("/dashboard/")).await;
    says(&browser, "h1301", "amber", "No sound for").await;
    // Previews are not kept: these come after the page did.
    for (index, device) in boxes.iter().enumerate() {
        device.preview(&voice, &pictures[index % pictures.len()]).await;
    }
    let message = "sound is hungry: no sound for 10 s: is the mixer's output muted?";
    boxes[3].event(&voice, EventKind::Mood, "sound", message).await;
    let seen = "return [...document.querySelectorAll('.tile img')].filter((it) => it.naturalWidth > 0).length";
    until(PATIENCE, "sixty pictures", async || (browser.run(seen).await == 60).then_some(())).await;
    // Every tile is whole and in sight, its sentence too; nothing is to be scrolled.
    let layout = "const tiles = [...document.querySelectorAll('.tile')];
        const inside = (it) => { const box = it.getBoundingClientRect();
          return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth };
        const list = document.getElementById('tiles');
        return { tiles: tiles.length, inside: tiles.filter(inside).length,
          whole: tiles.filter((it) => it.scrollHeight <= it.clientHeight + 1).length,
          named: tiles.filter((it) => it.querySelector('.end').getBoundingClientRect().right
                                      <= it.getBoundingClientRect().right).length,
          wide: document.documentElement.scrollWidth - innerWidth,
          high: document.documentElement.scrollHeight - innerHeight,
          scrolls: list.scrollHeight - list.clientHeight }";
    let whole = json!({ "tiles": 60, "inside": 60, "whole": 60, "named": 60, "wide": 0, "high": 0, "scrolls": 0 });
    let mut last = Value::Null;
    until(PATIENCE, "sixty rooms in sight", async || {
        let now = browser.run(layout).await;
        if now != last {
            println!("{now}");
            last = now.clone();
        }
        (now == whole).then_some(())
    })
    .await;
    keep(&browser, "dashboard.png").await;

    // By keyboard: into a room, and back.
    browser.run("document.querySelector('.tile').focus()").await;
    for key in ["ArrowRight", "ArrowDown"] {
        browser
            .run(&format!(
                "document.activeElement.dispatchEvent(
                   new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }}))"
            ))
            .await;
    }
    let place = "return [...document.querySelectorAll('.tile')].indexOf(document.activeElement)";
    assert_eq!(browser.run(place).await, 11, "one to the right and one down of ten columns");
    browser.run("document.activeElement.click()").await;
    is_true(&browser, "a room's page", "return !document.getElementById('page').hidden").await;
    let key = "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))";
    browser.run(key).await;
    is_true(&browser, "the wall", "return document.getElementById('page').hidden").await;

    // On a phone: the worst first, and one room fills the screen.
    browser.resize(390, 844, true).await;
    let worst = "const tiles = [...document.querySelectorAll('.tile')];
        return tiles.length === 60 && tiles[0].dataset.light === 'red'
          && tiles[tiles.length - 1].dataset.light !== 'red'
          && document.documentElement.scrollWidth === innerWidth";
    is_true(&browser, "the worst rooms first", worst).await;
    keep(&browser, "dashboard-list-phone.png").await;
    browser.run("location.hash = '#room/h1301'").await;
    let room = "const box = (it) => document.querySelector(it).getBoundingClientRect();
        return document.documentElement.scrollWidth === innerWidth
          && box('.banner').top >= 0 && box('.page .machines').bottom <= innerHeight
          && document.querySelector('.page .picture img') !== null";
    is_true(&browser, "a room on a phone", room).await;
    keep(&browser, "dashboard-phone.png").await;
    browser.run("location.hash = '#machine/box-h1301'").await;
    let wide = "return document.documentElement.scrollWidth === innerWidth
                  && document.querySelectorAll('.parts tbody tr').length === 3";
    is_true(&browser, "a machine on a phone", wide).await;
}

/// Pictures as collectors make them: frames of real footage, small.
async fn pictures(dir: &Path) -> Vec<Vec<u8>> {
    let clip = footage::clip("bigbuckbunny.mp4");
    let mut pictures = Vec::new();
    for (number, place) in ["0:0", "iw/2:ih/2", "iw/2:0", "0:ih/3"].into_iter().enumerate() {
        let file = dir.join(format!("{number}.jpg"));
        let part = if number == 0 { "iw:ih" } else { "iw/2:ih/2" };
        let line = format!(
            "-ss {} -i {{}} -frames:v 1 -vf crop={part}:{place},scale=320:180 -q:v 6 {{}}",
            number + 1
        );
        tool::ffmpeg(&line, &[&clip, &file]).await;
        pictures.push(std::fs::read(&file).unwrap());
    }
    pictures
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_the_page_asks_once_where_the_broker_is() {
    let broker = Broker::start_for_browsers().await;
    let encoder = EncoderProcess::start(EncoderConfig::light("demo").with_broker(&broker)).await;
    let browser = Browser::open(1280, 800).await;
    browser.goto(&encoder.url("/dashboard/")).await;
    is_true(&browser, "the form", "return !document.getElementById('connection').hidden").await;
    let connect = async |address: &str| {
        browser.run(&format!("document.getElementById('broker').value = '{address}'")).await;
        browser.click("#connection-form .go").await;
    };
    let problem = async |part: &str| {
        let script = format!(
            "return document.getElementById('connection-problem').textContent.includes('{part}')"
        );
        is_true(&browser, part, &script).await;
    };
    connect(&broker.url()).await;
    problem("A browser reaches a broker by WebSocket only").await;
    connect("ws://127.0.0.1:1").await;
    problem("The broker cannot be reached.").await;
    connect(&broker.websocket_url()).await;
    says(&browser, "demo", "grey", "Nobody is publishing.").await;
    is_true(&browser, "the form to go", "return document.getElementById('connection').hidden")
        .await;
    // The browser remembers; and there are no buttons, since nobody asked for them.
    browser.goto(&encoder.url("/dashboard/")).await;
    says(&browser, "demo", "grey", "Nobody is publishing.").await;
    browser.run("location.hash = '#machine/enc-under-test'").await;
    is_true(&browser, "the machine", "return document.querySelector('.parts tbody tr') !== null")
        .await;
    assert!(!browser.shows(".orders").await);
}
