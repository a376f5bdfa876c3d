//! The encoder daemon: configuration, rooms, listeners, and the order in which it ends.
//!
//! [`ending`] has the main loop, and decides when it ends.

mod ending;
pub mod operate;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pages::listener;
use protocol::config::Encoder;
use protocol::payload::{Birth, Role, VERSION};
use telemetry::life::{Pulse, Wishes};
use telemetry::{mqtt, systemd};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::board::Board;
use watchdog::clock;

use self::ending::MainLoop;
use crate::control::{self, Control};
use crate::drain::Drain;
use crate::http::Audience;
use crate::register::{Meters, Presence, Register, show};
use crate::room::Rooms;
use crate::room::open::{Opening, open};
use crate::{archive, http, ingest};

/// `EX_CONFIG` of sysexits.h: starting again would not help.
const EXIT_CONFIG: u8 = 78;
/// How long connections and tasks may take to end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long segments that are on their way may take to come whole and be confirmed.
const LAST_SEGMENTS: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to stop. The addresses it listens on go to `addresses`.
#[must_use]
pub fn main(config: &Path, addresses: Option<&Path>) -> ExitCode {
    telemetry::log::init("backrow-encoder");
    let config = match protocol::config::encoder::read(config) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    // The provider is the same for every connection; a second call would only say it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(run(config, addresses)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Encoder, addresses: Option<&Path>) -> anyhow::Result<()> {
    // First of all, so that no wish to end is missed or kills us unprepared.
    let mut wishes = Wishes::new().context("signals cannot be watched")?;
    let clock = clock::system();
    let board = Board::new(clock.clone());
    let (announcing, uploads) = (CancellationToken::new(), TaskTracker::new());
    let (serving, working, telling) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());

    // Bind first: a taken port is found before anything has begun.
    let web = listener::bind(config.listen.http, &http::LIMITS)
        .with_context(|| format!("[listen] http: {} cannot be used", config.listen.http))?;
    let rtmp = match config.listen.rtmp {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("[listen] rtmp: {address} cannot be used"))?,
        ),
        None => None,
    };
    if let Some(file) = addresses {
        let http = web.local_addr().context("the HTTP listener has no address")?;
        let rtmp = rtmp.as_ref().map(TcpListener::local_addr).transpose()?;
        write_addresses(file, http, rtmp)
            .with_context(|| format!("the addresses cannot be written to {}", file.display()))?;
    }

    let tasks = TaskTracker::new();
    let opening = Opening {
        config: &config,
        program: std::env::current_exe().context("this program cannot find itself")?,
        board: board.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        cancel: working.clone(),
    };
    let mut rooms = Vec::new();
    for room in &config.rooms {
        rooms.push(open(&opening, room).await.with_context(|| format!("room {}", room.name))?);
    }
    let rooms = Arc::new(Rooms::new(rooms));
    let options = http::Options {
        draining: announcing.clone(),
        uploads: uploads.clone(),
        dashboard: config.dashboard.clone(),
        ..http::Options::new(clock.clone(), board.clone())
    };
    let (app, audience) = http::app(rooms.clone(), options);

    let meters = Meters::default();
    let presence = Presence::default();
    let reporter = config.mqtt.as_ref().map(|mqtt| {
        let birth = Birth {
            v: VERSION,
            device: config.name.clone(),
            role: Role::Encoder,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: clock.utc(),
            rooms: config.rooms.iter().map(|room| room.name.clone()).collect(),
            revision: config.revision.clone(),
        };
        let (numbered, audience, meters) = (rooms.clone(), audience.clone(), meters.clone());
        let archive = config.archive.path.clone();
        let reporter = mqtt::Reporter::new(mqtt.clone(), birth)
            .numbers(move || numbers(&numbered, &audience, &meters, &archive));
        // One topic, one picture: with several rooms, each collector shows its own.
        match rooms.only() {
            Some(room) => reporter.preview(room.preview.clone()),
            None => reporter,
        }
        .spawn(board.clone(), clock.clone(), telling.clone())
    });

    tracing::info!(http = %web.local_addr()?, "listening");
    let web = tokio::spawn(listener::serve(web, app, http::LIMITS, serving.clone()));
    if let Some(listener) = rtmp {
        tracing::info!(rtmp = %listener.local_addr()?, "listening");
        tasks.spawn(ingest::rtmp::listen(
            listener,
            rooms.clone(),
            clock.clone(),
            ingest::Options::default(),
            working.clone(),
        ));
    }

    let register = Register {
        websites: config.register.clone(),
        groups: config
            .rooms
            .iter()
            .filter_map(|room| Some((room.name.clone(), room.group.clone()?)))
            .collect(),
        meters: meters.clone(),
        board: board.clone(),
        clock: clock.clone(),
        presence: presence.clone(),
    };
    register.spawn(&rooms, &tasks, &announcing).context("[[register]]: no client can be made")?;
    let control = match Control::listen(&config.control, facts(&config, &board, &meters)).await {
        Ok(control) => Some(control),
        Err(error) => {
            tracing::warn!("`encoder drain` and `encoder register` will not find us: {error}");
            None
        }
    };

    systemd::ready();
    systemd::status(&format!("{} rooms", config.rooms.len()));
    let pulse = Pulse::default();
    let petting = tokio::spawn(systemd::watchdog(pulse.felt(), telling.clone()));
    let mut main_loop = MainLoop {
        rooms: rooms.clone(),
        audience,
        meters,
        presence,
        announcing,
        limit: config.drain,
        board,
        clock,
        pulse,
        control,
        drain: None::<Drain>,
    };
    let why = main_loop.run(&mut wishes).await;

    tracing::info!("stopping: {why}");
    main_loop.announcing.cancel();
    systemd::stopping();
    // What is on its way comes whole and is confirmed; who has more keeps it for the next encoder.
    uploads.close();
    tokio::select! {
        _ = tokio::time::timeout(LAST_SEGMENTS, uploads.wait()) => {}
        _ = wishes.next() => {}
    }
    for mount in rooms.iter().flat_map(|room| room.mounts.values()) {
        mount.close();
    }
    serving.cancel();
    let _ = tokio::time::timeout(LAST_WORDS, web).await;
    working.cancel();
    tasks.close();
    let _ = tokio::time::timeout(LAST_WORDS, tasks.wait()).await;
    telling.cancel();
    let _ = petting.await;
    if let Some(reporter) = reporter {
        let _ = tokio::time::timeout(LAST_WORDS, reporter).await;
    }
    if let Some(control) = main_loop.control {
        control.stopped(&why).await;
    }
    Ok(())
}

/// What an operator can ask of a running encoder.
fn facts(config: &Encoder, board: &Board, meters: &Meters) -> control::Facts {
    let (websites, rooms) = (config.register.clone(), config.rooms.clone());
    let meters = meters.clone();
    let requests = move || show::requests(&websites, &rooms, |room| meters.report(room));
    let (names, board) = (config.clone(), board.clone());
    let moods = move || show::moods(&names.register, &names.rooms, &board);
    control::Facts { moods: Box::new(moods), requests: Box::new(requests) }
}

/// The encoder's numbers in the health message.
fn numbers(
    rooms: &Rooms,
    audience: &Audience,
    meters: &Meters,
    archive: &Path,
) -> serde_json::Map<String, serde_json::Value> {
    let rooms = rooms.iter().map(|room| {
        let viewers = audience.of(room);
        let hls = audience.counts(room).hls.clients;
        let facts = serde_json::json!({
            "live": room.status().live,
            "viewers": viewers,
            "hls_viewers": hls,
            "progressive_clients": (viewers as u64).saturating_sub(hls),
            "sent_bitrate": meters.report(&room.name).bitrate(),
        });
        (room.name.to_string(), facts)
    });
    let mut numbers = serde_json::Map::new();
    numbers.insert("rooms".into(), rooms.collect::<serde_json::Map<_, _>>().into());
    if let Ok(free) = archive::free_space(archive) {
        numbers.insert("archive_free_bytes".into(), free.into());
    }
    numbers
}

/// Whole or not at all: whoever waits for the file reads it as soon as it is there.
fn write_addresses(
    file: &Path,
    http: std::net::SocketAddr,
    rtmp: Option<std::net::SocketAddr>,
) -> std::io::Result<()> {
    let text = serde_json::json!({ "http": http, "rtmp": rtmp }).to_string();
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, file)
}
