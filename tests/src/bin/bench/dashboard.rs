//! A thousand boxes at one broker, each speaking as often as a real one, and a page that shows all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backrow_tests::broker::Broker;
use backrow_tests::browser::Browser;
use backrow_tests::devices::{Device, Voice};
use backrow_tests::{EncoderConfig, EncoderProcess, resources, tool, until};
use protocol::mood::Mood;
use protocol::payload::Role;
use protocol::topics::Topic;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::table::{Report, Takes, Target};

const BOXES: usize = 1000;
/// Between two `health` of one box; every other time a picture comes with it.
const HEALTH: Duration = Duration::from_secs(5);
/// How long processor time is counted.
const WATCHED: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn measure(report: &mut Report, runs: usize, directory: &Path) {
    let broker = Broker::start_for_browsers().await;
    let mut config = EncoderConfig::light("demo");
    config.dashboard = Some(broker.websocket_url());
    let encoder = EncoderProcess::start(config).await;
    let voice = Arc::new(Voice::connect(&broker, None).await);
    let boxes: Arc<Vec<Device>> = Arc::new((0..BOXES).map(a_box).collect());
    for device in boxes.iter() {
        device.is_born(&voice).await;
        for component in ["capture", "picture", "sound", "uplink", "spool", "mqtt"] {
            device.component(&voice, component, Mood::Happy, "as it should be", 60).await;
        }
    }
    let file = directory.join("preview.jpg");
    tool::ffmpeg("-f lavfi -i testsrc2=s=320x180 -frames:v 1 {}", &[&file]).await;
    let picture = std::fs::read(&file).unwrap();
    let speaking = tokio::spawn(speak(Arc::clone(&voice), Arc::clone(&boxes), picture));
    let browser = Browser::open(1440, 900).await;
    browser.goto(&encoder.url("/dashboard/")).await;
    let tiles = "return document.querySelectorAll('.tile[data-light=green]').length";
    until(PATIENCE, "a tile for each box", async || {
        (browser.run(tiles).await == BOXES).then_some(())
    })
    .await;

    let (mut by_broker, mut by_page, mut sentence) = <(Takes, Takes, Takes)>::default();
    for run in 0..runs {
        let broker_before = resources::processor_time(broker.process().pid());
        let page_before = browser.processor_time();
        let began = Instant::now();
        sleep(WATCHED).await;
        let share = |used: Duration| used.as_secs_f64() / began.elapsed().as_secs_f64();
        by_broker.0.push(share(
            resources::processor_time(broker.process().pid()).saturating_sub(broker_before),
        ));
        by_page.0.push(share(browser.processor_time().saturating_sub(page_before)));

        let number = 10 + run;
        let began = Instant::now();
        boxes[number].component(&voice, "sound", Mood::Hungry, "no sound for 10 s", 10).await;
        let script = format!(
            "return document.querySelector('.tile[href$=\"/room-{number}\"] .says').textContent
               .startsWith('No sound for ')"
        );
        until(PATIENCE, "the sentence", async || {
            (browser.run(&script).await == true).then_some(())
        })
        .await;
        sentence.0.push(began.elapsed().as_secs_f64());
    }
    speaking.abort();
    report.row("1,000 boxes: the broker, of one core", "", by_broker, Target::None);
    report.row("1,000 boxes: the dashboard's browser, of one core", "", by_page, Target::None);
    let what = "1,000 boxes: a room's sound gone to its sentence on the page";
    report.row(what, "s", sentence, Target::AtMost(5.0));
}

fn a_box(number: usize) -> Device {
    let device =
        Device::new(&format!("box-{number}"), Role::Collector, &[&format!("room-{number}")]);
    device.level(-12.0 - (number % 9) as f64, None);
    device.number("backlog_ms", 1500.into());
    device
}

/// Everybody says how it is, one after the other.
async fn speak(voice: Arc<Voice>, boxes: Arc<Vec<Device>>, picture: Vec<u8>) {
    let mut turns = interval(HEALTH / u32::try_from(BOXES).unwrap());
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for round in 0_u64.. {
        for device in boxes.iter() {
            turns.tick().await;
            let health = serde_json::to_vec(&device.health()).unwrap();
            voice.gauge(Topic::Health.of(&device.name), health).await;
            if round % 2 == 1 {
                voice.gauge(Topic::Preview.of(&device.name), picture.clone()).await;
            }
        }
    }
}
