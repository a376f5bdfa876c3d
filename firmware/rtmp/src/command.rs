//! Commands and control messages (RTMP 5.4, 7.1, 7.2): the little of AMF0 that publishing needs.

use bytes::{BufMut, Bytes, BytesMut};
use rtmp_runtime::amf0::{Amf0Value, Command as AmfCommand};

use crate::Error;
use crate::chunk::Message;

/// Message types (RTMP 5.4, 7.1).
pub(crate) mod kind {
    pub(crate) const SET_CHUNK_SIZE: u8 = 1;
    pub(crate) const ABORT: u8 = 2;
    pub(crate) const ACKNOWLEDGEMENT: u8 = 3;
    pub(crate) const USER_CONTROL: u8 = 4;
    pub(crate) const WINDOW: u8 = 5;
    pub(crate) const PEER_BANDWIDTH: u8 = 6;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    pub(crate) const DATA_AMF3: u8 = 15;
    pub(crate) const COMMAND_AMF3: u8 = 17;
    pub(crate) const DATA: u8 = 18;
    pub(crate) const COMMAND: u8 = 20;
    pub(crate) const AGGREGATE: u8 = 22;
}

/// A command is a few names; AMF0 values take many times their bytes once decoded.
const MAX_COMMAND: usize = 64 * 1024;

/// One command (RTMP 7.1.1).
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) transaction: f64,
    pub(crate) arguments: Vec<Amf0Value>,
}

impl Command {
    /// From a message of kind 20, or 17 (a zero byte, then the same).
    pub(crate) fn parse(message: &Message) -> Result<Self, Error> {
        let body = match message.kind {
            kind::COMMAND_AMF3 => message.body.get(1..).unwrap_or_default(),
            _ => &message.body,
        };
        if body.len() > MAX_COMMAND {
            let what = format!("it is {} bytes long, at most {MAX_COMMAND} are taken", body.len());
            return Err(Error::Command { what });
        }
        match AmfCommand::parse(body) {
            Ok(AmfCommand { name, transaction_id, arguments }) => {
                Ok(Self { name, transaction: transaction_id, arguments })
            }
            Err(error) => {
                Self::name_alone(body).ok_or_else(|| Error::Command { what: error.to_string() })
            }
        }
    }

    /// Some send commands without a transaction (ffmpeg's server: `onFCPublish`), or with AMF0 types
    /// of long ago. Whoever needs what is missing will see that it is.
    fn name_alone(body: &[u8]) -> Option<Self> {
        let length = body.strip_prefix(&[2])?.first_chunk().copied().map(u16::from_be_bytes)?;
        let name = str::from_utf8(body.get(3..)?.get(..usize::from(length))?).ok()?;
        Some(Self { name: name.to_owned(), transaction: 0.0, arguments: Vec::new() })
    }

    /// A string argument by position; the command object is 0.
    pub(crate) fn string(&self, index: usize) -> Option<&str> {
        match self.arguments.get(index)? {
            Amf0Value::String(text) | Amf0Value::LongString(text) => Some(text),
            _ => None,
        }
    }

    /// A string property of the first object among the arguments that has it.
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find_map(|argument| match argument {
            Amf0Value::Object(pairs) | Amf0Value::EcmaArray(pairs) => {
                pairs.iter().find_map(|(key, value)| match value {
                    Amf0Value::String(text) | Amf0Value::LongString(text) if key == name => {
                        Some(text.as_str())
                    }
                    _ => None,
                })
            }
            _ => None,
        })
    }
}

/// A command message on a message stream.
pub(crate) fn command(
    stream: u32,
    name: &str,
    transaction: f64,
    arguments: Vec<Amf0Value>,
) -> Result<Message, Error> {
    let command = AmfCommand { name: name.to_owned(), transaction_id: transaction, arguments };
    let body = command.to_body().map_err(|error| Error::Command { what: error.to_string() })?;
    Ok(Message { kind: kind::COMMAND, stream, timestamp: 0, body: body.into() })
}

/// An AMF0 string.
pub(crate) fn text(text: impl Into<String>) -> Amf0Value {
    Amf0Value::String(text.into())
}

/// An AMF0 object.
pub(crate) fn object<const N: usize>(pairs: [(&str, Amf0Value); N]) -> Amf0Value {
    Amf0Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// An information object of `onStatus`, `_result` and `_error` (RTMP 7.2.2).
pub(crate) fn status(level: &str, code: &str, description: &str) -> Amf0Value {
    object([("level", text(level)), ("code", text(code)), ("description", text(description))])
}

/// A control message of one number (RTMP 5.4).
pub(crate) fn control(kind: u8, number: u32) -> Message {
    let body = Bytes::copy_from_slice(&number.to_be_bytes());
    Message { kind, stream: 0, timestamp: 0, body }
}

/// Set Peer Bandwidth, dynamic (RTMP 5.4.5).
pub(crate) fn peer_bandwidth(window: u32) -> Message {
    let mut body = BytesMut::with_capacity(5);
    body.put_u32(window);
    body.put_u8(2);
    Message { kind: kind::PEER_BANDWIDTH, stream: 0, timestamp: 0, body: body.freeze() }
}

/// User control events (RTMP 7.1.7).
pub(crate) mod event {
    pub(crate) const STREAM_BEGIN: u16 = 0;
    pub(crate) const PING_REQUEST: u16 = 6;
    pub(crate) const PING_RESPONSE: u16 = 7;
}

/// A user control message of one number.
pub(crate) fn user_control(event: u16, number: u32) -> Message {
    let mut body = BytesMut::with_capacity(6);
    body.put_u16(event);
    body.put_u32(number);
    Message { kind: kind::USER_CONTROL, stream: 0, timestamp: 0, body: body.freeze() }
}

/// The answer to a user control message, if it asks for one.
pub(crate) fn answer(message: &Message) -> Option<Message> {
    let event = message.body.first_chunk::<2>().copied().map(u16::from_be_bytes)?;
    let number = message.body.get(2..)?.first_chunk::<4>().copied().map(u32::from_be_bytes)?;
    (event == event::PING_REQUEST).then(|| user_control(event::PING_RESPONSE, number))
}

/// A control message's number.
pub(crate) fn number(message: &Message) -> Result<u32, Error> {
    message.body.first_chunk::<4>().copied().map(u32::from_be_bytes).ok_or_else(|| Error::Command {
        what: format!("a control message of {} bytes", message.body.len()),
    })
}

/// The body of a script tag: `@setDataFrame` is an instruction to the server, not part of it.
/// `None` for data that is none of a recording's business (`@clearDataFrame`).
pub(crate) fn script(body: &Bytes) -> Option<Bytes> {
    const SET: &[u8] = b"\x02\x00\x0d@setDataFrame";
    const CLEAR: &[u8] = b"\x02\x00\x0f@clearDataFrame";
    if body.starts_with(SET) {
        return Some(body.slice(SET.len()..));
    }
    (!body.starts_with(CLEAR)).then(|| body.clone())
}

/// The other way: a server is asked to keep the data for players that come later.
pub(crate) fn set_data_frame(body: &Bytes) -> Bytes {
    const SET: &[u8] = b"\x02\x00\x0d@setDataFrame";
    if body.starts_with(SET) {
        return body.clone();
    }
    let mut out = BytesMut::with_capacity(SET.len() + body.len());
    out.put_slice(SET);
    out.put_slice(body);
    out.freeze()
}
