//! What a person sees and hears: the player page in a real browser, on a real encoder that is fed
//! by a real collector.
#![allow(missing_docs)]

use std::time::Duration;

use backrow_tests::browser::{Browser, PATIENCE, brightness, difference};
use backrow_tests::{CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, footage};
use backrow_tests::{publish, until};

/// One small rung below the source; WebM only where it is looked at, since its encoder is dear.
fn encoder(webm: bool) -> EncoderConfig {
    let mut config = EncoderConfig::light("demo");
    config.ladder = Some(vec![("180p".into(), 180, "150k".into())]);
    config.webm = webm;
    config
}

/// Real footage, small, with the clip's own sound.
fn collector(encoder: &EncoderProcess) -> CollectorProcess {
    let clip = footage::clip("bigbuckbunny.mp4");
    CollectorProcess::start(&CollectorConfig::flash(encoder).file(&clip))
}

/// Notes in the page that it must not be loaded anew.
async fn mark(browser: &Browser) {
    browser.run("window.sameLoad = true").await;
}

async fn was_not_reloaded(browser: &Browser) -> bool {
    browser.run("return window.sameLoad === true").await == true
}

/// Waits until the encoder counts so many viewers, over HLS and progressive.
async fn counts(encoder: &EncoderProcess, hls: u64, progressive: u64) {
    let what = format!("{hls} viewers of HLS and {progressive} of other streams to be counted");
    until(PATIENCE, &what, async || {
        let told = encoder.json("/api/v1/rooms").await?;
        let viewers = &told["rooms"][0]["viewers"];
        (viewers["hls"] == hls && viewers["progressive"] == progressive).then_some(())
    })
    .await;
}

async fn picture_moves(browser: &Browser) {
    let first = until(PATIENCE, "a picture that is not black", async || {
        let picture = browser.picture().await;
        (brightness(&picture) > 20.0).then_some(picture)
    })
    .await;
    until(PATIENCE, "the picture to change", async || {
        let next = browser.picture().await;
        (difference(&first, &next) > 2.0).then_some(())
    })
    .await;
}

async fn can_be_heard(browser: &Browser) {
    let before = browser.player().await.audio_bytes;
    browser.player_is("to decode sound", |it| it.audio_bytes > before).await;
    until(PATIENCE, "a level of sound", async || (browser.level().await > 0.001).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_seen_and_heard_and_the_page_follows_it_without_a_reload() {
    let encoder = EncoderProcess::start(encoder(false)).await;
    let browser = Browser::open(1366, 768).await;
    browser.goto(&encoder.url("/demo/")).await;
    browser.player_is("to say: not live yet", |it| it.headline == "Not live yet").await;
    mark(&browser).await;

    // It goes live: seen, heard after the tap, and every quality can be chosen.
    let source = collector(&encoder);
    let playing = browser.plays_for(2.0).await;
    assert_eq!(playing.engine, "hls.js");
    assert_eq!(playing.headline, "");
    picture_moves(&browser).await;
    if playing.muted {
        browser.click("#tap").await;
    }
    browser.player_is("to have its sound on", |it| !it.muted).await;
    assert!(!browser.shows("#tap").await, "the offer of sound goes once it is taken");
    browser.listen().await;
    can_be_heard(&browser).await;
    browser.choose("180p").await;
    browser.player_is("to show the small rendition", |it| it.height == 180).await;
    assert_eq!(browser.plays_for(2.0).await.rendition, "180p");
    browser.choose("source").await;
    browser.player_is("to show the original", |it| it.height == 360).await;
    browser.choose("audio").await;
    browser.player_is("to play sound alone", |it| it.phase == "playing" && it.height == 0).await;
    assert!(browser.shows("#sound-only").await);
    can_be_heard(&browser).await;
    browser.choose("auto").await;
    browser.plays_for(2.0).await;

    // The room's box dies, and comes back.
    source.process().kill().await;
    browser.player_is("to say: back soon", |it| it.headline == "Back soon").await;
    drop(source);
    let source = collector(&encoder);
    browser.plays_for(2.0).await;
    picture_moves(&browser).await;

    // The encoder dies, and comes back.
    encoder.process().kill().await;
    browser
        .player_is("to say that nobody answers", |it| it.headline.starts_with("No answer"))
        .await;
    let encoder = encoder.start_again().await;
    browser.plays_for(2.0).await;
    picture_moves(&browser).await;
    assert!(was_not_reloaded(&browser).await, "all of that in one load of the page");
    drop(source);
    drop(encoder);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_hls_is_blocked_webm_plays_and_where_that_is_too_sound_does() {
    let encoder = EncoderProcess::start(encoder(true)).await;
    let _source = collector(&encoder);
    encoder.live("demo").await;
    let browser = Browser::open(390, 844).await;
    browser.block(&["*/hls/*"]).await;
    browser.goto(&encoder.url("/demo/")).await;
    mark(&browser).await;
    browser
        .player_is("to fall back on WebM", |it| {
            it.phase == "playing" && it.source.contains("webcast-high.webm")
        })
        .await;
    let playing = browser.plays_for(1.0).await;
    assert_eq!(playing.engine, "progressive");
    counts(&encoder, 0, 1).await;
    picture_moves(&browser).await;
    browser.choose("audio").await;
    browser
        .player_is("to play a sound stream", |it| {
            it.phase == "playing" && it.source.contains("/audio-only.")
        })
        .await;
    if browser.player().await.muted {
        browser.click("#mute").await;
    }
    browser.listen().await;
    can_be_heard(&browser).await;
    assert!(was_not_reloaded(&browser).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rooms_page_shows_who_is_live_and_leads_to_the_player() {
    let encoder = EncoderProcess::start(encoder(false).and_room("upstairs")).await;
    let browser = Browser::open(390, 844).await;
    browser.goto(&encoder.url("/")).await;
    until(PATIENCE, "the page to list both rooms as off air", async || {
        let text = browser.text().await;
        (text.contains("Room demo") && text.contains("No room is live")).then_some(())
    })
    .await;
    let url = publish::rtmp_url(&encoder, "demo", encoder.token());
    let _publisher = publish::Publisher::ffmpeg(&url);
    until(PATIENCE, "the page to say that a room is live", async || {
        browser.text().await.contains("1 room is live").then_some(())
    })
    .await;
    let script = "const picture = document.querySelector('.picture img');
                  return picture !== null && picture.naturalWidth > 0";
    until(PATIENCE, "the preview picture", async || {
        (browser.run(script).await == true).then_some(())
    })
    .await;
    browser.click("a[href='demo/']").await;
    browser.plays_for(1.0).await;
    counts(&encoder, 1, 0).await;
    let complaints = browser.complaints().await;
    assert_eq!(complaints, Vec::<String>::new(), "the pages load nothing that is not there");
    // Every link of "Other ways to watch" leads to a stream of this room.
    browser.click("summary").await;
    let links = browser
        .run("return [...document.querySelectorAll('#addresses li:not([hidden]) a')].map(a => a.href)")
        .await;
    let links: Vec<String> = serde_json::from_value(links).unwrap();
    assert!(links.len() >= 5, "{links:?}");
    for link in links {
        let what = format!("{link} to be served");
        until(Duration::from_secs(30), &what, async || {
            let answer = encoder.client().head(&link).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
    browser.goto("about:blank").await;
    counts(&encoder, 0, 0).await;
}
