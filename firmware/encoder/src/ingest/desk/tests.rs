//! The desk with a clock that stands still.

use flv::Tag;
use watchdog::clock::{Clock, FakeClock};

use super::*;
use crate::ingest::publisher::LEASE;

struct Room {
    desk: Desk,
    clock: FakeClock,
    live: mpsc::Receiver<LiveInput>,
}

fn room(capacity: usize) -> Room {
    let clock = FakeClock::at("2026-09-21T12:00:00Z".parse().unwrap());
    let shared: SharedClock = Arc::new(clock.clone());
    let (sender, live) = mpsc::channel(capacity);
    let board = Board::new(Arc::clone(&shared));
    Room { desk: Desk::new("demo".parse().unwrap(), sender, board, shared), clock, live }
}

impl Room {
    fn session(&self) -> SessionId {
        SessionId::new(self.clock.utc())
    }

    /// All that is in the channel: the tags' payloads, and what is between them.
    fn seen(&mut self) -> String {
        let mut seen = Vec::new();
        while let Ok(input) = self.live.try_recv() {
            seen.push(match input {
                LiveInput::Session { .. } => "session".to_owned(),
                LiveInput::Gone => "gone".to_owned(),
                LiveInput::Tag(tag) => String::from_utf8(tag.payload().to_vec()).unwrap(),
            });
        }
        seen.join(" ")
    }
}

fn tag(text: &str) -> Tag {
    Tag::aac_frame(0, text.as_bytes())
}

#[tokio::test]
async fn a_publisher_that_comes_back_shows_no_segment_twice() {
    let mut room = room(64);
    let (desk, run) = (room.desk.clone(), room.session());
    let box7: DeviceName = "box-7".parse().unwrap();
    assert_eq!(desk.claim(run, Some(&box7)), Ok(Role::Live { taken: true }));
    assert_eq!(room.seen(), "", "nothing is said before the first tag");
    assert_eq!(desk.tag(run, 4, 0, &tag("4.0")).await, Aired::Yes);
    desk.end(run, 4, 1).await;
    assert_eq!(desk.tag(run, 5, 0, &tag("5.0")).await, Aired::Yes);
    room.clock.advance(LEASE);
    desk.tick().await;
    assert_eq!(room.seen(), "session 4.0 5.0 gone");
    // The upload goes on after all, but it has lost its place: the archive has it.
    assert_eq!(desk.tag(run, 5, 1, &tag("5.1")).await, Aired::NotHolder);
    // It is sent again, and then the next.
    assert_eq!(desk.claim(run, Some(&box7)), Ok(Role::Live { taken: true }));
    assert_eq!(desk.tag(run, 5, 0, &tag("5.0")).await, Aired::ArchiveOnly(Taken::Late));
    assert_eq!(desk.tag(run, 6, 0, &tag("6.0")).await, Aired::Yes);
    assert_eq!(room.seen(), "session 6.0");
    let reason = desk.inner.board.get("demo.ingest").unwrap().reason;
    assert_eq!(reason, "box-7 is publishing");
}

#[tokio::test]
async fn a_full_channel_holds_up_and_loses_nothing() {
    let mut room = room(2);
    let (desk, run) = (room.desk.clone(), room.session());
    desk.claim(run, None).unwrap();
    assert!(desk.direct(run, tag("a")).await);
    // The channel is full with the session and "a": this one waits, and its caller gives up.
    let waiting = desk.direct(run, tag("b"));
    assert!(futures_util::FutureExt::now_or_never(waiting).is_none());
    assert_eq!(room.seen(), "session a");
    assert!(desk.direct(run, tag("c")).await);
    assert_eq!(room.seen(), "b c");
    desk.release(run).await;
    desk.release(run).await;
    assert_eq!(room.seen(), "gone");
    assert!(!desk.direct(run, tag("d")).await);
}
