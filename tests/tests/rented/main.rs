//! A rented machine: a new Debian in an emulated one, set up as the documents say, and what is
//! streamed by it watched from outside. `make rented-test` makes its disk, and runs this.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

mod cloud_init;
mod mirror;
mod outside;
mod pushed;
mod rented;
