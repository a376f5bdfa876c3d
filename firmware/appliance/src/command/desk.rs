//! Carries orders out, whoever gives them. One place, so that page and MQTT do the same.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use protocol::{mood::Mood, payload::EventKind};
use tokio::sync::{Mutex, watch};
use tokio_util::io::ReaderStream;
use url::Url;
use watchdog::board::Board;

use super::identify::Identify;
use crate::{
    paths::Paths,
    programs::{self, Programs},
    recovery::{diagnostics, reset},
    update::{
        fetch,
        health::{COLLECTOR, COMPONENT},
        install::{Installed, Installer, Wanted},
    },
};

/// The box's restarts on the board.
const BOOT: &str = "box.boot";
/// For systemd to start the collector anew, which sends its last segment first.
const RESTART: Duration = Duration::from_secs(60);
/// To send a diagnostics bundle.
const UPLOAD: Duration = Duration::from_secs(300);

/// An order.
#[derive(Debug, Clone)]
pub enum Job {
    /// Install an update, then restart.
    Update(Wanted),
    /// Reset the box at the restart that follows.
    FactoryReset {
        /// The recordings go too.
        recordings: bool,
    },
    /// Make a diagnostics bundle, and send it there if anywhere.
    Diagnostics(Option<Url>),
    /// Start the collector anew.
    Restart,
    /// Start the box anew.
    Reboot,
    /// Show which box this is.
    Identify(Duration),
}

/// What came of an order that was not refused and did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Said(String),
    /// The box restarts for it; only then it is done.
    Restarting(String),
    /// A file, to be removed by who takes it.
    File(PathBuf),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// It will not be.
    Refused(String),
    /// It did not work out.
    Failed(String),
}

/// Carries orders out; clones are the same desk.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The box.
    pub paths: Paths,
    /// Its programs.
    pub programs: Programs,
    /// Where moods stand.
    pub board: Board,
    /// What installs.
    pub installer: Installer,
    /// The switch for screen and lights.
    pub identify: Identify,
    /// What is going on with an update, for the page; empty when nothing is.
    pub doing: Arc<watch::Sender<String>>,
    /// One bundle at a time.
    pub gathering: Arc<Mutex<()>>,
}

impl Desk {
    /// A desk for the installer's box, at which nothing was ordered yet.
    #[must_use]
    pub fn new(installer: Installer, board: Board) -> Self {
        Self {
            paths: installer.paths.clone(),
            programs: installer.programs.clone(),
            board,
            installer,
            identify: Identify::default(),
            doing: Arc::default(),
            gathering: Arc::default(),
        }
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn carry_out(&self, job: Job) -> Result<Done, NotDone> {
        match job {
            Job::Update(wanted) => self.update(&wanted).await,
            Job::FactoryReset { recordings } => self.factory_reset(recordings).await,
            Job::Diagnostics(to) => self.diagnostics(to.as_ref()).await,
            Job::Restart => self.restart().await,
            Job::Reboot => self.reboot("the box restarts".to_owned()).await,
            Job::Identify(lasting) => {
                self.identify.show(lasting);
                Ok(Done::Said(match lasting.as_secs() {
                    0 => "the box does not show itself any more".to_owned(),
                    seconds => format!("the box shows itself for {seconds} s"),
                }))
            }
        }
    }

    async fn update(&self, wanted: &Wanted) -> Result<Done, NotDone> {
        let before = self.board.get(COMPONENT);
        let say = |words: &str| {
            self.board.set(COMPONENT, Mood::Waking, words);
            self.doing.send_replace(words.to_owned());
        };
        let installed = self.installer.install(wanted, &say).await;
        let outcome = match installed {
            Ok(Installed::Anew(update)) => {
                let words = format!("{} is installed; the box restarts", update.to);
                self.board.event(EventKind::Notice, COMPONENT, words.clone());
                return self.reboot(words).await;
            }
            Ok(Installed::Already(words)) => Ok(words),
            Err(error) if error.is_refusal() => Err(NotDone::Refused(error.to_string())),
            Err(error) => Err(NotDone::Failed(error.to_string())),
        };
        self.doing.send_replace(String::new());
        let (Ok(words) | Err(NotDone::Refused(words) | NotDone::Failed(words))) = &outcome;
        self.board.event(EventKind::Notice, COMPONENT, format!("{}: {words}", wanted.asked_by));
        match (before, &outcome) {
            (_, Err(NotDone::Failed(why))) => self.board.set(COMPONENT, Mood::Sad, why.clone()),
            // Nothing has changed: a refusal is no fault of the box.
            (Some(before), _) => self.board.set(COMPONENT, before.mood, before.reason),
            (None, _) => self.board.remove(COMPONENT),
        }
        outcome.map(Done::Said)
    }

    async fn factory_reset(&self, recordings: bool) -> Result<Done, NotDone> {
        let answer = reset::ask(&self.paths, recordings).map_err(|error| {
            NotDone::Failed(format!("the reset cannot be noted on the data partition: {error}"))
        })?;
        self.board.event(EventKind::Loss, BOOT, format!("factory reset: {answer}"));
        self.reboot(answer).await
    }

    async fn reboot(&self, words: String) -> Result<Done, NotDone> {
        let failed =
            |error| NotDone::Failed(format!("the box cannot be restarted from here: {error}"));
        self.programs.reboot().await.map_err(failed)?;
        Ok(Done::Restarting(words))
    }

    async fn restart(&self) -> Result<Done, NotDone> {
        if !self.paths.site().exists() {
            return Err(NotDone::Refused("this box has no site yet: nothing streams".to_owned()));
        }
        let command = self.programs.systemctl(&["restart", COLLECTOR]);
        match programs::good(command, RESTART).await {
            Ok(_) => Ok(Done::Said("the collector was started anew".to_owned())),
            Err(error) => Err(NotDone::Failed(error.to_string())),
        }
    }

    async fn diagnostics(&self, to: Option<&Url>) -> Result<Done, NotDone> {
        let Ok(_turn) = self.gathering.try_lock() else {
            return Err(NotDone::Refused("not now: diagnostics are being gathered".to_owned()));
        };
        let failed = |error: String| NotDone::Failed(error);
        let file = self.paths.run().join("diagnostics.tar.gz");
        std::fs::create_dir_all(self.paths.run()).map_err(|error| failed(error.to_string()))?;
        let made = diagnostics::write(&self.paths, &file).await;
        made.map_err(|error| failed(error.to_string()))?;
        let Some(url) = to else { return Ok(Done::File(file)) };
        let sent = self.put(&file, url).await;
        let _ = std::fs::remove_file(&file);
        sent.map_err(failed)?;
        Ok(Done::Said(format!("the diagnostics are at {}", fetch::shown(url))))
    }

    async fn put(&self, file: &Path, url: &Url) -> Result<(), String> {
        let shown = fetch::shown(url);
        let ca = self.installer.ca.as_ref().and_then(|path| std::fs::read(path).ok());
        let client = fetch::client(ca.as_deref()).map_err(|error| error.to_string())?;
        let open = tokio::fs::File::open(file).await.map_err(|error| error.to_string())?;
        let length = open.metadata().await.map_err(|error| error.to_string())?.len();
        let body = reqwest::Body::wrap_stream(ReaderStream::new(open));
        let sent = client
            .put(url.clone())
            .header(reqwest::header::CONTENT_LENGTH, length)
            .header(reqwest::header::CONTENT_TYPE, "application/gzip")
            .timeout(UPLOAD)
            .body(body)
            .send()
            .await
            .map_err(|error| fetch::in_full(&error.without_url()))?;
        match sent.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("{shown} answered {status}")),
        }
    }
}
