//! Mixers over TCP: voctomix's Matroska, and DVswitch's DV.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use collector::capture::counter;
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::harness::*;

/// Serves the bytes once to whoever connects, after it has sent `greeting`; then closes.
fn serve(greeting: &'static [u8], bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut got = vec![0; greeting.len()];
        client.read_exact(&mut got).expect("a greeting");
        assert_eq!(got, greeting);
        // The client may have had enough before the end.
        let _ = client.write_all(&bytes);
    });
    address
}

/// Raw picture and sound in streamable Matroska, as voctomix sends them.
fn matroska(film: &Path) -> Vec<u8> {
    gst::init().expect("GStreamer");
    let out = film.with_extension("mkv");
    let line = "filesrc name=in ! decodebin name=d \
                matroskamux name=mux streamable=true ! filesink name=out \
                d. ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 \
                ! video/x-raw ! videoconvert ! video/x-raw,format=I420 ! mux. \
                d. ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 \
                ! audio/x-raw ! audioconvert ! audio/x-raw,format=S16LE ! mux.";
    let pipeline =
        gst::parse::launch(line).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
    for (name, path) in [("in", film), ("out", out.as_path())] {
        pipeline.by_name(name).expect("an element").set_property("location", path);
    }
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let bus = pipeline.bus().expect("a bus");
    let end = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    assert!(end.is_some_and(|message| message.type_() == gst::MessageType::Eos));
    pipeline.set_state(gst::State::Null).expect("it stops");
    std::fs::read(out).expect("the file")
}

#[test]
fn voctomix_is_captured_frame_by_frame() {
    let directory = tempfile::tempdir().unwrap();
    let flash = record(&[&["--source=flash"], &SMALL[..]].concat(), 3000);
    let film = flash.save(directory.path(), "flash.flv");
    let address = serve(b"", matroska(&film));
    let source = format!("--source=mixer:{address}");
    // This mixer is faster than life; unpaced, nothing is let go.
    let args = [&[source.as_str(), "--pace=unpaced"], &SMALL[..]].concat();
    let recording = record(&args, 2800);
    assert_regular(&recording.video_times());
    let film = recording.save(directory.path(), "mixed.flv");
    let counters: Vec<_> =
        pictures(&film, 640, 360).iter().map(|luma| counter::read(luma, 640, 360)).collect();
    let expected: Vec<_> = (0..=70).map(Some).collect();
    assert_eq!(counters, expected);
    let [left, _] = loudness(&sound(&film));
    assert!(left > 300.0);
}

#[test]
fn a_mixer_that_closes_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let flash = record(&[&["--source=flash"], &SMALL[..]].concat(), 1000);
    let address = serve(b"", matroska(&flash.save(directory.path(), "flash.flv")));
    let source = format!("--source=mixer:{address}");
    let (code, message) = failure(&[&[source.as_str()], &SMALL[..]].concat());
    assert_eq!(code, "mixer_closed");
    assert_eq!(
        message,
        format!(
            "The mixer at {address} has closed the connection: check that the mixer still runs."
        )
    );
}

#[test]
fn dvswitch_is_greeted_and_captured() {
    let directory = tempfile::tempdir().unwrap();
    let dv = directory.path().join("mixer.dv");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=720x576:r=25:d=4",
        "-f",
        "lavfi",
        "-i",
        "sine=f=500:r=48000:d=4",
        "-target",
        "pal-dv",
        "-ac",
        "2",
        dv.to_str().unwrap(),
    ]);
    let mut wire = Vec::new();
    for (n, frame) in std::fs::read(&dv).unwrap().chunks_exact(144_000).enumerate() {
        wire.extend([if n % 10 == 3 { b'C' } else { 0 }, 0, 0, 0]);
        wire.extend_from_slice(frame);
    }
    let address = serve(b"SINK", wire);
    let source = format!("--source=mixer:{address}");
    let args = [&[source.as_str(), "--format=dvswitch", "--pace=unpaced"], &SMALL[..]].concat();
    let recording = record(&args, 2500);
    assert_regular(&recording.video_times());
    let film = recording.save(directory.path(), "dvswitch.flv");
    let [left, right] = loudness(&sound(&film));
    assert!(left > 500.0 && right > 500.0);
}

#[test]
fn a_wrong_format_is_named() {
    for (format, greeting, bytes, expected) in [
        ("dvswitch", &b"SINK"[..], &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "DVswitch's DV"),
        ("matroska", b"", b"This is no film at all, but a plain text.\n", "Matroska"),
    ] {
        let address = serve(greeting, bytes.repeat(1000));
        let source = format!("--source=mixer:{address}");
        let (code, message) = failure(&[&source, &format!("--format={format}")]);
        assert_eq!(code, "mixer_format", "{message}");
        assert!(
            message.starts_with(&format!("What the mixer at {address} sends is not {expected}")),
            "{message}"
        );
        assert!(message.ends_with("check the `format` of the source."), "{message}");
    }
}

#[test]
fn a_mixer_that_does_not_listen_is_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, message) = failure(&[&format!("--source=mixer:{address}")]);
    assert_eq!(code, "mixer_unreachable");
    assert_eq!(
        message,
        format!(
            "The mixer at {address} cannot be reached (nothing listens there): check the address, \
             and that the mixer runs."
        )
    );
}
