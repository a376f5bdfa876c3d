//! Our client to our server, each to the other end of `rtmp-runtime`, and odd clients by hand.

use bytes::Bytes;
use flv::{Tag, TagKind};
use proptest::prelude::*;
use rtmp::{Destination, Error, Event, Ingest, Limits, Publish, Refusal};

#[expect(clippy::unwrap_used, reason = "a test helper")]
fn destination(text: &str) -> Destination {
    text.parse().unwrap()
}

fn tag() -> impl Strategy<Value = Tag> {
    let kind = prop_oneof![Just(TagKind::Audio), Just(TagKind::Video), Just(TagKind::Script)];
    let time = prop_oneof![0u32..100_000, any::<u32>(), Just(0x00FF_FFFF)];
    (kind, time, prop::collection::vec(any::<u8>(), 1..9000), any::<u64>()).prop_map(
        |(kind, timestamp, mut data, salt)| {
            if kind == TagKind::Script {
                // Each different, since a repeated one is passed on once.
                data = [b"\x02\x00\x0aonMetaData".as_slice(), &salt.to_be_bytes(), &data].concat();
            }
            Tag { kind, timestamp, data: data.into() }
        },
    )
}

/// Runs both ends until neither has anything to say; the server's events.
fn settle(
    client: &mut Publish,
    server: &mut Ingest,
    cut: usize,
    decide: &mut dyn FnMut(&mut Ingest, rtmp::PublishRequest),
) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    loop {
        let up = client.output();
        for piece in up.chunks(cut) {
            server.push(piece);
            while let Some(event) = server.next_event()? {
                match event {
                    Event::PublishRequest(request) => decide(server, request),
                    event => events.push(event),
                }
            }
        }
        let down = server.output();
        for piece in down.chunks(cut) {
            client.push(piece)?;
        }
        if up.is_empty() && down.is_empty() {
            return Ok(events);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn tags_arrive_as_they_were_sent(
        tags in prop::collection::vec(tag(), 0..12),
        cut in 1usize..5000,
    ) {
        let mut client = Publish::new(destination("rtmp://h/live/demo?token=s3cret"));
        let mut server = Ingest::new(Limits::default());
        let mut asked = Vec::new();
        let mut decide = |server: &mut Ingest, request: rtmp::PublishRequest| {
            asked.push(request);
            server.accept().unwrap();
        };
        settle(&mut client, &mut server, cut, &mut decide).unwrap();
        prop_assert!(client.publishing() && server.publishing());
        for tag in &tags {
            client.tag(tag).unwrap();
        }
        client.end().unwrap();
        let mut events = settle(&mut client, &mut server, cut, &mut decide).unwrap();
        prop_assert_eq!(events.pop(), Some(Event::End));
        prop_assert!(server.closing());
        prop_assert_eq!(events, tags.into_iter().map(Event::Tag).collect::<Vec<_>>());
        prop_assert_eq!(asked.len(), 1);
        let address = asked[0].address().unwrap();
        prop_assert_eq!((address.room.as_str(), address.token.as_deref()), ("demo", Some("s3cret")));
    }

    #[test]
    fn any_bytes_after_the_handshake_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..4000),
    ) {
        let mut server = Ingest::new(Limits::default());
        server.push(&[3]);
        server.push(&[0; 1536 * 2]);
        server.push(&bytes);
        while let Ok(Some(event)) = server.next_event() {
            if matches!(event, Event::PublishRequest(_)) {
                server.accept().unwrap();
            }
        }
        let mut client = Publish::new(destination("rtmp://h/live/demo"));
        let _ = client.push(&[&[3], [0; 1536 * 2].as_slice(), &bytes].concat());
    }
}

#[test]
fn a_refusal_reaches_the_client_as_a_sentence() {
    let mut client = Publish::new(destination("rtmp://example.org/live/nowhere?token=s3cret"));
    let mut server = Ingest::new(Limits::default());
    let error = settle(&mut client, &mut server, 4096, &mut |server, _| {
        server.refuse(Refusal::BadName, "there is no room \"nowhere\" here").unwrap();
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the RTMP server rtmp://example.org:1935/live/… did not accept the stream key, or \
         somebody is publishing under it already (NetStream.Publish.BadName: \"there is no room \
         \"nowhere\" here\")"
    );
    assert!(server.closing() && !client.publishing());
}

#[test]
fn a_stream_can_be_ended_by_the_server() {
    let mut client = Publish::new(destination("rtmp://h/live/demo"));
    let mut server = Ingest::new(Limits::default());
    settle(&mut client, &mut server, 4096, &mut |server, _| server.accept().unwrap()).unwrap();
    server.refuse(Refusal::Rejected, "video is HEVC; only H.264 is taken").unwrap();
    let error = client.push(&server.output()).unwrap_err().to_string();
    assert!(error.contains("Rejected") && error.contains("video is HEVC"), "{error}");
    assert!(server.next_event().unwrap().is_none() && server.closing());
}

#[test]
fn a_client_that_does_not_wait_for_answers_loses_nothing() {
    // The whole conversation of a client, recorded against one server, is given to another at once.
    let mut client = Publish::new(destination("rtmp://h/demo/s3cret"));
    let mut server = Ingest::new(Limits::default());
    let mut said = Vec::new();
    loop {
        let up = client.output();
        said.extend_from_slice(&up);
        server.push(&up);
        while let Some(event) = server.next_event().unwrap() {
            assert!(matches!(event, Event::PublishRequest(_)));
            server.accept().unwrap();
        }
        let down = server.output();
        client.push(&down).unwrap();
        if up.is_empty() && down.is_empty() {
            break;
        }
    }
    let tag = Tag::aac_frame(20, b"sound");
    client.tag(&tag).unwrap();
    said.extend_from_slice(&client.output());

    let mut server = Ingest::new(Limits::default());
    server.push(&said);
    let Some(Event::PublishRequest(request)) = server.next_event().unwrap() else { panic!() };
    assert_eq!(request.address().unwrap().room, "demo");
    assert!(!format!("{request:?}").contains("s3cret"));
    // Nothing more before the answer, and all of it after.
    assert_eq!(server.next_event().unwrap(), None);
    server.accept().unwrap();
    assert_eq!(server.next_event().unwrap(), Some(Event::Tag(tag)));
    assert_eq!(server.next_event().unwrap(), None);
}

#[test]
fn a_repeated_metadata_tag_is_passed_on_once() {
    let mut client = Publish::new(destination("rtmp://h/live/demo"));
    let mut server = Ingest::new(Limits::default());
    let mut decide = |server: &mut Ingest, _| server.accept().unwrap();
    settle(&mut client, &mut server, 4096, &mut decide).unwrap();
    let metadata = |text: &[u8]| Tag {
        kind: TagKind::Script,
        timestamp: 0,
        data: Bytes::from([b"\x02\x00\x0aonMetaData", text].concat()),
    };
    for text in [b"a", b"a", b"a", b"b", b"a"] {
        client.tag(&metadata(text)).unwrap();
    }
    let events = settle(&mut client, &mut server, 4096, &mut decide).unwrap();
    let wanted: Vec<_> = [b"a", b"b", b"a"].map(|t| Event::Tag(metadata(t))).into();
    assert_eq!(events, wanted);
}

#[test]
fn what_is_not_rtmp_is_said_to_be_so() {
    for (first, hint) in [(b'G', "HTTP"), (0x16, "TLS"), (0x06, "RTMPE")] {
        let mut server = Ingest::new(Limits::default());
        server.push(&[first, 0, 0]);
        let error = server.next_event().unwrap_err().to_string();
        assert!(error.contains("not RTMP") && error.contains(hint), "{error}");
    }
}

#[test]
fn rtmp_runtimes_client_publishes_to_us() {
    use rtmp_runtime::client::{ClientConfig, ClientSession};
    let mut config = ClientConfig::default();
    config.app = "live".into();
    config.stream_key = "demo?token=s3cret".into();
    let mut client = ClientSession::new(config);
    let mut server = Ingest::new(Limits::default());
    let mut up = client.start();
    let mut tags = Vec::new();
    let mut sent = false;
    while !up.is_empty() {
        server.push(&up);
        while let Some(event) = server.next_event().unwrap() {
            match event {
                Event::PublishRequest(_) => server.accept().unwrap(),
                Event::Tag(tag) => tags.push(tag),
                Event::End => panic!("it never says so"),
            }
        }
        let (mut next, _) = client.handle_data(&server.output()).unwrap();
        if client.is_publishing() && !sent {
            sent = true;
            next.extend(client.send_audio(7, &[0xAF, 1, 1, 2, 3]).unwrap());
            next.extend(client.send_video(9, &[0x17; 30_000]).unwrap());
        }
        up = next;
    }
    assert_eq!(tags.len(), 2);
    assert_eq!(tags[0], Tag::aac_frame(7, &[1, 2, 3]));
    assert_eq!((tags[1].timestamp, tags[1].data.len()), (9, 30_000));
}

#[test]
fn we_publish_to_rtmp_runtimes_server() {
    use rtmp_runtime::server::{ServerEvent, ServerSession};
    let mut server = ServerSession::with_defaults();
    let mut client = Publish::new(destination("rtmp://h/live/demo"));
    let sent = [
        Tag::aac_frame(3, b"sound"),
        Tag::avc_frame(0x0123_4567, 40, true, &[9; 70_000]),
        Tag::avc_frame(0x0123_4568, 0, false, &[8; 4096]),
    ];
    let (mut flv, mut given) = (flv::Parser::default(), false);
    loop {
        let up = client.output();
        let (down, events) = server.handle_data(&up).unwrap();
        for event in events {
            if let ServerEvent::Media { flv: bytes } = event {
                flv.push(&bytes);
            }
        }
        client.push(&down).unwrap();
        if client.publishing() && !given {
            given = true;
            for tag in &sent {
                client.tag(tag).unwrap();
            }
        }
        if up.is_empty() && down.is_empty() {
            break;
        }
    }
    let mut got = Vec::new();
    while let Some(tag) = flv.next_tag().unwrap() {
        got.push(tag);
    }
    assert_eq!(got, sent);
}
