//! The time on a box without a clock.
