//! The way from the room to the encoder: segments are kept here until they are confirmed.
//!
//! [`ledger`] decides what is kept, offered and dropped, without a socket or a clock.
//! [`http`] sends by the ingest contract, [`backfill`] what only the disk has, at a [`pace`] that
//! leaves live its line; [`rtmp`] sends to any RTMP server, without these guarantees.

pub mod backfill;
pub mod http;
pub mod ledger;
pub mod pace;
pub mod queue;
pub mod rtmp;
