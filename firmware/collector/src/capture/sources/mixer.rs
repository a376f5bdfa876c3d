//! A mixer's TCP output: voctomix's Matroska, or DVswitch's DV.
//!
//! The socket is ours, so that its timeouts are: a thread reads it and feeds a player.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::dvswitch;
use super::player::{AtEnd, Plan, play};
use super::{Context, Head, Picture};
use crate::capture::args::{MixerFormat, Pace};
use crate::capture::elements::fault;
use crate::capture::error::CaptureError;
use crate::capture::tail::Timing;
use crate::capture::worker::Incident;

const CONNECT: Duration = Duration::from_secs(5);
/// A mixer that has sent nothing for this long is not mixing.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes read at a time; voctomix sends 78 MB/s of 1080p25.
const READ: usize = 256 * 1024;

pub(super) fn open(context: &Context<'_>, address: &str) -> Result<Head, CaptureError> {
    let format = context.args.format;
    let stream = connect(address, format)?;
    let input = gst_app::AppSrc::builder()
        .format(gst::Format::Bytes)
        .stream_type(gst_app::AppStreamType::Stream)
        .block(true)
        .max_bytes(8 * 1024 * 1024)
        .build();
    if format == MixerFormat::DvSwitch {
        input.set_format(gst::Format::Bytes);
        input.set_caps("video/x-dv,systemstream=true".parse::<gst::Caps>().ok().as_ref());
    }
    let (mixer, expected) = (address.to_owned(), expected(format));
    let wrong = move |reason: &str| CaptureError::MixerFormat {
        address: mixer.clone(),
        expected: expected.to_owned(),
        reason: reason.trim_end_matches('.').to_owned(),
    };
    let plan = Plan {
        what: format!("the mixer at {address}"),
        input: input.clone().upcast(),
        at_end: AtEnd::Fail(CaptureError::MixerClosed { address: address.to_owned() }),
        empty: wrong("neither picture nor sound is in it"),
        explain: Box::new(move |error, _| wrong(error.message())),
    };
    let (player, picture, sound) =
        play(plan, context.args, context.reporter, context.incidents.clone())?;
    let (mixer, incidents) = (address.to_owned(), context.incidents.clone());
    std::thread::Builder::new()
        .name("mixer".into())
        .spawn(move || read(stream, &mixer, format, &input, &incidents))
        .map_err(|error| fault("the mixer", error.to_string()))?;
    let what = format!("the mixer at {address}");
    Ok(Head {
        description: format!("{what} ({})", self::expected(format)),
        picture: Picture::Raw(picture.upcast()),
        sound: sound.upcast(),
        timing: match context.args.pace {
            Pace::RealTime => Timing::Live,
            Pace::Unpaced => Timing::Unpaced,
        },
        patience: None,
        explain: Box::new(move |error, _| fault(what.clone(), error.message())),
        keep: Box::new(player),
    })
}

fn expected(format: MixerFormat) -> &'static str {
    match format {
        MixerFormat::Matroska => "Matroska with picture and sound",
        MixerFormat::DvSwitch => "DVswitch's DV",
    }
}

fn connect(address: &str, format: MixerFormat) -> Result<TcpStream, CaptureError> {
    let unreachable = |error: std::io::Error| CaptureError::MixerUnreachable {
        address: address.to_owned(),
        reason: match error.kind() {
            ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                format!("no answer within {} s", CONNECT.as_secs())
            }
            _ => error.to_string(),
        },
    };
    let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&candidate, CONNECT) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(SILENCE)).map_err(unreachable)?;
                if format == MixerFormat::DvSwitch {
                    stream.write_all(dvswitch::GREETING).map_err(unreachable)?;
                }
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Copies the connection to the player until either ends.
fn read(
    mut stream: TcpStream,
    address: &str,
    format: MixerFormat,
    input: &gst_app::AppSrc,
    incidents: &Sender<Incident>,
) {
    let mut framer = dvswitch::Framer::default();
    let mut bytes = vec![0; READ];
    let mut has_sent = false;
    let failure = loop {
        let read = match stream.read(&mut bytes) {
            Ok(read) => bytes.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                let seconds = SILENCE.as_secs();
                break CaptureError::MixerSilent { address: address.to_owned(), seconds };
            }
            Err(_) => break CaptureError::MixerClosed { address: address.to_owned() },
        };
        if read.is_empty() && has_sent {
            // What has arrived is not thrown away with the connection: the player comes to its end,
            // or says that it was something else.
            let _ = input.end_of_stream();
            return;
        }
        if read.is_empty() {
            break CaptureError::MixerClosed { address: address.to_owned() };
        }
        has_sent = true;
        match format {
            MixerFormat::Matroska => {
                if push(input, Bytes::copy_from_slice(read)).is_err() {
                    return;
                }
            }
            MixerFormat::DvSwitch => {
                framer.push(read);
                match frames(&mut framer, input) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        break CaptureError::MixerFormat {
                            address: address.to_owned(),
                            expected: expected(format).to_owned(),
                            reason: error.to_string(),
                        };
                    }
                }
            }
        }
    };
    let _ = incidents.send(Incident::Failed(failure));
}

/// Pushes the whole frames; false when the player has stopped.
fn frames(framer: &mut dvswitch::Framer, input: &gst_app::AppSrc) -> Result<bool, dvswitch::Error> {
    while let Some(frame) = framer.next_frame()? {
        if push(input, frame).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn push(input: &gst_app::AppSrc, bytes: Bytes) -> Result<gst::FlowSuccess, gst::FlowError> {
    input.push_buffer(gst::Buffer::from_slice(bytes))
}
