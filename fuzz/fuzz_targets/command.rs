//! Anything as a command over MQTT: what is understood is written and read back the same, and what
//! is not has a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::command::{self, MAX_BYTES};

fuzz_target!(|input: &[u8]| {
    match command::parse(input) {
        Ok(command) => {
            assert!(input.len() <= MAX_BYTES);
            let again = command.to_json();
            // Percent signs can make an address longer than it came.
            if again.len() <= MAX_BYTES {
                assert_eq!(command::parse(again.as_bytes()), Ok(command));
            }
        }
        Err(refused) => assert!(!refused.reason.is_empty() && refused.to_string().len() < 4096),
    }
});
