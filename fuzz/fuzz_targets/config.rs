//! Anything as pushed settings over MQTT: what is understood is written and read back the same, and
//! what is not has a reason. Each input is tried as the message, and as the document in one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::push::{Document, MAX_BYTES, Signed};

const AUTHORITY: &[u8] = include_bytes!("site.pem");

fuzz_target!(|input: &[u8]| {
    match Signed::parse(input) {
        Ok(signed) => {
            assert!(input.len() <= MAX_BYTES);
            assert_eq!(Signed::parse(signed.to_json().as_bytes()).ok(), Some(signed.clone()));
            let verified = appliance::push::verify::verify(&signed, AUTHORITY, jiff::Timestamp::UNIX_EPOCH);
            assert!(!verified.expect_err("nobody signed this").is_empty());
        }
        Err(refused) => {
            let reason = refused.to_string();
            assert!(!reason.is_empty() && reason.len() <= 2000 && !reason.contains('\n'));
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Document::parse(text) {
        Ok(document) => {
            let (settle, patience) = document.times();
            assert!(settle <= patience);
            assert_eq!(Document::parse(&document.to_json()), Ok(document));
        }
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
});
