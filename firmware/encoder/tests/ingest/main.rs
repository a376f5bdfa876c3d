//! Ingest over real sockets: the HTTP contract with a real client, RTMP from ffmpeg and from both
//! of GStreamer's sinks, a disk that is really full, recordings read by ffprobe and ffmpeg.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod archive;
mod disk;
mod http;
mod rtmp;
mod site;
mod sources;
