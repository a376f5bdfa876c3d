//! The two encrypted ways to an encoder, with a certificate of a private authority.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::time::Duration;

use backrow_tests::mqtt::Subscriber;
use backrow_tests::tls::TlsFront;
use backrow_tests::{Broker, CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess};

#[tokio::test(flavor = "multi_thread")]
async fn https_and_rtmps_reach_the_encoder_and_a_stranger_is_not_trusted() {
    let config = EncoderConfig::light("https").and_room("rtmps");
    let encoder = EncoderProcess::start(config).await;
    let http = TlsFront::start(encoder.http()).await;
    let rtmp = TlsFront::start(encoder.rtmp()).await;
    let mut config = CollectorConfig::flash(&encoder);
    config.picture = (320, 180, 25);
    config.url = format!("https://{}", http.host());
    config.authority = Some(http.authority().to_owned());

    let _https = CollectorProcess::start(&config);
    let rooms = &encoder.config().rooms;
    let _rtmps = CollectorProcess::start(&CollectorConfig {
        room: "rtmps".into(),
        url: format!("rtmps://{}/rtmps/{}", rtmp.host(), rooms[1].token),
        token: None,
        authority: Some(rtmp.authority().to_owned()),
        ..config.clone()
    });
    encoder.live("https").await;
    encoder.live("rtmps").await;

    // The authority of the other front did not sign this one.
    let broker = Broker::start().await;
    let moods = Subscriber::start(&broker).await;
    let mut config = config.with_broker(&broker);
    config.authority = Some(rtmp.authority().to_owned());
    let _stranger = CollectorProcess::start(&config);
    let uplink = "backrow/box-under-test/component/uplink";
    let soon = Duration::from_secs(60);
    let uplink = moods.wait(soon, uplink, |state| state["mood"] == "sad").await;
    let reason = uplink["reason"].as_str().unwrap().to_lowercase();
    assert!(reason.contains("certificate"), "{reason}");
}
