//! What the files of a session's directory are, and the record of what was confirmed. Pure.
//!
//! The record, `confirmed`, has one line for each confirmed segment: its number, its size, and a
//! checksum of the two. It is only ever appended to, and never waited for: a line that a power cut
//! tore or lost is passed over, and costs a question to the encoder. A line counts only for a file
//! of the very size, so that no damage can make a segment look confirmed that is not.

use std::collections::BTreeMap;

use protocol::ingest::{parse_segment_file, segment_file};

/// The record's file name.
pub const RECORD: &str = "confirmed";
/// What a file that is set aside has at the end of its name.
pub const BAD: &str = ".bad";

/// What a file in a session's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A whole segment, durable.
    Segment(u64),
    /// One that was being written.
    Part(u64),
    /// The record of confirmations.
    Record,
    /// Set aside before.
    Bad,
    /// Nothing of ours.
    Foreign,
}

impl Entry {
    /// Tells by the name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if let Some(seq) = parse_segment_file(name) {
            return Self::Segment(seq);
        }
        if name == RECORD {
            return Self::Record;
        }
        if name.ends_with(BAD) {
            return Self::Bad;
        }
        match name.strip_suffix(".part").and_then(parse_segment_file) {
            Some(seq) => Self::Part(seq),
            None => Self::Foreign,
        }
    }
}

/// The name of a segment that is being written.
#[must_use]
pub fn part_file(seq: u64) -> String {
    format!("{}.part", segment_file(seq))
}

/// One line of the record. It begins with a line end: what stands before may be torn.
#[must_use]
pub fn line(seq: u64, bytes: u64) -> String {
    let said = format!("{seq:010} {bytes}");
    let check = checksum(said.as_bytes());
    format!("\n{said} {check:08x}\n")
}

/// Reads a record, in whatever state it is: sizes of the confirmed segments, by number.
#[must_use]
pub fn read(record: &[u8]) -> BTreeMap<u64, u64> {
    record.split(|byte| *byte == b'\n').filter_map(one).collect()
}

fn one(line: &[u8]) -> Option<(u64, u64)> {
    let (said, check) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    if check != format!("{:08x}", checksum(said.as_bytes())) {
        return None;
    }
    let (seq, bytes) = said.split_once(' ')?;
    Some((seq.parse().ok()?, bytes.parse().ok()?))
}

/// CRC-32 (ISO 3309).
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_says_what_a_file_is() {
        for (name, entry) in [
            ("0000000042.flv", Entry::Segment(42)),
            ("0000000042.flv.part", Entry::Part(42)),
            ("0000000042.flv.bad", Entry::Bad),
            ("confirmed", Entry::Record),
            ("42.flv", Entry::Foreign),
            (".part", Entry::Foreign),
            ("lost+found", Entry::Foreign),
        ] {
            assert_eq!(Entry::of(name), entry, "{name}");
        }
        assert_eq!(Entry::of(&part_file(7)), Entry::Part(7));
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926, "CRC-32's own example");
    }

    #[test]
    fn a_torn_line_is_passed_over_and_the_next_one_counts() {
        let torn = &line(1, 1000)[..12];
        let text = format!("{}{torn}{}", line(0, 900), line(2, 1100));
        assert_eq!(read(text.as_bytes()), BTreeMap::from([(0, 900), (2, 1100)]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(lines in proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..20)) {
            let text: String = lines.iter().map(|(seq, bytes)| line(*seq, *bytes)).collect();
            prop_assert_eq!(read(text.as_bytes()), lines);
        }

        /// A power cut may cut the record anywhere, and leave zeros where bytes were to be.
        #[test]
        fn damage_only_ever_takes_away(
            lines in proptest::collection::btree_map(0_u64..50, 1_u64..1_000_000, 1..20),
            cut in any::<prop::sample::Index>(),
            zeros in 0_usize..40,
            more in proptest::collection::btree_map(50_u64..99, 1_u64..1_000_000, 0..5),
        ) {
            let text: String = lines.iter().map(|(seq, bytes)| line(*seq, *bytes)).collect();
            let mut bytes = text.as_bytes()[..cut.index(text.len() + 1)].to_vec();
            bytes.extend(std::iter::repeat_n(0, zeros));
            for (seq, size) in &more {
                bytes.extend_from_slice(line(*seq, *size).as_bytes());
            }
            let found = read(&bytes);
            for (seq, size) in &found {
                prop_assert_eq!(lines.get(seq).or(more.get(seq)), Some(size));
            }
            prop_assert!(more.keys().all(|seq| found.contains_key(seq)));
        }
    }
}
