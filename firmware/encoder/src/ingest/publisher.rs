//! Who publishes in a room: one session at a time.
//!
//! ```text
//!            claim: Live                       no data for LEASE
//!   Empty ───────────────▶ Held by a session ───────────────────▶ Stale ──▶ (sweep) Empty
//!     ▲                       │   ▲                                 │
//!     └──────── release ──────┘   └─── claim: Live, by anybody ─────┘
//!
//!   While held and fed, a claim by
//!     the same session                       → Live
//!     the same device, a later session       → Live: its daemon has restarted
//!     the same device, an earlier session    → ArchiveOnly: what the last run left behind
//!     a session that held the room before    → ArchiveOnly
//!     anybody else                           → Occupied
//! ```
//! A session is a ULID, so sessions of one device sort by when they began. What an earlier session
//! of the holder's device sends is never live, even when the holder is stale: its time has passed.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use protocol::names::{DeviceName, SessionId};
use thiserror::Error;

/// A holder from whom nothing has come for so long may be replaced by anybody.
pub const LEASE: Duration = Duration::from_secs(5);
/// Earlier holders that are remembered.
const REMEMBERED: usize = 64;

/// Who holds the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The session.
    pub session: SessionId,
    /// The device that said it was sending; RTMP publishers say nothing of the kind.
    pub device: Option<DeviceName>,
    /// When it took the room.
    pub since: Timestamp,
    last_data: Duration,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        match &self.device {
            Some(device) => write!(f, "device {device} since {since}, session {}", self.session),
            None => write!(f, "session {} since {since}", self.session),
        }
    }
}

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its media is live. `taken` is true when it has just become so.
    Live {
        /// The room's media changes to this session now.
        taken: bool,
    },
    /// Its segments are kept, and not shown.
    ArchiveOnly,
}

/// Somebody else is publishing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("it is being published by {0}")]
pub struct Occupied(pub Holder);

/// The state machine. Times are passed in: `now` is monotonic, `utc` is for people.
#[derive(Debug, Default)]
pub struct Publisher {
    holder: Option<Holder>,
    former: VecDeque<SessionId>,
}

impl Publisher {
    /// Asks for the room.
    pub fn claim(
        &mut self,
        session: SessionId,
        device: Option<&DeviceName>,
        now: Duration,
        utc: Timestamp,
    ) -> Result<Role, Occupied> {
        if let Some(holder) = &mut self.holder {
            if holder.session == session {
                return Ok(Role::Live { taken: false });
            }
            let same_device = device.is_some() && holder.device.as_ref() == device;
            if same_device && session < holder.session {
                return Ok(Role::ArchiveOnly);
            }
            if !same_device && now.saturating_sub(holder.last_data) < LEASE {
                if self.former.contains(&session) {
                    return Ok(Role::ArchiveOnly);
                }
                return Err(Occupied(holder.clone()));
            }
        }
        self.vacate();
        let device = device.cloned();
        self.holder = Some(Holder { session, device, since: utc, last_data: now });
        self.former.retain(|former| *former != session);
        Ok(Role::Live { taken: true })
    }

    /// Data has come from a session; false when it does not hold the room (any more).
    pub fn data(&mut self, session: SessionId, now: Duration) -> bool {
        match &mut self.holder {
            Some(holder) if holder.session == session => {
                holder.last_data = now;
                true
            }
            _ => false,
        }
    }

    /// A session has ended; true when it held the room.
    pub fn release(&mut self, session: SessionId) -> bool {
        let held = self.holder.as_ref().is_some_and(|holder| holder.session == session);
        if held {
            self.vacate();
        }
        held
    }

    /// Takes the room from a holder that has been silent for [`LEASE`], and says who it was.
    pub fn sweep(&mut self, now: Duration) -> Option<Holder> {
        let silent = |holder: &Holder| now.saturating_sub(holder.last_data) >= LEASE;
        self.holder.as_ref().is_some_and(silent).then(|| self.vacate()).flatten()
    }

    /// When [`sweep`](Self::sweep) will have something to do, if nothing comes until then.
    pub fn deadline(&self) -> Option<Duration> {
        self.holder.as_ref().map(|holder| holder.last_data.saturating_add(LEASE))
    }

    /// Who holds the room.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    fn vacate(&mut self) -> Option<Holder> {
        let holder = self.holder.take()?;
        if self.former.len() == REMEMBERED {
            self.former.pop_front();
        }
        self.former.push_back(holder.session);
        Some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(second: i64) -> SessionId {
        SessionId::new(Timestamp::from_second(1_790_000_000 + second).unwrap())
    }

    fn device(name: &str) -> DeviceName {
        name.parse().unwrap()
    }

    struct Desk(Publisher, Duration);

    impl Desk {
        fn claim(&mut self, session: SessionId, name: Option<&str>) -> Result<Role, Occupied> {
            let utc = Timestamp::from_second(1_790_000_000).unwrap();
            self.0.claim(session, name.map(device).as_ref(), self.1, utc)
        }

        fn wait(&mut self, ms: u64) {
            self.1 += Duration::from_millis(ms);
        }
    }

    const TAKEN: Result<Role, Occupied> = Ok(Role::Live { taken: true });
    const LIVE: Result<Role, Occupied> = Ok(Role::Live { taken: false });
    const ARCHIVE: Result<Role, Occupied> = Ok(Role::ArchiveOnly);

    #[test]
    fn a_live_publisher_wins_and_is_named() {
        let mut desk = Desk(Publisher::default(), Duration::ZERO);
        let (a, b) = (session(1), session(2));
        assert_eq!(desk.claim(a, Some("box-7")), TAKEN);
        assert_eq!(desk.claim(a, Some("box-7")), LIVE);
        desk.wait(4999);
        let error = desk.claim(b, Some("box-8")).unwrap_err().to_string();
        let wanted = format!(
            "it is being published by device box-7 since 2026-09-21 14:13:20 UTC, session {a}"
        );
        assert_eq!(error, wanted);
        // It is the data that counts, not the age.
        assert!(desk.0.data(a, desk.1));
        desk.wait(4999);
        assert!(desk.claim(b, None).is_err());
        assert_eq!(desk.0.sweep(desk.1), None);
        desk.wait(1);
        assert_eq!(desk.0.deadline(), Some(desk.1));
        assert_eq!(desk.claim(b, None), TAKEN);
        assert!(!desk.0.data(a, desk.1));
    }

    #[test]
    fn a_restarted_device_takes_over_from_itself_and_backfills() {
        let mut desk = Desk(Publisher::default(), Duration::ZERO);
        let (before, after) = (session(1), session(2));
        assert_eq!(desk.claim(before, Some("box-7")), TAKEN);
        assert_eq!(desk.claim(after, Some("box-7")), TAKEN);
        assert_eq!(desk.claim(before, Some("box-7")), ARCHIVE);
        desk.wait(60_000);
        assert_eq!(desk.claim(before, Some("box-7")), ARCHIVE);
        assert_eq!(desk.claim(after, Some("box-7")), LIVE);
        // Two that say no name are not the same device.
        let mut desk = Desk(Publisher::default(), Duration::ZERO);
        assert_eq!(desk.claim(before, None), TAKEN);
        assert!(desk.claim(after, None).is_err());
    }

    #[test]
    fn one_that_lost_the_room_is_still_kept() {
        let mut desk = Desk(Publisher::default(), Duration::ZERO);
        let (a, b) = (session(1), session(2));
        assert_eq!(desk.claim(a, Some("box-7")), TAKEN);
        desk.wait(5000);
        assert_eq!(desk.0.sweep(desk.1).map(|holder| holder.session), Some(a));
        assert_eq!(desk.claim(b, Some("box-8")), TAKEN);
        assert_eq!(desk.claim(a, Some("box-7")), ARCHIVE);
        assert!(desk.0.release(b));
        assert!(!desk.0.release(b));
        assert_eq!(desk.claim(a, Some("box-7")), TAKEN);
    }

    proptest! {
        #[test]
        fn a_fed_holder_is_never_replaced_by_another_device(
            steps in prop::collection::vec((0i64..6, 0u8..3, 0u64..3000, any::<bool>()), 1..60),
        ) {
            // Each session belongs to one device, as in life; device 0 gives no name.
            let sessions: Vec<_> = (0..6).map(session).collect();
            let mut desk = Desk(Publisher::default(), Duration::ZERO);
            for (who, _, wait, feed) in steps {
                desk.wait(wait);
                let id = sessions[who as usize];
                let name = [None, Some("box-1"), Some("box-2")][who as usize % 3];
                let before = desk.0.holder().cloned();
                let role = desk.claim(id, name);
                if let Some(before) = before
                    && role == TAKEN
                {
                    let same = name.map(device);
                    let silent = desk.1 - before.last_data >= LEASE;
                    prop_assert!(silent || (same.is_some() && before.device == same));
                    prop_assert!(before.device != same || same.is_none() || id > before.session);
                }
                match role {
                    Ok(Role::Live { .. }) => prop_assert_eq!(desk.0.holder().unwrap().session, id),
                    _ => prop_assert_ne!(desk.0.holder().unwrap().session, id),
                }
                if feed {
                    let holds = desk.0.holder().is_some_and(|holder| holder.session == id);
                    prop_assert_eq!(desk.0.data(id, desk.1), holds);
                }
            }
        }
    }
}
