//! `backrow`: an event's machines, set up and watched from an operator's laptop.
//!
//! ```text
//! event.toml, event.secret.toml ─▶ event ─▶ render ─▶ push ─ssh─▶ machines
//!                        certificates ─┘              watch ◀─MQTT─┤
//!                                               operate ─MQTT, ssh──┘
//! ```

pub mod certificates;
pub mod command;
pub mod event;
pub mod init;
pub mod operate;
pub mod push;
pub mod render;
