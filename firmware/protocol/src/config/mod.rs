//! The two configuration files: [`site`] for the collector, [`encoder`] for the encoder.
//!
//! ```
//! let text = "room = \"demo\"\n[encoder]\nurl = \"https://enc.example.org\"\ntokn = \"x\"\n";
//! let error = protocol::config::site::load(text, "site.toml".as_ref()).unwrap_err();
//! assert_eq!(error.to_string(), "\
//! site.toml:2:1: `token` is missing in [encoder]; it is the room's token, at least 8 characters, \
//! for example: token = \"correct-horse-battery\"
//! site.toml:4:1: unknown key `tokn` in [encoder]; did you mean `token`?");
//! ```
//!
//! A file is read once, by one generic mechanism: [`section`] takes keys out of tables and notes
//! every problem in a [`diagnose`] report; [`values`] says what a kind of value must look like.
//! So every problem of a file is told at once, each with its line, and the same way everywhere.

pub mod address;
pub mod diagnose;
pub mod encoder;
pub mod mqtt;
pub mod network;
pub mod on_box;
pub mod register;
pub mod secret;
mod section;
pub mod site;
pub mod ssh;
pub mod units;
pub mod uplink;
mod values;

pub use diagnose::{ConfigError, Problem};
pub use encoder::Encoder;
pub use mqtt::Mqtt;
pub use network::Network;
pub use on_box::OnBox;
pub use register::Website;
pub use secret::Secret;
pub use site::Site;
pub use units::{BitRate, ByteSize, Span};
pub use uplink::Uplink;
pub use url::Url;

#[cfg(test)]
mod tests;
