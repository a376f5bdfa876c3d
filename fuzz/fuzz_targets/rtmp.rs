//! Anything as an RTMP connection: our server's side and our client's, with what they promise
//! checked.
//!
//! The first byte chooses: bit 7 the client's side; bit 6 that the handshake is in the input too
//! (else it is put before it); bit 5 that a publish is refused; the rest the size of the pieces.
//!
//! In the corpus, `ffmpeg`, `rtmp2sink` and `rtmpsink` are what these programs (ffmpeg 5.1,
//! GStreamer 1.22) sent for two seconds of 64x36 pixels, and `…-server` what nginx-rtmp answered.

#![no_main]

use flv::Tag;
use libfuzzer_sys::fuzz_target;
use rtmp::{Event, Ingest, Limits, Publish, Refusal};

/// Small, so that a small input reaches them.
const LIMITS: Limits = Limits { message: 1 << 16, pending: 1 << 17, streams: 16 };

fuzz_target!(|input: &[u8]| {
    let Some((&first, stream)) = input.split_first() else { return };
    let mut wire = Vec::new();
    if first & 0x40 == 0 {
        wire.push(3);
        wire.resize(1 + 2 * 1536, 0);
    }
    wire.extend_from_slice(stream);
    let piece = usize::from(first & 0x1F) * 37 + 1;
    if first & 0x80 == 0 {
        let refuse = first & 0x20 != 0;
        assert_eq!(
            serve(&wire, piece, refuse),
            serve(&wire, wire.len(), refuse),
            "what comes out depends on the pieces"
        );
    } else {
        assert_eq!(connect(&wire, piece), connect(&wire, wire.len()));
    }
});

/// All events, and the error at the end.
fn serve(wire: &[u8], piece: usize, refuse: bool) -> (Vec<Event>, Option<String>) {
    let mut server = Ingest::new(LIMITS);
    let (mut events, mut sent, mut bytes) = (Vec::new(), 0, 0);
    let mut error = None;
    'wire: for piece in wire.chunks(piece.max(1)) {
        server.push(piece);
        loop {
            match server.next_event() {
                Ok(Some(event)) => {
                    match &event {
                        Event::PublishRequest(request) => {
                            let _ = request.address();
                            assert!(!server.publishing());
                            match refuse {
                                true => server.refuse(Refusal::Rejected, "no").expect("short"),
                                false => server.accept().expect("short"),
                            }
                        }
                        Event::Tag(Tag { data, .. }) => {
                            assert!(server.publishing() && !refuse);
                            assert!(!data.is_empty() && data.len() <= LIMITS.message);
                            bytes += data.len();
                        }
                        Event::End => assert!(server.closing()),
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(ended) => {
                    error = Some(ended.to_string());
                    break 'wire;
                }
            }
        }
        sent += server.output().len();
    }
    assert!(bytes <= wire.len(), "more media than came");
    assert!(sent <= 8192 + wire.len() * 16, "{sent} bytes were made to answer {}", wire.len());
    (events, error)
}

/// Whether it got to publishing, and the error at the end.
fn connect(wire: &[u8], piece: usize) -> (bool, Option<String>) {
    let destination = "rtmp://example.org/live/demo?token=s3cret".parse().expect("an address");
    let mut client = Publish::new(destination);
    let mut sent = 0;
    for piece in wire.chunks(piece.max(1)) {
        if let Err(error) = client.push(piece) {
            let text = error.to_string();
            assert!(!text.contains("s3cret") || wire.windows(6).any(|w| w == b"s3cret"));
            assert!(text.len() < 2048 && !text.contains('\n'));
            return (client.publishing(), Some(text));
        }
        sent += client.output().len();
    }
    assert!(sent <= 16_384 + wire.len() * 16, "{sent} bytes were made to answer {}", wire.len());
    let publishing = client.publishing();
    assert_eq!(client.tag(&Tag::aac_frame(0, b"sound")).is_ok(), publishing);
    client.end().expect("short");
    assert!(!client.publishing());
    (publishing, None)
}
