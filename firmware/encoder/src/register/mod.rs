//! Tells websites of the rooms, so that they send viewers here: `protocol::register`.
//!
//! ```text
//!  audience ─▶ meter ─▶ report ─▶ driver ── POST ──▶ website
//!  (once a second)                  ▲                   │ answer
//!                      mood, wait ──┴── announcer ◀─────┘
//! ```
//! * [`meter`]: what is sent now, pure.
//! * [`announcer`]: what an answer means, and when to tell again, pure.
//! * [`driver`]: one task for each room and website.
//! * [`show`]: what would be sent, for people.

pub mod announcer;
pub mod driver;
pub mod meter;
pub mod show;

pub use driver::{Presence, Register};
pub use meter::Meters;

use protocol::names::RoomName;

/// The component's name on the board, for a room and a website.
#[must_use]
pub fn component(room: &RoomName, website: &str) -> String {
    format!("{room}.register-{website}")
}
