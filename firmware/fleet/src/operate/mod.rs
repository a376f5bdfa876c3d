//! What an operator does while an event runs: look, and give orders.
//!
//! * [`heard`]: what all machines have said; [`status`] makes a table of it. Both are pure.
//! * [`orders`]: orders over MQTT, each with an id and an end: a box carries it out once, however often
//!   it comes; [`asking`] is one of them, pure.
//! * [`remote`]: what goes by ssh, because it does not belong on a broker: logs.
//! * [`look`], [`order`] and [`fetch`]: the words on the command line.

pub mod asking;
mod commands;
pub mod fetch;
pub mod heard;
pub mod look;
pub mod order;
pub mod orders;
pub mod remote;
pub mod status;

pub use self::{
    fetch::{DiagArgs, LogsArgs},
    look::StatusArgs,
    order::{IdentifyArgs, RestartArgs, UpdateArgs},
};
