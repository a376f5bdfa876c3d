//! Who is here, for the encoder's other parts: the same counts as everywhere else.

use std::sync::Arc;

use protocol::register::Format;

use super::metrics::{Sent, Served};
use super::state::Shared;
use crate::register::meter::{Counted, Counts, stream};
use crate::room::Room;
use crate::room::mounts::LOOP;

/// Who is here. Clones are the same.
#[derive(Clone)]
pub struct Audience(Arc<Shared>);

impl Audience {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Viewers of all rooms.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.0.rooms.iter().map(|room| self.of(room)).sum()
    }

    /// Viewers of one room, over HLS and progressive streams.
    #[must_use]
    pub fn of(&self, room: &Room) -> usize {
        self.0.hls_viewers(room) + self.0.progressive_viewers(room)
    }

    /// A room's counters, as the register wants them.
    #[must_use]
    pub fn counts(&self, room: &Room) -> Counts {
        let shared = &self.0;
        let of = |name: &str| Counted {
            clients: shared.clients(room, name) as u64,
            sent: shared.counters.bytes(&room.name, Sent::Mount(name.to_owned())),
            made: room.mounts.get(name).map_or(0, |mount| mount.stats().bytes_in),
        };
        let hls = [Served::Playlist, Served::Init, Served::Segment];
        Counts {
            formats: Format::ALL.map(|format| of(stream(format))),
            hls: Counted {
                clients: shared.hls_viewers(room) as u64,
                sent: hls
                    .map(|what| shared.counters.bytes(&room.name, Sent::Hls(what)))
                    .iter()
                    .sum(),
                made: 0,
            },
            looped: of(LOOP),
        }
    }
}
