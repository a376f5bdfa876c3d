//! The collector daemon: puts the parts together and keeps them running.

pub mod splice;
