//! Everybody else: who watches, and fetches the recording, at the encoder's HTTPS name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use backrow_tests::hls::{self, Player};
use backrow_tests::machine::patience;
use backrow_tests::{encoder, probe, until};
use reqwest::{Certificate, Client};
use serde_json::Value;

/// What all the publishers here send.
const PICTURE: &str = "video h264 320x180";

/// A client of the encoder with this name.
pub(crate) struct Outside {
    client: Client,
    base: String,
}

impl Outside {
    /// The machine's port 443 is `port` here; only `authority` is trusted.
    pub(crate) fn new(name: &str, port: u16, authority: &Path) -> Self {
        // Sets up TLS for the whole process.
        drop(encoder::client());
        let certificate = Certificate::from_pem(&std::fs::read(authority).unwrap()).unwrap();
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let builder = Client::builder().no_proxy().tls_certs_only([certificate]);
        let client = builder.resolve(name, here).timeout(patience(60)).build().unwrap();
        Self { client, base: format!("https://{name}:{port}") }
    }

    /// A URL of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// What is at `path`, when the answer is a good one.
    async fn body(&self, path: &str, token: &str) -> Option<Vec<u8>> {
        let request = self.client.get(self.url(path)).bearer_auth(token);
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        answer.bytes().await.ok().map(Into::into)
    }

    /// Waits until it answers.
    pub(crate) async fn answers(&self) {
        until(patience(300), "the encoder to answer by HTTPS", async || {
            self.body("/healthz", "").await
        })
        .await;
    }

    /// Plays a room by HLS: some segments of the pictures as they came.
    pub(crate) async fn watch(&self, room: &str, directory: &Path) {
        let hls = self.url(&format!("/{room}/hls/"));
        let variants = until(patience(300), "the room to be live", async || {
            hls::variants_at(&self.client, &hls).await.filter(|variants| !variants.is_empty())
        })
        .await;
        let source = variants
            .iter()
            .find(|it| it.attributes.get("RESOLUTION").is_some_and(|it| it == "320x180"));
        let source = source.unwrap_or_else(|| panic!("no variant as it came: {variants:?}"));
        let player = Player::follow_at(self.client.clone(), &hls, &source.uri);
        until(patience(300), "some segments to be played", async || {
            (player.segments().len() >= 4).then_some(())
        })
        .await;
        let file = player.save(directory);
        let found = probe::summary(&file).await;
        assert!(found.iter().any(|stream| stream == PICTURE), "{found:?}");
        assert!(probe::span(&probe::packets(&file).await, "video") > 4.0);
        assert_eq!(player.errors(), Vec::<String>::new());
    }

    /// Fetches the recording of the room's first session, and looks through it.
    pub(crate) async fn recording(&self, room: &str, token: &str, directory: &Path) {
        let session = until(patience(120), "a recording", async || {
            let list = self.body(&format!("/{room}/archive/"), token).await?;
            let list: Value = serde_json::from_slice(&list).ok()?;
            let sessions = list["sessions"].as_array()?;
            let session = sessions.iter().find(|it| it["segments"].as_u64() > Some(2))?;
            Some(session["session"].as_str()?.to_owned())
        })
        .await;
        let path = format!("/{room}/archive/{session}.flv");
        let recording = until(patience(60), "the recording to be given out", async || {
            self.body(&path, token).await
        })
        .await;
        let file = directory.join("recording.flv");
        std::fs::write(&file, recording).unwrap();
        assert_eq!(probe::summary(&file).await, ["audio aac", PICTURE]);
        assert!(probe::span(&probe::packets(&file).await, "video") > 4.0);
        // Whoever has no token gets nothing.
        assert!(self.body(&path, "not-the-token").await.is_none());
    }
}
