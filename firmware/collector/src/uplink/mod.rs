//! The way from the room to the encoder: segments are kept here until they are confirmed.
//!
//! [`ledger`] decides what is kept, offered and dropped, without a socket or a clock.
//! [`http`] sends by the ingest contract, [`rtmp`] to any RTMP server, without its guarantees.

pub mod http;
pub mod ledger;
pub mod queue;
pub mod rtmp;
