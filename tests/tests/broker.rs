//! The broker as it ships, in `deploy/broker`: who may hear and say what.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::time::Duration;

use backrow_tests::secure_broker::SecureBroker;
use backrow_tests::web_client::WebClient;
use backrow_tests::{CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, until};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn no_box_can_read_or_write_what_is_anothers() {
    let names = ["hall-1", "attic-1", "operator", "dashboard", "homeassistant"];
    let broker = SecureBroker::start(&names, &[("operator", "x")]).await;
    let all = ["#", "backrow/#", "backrow/+/state", "homeassistant/#"];
    let own = broker.listen("hall-1", &all);
    let other = broker.listen("attic-1", &all);
    let operator = broker.listen("operator", &all);
    let wall = broker.listen("dashboard", &all);
    let home = broker.listen("homeassistant", &all);
    for hearing in [&own, &other, &operator, &wall, &home] {
        until(SOON, "a subscription", async || hearing.is_subscribed().then_some(())).await;
    }

    // What each says in its own branch, those may hear who look after all.
    let said = broker.publish("hall-1", "backrow/hall-1/state", "of the hall").await;
    assert_eq!(said, "");
    for hearing in [&own, &operator, &wall, &home] {
        until(SOON, "the hall to be heard", async || {
            hearing.heard("backrow/hall-1/state", "of the hall").then_some(())
        })
        .await;
    }
    // An order goes to its box alone; nobody else may give one.
    assert_eq!(broker.publish("operator", "backrow/hall-1/command", "an order").await, "");
    assert_eq!(broker.publish("operator", "backrow/hall-1/config", "settings").await, "");
    until(SOON, "the order", async || {
        (own.heard("backrow/hall-1/command", "an order")
            && own.heard("backrow/hall-1/config", "settings"))
        .then_some(())
    })
    .await;
    // There are secrets in settings.
    until(SOON, "the operator to hear them", async || {
        operator.heard("backrow/hall-1/config", "settings").then_some(())
    })
    .await;
    let found = "homeassistant/device/hall-1/collector/config";
    assert_eq!(broker.publish("hall-1", found, "found").await, "");
    until(SOON, "Home Assistant to hear", async || home.heard(found, "found").then_some(())).await;

    let refused = [
        ("attic-1", "backrow/hall-1/state"),
        ("attic-1", "backrow/hall-1/command"),
        ("attic-1", "backrow/hall-1/config"),
        ("attic-1", "backrow/hall-1/component/capture"),
        ("attic-1", "homeassistant/device/hall-1/collector/config"),
        ("attic-1", "homeassistant/device/attic-1/config"),
        ("attic-1", "homeassistant/status"),
        ("attic-1", "something/else"),
        ("dashboard", "backrow/hall-1/command"),
        ("dashboard", "backrow/hall-1/state"),
        ("homeassistant", "backrow/hall-1/command"),
        ("operator", "backrow/hall-1/state"),
        ("operator", "homeassistant/device/hall-1/collector/config"),
    ];
    for (who, topic) in refused {
        let said = broker.publish(who, topic, "forged").await;
        assert!(said.contains("Not authorized"), "{who} on {topic}: {said:?}");
    }
    // The marker comes after everything else: what was to be heard has been heard by then.
    for who in ["attic-1", "hall-1"] {
        let topic = format!("backrow/{who}/event");
        assert_eq!(broker.publish(who, &topic, "the last").await, "");
    }
    until(SOON, "the markers", async || {
        (other.heard("backrow/attic-1/event", "the last")
            && wall.heard("backrow/hall-1/event", "the last")
            && home.heard("backrow/hall-1/event", "the last")
            && own.heard("backrow/hall-1/event", "the last")
            && operator.heard("backrow/attic-1/event", "the last"))
        .then_some(())
    })
    .await;
    for topic in ["state", "command", "config", "event"] {
        let topic = format!("backrow/hall-1/{topic}");
        assert!(!other.heard_part(&topic, ""), "attic-1 hears {topic}");
    }
    for hearing in [&wall, &home] {
        assert!(!hearing.heard_part("backrow/hall-1/config", ""), "settings are overheard");
    }
    assert!(!other.heard_part(found, "") && !own.heard_part("backrow/attic-1/event", ""));
    for hearing in [&own, &operator, &wall, &home] {
        for topic in ["backrow/hall-1/state", "backrow/hall-1/command", found] {
            assert!(!hearing.heard(topic, "forged"), "{topic} was forged");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_come_by_password_or_certificate() {
    let names = ["operator", "dashboard", "hall-1"];
    let users = [("operator", "secret"), ("dashboard", "look")];
    let broker = SecureBroker::start(&names, &users).await;
    let ask = async |at: std::net::SocketAddr, user: &str, password: &str, name: &str| {
        let url = format!("wss://localhost:{}", at.port());
        let file = |end: &str| broker.file(&format!("{name}.{end}"));
        let client = WebClient {
            login: (!user.is_empty()).then(|| (user.to_owned(), password.to_owned())),
            certificate: (!name.is_empty()).then(|| (file("pem"), file("key"))),
            ..WebClient::default()
        };
        client.visits(&url, &broker.file("ca.pem")).await
    };
    let (by_password, by_certificate) = (broker.browsers, broker.certified_browsers);
    assert_eq!(ask(by_password, "operator", "secret", "").await, "orders");
    assert_eq!(ask(by_password, "dashboard", "look", "").await, "no orders 135");
    assert_eq!(ask(by_password, "operator", "guess", "").await, "refused 135");
    assert_eq!(ask(by_password, "", "", "").await, "refused 135");
    assert_eq!(ask(by_certificate, "", "", "operator").await, "orders");
    assert_eq!(ask(by_certificate, "", "", "dashboard").await, "no orders 135");
    // A certificate is wanted there, whatever name and password are given.
    let without = ask(by_certificate, "operator", "secret", "").await;
    assert!(without.starts_with("refused ") && without != "refused 135", "{without}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_and_encoder_tell_all_they_have_to_tell() {
    let names = ["box-under-test", "enc-under-test", "operator", "homeassistant"];
    let broker = SecureBroker::start(&names, &[("operator", "x")]).await;
    let operator = broker.listen("operator", &["backrow/#"]);
    let home = broker.listen("homeassistant", &["homeassistant/#"]);
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let text = CollectorConfig::flash(&encoder).to_toml() + &broker.table("box-under-test");
    let collector = CollectorProcess::start_with(&text);
    until(SOON, "the collector to be ready", async || {
        assert!(collector.process().is_running());
        operator.heard("backrow/box-under-test/state", r#"{"v":1,"state":"ready"}"#).then_some(())
    })
    .await;
    until(SOON, "Home Assistant to find it", async || {
        let topic = "homeassistant/device/box-under-test/collector/config";
        home.heard_part(topic, "backrow/box-under-test/preview").then_some(())
    })
    .await;
    until(SOON, "the connection to be well", async || {
        operator
            .heard_part("backrow/box-under-test/component/mqtt", r#""mood":"happy""#)
            .then_some(())
    })
    .await;
}
