//! A viewer that holds a progressive stream open and keeps what it gets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::JoinHandle;

use crate::encoder::{EncoderProcess, client};
use crate::until;

#[derive(Debug, Default)]
struct Got {
    bytes: Vec<u8>,
    ended: Option<String>,
}

/// A client of one mount.
#[derive(Debug)]
pub struct Viewer {
    mount: String,
    got: Arc<Mutex<Got>>,
    task: JoinHandle<()>,
}

impl Viewer {
    /// Opens `/{room}/{mount}`, and reads it until dropped.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn open(encoder: &EncoderProcess, room: &str, mount: &str) -> Self {
        let url = encoder.url(&format!("/{room}/{mount}"));
        // A client of its own, so a connection of its own, as real viewers have.
        let answer = client().get(&url).send().await;
        let mut answer = answer.unwrap_or_else(|error| panic!("GET {url}: {error}"));
        assert_eq!(answer.status(), StatusCode::OK, "GET {url}");
        let got: Arc<Mutex<Got>> = Arc::default();
        let sink = Arc::clone(&got);
        let task = tokio::spawn(async move {
            let reason = loop {
                match answer.chunk().await {
                    Ok(Some(chunk)) => sink.lock().unwrap().bytes.extend_from_slice(&chunk),
                    Ok(None) => break "the stream was ended".to_owned(),
                    Err(error) => break format!("{error:?}"),
                }
            };
            sink.lock().unwrap().ended = Some(reason);
        });
        Self { mount: mount.into(), got, task }
    }

    /// Bytes received so far.
    pub fn received(&self) -> usize {
        self.got.lock().unwrap().bytes.len()
    }

    /// Why the stream has ended, if it has.
    pub fn ended(&self) -> Option<String> {
        self.got.lock().unwrap().ended.clone()
    }

    /// Waits until `more` bytes have come in from now on.
    ///
    /// # Panics
    /// When they do not, or the stream ends first.
    pub async fn gets_more(&self, more: usize) {
        let aim = self.received() + more;
        let what = format!("{more} more bytes of {}", self.mount);
        until(Duration::from_secs(60), &what, async || {
            let ended = self.ended();
            assert!(ended.is_none(), "{}: {}", self.mount, ended.unwrap_or_default());
            (self.received() >= aim).then_some(())
        })
        .await;
    }

    /// Writes what has come so far into `directory`, under the mount's name.
    ///
    /// # Panics
    /// When that fails.
    pub fn save(&self, directory: &Path) -> PathBuf {
        let path = directory.join(&self.mount);
        std::fs::write(&path, &self.got.lock().unwrap().bytes).unwrap();
        path
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
