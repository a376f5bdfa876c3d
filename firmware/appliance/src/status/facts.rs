//! What was found out about the box, before anything is made of it.

use std::time::Duration;

use jiff::Timestamp;
use protocol::status::CollectorStatus;

use crate::image::Image;
use crate::provision::outcome::Outcome;

/// Everything that [`rows`](super::picture()) needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The time of day.
    pub now: Timestamp,
    /// How long the box has been on.
    pub uptime: Duration,
    /// The host's name.
    pub hostname: String,
    /// What the box runs; empty texts when that is not known.
    pub image: Image,
    /// Whether there is a configuration for the collector.
    pub has_site: bool,
    /// What the collector says; absent when it does not answer.
    pub collector: Option<CollectorStatus>,
    /// The loudest peak of the last half minute, in dB below full scale.
    pub loudest_db: Option<f64>,
    /// When the newest preview was made, if it is new enough to be one.
    pub preview: Option<Timestamp>,
    /// Power and heat.
    pub power: Power,
    /// The network.
    pub network: Network,
    /// The clock.
    pub clock: Clock,
    /// The data partition.
    pub disk: Disk,
    /// Which software runs, and what became of the last update.
    pub software: Software,
    /// What provisioning answered; absent while it has not.
    pub outcome: Option<Outcome>,
    /// Whether the box has a page token.
    pub has_token: bool,
}

/// Power and heat, as far as the board tells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Power {
    /// The voltage is too low right now.
    pub low_now: bool,
    /// It was too low at some time since the start.
    pub low_before: bool,
    /// The processor is slowed down right now.
    pub throttled: bool,
    /// Whether mains power is there, on machines with a battery.
    pub mains: Option<bool>,
    /// How full the battery is, per cent.
    pub battery: Option<u8>,
    /// The hottest place, degrees Celsius.
    pub temperature: Option<f64>,
}

/// The network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Every real network device.
    pub links: Vec<Link>,
    /// The way out, if there is one.
    pub gateway: Option<String>,
}

/// What kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A cable.
    Wired,
    /// Wi-Fi.
    Wireless,
}

/// One network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name, such as `eth0`.
    pub name: String,
    /// What kind.
    pub kind: LinkKind,
    /// Whether something is at the other end.
    pub carrier: bool,
    /// Its addresses that lead somewhere; none that a machine gives itself.
    pub addresses: Vec<String>,
    /// Strength of Wi-Fi, dBm.
    pub signal: Option<i32>,
}

/// The clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock {
    /// Whether the time came from outside since the start.
    pub synchronised: bool,
    /// What is the matter with it, if whoever keeps it has said so.
    pub trouble: String,
}

/// The data partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// Whether it is there.
    pub mounted: bool,
    /// Whether nothing can be written to it.
    pub read_only: bool,
    /// Errors its file system has met.
    pub errors: u64,
    /// Bytes in all.
    pub size: u64,
    /// Bytes left.
    pub free: u64,
}

/// Which software runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Software {
    /// The slot the box was started from, `A` or `B`.
    pub slot: Option<String>,
    /// Which try of a new image this start is; 0 when the image has proved itself.
    pub attempt: u32,
    /// What is going on with an update, in a sentence; empty when nothing is.
    pub doing: String,
    /// Why the last update is not what runs, in a sentence; empty when it is.
    pub trouble: String,
    /// That no slot is good, in a sentence; empty when one is.
    pub distress: String,
}
