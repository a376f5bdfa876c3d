//! Anything as `site.toml` on CONFIG: the parser, and all that provisioning decides from it, with
//! what it promises checked: a reason for every refusal, no secret left in what goes back to CONFIG,
//! and the same decision again from that.
//!
//! The files that a site names are not there, or are a certificate.

#![no_main]

use libfuzzer_sys::fuzz_target;

const CERTIFICATE: &[u8] = include_bytes!("site.pem");

fuzz_target!(|input: &[u8]| {
    appliance::provision::fuzzing::site(input, b"");
    appliance::provision::fuzzing::site(input, CERTIFICATE);
});
