//! Network settings: written for systemd-networkd and wpa_supplicant, and taken back when they cut
//! the box off.

pub mod apply;
pub mod guard;
pub mod memory;
pub mod render;
