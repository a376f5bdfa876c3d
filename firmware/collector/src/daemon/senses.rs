//! What picture and sound are like, as moods: a black picture or silence is nobody's crash, but
//! it is what people watch for.

use std::time::Duration;

use protocol::mood::Mood;
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use crate::capture::report::{Condition, Health};

/// The picture's name on the board.
pub const PICTURE: &str = "picture";
/// The sound's name on the board.
pub const SOUND: &str = "sound";

/// A condition shorter than this is part of a talk.
const WORTH_TELLING: Duration = Duration::from_secs(10);

/// Turns the worker's health lines into moods.
#[derive(Debug)]
pub struct Senses {
    board: Board,
    clock: SharedClock,
}

impl Senses {
    /// Moods go to `board`.
    #[must_use]
    pub fn new(board: Board, clock: SharedClock) -> Self {
        Self { board, clock }
    }

    /// Takes a second's health.
    pub fn take(&self, health: &Health) {
        let picture = match (self.lasting(health.black), self.lasting(health.frozen)) {
            (Some(seconds), _) => (
                Mood::Hungry,
                format!(
                    "the picture has been black for {seconds} s: is the projector's source on?"
                ),
            ),
            // Slides stand still for minutes: worth a word, not an alarm.
            (None, Some(seconds)) => (
                Mood::Happy,
                format!("the picture has not moved for {seconds} s: slides, or a frozen camera?"),
            ),
            (None, None) => (Mood::Happy, "there is a moving picture".to_owned()),
        };
        self.board.set(PICTURE, picture.0, picture.1);
        let sound = match self.lasting(Some(health.silent)) {
            Some(seconds) => {
                (Mood::Hungry, format!("no sound for {seconds} s: is the mixer's output muted?"))
            }
            None => (Mood::Happy, "there is sound".to_owned()),
        };
        self.board.set(SOUND, sound.0, sound.1);
    }

    /// The worker is gone: nothing is known of picture and sound.
    pub fn forget(&self) {
        self.board.remove(PICTURE);
        self.board.remove(SOUND);
    }

    /// For how many seconds the condition has held, in steps of ten, if that is worth telling.
    fn lasting(&self, condition: Option<Condition>) -> Option<u64> {
        let condition = condition.filter(|condition| condition.on)?;
        let held = self.clock.utc().duration_since(condition.since).unsigned_abs();
        (held >= WORTH_TELLING).then(|| held.as_secs() / 10 * 10)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use watchdog::clock::FakeClock;

    use super::*;

    #[test]
    fn a_lasting_silence_is_told_with_its_length() {
        let clock = Arc::new(FakeClock::at("2026-05-01T10:00:00Z".parse().unwrap()));
        let shared: SharedClock = clock.clone();
        let board = Board::new(shared.clone());
        let senses = Senses::new(board.clone(), shared.clone());
        let off = Condition { on: false, since: shared.utc() };
        let on = Condition { on: true, since: shared.utc() };
        let health = Health {
            frames_in: 0,
            frames_out: 0,
            frames_dropped: 0,
            frames_duplicated: 0,
            audio: Vec::new(),
            black: Some(off),
            frozen: None,
            silent: on,
            av_offset_ms: 0,
        };
        clock.advance(Duration::from_secs(9));
        senses.take(&health);
        assert_eq!(board.get(SOUND).unwrap().mood, Mood::Happy);
        clock.advance(Duration::from_secs(34));
        senses.take(&health);
        let sound = board.get(SOUND).unwrap();
        assert_eq!(sound.mood, Mood::Hungry);
        assert_eq!(sound.reason, "no sound for 40 s: is the mixer's output muted?");
        assert_eq!(board.get(PICTURE).unwrap().mood, Mood::Happy);
        senses.forget();
        assert!(board.get(SOUND).is_none());
    }
}
