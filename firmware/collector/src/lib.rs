//! The venue box's daemon: captures a room, encodes it lightly and sends it to the encoder.

pub mod capture;
pub mod daemon;
pub mod devices;
pub mod spool;
pub mod uplink;
