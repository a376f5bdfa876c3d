//! Opens a room: makes its parts, joins them, and starts their tasks.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::config::Encoder;
use protocol::config::encoder::Room as RoomConfig;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use super::pipeline::Pipeline;
use super::task::{self, Task};
use super::{Room, RoomStatus};
use crate::archive::Archive;
use crate::hls::{HlsConfig, Packager, RenditionSpec};
use crate::ingest::Desk;
use crate::transcode::Ladder;
use crate::transcode::driver::{self, Options};

/// Tags on their way from ingest to the room.
const LIVE: usize = 1_024;
/// 2026-01-01T00:00:00Z, ms since 1970: HLS numbers count from here, to be small.
const START_OF_2026: i64 = 1_767_225_600_000;

/// What every room is made from.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The configuration.
    pub config: &'a Encoder,
    /// This very program, which is also the transcode worker.
    pub program: PathBuf,
    /// Moods and events.
    pub board: Board,
    /// The time.
    pub clock: SharedClock,
    /// Where the room's tasks are counted.
    pub tasks: TaskTracker,
    /// Ends the room.
    pub cancel: CancellationToken,
}

/// Opens `room`: repairs its archive, then starts its tasks.
///
/// # Errors
/// If the archive cannot be read or written, or the worker's files cannot be made.
pub async fn open(opening: &Opening<'_>, room: &RoomConfig) -> anyhow::Result<Arc<Room>> {
    let Opening { config, program, board, clock, tasks, cancel } = opening;
    let archive = Archive::new(&config.archive.path, &room.name, config.archive.min_free.0);
    archive.repair().await?;

    let rungs = config
        .ladder
        .iter()
        .map(|rung| RenditionSpec { name: rung.name.to_string(), bitrate: rung.bitrate.0.into() })
        .collect();
    let segment = config.hls.segment;
    // Numbers go on from one start of the encoder to the next, so that a player that stays on
    // the page never sees them go back.
    let since_2026 =
        clock.utc().as_millisecond().saturating_sub(START_OF_2026).max(0).unsigned_abs();
    let hls_config = HlsConfig {
        segment,
        window: config.hls.window,
        first_msn: since_2026 / u64::try_from(segment.as_millis()).unwrap_or(2000).max(1),
        first_discontinuity: since_2026 / 60_000,
    };
    let packager = Packager::new(hls_config, rungs);

    let mounts = task::mounts();
    let (live_in, live) = mpsc::channel(LIVE);
    let (preview_in, preview) = watch::channel(None);
    let (status_in, status) = watch::channel(RoomStatus::default());
    let worker = driver::spawn(
        Options::new(room.name.clone(), program, Ladder::of(config)),
        board.clone(),
        clock.clone(),
        cancel.clone(),
    );
    let desk = Desk::new(room.name.clone(), live_in, board.clone(), clock.clone());
    tasks.spawn(desk.clone().keep(cancel.clone()));
    tasks.spawn(async move {
        let _ = worker.task.await;
    });
    let hls = packager.store();
    let task = Task {
        room: room.name.to_string(),
        live,
        events: worker.events,
        feed: worker.feed,
        pipeline: Pipeline::new(
            mounts.clone(),
            packager,
            config.ladder.last().map(|rung| rung.name.to_string()),
        ),
        hls: hls.clone(),
        segment,
        preview: preview_in,
        status: status_in,
        board: board.clone(),
        clock: clock.clone(),
    };
    tasks.spawn(task.run(cancel.clone()));
    Ok(Arc::new(Room {
        name: room.name.clone(),
        title: room.title.clone(),
        token: room.token.clone(),
        desk,
        archive,
        mounts,
        hls,
        preview,
        status,
    }))
}
