//! The venue box around the collector: what a person set up, what the box runs, and the way back
//! when either is wrong.
//!
//! ```text
//! CONFIG (FAT) ─▶ provision ─▶ /run/backrow ─▶ collector, network, ssh, clock
//!                                   │
//!                     appliance run ┴─▶ page · screen · MQTT commands, pushed settings · updates ·
//!                                       health gate
//! ```
//! [`paths`] says where everything is; nothing else names an absolute path.

pub mod command;
pub mod daemon;
pub mod image;
pub mod kept;
pub mod network;
pub mod page;
pub mod paths;
pub mod programs;
pub mod provision;
pub mod push;
pub mod recovery;
pub mod status;
pub mod time;
pub mod update;
