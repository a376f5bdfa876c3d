//! A USB grabber that people pull and plug, and one whose signal fails.

use backrow_tests::machine::{Setup, Stage, Stopwatch, patience};
use backrow_tests::{measure, probe, until};

const SLATE: &str = "the slate is shown";

/// What a picture of the recording is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Grabber,
    Other,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grabber_is_followed_as_it_is_plugged_pulled_and_plugged_again() {
    let setup = Setup::new().with_grabber();
    let mut stage = Stage::set(setup, |site| site.source("kind = \"auto\"")).await;
    let watch = Stopwatch::start();
    let session = stage.up().await;
    // Nothing is plugged in: the slate is what is sent.
    stage.event(60, "slate", SLATE).await;
    watch.lap("on the slate");
    for round in 1..=2 {
        let before = slates(&stage);
        stage.machine.grabber().plug();
        stage.machine.grabber().is_read().await;
        stage.component(120, "capture", |it| it["mood"] == "happy").await;
        stage.goes_on(&session).await;
        watch.lap(&format!("live, round {round}"));
        stage.machine.grabber().unplug();
        until(patience(120), "the slate again", async || (slates(&stage) > before).then_some(()))
            .await;
        stage.goes_on(&session).await;
        watch.lap(&format!("on the slate again, round {round}"));
    }
    stage.machine.grabber().plug();
    stage.machine.grabber().is_read().await;
    stage.component(120, "capture", |it| it["mood"] == "happy").await;
    stage.goes_on(&session).await;

    // One session, one timeline, and the room in it each time it was there.
    assert_eq!(stage.sessions().await.len(), 1, "{:?}", stage.sessions().await);
    let recording = stage.recording(&session).await;
    let packets = probe::packets(&recording).await;
    probe::assert_monotonic("the recording", &packets, 15.0);
    let pictures = measure::pictures(&recording).await;
    let mut shown: Vec<Shown> = Vec::new();
    for frame in &pictures.frames {
        let column = |x: u32| {
            let at = (pictures.height / 2 * pictures.width + x) as usize;
            frame.luma[at]
        };
        // The grabber's left third is light and its right third dark, with bars beside them
        // where its shape is not the stream's.
        let (left, right) = (column(pictures.width / 4), column(pictures.width * 3 / 4));
        let now = if left > 170 && right < 70 { Shown::Grabber } else { Shown::Other };
        if shown.last() != Some(&now) {
            shown.push(now);
        }
    }
    use Shown::{Grabber, Other};
    assert_eq!(shown, [Other, Grabber, Other, Grabber, Other, Grabber]);
    watch.lap("the recording is whole");
}

/// How often the slate was put up.
fn slates(stage: &Stage) -> usize {
    let messages = stage.told.messages();
    let slate = |it: &serde_json::Value| {
        it["component"] == "slate" && it["message"].as_str().is_some_and(|it| it.contains(SLATE))
    };
    messages.iter().filter_map(backrow_tests::mqtt::Message::json).filter(slate).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_fails_and_comes_back_and_sound_from_a_card() {
    let mut stage = Stage::set(Setup::new(), |mut site| {
        site.source = "kind = \"v4l2\"\n\
             device = \"/dev/v4l/by-path/platform-vivid.0-video-index0\""
            .into();
        site.audio = "plughw:Loopback,1,0".into();
        site
    })
    .await;
    let watch = Stopwatch::start();
    let session = stage.up().await;
    stage.event(60, "slate", SLATE).await;
    // A HDMI input and a sound card appear; a tone is played into the card.
    let machine = &stage.machine;
    machine.ssh("modprobe snd-aloop").await;
    machine.ssh("speaker-test -D plughw:Loopback,0,0 -c 2 -t sine -f 440 >/dev/null 2>&1 &").await;
    // A small picture, set before the collector has opened the device.
    machine.ssh("modprobe vivid n_devs=1 node_types=1 num_inputs=1 input_types=0x3").await;
    let small = "v4l2-ctl -d /dev/video0 --set-dv-bt-timings index=0 || {
        for p in $(pidof collector); do grep -q capture /proc/$p/cmdline && kill $p; done; false; }";
    machine.ssh_until(60, "vivid to take small timings", small).await;
    stage.component(180, "capture", |it| it["mood"] == "happy").await;
    stage.goes_on(&session).await;
    watch.lap("live from vivid");
    let levels = |it: &serde_json::Value| {
        it["capture"]["audio"].as_array().is_some_and(|channels| {
            channels.iter().any(|it| it["rms_db"].as_f64().is_some_and(|level| level > -40.0))
        })
    };
    stage.told.wait(patience(120), "backrow/box/health", levels).await;
    watch.lap("the tone is heard");

    let control = async |what: &str| {
        machine.ssh(&format!("v4l2-ctl -d /dev/video0 -c {what}")).await;
    };
    // The driver reports errors: the stream goes on by the slate, and is taken up again.
    let before = slates(&stage);
    control("inject_fatal_streaming_error=1").await;
    until(patience(180), "the capture to be restarted", async || {
        let topic = "backrow/box/component/capture";
        let capture = stage.told.json(topic)?;
        (capture["restarts"].as_u64()? > 0 && capture["mood"] == "happy").then_some(())
    })
    .await;
    stage.goes_on(&session).await;
    watch.lap(&format!("after a fatal error ({} slates)", slates(&stage) - before));

    // No signal, and signal again.
    control("dv_timings_signal_mode=1").await;
    stage.goes_on(&session).await;
    control("dv_timings_signal_mode=0").await;
    stage.component(180, "capture", |it| it["mood"] == "happy").await;
    stage.goes_on(&session).await;
    watch.lap("after no signal");

    // The laptop changes its resolution: the device tells of other timings.
    control("dv_timings_signal_mode=4").await;
    stage.goes_on(&session).await;
    control("dv_timings_signal_mode=0").await;
    stage.component(180, "capture", |it| it["mood"] == "happy").await;
    stage.goes_on(&session).await;
    watch.lap("after other timings");

    // The driver loses the device and finds it again.
    machine.ssh("echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind").await;
    stage.goes_on(&session).await;
    machine.ssh("echo vivid.0 > /sys/bus/platform/drivers/vivid/bind").await;
    stage.component(180, "capture", |it| it["mood"] == "happy").await;
    stage.goes_on(&session).await;
    assert_eq!(stage.sessions().await.len(), 1);
    let packets = probe::packets(&stage.recording(&session).await).await;
    probe::assert_monotonic("the recording", &packets, 15.0);
    watch.lap("after unbind and bind");
}
