use proptest::prelude::*;

use super::*;

fn control() -> impl Strategy<Value = Packet> {
    (any::<[u8; 4]>(), any::<[u16; 3]>(), proptest::collection::vec(any::<u8>(), 0..80)).prop_map(
        |([endpoint, request, kind, status], [value, index, length], data)| {
            Packet::Control(Control { endpoint, request, kind, status, value, index, length, data })
        },
    )
}

fn bulk() -> impl Strategy<Value = Packet> {
    let data = proptest::collection::vec(any::<u8>(), 0..300);
    (any::<(u8, u8, u16, u32)>(), data).prop_map(|((endpoint, status, length, stream), data)| {
        Packet::Bulk(Bulk { endpoint, status, length: length.into(), stream, data })
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        any::<([u8; 4], [u16; 3])>().prop_map(|(bytes, words)| Packet::Connect(bytes, words)),
        Just(Packet::Disconnect),
        Just(Packet::Reset),
        any::<u8>().prop_map(Packet::SetConfiguration),
        Just(Packet::GetConfiguration),
        any::<(u8, u8)>().prop_map(|(a, b)| Packet::ConfigurationStatus(a, b)),
        any::<(u8, u8)>().prop_map(|(a, b)| Packet::SetAlternate(a, b)),
        any::<u8>().prop_map(Packet::GetAlternate),
        any::<(u8, u8, u8)>().prop_map(|(a, b, c)| Packet::AlternateStatus(a, b, c)),
        Just(Packet::Cancel),
        Just(Packet::DisconnectSeen),
        control(),
        bulk(),
    ]
}

proptest! {
    #[test]
    fn packets_round_trip_in_any_pieces(
        packets in proptest::collection::vec((any::<u32>(), packet()), 0..8),
        theirs in any::<u32>(),
        piece in 1usize..40,
    ) {
        let mut decoder = Decoder::default();
        let hello = Packet::Hello("qemu".into(), theirs);
        let mut bytes = encode(0, &hello, Form::default());
        let form = Form::agreed(theirs);
        for (id, packet) in &packets {
            bytes.extend(encode((*id).into(), packet, form));
        }
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.feed(piece);
            while let Some(packet) = decoder.packet().unwrap() {
                found.push(packet);
            }
        }
        let packets = packets.into_iter().map(|(id, packet)| (u64::from(id), packet));
        let wanted: Vec<_> = std::iter::once((0, hello)).chain(packets).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn any_bytes_are_packets_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        decoder.feed(&bytes);
        while let Ok(Some(_)) = decoder.packet() {}
    }
}

#[test]
fn what_both_can_do_makes_the_form() {
    assert_eq!(Form::agreed(0), Form::default());
    assert_eq!(Form::agreed(u32::MAX), Form { wide_ids: true, long_bulk: true });
    let wide = Form::agreed(WIDE_IDS);
    assert_eq!(
        encode(7, &Packet::Disconnect, wide),
        [2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        encode(7, &Packet::Disconnect, Form::default()),
        [2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]
    );
}

#[test]
fn tables_are_by_number() {
    let interfaces = Packet::Interfaces(vec![[14, 1, 0], [14, 2, 0]]);
    let bytes = encode(0, &interfaces, Form::default());
    assert_eq!(bytes.len(), 12 + 4 + 4 * 32);
    assert_eq!(bytes[12..18], [2, 0, 0, 0, 0, 1]);
    assert_eq!(bytes[48..50], [14, 14]);
    let endpoints = Packet::Endpoints(vec![(0, 0, 0, 64), (0x81, 2, 1, 512)]);
    let body = &encode(0, &endpoints, Form::default())[12..];
    assert_eq!(body.len(), 3 * 32 + 64);
    assert_eq!((body[0], body[1], body[17]), (0, 255, 2));
    assert_eq!(body[64 + 17], 1);
    assert_eq!(body[96 + 34..96 + 36], 512u16.to_le_bytes());
}
