//! What crosses between machines: names, the ingest contract, MQTT topics and payloads, and the
//! two configuration files. Pure: text and values in, values and plain-word errors out.

pub mod command;
pub mod config;
pub mod ingest;
pub mod mood;
pub mod names;
pub mod payload;
pub mod push;
pub mod register;
pub mod status;
pub mod token;
pub mod topics;
pub mod trial;
