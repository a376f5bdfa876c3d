//! What else the box tells of itself: its data partition, and what came of its settings.

use std::time::Duration;

use protocol::mood::Mood;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;

use crate::{
    paths::Paths,
    provision::outcome::Outcome,
    status::{Disk, storage},
};

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
        let looked = paths.clone();
        // A dying disk can hold up the question: nobody else waits for that.
        let looked = tokio::task::spawn_blocking(move || storage::read(&looked));
        if let Ok(facts) = looked.await {
            let (mood, text) = disk(facts);
            board.set(DISK, mood, text);
        }
        if let Some(outcome) = Outcome::read(&paths) {
            let (mood, text) = config(&outcome);
            board.set(CONFIG, mood, text);
        }
    }
}

fn disk(facts: Disk) -> (Mood, String) {
    let Disk { mounted, read_only, size, free, .. } = facts;
    let sad = |text: &str| (Mood::Sad, text.to_owned());
    if !mounted {
        return sad(
            "the data partition is not there: nothing is recorded on the box, settings are \
                    read from CONFIG alone; flash the box anew when there is time",
        );
    }
    if read_only {
        return sad("the data partition takes no writes: nothing is recorded on the box, and new \
                    settings are not kept; replace its disk when there is time");
    }
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
    fn a_full_disk_a_failing_one_and_none_are_told() {
        let gb = 1_000_000_000;
        let good = Disk { mounted: true, size: 100 * gb, free: 50 * gb, ..Disk::default() };
        assert_eq!(disk(good), (Mood::Happy, "50 of 100 GB free".into()));
        assert_eq!(disk(Disk { free: 4 * gb, ..good }).0, Mood::Hungry);
        let (mood, text) = disk(Disk { read_only: true, ..good });
        assert!(mood == Mood::Sad && text.contains("takes no writes"), "{text}");
        let (mood, text) = disk(Disk::default());
        assert!(mood == Mood::Sad && text.contains("is not there"), "{text}");
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
