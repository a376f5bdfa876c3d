//! RTMP publish, both ends, without sockets or clocks: bytes in, FLV tags out, and back.
//!
//! * [`Ingest`]: the server's side of one connection. Handshake, `connect`, `createStream`,
//!   `publish`; asks its driver whether a publish may go ahead, and says no in words.
//! * [`Publish`]: the client's side, with a server's refusal turned into a sentence.
//! * [`Address`] and [`Destination`]: who may be meant by `rtmp://host/live/ROOM?token=TOKEN`.
//!
//! Values (AMF0) come from the crate `rtmp-runtime`. Its sessions are not used: its server accepts a
//! publish before its caller can look at it, with one fixed refusal text, and its client can send
//! neither a script tag as it stands nor an `FCUnpublish`. They serve as the other end in the tests.
//!
//! Source: Adobe, "RTMP Specification 1.0", December 2012 ("RTMP" below). Only the simple handshake
//! (RTMP 5.2) and AMF0 are spoken; that is what ffmpeg, OBS, librtmp and GStreamer publish with.

mod address;
mod chunk;
mod command;
mod destination;
mod error;
mod handshake;
mod ingest;
mod publish;

pub use address::{Address, AddressError, USAGE};
pub use destination::{Destination, DestinationError};
pub use error::Error;
pub use ingest::{Event, Ingest, Limits, PublishRequest, Refusal};
pub use publish::Publish;
