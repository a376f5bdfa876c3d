//! Network settings: written for systemd-networkd, and taken back when they cut the box off.
