//! The time on a box without a clock.
//!
//! ```text
//! start: floor (image built, or time kept at the last stop) ─▶ TLS works, if certificates are older
//! then:  NTP (systemd-timesyncd: DHCP, site.toml) ─────────▶ set
//!        no NTP for 20 s ─▶ the encoder's or the broker's host: HEAD over TLS, its `Date` ─▶ set
//! ```
//! Streaming waits for none of it.

mod floor;
mod https;
pub mod keeper;

pub use self::floor::{keep, set_floor};
pub use self::https::{DateError, Server, date};
pub use self::keeper::{COMPONENT, Keeper, servers};
