//! The encoder.

fn main() {}
