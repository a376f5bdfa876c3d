//! Chunks by hand, and by chance.

use super::*;
use proptest::prelude::*;

const LIMITS: ReadLimits = ReadLimits { message: 1 << 20, pending: 2 << 20, streams: 16 };

fn read_all(reader: &mut Reader, bytes: &[u8]) -> Result<Vec<Message>, Error> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.next(&mut input)? {
        messages.push(message);
    }
    Ok(messages)
}

fn message() -> impl Strategy<Value = Message> {
    let time = prop_oneof![any::<u32>(), Just(EXTENDED), Just(EXTENDED - 1), 0u32..1000];
    (any::<u8>(), any::<u32>(), time, prop::collection::vec(any::<u8>(), 0..700)).prop_map(
        |(kind, stream, timestamp, body)| Message { kind, stream, timestamp, body: body.into() },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        messages in prop::collection::vec((3u8..8, message()), 0..8),
        size in 1u32..400,
        cut in 1usize..97,
    ) {
        let mut writer = Writer::new();
        writer.set_chunk_size(size);
        let mut wire = BytesMut::new();
        for (stream, message) in &messages {
            writer.write(*stream, message, &mut wire);
        }
        let mut reader = Reader::new(LIMITS);
        reader.set_chunk_size(size).unwrap();
        let mut got = Vec::new();
        let mut input = BytesMut::new();
        for piece in wire.chunks(cut) {
            input.extend_from_slice(piece);
            while let Some(message) = reader.next(&mut input).unwrap() {
                got.push(message);
            }
            prop_assert!(input.len() < 22, "{} bytes wait", input.len());
        }
        prop_assert_eq!(reader.position(), wire.len() as u64);
        let sent: Vec<_> = messages.into_iter().map(|(_, message)| message).collect();
        prop_assert_eq!(got, sent);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let mut reader = Reader::new(LIMITS);
        let _ = read_all(&mut reader, &bytes);
        let held: usize = reader.streams.values().map(|s| s.body.len()).sum();
        prop_assert!(held <= bytes.len());
    }
}

#[test]
fn chunks_of_two_streams_interleave() {
    // Stream 4, type 0, time 10, 130 bytes of kind 8 on message stream 1, in two chunks;
    // between them a whole message on stream 5; then stream 4 by type 3 repeats all.
    let mut wire = BytesMut::new();
    wire.put_slice(&[0x04, 0, 0, 10, 0, 0, 130, 8, 1, 0, 0, 0]);
    wire.put_bytes(0xAA, 128);
    wire.put_slice(&[0x05, 0, 0, 11, 0, 0, 1, 9, 1, 0, 0, 0, 0xBB]);
    wire.put_slice(&[0xC4, 0xAA, 0xAA]);
    wire.put_slice(&[0x84, 0, 0, 5]);
    wire.put_bytes(0xCC, 128);
    wire.put_slice(&[0xC4, 0xCC, 0xCC]);
    wire.put_u8(0xC4);
    wire.put_bytes(0xDD, 128);
    wire.put_slice(&[0xC4, 0xDD, 0xDD]);
    let got = read_all(&mut Reader::new(LIMITS), &wire).unwrap();
    let seen: Vec<_> = got.iter().map(|m| (m.kind, m.timestamp, m.body.len())).collect();
    assert_eq!(seen, [(9, 11, 1), (8, 10, 130), (8, 15, 130), (8, 20, 130)]);
}

#[test]
fn extended_timestamp_is_found_whether_type_3_repeats_it_or_not() {
    for repeats in [true, false] {
        let mut wire = BytesMut::new();
        wire.put_slice(&[0x04, 0xFF, 0xFF, 0xFF, 0, 0, 130, 8, 1, 0, 0, 0]);
        wire.put_u32(0x0200_0000);
        wire.put_bytes(0xAA, 128);
        wire.put_u8(0xC4);
        if repeats {
            wire.put_u32(0x0200_0000);
        }
        wire.put_slice(&[0xAB, 0xAC]);
        // Two more bytes, so that a peek at a missing field has something to look at.
        wire.put_slice(&[0x02, 0, 0]);
        let got = read_all(&mut Reader::new(LIMITS), &wire).unwrap();
        assert_eq!(got.len(), 1, "repeats: {repeats}");
        assert_eq!((got[0].timestamp, got[0].body.len()), (0x0200_0000, 130));
        assert_eq!(got[0].body[128..], [0xAB, 0xAC]);
    }
}

#[test]
fn limits_are_kept() {
    let mut wire = vec![0x04, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0];
    let error = read_all(&mut Reader::new(LIMITS), &wire).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an RTMP message of 16777215 bytes at byte 0 is over the limit of 1048576 bytes"
    );
    // Sixteen streams may be opened, the seventeenth not.
    wire.clear();
    for stream in 3..20u8 {
        wire.extend_from_slice(&[stream, 0, 0, 0, 0, 0, 200, 9, 1, 0, 0, 0]);
        wire.extend_from_slice(&[0; 128]);
    }
    let error = read_all(&mut Reader::new(LIMITS), &wire).unwrap_err();
    assert_eq!(error.to_string(), "broken RTMP chunk at byte 2240: too many chunk streams");
    let small = ReadLimits { pending: 300, ..LIMITS };
    let error = read_all(&mut Reader::new(small), &wire).unwrap_err();
    assert_eq!(error, Error::TooMuchPending { size: 384, limit: 300 });
}
