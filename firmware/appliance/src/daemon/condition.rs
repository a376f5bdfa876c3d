//! What else the box tells of itself: its data partition, and what came of its settings.

use std::time::Duration;

use protocol::mood::Mood;
use rustix::fs::statvfs;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;

use crate::{paths::Paths, provision::outcome::Outcome};

/// The data partition on the board.
const DISK: &str = "box.disk";
/// The settings on the board.
const CONFIG: &str = "box.config";
/// Between two looks.
const LOOK: Duration = Duration::from_secs(10);
/// Less than this part free is worth a word.
const SCARCE: u64 = 5;

/// Looks until cancelled.
pub(super) async fn run(paths: Paths, board: Board, cancel: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let data = paths.data();
        // A dying disk can hold up the question: nobody else waits for that.
        let looked = tokio::task::spawn_blocking(move || {
            let mounted = Paths::is_mounted(&data);
            statvfs(&data).ok().filter(|_| mounted).map(|it| {
                (it.f_blocks.saturating_mul(it.f_frsize), it.f_bavail.saturating_mul(it.f_frsize))
            })
        });
        if let Ok(space) = looked.await {
            let (mood, text) = disk(space);
            board.set(DISK, mood, text);
        }
        if let Some(outcome) = Outcome::read(&paths) {
            let (mood, text) = config(&outcome);
            board.set(CONFIG, mood, text);
        }
    }
}

/// From size and free bytes.
fn disk(space: Option<(u64, u64)>) -> (Mood, String) {
    let Some((size, free)) = space else {
        let text = "the data partition is not there: nothing is recorded on the box, settings are \
                    read from CONFIG alone; flash the box anew when there is time";
        return (Mood::Sad, text.to_owned());
    };
    let (free_gb, size_gb) = (free / 1_000_000_000, size / 1_000_000_000);
    if free < size / 100 * SCARCE {
        // The collector makes room: recordings that the encoder has go first.
        return (
            Mood::Hungry,
            format!("the data partition is nearly full: {free_gb} of {size_gb} GB free"),
        );
    }
    (Mood::Happy, format!("{free_gb} of {size_gb} GB free"))
}

fn config(outcome: &Outcome) -> (Mood, String) {
    match outcome.problems.first() {
        None if outcome.ok => (Mood::Happy, "the settings are in order".to_owned()),
        None => (Mood::Sad, "the settings were not taken".to_owned()),
        Some(first) => {
            let more = outcome.problems.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            (Mood::Sad, format!("{first}{more}; see ERROR.txt on CONFIG"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::outcome::Source;

    #[test]
    fn a_full_disk_and_none_are_told() {
        let gb = 1_000_000_000;
        assert_eq!(disk(Some((100 * gb, 50 * gb))), (Mood::Happy, "50 of 100 GB free".into()));
        assert_eq!(disk(Some((100 * gb, 4 * gb))).0, Mood::Hungry);
        assert_eq!(disk(None).0, Mood::Sad);
    }

    #[test]
    fn the_first_problem_is_told() {
        let mut outcome = Outcome {
            v: 1,
            ok: true,
            problems: Vec::new(),
            source: Source::Config,
            network: "new".into(),
        };
        assert_eq!(config(&outcome).0, Mood::Happy);
        outcome.problems = vec!["site.toml line 3: x".into(), "y".into()];
        let told = "site.toml line 3: x (and 1 more); see ERROR.txt on CONFIG";
        assert_eq!(config(&outcome), (Mood::Sad, told.into()));
    }
}
