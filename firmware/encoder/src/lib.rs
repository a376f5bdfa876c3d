//! The cloud encoder: takes a room in, makes every format that players need, keeps the archive.

pub mod archive;
pub mod control;
pub mod daemon;
pub mod drain;
pub mod fanout;
pub mod hls;
pub mod http;
pub mod ingest;
pub mod register;
pub mod room;
pub mod transcode;
