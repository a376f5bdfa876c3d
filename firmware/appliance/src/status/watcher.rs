//! Keeps the picture up to date for everybody who looks: page, screen, lights.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock::SharedClock;
use watchdog::mood::Mood;

use super::{Gatherer, Picture, picture};
use crate::paths::Paths;
use crate::time;

/// How often the meter moves.
const METER: Duration = Duration::from_millis(200);
/// Turns of the meter to one look at everything else.
const LOOK_EVERY: u32 = 5;

/// What is seen; clones see the same.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The picture; renewed each second.
    pub picture: watch::Receiver<Arc<Picture>>,
    /// Peak of each channel in dB below full scale; empty when there is no sound to measure.
    pub levels: watch::Receiver<Arc<[f64]>>,
}

/// Looks, time and again.
#[derive(Debug)]
struct Watcher {
    gatherer: Gatherer,
    board: Board,
    doing: watch::Receiver<String>,
}

impl Watcher {
    fn look(&mut self) -> Arc<Picture> {
        let mut facts = self.gatherer.facts();
        facts.software.doing.clone_from(&self.doing.borrow());
        // The keeper of the time asks others where no time server answers.
        if let Some(keeper) = self.board.get(time::COMPONENT) {
            match keeper.mood {
                Mood::Happy => facts.clock.synchronised = true,
                Mood::Sad | Mood::Hungry => facts.clock.trouble = keeper.reason,
                Mood::Sleeping | Mood::Waking | Mood::Lost => {}
            }
        }
        Arc::new(picture(&facts))
    }

    fn levels(&mut self) -> Arc<[f64]> {
        self.gatherer.collector().map_or_else(Vec::new, |it| it.levels_db.clone()).into()
    }
}

/// Starts to look, until cancelled. `board` has what the box's own parts say, and `doing` is what is going on with an update, in a sentence; empty
/// when nothing is.
#[must_use]
pub fn spawn(
    paths: Paths,
    clock: SharedClock,
    board: Board,
    doing: watch::Receiver<String>,
    cancel: CancellationToken,
) -> (Seen, JoinHandle<()>) {
    let mut watcher = Watcher { gatherer: Gatherer::new(paths, clock), board, doing };
    let picture = watch::Sender::new(watcher.look());
    let levels = watch::Sender::new(watcher.levels());
    let seen = Seen { picture: picture.subscribe(), levels: levels.subscribe() };
    let task = tokio::spawn(async move {
        let mut tick = interval(METER);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turns = 0;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            turns = (turns + 1) % LOOK_EVERY;
            let whole = turns == 0;
            // A dying disk can hold up the question for its size: nobody else waits for that.
            let looked = tokio::task::spawn_blocking(move || {
                let seen = (whole.then(|| watcher.look()), watcher.levels());
                (watcher, seen)
            });
            let Ok((back, (looked, heard))) = looked.await else { return };
            watcher = back;
            if let Some(looked) = looked {
                picture.send_replace(looked);
            }
            levels.send_replace(heard);
        }
    });
    (seen, task)
}
