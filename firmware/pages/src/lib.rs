//! What a daemon needs to serve web pages to strangers, the same for the encoder and for the box.
//!
//! * [`listener`]: connections in, each with its limits
//! * [`embedded`]: scripts, styles and templates that the binary holds
//! * [`template`]: filling in a template, with everything escaped
//! * [`answer`]: answers that say no

pub mod answer;
pub mod embedded;
pub mod listener;
pub mod template;
