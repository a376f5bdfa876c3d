//! How a component is, since when, and why.

use jiff::Timestamp;
pub use protocol::mood::Mood;
use protocol::payload::{self, ComponentState};
use serde::Serialize;

/// A component's mood as it stands on the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentStatus {
    /// How it is.
    pub mood: Mood,
    /// Since when it is in this mood.
    pub since: Timestamp,
    /// Why, in plain words; never empty.
    pub reason: String,
    /// How often it was restarted.
    pub restarts: u64,
}

impl From<&ComponentStatus> for ComponentState {
    fn from(status: &ComponentStatus) -> Self {
        Self {
            v: payload::VERSION,
            mood: status.mood,
            since: status.since,
            reason: status.reason.clone(),
            restarts: status.restarts,
        }
    }
}
