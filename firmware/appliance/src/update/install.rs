//! The one place that installs updates, whoever asks: CONFIG, MQTT, the page, or the command line.
//!
//! ```text
//! running slot good? ─▶ nobody else at it? ─▶ fetch ─▶ rauc info ─▶ newer, ours, signed?
//!   ─▶ update.json: installing ─▶ rauc install ─▶ update.json: pending ─▶ the caller restarts
//! ```
//! The record is there before the first byte is written: power lost on the way is told afterwards.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use protocol::config::{Site, site::Destination};
use rustix::fs::{FlockOperation, flock};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::mpsc,
    time::timeout,
};
use url::Url;
use watchdog::clock::SharedClock;

use super::{
    bundle::{self, Offer, Refusal},
    fetch::{self, FetchError},
    record::{Outcome, Update},
    version::Version,
};
use crate::{
    image::{Boot, Image},
    paths::Paths,
    programs::Programs,
};

/// Without a word from `rauc install`, which writes some hundred megabytes.
const SILENCE: Duration = Duration::from_secs(600);

/// Where a bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundle {
    /// On this box.
    File(PathBuf),
    /// On this box, for this once: it is removed before the caller can restart the box.
    Once(PathBuf),
    /// To be fetched.
    Url(Url),
}

impl Bundle {
    /// A file, or an address that begins with `http://` or `https://`.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        match text.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::Url(url)),
            Ok(url) => Err(format!("{}:// is not fetched; http:// and https:// are", url.scheme())),
            Err(error) => Err(format!("{text:?} is not an address: {error}")),
        }
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Once(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(&fetch::shown(url)),
        }
    }
}

/// An update that somebody asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The bundle.
    pub bundle: Bundle,
    /// What its SHA-256 must be, if the one who asks knows.
    pub sha256: Option<String>,
    /// Who asks, for the record: `CONFIG`, `page`, `command line`, `command 01J…`.
    pub asked_by: String,
}

/// Why there was no update.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The running image may yet be taken back.
    #[error(
        "not now: the image that runs has not yet shown that it works (this takes a minute with a \
         network, ten without); try again then"
    )]
    NotYetGood,
    /// Another update is under way.
    #[error("not now: another update is being installed")]
    Busy,
    /// No data partition.
    #[error("there is no data partition to put the bundle on: {0}")]
    NoData(#[source] io::Error),
    /// Not started from a slot of ours.
    #[error("this machine does not run from one of the box's own slots")]
    NotABox,
    /// The bundle is not for this box.
    #[error("{bundle} is not installed: {refusal}")]
    Refused {
        /// The bundle.
        bundle: String,
        /// Why.
        refusal: Refusal,
    },
    /// The bundle did not come.
    #[error("the bundle could not be fetched: {0}")]
    Fetch(#[from] FetchError),
    /// TLS cannot be set up.
    #[error("the bundle could not be fetched: {0}")]
    Client(#[from] reqwest::Error),
    /// RAUC failed.
    #[error("installing {version} failed, and the box goes on as it was: {said}")]
    Failed {
        /// The version.
        version: String,
        /// RAUC's reason.
        said: String,
    },
    /// The record cannot be written.
    #[error("the record of the update cannot be written: {0}")]
    Record(#[source] io::Error),
    /// The lock cannot be taken.
    #[error("{}: {source}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl UpdateError {
    /// Whether the answer to who asked is no, rather than that it did not work out.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NotYetGood | Self::Busy | Self::NotABox | Self::Refused { .. })
    }
}

/// What came of an update that nothing spoke against.
#[derive(Debug, PartialEq, Eq)]
pub enum Installed {
    /// It is in the other slot; the box has to be restarted.
    Anew(Update),
    /// It is what runs here, in these words; nothing was done.
    Already(String),
}

/// Says where an update stands, in a few words.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Installs updates.
#[derive(Debug, Clone)]
pub struct Installer {
    /// The box.
    pub paths: Paths,
    /// Its programs.
    pub programs: Programs,
    /// Its clock.
    pub clock: SharedClock,
    /// A PEM file with an authority to trust besides the public ones.
    pub ca: Option<PathBuf>,
}

/// The authority that the site's encoder is trusted by, for servers beside it.
#[must_use]
pub fn site_ca(site: &Site) -> Option<PathBuf> {
    let (Destination::Ingest { ca, .. } | Destination::Rtmp { ca, .. }) = &site.encoder;
    ca.clone()
}

/// In this boot the slot is good: it was before, or the gate marked it.
#[must_use]
pub fn slot_is_good(paths: &Paths, boot: &Boot) -> bool {
    boot.attempt == 0 || good_mark(paths).exists()
}

/// Where the gate leaves word that it marked the slot good.
#[must_use]
pub fn good_mark(paths: &Paths) -> PathBuf {
    paths.run().join("slot-good")
}

impl Installer {
    /// Installs an update, unless it runs here already; the caller restarts the box.
    ///
    /// # Errors
    /// [`UpdateError`]; then the box goes on as it was.
    pub async fn install(&self, wanted: &Wanted, say: Say<'_>) -> Result<Installed, UpdateError> {
        let boot = Boot::read(&self.paths);
        let image = Image::read(&self.paths).ok_or(UpdateError::NotABox)?;
        let slot = boot.slot.ok_or(UpdateError::NotABox)?.other();
        // Where no slot is good, there is nothing to wait for and nothing to lose.
        if !slot_is_good(&self.paths, &boot) && !boot.rescue {
            return Err(UpdateError::NotYetGood);
        }
        let _lock = self.lock()?;
        let (file, ours) = self.bundle(wanted, say).await?;
        say("checking the bundle");
        let checked = self.check(&file, &image).await;
        if ours && !matches!(checked, Ok(Offer::Newer(_))) {
            fetch::forget(&file);
        }
        let version = match checked {
            Ok(Offer::Newer(version)) => version,
            Ok(Offer::Same(version)) => {
                let words =
                    format!("{version} is not installed: {} runs here already", image.version);
                return Ok(Installed::Already(words));
            }
            Err(refusal) => {
                let bundle = wanted.bundle.to_string();
                return Err(UpdateError::Refused { bundle, refusal });
            }
        };
        let mut update = Update {
            v: 1,
            from: image.version,
            to: version.to_string(),
            slot: Some(slot),
            at: self.clock.utc(),
            during: boot.id,
            asked_by: wanted.asked_by.clone(),
            state: Outcome::Installing,
            reason: format!("{version} is being installed"),
        };
        let keep = |update: &Update| update.keep(&self.paths).map_err(UpdateError::Record);
        keep(&update)?;
        let installed = self.rauc_install(&file, &version, say).await;
        if ours {
            fetch::forget(&file);
        }
        match installed {
            Ok(()) => {
                update.state = Outcome::Pending;
                update.reason =
                    format!("{version} is installed and has not shown yet that it works");
                keep(&update)?;
                say(&format!("{version} is installed; restarting"));
                Ok(Installed::Anew(update))
            }
            Err(said) => {
                update.state = Outcome::Failed;
                update.reason = format!("installing {version} failed: {said}");
                keep(&update)?;
                Err(UpdateError::Failed { version: version.to_string(), said })
            }
        }
    }

    async fn check(&self, file: &Path, image: &Image) -> Result<Offer, Refusal> {
        bundle::judge(&bundle::inspect(&self.programs, file).await?, image)
    }

    /// Held for as long as the file is open.
    fn lock(&self) -> Result<fs::File, UpdateError> {
        let path = self.paths.run().join("update.lock");
        let failed = |source| UpdateError::Lock { path: path.clone(), source };
        fs::create_dir_all(self.paths.run()).map_err(failed)?;
        let file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(UpdateError::Busy),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The bundle as a file, and whether it is ours to remove.
    async fn bundle(&self, wanted: &Wanted, say: Say<'_>) -> Result<(PathBuf, bool), UpdateError> {
        let url = match &wanted.bundle {
            Bundle::Url(url) => url,
            Bundle::File(path) | Bundle::Once(path) => {
                let ours = matches!(wanted.bundle, Bundle::Once(_));
                let Some(sha256) = &wanted.sha256 else { return Ok((path.clone(), ours)) };
                let unreadable = |error| UpdateError::Refused {
                    bundle: path.display().to_string(),
                    refusal: Refusal::Unreadable(format!("{error}")),
                };
                let found = fetch::digest(path).await.map_err(unreadable)?;
                if !found.eq_ignore_ascii_case(sha256) {
                    let wanted = sha256.clone();
                    return Err(FetchError::Different { found, wanted }.into());
                }
                return Ok((path.clone(), ours));
            }
        };
        // Without its partition, /data is an empty folder of the read-only root.
        fs::create_dir_all(self.paths.kept()).map_err(UpdateError::NoData)?;
        let file = self.paths.kept().join("incoming.raucb");
        let ca = self.ca.as_ref().and_then(|path| fs::read(path).ok());
        let client = fetch::client(ca.as_deref())?;
        let from = fetch::shown(url);
        say(&format!("fetching {from}"));
        let progress = |percent| say(&format!("fetching {from}: {percent} %"));
        fetch::fetch(&client, url, &file, wanted.sha256.as_deref(), &progress).await?;
        Ok((file, true))
    }

    async fn rauc_install(
        &self,
        file: &Path,
        version: &Version,
        say: Say<'_>,
    ) -> Result<(), String> {
        say(&format!("installing {version}"));
        let mut command = self.programs.rauc(&["install"]);
        command.arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("rauc cannot be started: {error}"))?;
        let (lines, mut said) = mpsc::channel(64);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read_lines(stdout, lines.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read_lines(stderr, lines.clone()));
        }
        drop(lines);
        let (mut error, mut last) = (None, String::new());
        loop {
            let line = match timeout(SILENCE, said.recv()).await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(_) => {
                    return Err(format!("rauc said nothing for {} min", SILENCE.as_secs() / 60));
                }
            };
            match Line::of(&line) {
                Line::Progress(percent, what) => {
                    say(&format!("installing {version}: {percent} % ({what})"));
                }
                Line::Error(why) => error = Some(why),
                Line::Other => tracing::info!("rauc: {line}"),
                Line::Nothing => continue,
            }
            last = line;
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(error.unwrap_or(last)) }
    }
}

async fn read_lines(from: impl AsyncRead + Unpin, to: mpsc::Sender<String>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if to.send(line).await.is_err() {
            return;
        }
    }
}

/// A line of `rauc install`.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Progress(u8, String),
    Error(String),
    Other,
    Nothing,
}

impl Line {
    fn of(line: &str) -> Self {
        let line = line.trim();
        if line.is_empty() {
            return Self::Nothing;
        }
        if let Some((_, why)) = line.split_once("LastError:") {
            let why = why.trim();
            return if why.is_empty() { Self::Nothing } else { Self::Error(why.to_owned()) };
        }
        let progress = line.split_once('%').and_then(|(percent, what)| {
            Some((percent.trim().parse().ok().filter(|p| *p <= 100)?, what.trim()))
        });
        match progress {
            Some((percent, what)) => Self::Progress(percent, what.to_owned()),
            None => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raucs_lines_are_told_apart() {
        let progress = Line::of(" 40% Determining target install group done.");
        let what = "Determining target install group done.";
        assert_eq!(progress, Line::Progress(40, what.into()));
        let error = Line::of("LastError: Installation error: no space left");
        assert_eq!(error, Line::Error("Installation error: no space left".into()));
        assert_eq!(Line::of("Installing `/x.raucb` failed"), Line::Other);
        assert_eq!(Line::of("  "), Line::Nothing);
        assert_eq!(Line::of("LastError: "), Line::Nothing);
        assert_eq!(Line::of("full by 999% of it"), Line::Other);
    }

    #[test]
    fn a_bundle_is_a_file_or_an_address() {
        assert_eq!(Bundle::parse("/data/x.raucb"), Ok(Bundle::File("/data/x.raucb".into())));
        let bundle = Bundle::parse("https://u:p@example.org/x.raucb?t=1").unwrap();
        assert_eq!(bundle.to_string(), "https://example.org/x.raucb");
        assert!(Bundle::parse("ftp://x/y").unwrap_err().contains("ftp:// is not fetched"));
        assert!(Bundle::parse("http://").is_err());
    }
}
