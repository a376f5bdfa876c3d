//! What an operator does while an event runs: look, and give orders.
//!
//! * [`heard`]: what all machines have said; [`status`] makes a table of it. Both are pure.
//! * [`orders`]: orders over MQTT, each with an id and an end: a box carries it out once, however often
//!   it comes.
//! * [`remote`]: what goes by ssh, because it does not belong on a broker: logs.
//! * [`commands`]: the words on the command line.

pub mod commands;
pub mod heard;
pub mod orders;
pub mod remote;
pub mod status;

pub use self::commands::{DiagArgs, IdentifyArgs, LogsArgs, RestartArgs, StatusArgs, UpdateArgs};
