//! Anything as a website's answer to a report: it is understood or foreign, and what is shown of it
//! to people is short and of one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::register::Answer;

fuzz_target!(|input: &[u8]| {
    let texts = match Answer::read(input) {
        Answer::Exception { class, detail } => vec![class, detail],
        Answer::Foreign { begins } => vec![begins],
        Answer::Ok => return assert!(String::from_utf8_lossy(input).trim().starts_with("OK")),
        Answer::NoSecret | Answer::WrongSecret | Answer::UnknownGroup => {
            return assert!(String::from_utf8_lossy(input).trim().starts_with("ERROR "));
        }
    };
    for text in texts {
        assert!(text.chars().count() <= 120 && !text.chars().any(char::is_control));
    }
});
