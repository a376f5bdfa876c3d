//! Anything as what a crash may leave in the collector's spool: a record of confirmations, a file's
//! name, a segment. The first byte chooses.
//!
//! The two modules are taken by their files: the collector as a whole needs GStreamer.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;

#[path = "../../firmware/collector/src/spool/measure.rs"]
mod measure;
#[path = "../../firmware/collector/src/spool/record.rs"]
mod record;

fuzz_target!(|input: &[u8]| {
    let Some((&first, bytes)) = input.split_first() else { return };
    match first % 3 {
        0 => confirmations(bytes),
        1 => name(&String::from_utf8_lossy(bytes)),
        _ => segment(bytes),
    }
});

/// Whatever stands in a record: what is read survives being written, and a good line after it counts.
fn confirmations(bytes: &[u8]) {
    let found = record::read(bytes);
    let text: String = found.iter().map(|(seq, bytes)| record::line(*seq, *bytes)).collect();
    assert_eq!(record::read(text.as_bytes()), found);
    let mut more = bytes.to_vec();
    more.extend_from_slice(record::line(7, 77).as_bytes());
    let expected: BTreeMap<_, _> = found.into_iter().chain([(7, 77)]).collect();
    assert_eq!(record::read(&more), expected);
}

fn name(name: &str) {
    match record::Entry::of(name) {
        record::Entry::Part(seq) => assert_eq!(record::part_file(seq), name),
        record::Entry::Record => assert_eq!(name, record::RECORD),
        record::Entry::Bad => assert!(name.ends_with(record::BAD)),
        record::Entry::Segment(_) | record::Entry::Foreign => {}
    }
}

/// A segment cut where it is said to be whole is whole, and says the same of itself.
fn segment(bytes: &[u8]) {
    let found = measure::measure(bytes);
    let whole = usize::try_from(found.whole).unwrap_or(usize::MAX);
    assert!(whole <= bytes.len());
    let again = measure::measure(&bytes[..whole]);
    assert!(again.complete || whole == 0);
    assert_eq!((again.whole, again.playable, again.ms), (found.whole, found.playable, found.ms));
}
