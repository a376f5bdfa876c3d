//! The collector daemon: puts the parts together and keeps them running.
//!
//! ```text
//! capture worker ─┐
//!                 ├─▶ stream: splice, segments ─▶ uplink ─▶ encoder
//! slate worker ───┘          (one loop)
//! ```
//! It ends in the order of the stream: the workers first, then the last segment, then the uplink
//! when that segment is confirmed, and MQTT at the very end, to tell of it.

pub mod capture;
pub mod follow;
pub mod local;
pub mod senses;
pub mod splice;
pub mod stream;
pub mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use protocol::config::Site;
use protocol::config::site::Destination;
use protocol::mood::Mood;
use protocol::names::SessionId;
use protocol::payload::{Birth, Role, VERSION};
use telemetry::life::{self, Pulse};
use telemetry::{mqtt, systemd};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::board::Board;
use watchdog::clock::{self, SharedClock};

use self::capture::Capture;
use self::local::{Local, Made};
use self::stream::{Output, Stream};
use crate::spool::{self, Spool};
use crate::uplink::queue::Queue;
use crate::uplink::{http, rtmp};

/// `EX_CONFIG` of sysexits.h: starting again would not help.
const EXIT_CONFIG: u8 = 78;
/// How long the last segments may take to be confirmed when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Tags on their way from the workers.
const TAGS: usize = 512;

/// Looks through the configuration as the daemon does before all else.
#[must_use]
#[allow(clippy::print_stdout, clippy::print_stderr)] // a command of a person
pub fn check(config: &Path) -> ExitCode {
    match protocol::config::site::read(config) {
        Ok(site) => {
            println!("{} is right: it is for room {}", config.display(), site.room);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Runs the daemon until it is told to stop.
#[must_use]
pub fn main(config: &Path) -> ExitCode {
    telemetry::log::init("backrow-collector");
    let site = match protocol::config::site::read(config) {
        Ok(site) => site,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    // The provider is the same for every connection; a second call would only say it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(run(site)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What takes the stream away.
enum Uplink {
    Http(http::Sender),
    Rtmp(rtmp::Publisher, mpsc::Receiver<flv::Tag>),
}

async fn run(site: Site) -> anyhow::Result<()> {
    let site = Arc::new(site);
    let clock = clock::system();
    let board = Board::new(clock.clone());
    let (session, spool) = session(&site, &board, &clock).await;
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let (sending, telling, capturing) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());

    let memory = usize::try_from(site.uplink.memory.0).unwrap_or(usize::MAX);
    let queue = Queue::new(memory, spool.clone());
    let (output, uplink) = uplink(&site, session, &queue, &board)?;
    board.set(http::COMPONENT, Mood::Waking, format!("going to {}", site.encoder.shown()));

    let (tags, incoming) = mpsc::channel(TAGS);
    let (slate, slate_wanted) = watch::channel(false);
    let (preview, preview_seen) = watch::channel(None);
    let health = watch::Sender::new(None);
    let pulse = Pulse::default();
    let made = Made::default();
    let source = watch::Sender::new(None);
    let levels = watch::Sender::new(Vec::new());
    let local = local::runtime_directory().map(|dir| Local {
        dir,
        site: site.clone(),
        session,
        board: board.clone(),
        clock: clock.clone(),
        queue: queue.clone(),
        made: made.clone(),
        health: health.subscribe(),
        levels: levels.subscribe(),
        source: source.subscribe(),
        preview: preview_seen.clone(),
    });
    let levels = local.is_some().then_some(levels);
    let local = local.map(|local| tokio::spawn(local.run(telling.clone())));

    let reporter = site.mqtt.as_ref().map(|config| {
        let birth = Birth {
            v: VERSION,
            device: site.device.clone(),
            role: Role::Collector,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: clock.utc(),
            rooms: vec![site.room.clone()],
            revision: site.revision.clone(),
        };
        let (queue, health) = (queue.clone(), health.subscribe());
        mqtt::Reporter::new(config.clone(), birth)
            .numbers(move || numbers(&queue, &health))
            .preview(preview_seen)
            .spawn(board.clone(), clock.clone(), telling.clone())
    });

    let workers = TaskTracker::new();
    let capture = Capture {
        site: site.clone(),
        program,
        board: board.clone(),
        clock: clock.clone(),
        tags,
        health,
        preview,
        source,
        levels,
    };
    workers.spawn(capture.clone().run_slate(slate_wanted, capturing.clone()));
    workers.spawn(capture.run(capturing.clone()));
    let stream = Stream {
        incoming,
        output,
        slate,
        board: board.clone(),
        clock: clock.clone(),
        pulse: pulse.clone(),
        made,
    };
    let stream = tokio::spawn(stream.run());
    let drain = match &uplink {
        Uplink::Http(sender) => Some(sender.clone()),
        Uplink::Rtmp(..) => None,
    };
    let uplink = match uplink {
        Uplink::Http(sender) => tokio::spawn(sender.run(sending.clone())),
        Uplink::Rtmp(publisher, tags) => tokio::spawn(publisher.run(tags, sending.clone())),
    };

    tracing::info!(room = %site.room, device = %site.device, %session, "the collector runs");
    systemd::ready();
    systemd::status(&format!("room {}: sending to {}", site.room, site.encoder.shown()));
    let petting = tokio::spawn(systemd::watchdog(pulse.felt(), telling.clone()));

    life::end().await.context("signals cannot be watched")?;
    tracing::info!("stopping");
    systemd::stopping();
    workers.close();
    capturing.cancel();
    workers.wait().await;
    stream.await.context("the stream's loop failed")?;
    if let Some(sender) = drain
        && !sender.drain(LAST_WORDS).await
    {
        let (segments, ..) = queue.with(|ledger| ledger.backlog());
        let fate = if spool.is_some() { "the next start sends them" } else { "they are lost" };
        tracing::warn!(segments, "the encoder has not confirmed the last segments; {fate}");
    }
    sending.cancel();
    let _ = tokio::time::timeout(LAST_WORDS, uplink).await;
    if let Some(spool) = &spool
        && !spool.finish(LAST_WORDS).await
    {
        tracing::warn!("the disk has not taken the last segments");
    }
    telling.cancel();
    let _ = petting.await;
    if let Some(local) = local {
        let _ = local.await;
    }
    if let Some(reporter) = reporter {
        let _ = tokio::time::timeout(LAST_WORDS, reporter).await;
    }
    Ok(())
}

/// The session that begins, and where its segments are kept on disk. (RTMP has no segments.)
async fn session(site: &Site, board: &Board, clock: &SharedClock) -> (SessionId, Option<Spool>) {
    let root = match (&site.uplink.spool, &site.encoder) {
        (Some(root), Destination::Ingest { .. }) => root.clone(),
        _ => return (SessionId::new(clock.utc()), None),
    };
    let session = spool::new_session(&root, &site.room, clock.utc()).await;
    let settings = spool::Settings { root, min_free: site.uplink.spool_min_free.0 };
    let (board, clock) = (board.clone(), clock.clone());
    match Spool::start(settings, site.room.clone(), session, board.clone(), clock) {
        Ok(spool) => (session, Some(spool)),
        Err(error) => {
            let why = format!("cannot be started: {error}; segments are kept in memory only");
            board.set(spool::COMPONENT, Mood::Sad, why);
            (session, None)
        }
    }
}

fn uplink(
    site: &Site,
    session: SessionId,
    queue: &Queue,
    board: &Board,
) -> anyhow::Result<(Output, Uplink)> {
    let (Destination::Ingest { ca, .. } | Destination::Rtmp { ca, .. }) = &site.encoder;
    let ca = match ca {
        Some(path) => Some(
            std::fs::read(path)
                .with_context(|| format!("[encoder] ca: {} cannot be read", path.display()))?,
        ),
        None => None,
    };
    match &site.encoder {
        Destination::Ingest { url, token, .. } => {
            let destination = http::Destination {
                base: url.as_str().trim_end_matches('/').to_owned(),
                token: token.clone(),
                room: site.room.clone(),
                device: site.device.clone(),
                session,
            };
            let sender =
                http::Sender::new(destination, ca.as_deref(), queue.clone(), board.clone())
                    .context("the connection to the encoder cannot be set up")?;
            Ok((Output::segments(site.room.as_str(), queue.clone()), Uplink::Http(sender)))
        }
        Destination::Rtmp { url, .. } => {
            let destination = url.as_str().parse().context("[encoder] url")?;
            let publisher = rtmp::Publisher::new(destination, ca.as_deref(), board.clone())?;
            let (sender, receiver) = rtmp::channel();
            Ok((Output::Tags(sender), Uplink::Rtmp(publisher, receiver)))
        }
    }
}

/// The collector's numbers in the health message.
fn numbers(
    queue: &Queue,
    health: &watch::Receiver<Option<crate::capture::report::Health>>,
) -> serde_json::Map<String, serde_json::Value> {
    let ((segments, bytes, ms), totals) = queue.with(|ledger| (ledger.backlog(), ledger.totals()));
    let mut numbers = serde_json::Map::new();
    numbers.insert("backlog_segments".into(), segments.into());
    numbers.insert("backlog_bytes".into(), bytes.into());
    numbers.insert("backlog_ms".into(), ms.into());
    numbers.insert("confirmed_segments".into(), totals.confirmed.into());
    numbers.insert("confirmed_bytes".into(), totals.confirmed_bytes.into());
    let (lost, lost_ms) = queue.spool().map_or((0, 0), Spool::lost);
    numbers.insert("lost_segments".into(), (totals.lost + lost).into());
    numbers.insert("lost_ms".into(), (totals.lost_ms + lost_ms).into());
    if let Some(spool) = queue.spool() {
        spool.numbers(&mut numbers);
    }
    if let Some(health) = &*health.borrow()
        && let Ok(health) = serde_json::to_value(health)
    {
        numbers.insert("capture".into(), health);
    }
    numbers
}
