//! The client's side: connects and publishes tags.
//!
//! ```text
//!  Handshake ──S0 S1 S2──▶ Connecting ──_result──▶ Creating ──_result──▶ Asking ──┐
//!                              │ _error                │ _error            │      │ onStatus
//!                              ▼                       ▼                   ▼      ▼ Publish.Start
//!                           Refused ◀──────────────────┴───────────────────┴── Publishing
//! ```

use bytes::{Bytes, BytesMut};
use flv::{Tag, TagKind};
use rtmp_runtime::amf0::Amf0Value;

use crate::chunk::{Message, ReadLimits, Reader, Writer};
use crate::command::{self, Command, kind};
use crate::handshake::Handshake;
use crate::{Destination, Error};

/// What a server may make us hold: it has only short messages for us.
const LIMITS: ReadLimits = ReadLimits { message: 256 * 1024, pending: 512 * 1024, streams: 64 };
const CHUNK_SIZE: u32 = 4096;
const WINDOW: u32 = 2_500_000;
const CONTROL: u8 = 2;
const COMMANDS: u8 = 3;
const MEDIA: u8 = 4;

const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;
const PUBLISH: f64 = 5.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Handshake,
    Connecting,
    Creating,
    Asking(u32),
    Publishing(u32),
    Ended,
}

/// One publishing connection. Feed it with [`push`](Self::push), send [`output`](Self::output),
/// and once it [is publishing](Self::publishing) give it tags.
#[derive(Debug)]
pub struct Publish {
    destination: Destination,
    handshake: Handshake,
    reader: Reader,
    writer: Writer,
    input: BytesMut,
    out: BytesMut,
    state: State,
    window: u64,
    acknowledged: u64,
}

impl Publish {
    /// A connection that has just been opened to this destination; its first output is ready.
    pub fn new(destination: Destination) -> Self {
        let mut out = BytesMut::new();
        let handshake = Handshake::client(&mut out);
        Self {
            destination,
            handshake,
            reader: Reader::new(LIMITS),
            writer: Writer::new(),
            input: BytesMut::new(),
            out,
            state: State::Handshake,
            window: u64::from(WINDOW),
            acknowledged: 0,
        }
    }

    /// Bytes from the server. An error ends the connection; [`Error::Refused`] says in a sentence
    /// what the server did not like.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.input.extend_from_slice(bytes);
        if !self.handshake.advance(&mut self.input, &mut self.out)? {
            return Ok(());
        }
        if self.state == State::Handshake {
            self.connect()?;
        }
        while let Some(message) = self.reader.next(&mut self.input)? {
            self.message(&message)?;
        }
        let position = self.reader.position();
        if position - self.acknowledged >= self.window {
            self.acknowledged = position;
            let message = command::control(kind::ACKNOWLEDGEMENT, position as u32);
            self.writer.write(CONTROL, &message, &mut self.out);
        }
        Ok(())
    }

    /// Bytes for the server.
    pub fn output(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Bytes that wait in [`output`](Self::output).
    pub fn output_len(&self) -> usize {
        self.out.len()
    }

    /// True once the server takes tags.
    pub fn publishing(&self) -> bool {
        matches!(self.state, State::Publishing(_))
    }

    /// Adds a tag to the output.
    pub fn tag(&mut self, tag: &Tag) -> Result<(), Error> {
        let State::Publishing(stream) = self.state else { return Err(Error::NotPublishing) };
        let (kind, body) = match tag.kind {
            TagKind::Audio => (kind::AUDIO, tag.data.clone()),
            TagKind::Video => (kind::VIDEO, tag.data.clone()),
            TagKind::Script => (kind::DATA, command::set_data_frame(&tag.data)),
        };
        let message = Message { kind, stream, timestamp: tag.timestamp, body };
        self.writer.write(MEDIA, &message, &mut self.out);
        Ok(())
    }

    /// Ends the stream in good order; then send the output and close.
    pub fn end(&mut self) -> Result<(), Error> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        if let State::Publishing(stream) | State::Asking(stream) = state {
            let key = command::text(self.destination.key.clone());
            self.command(0, "FCUnpublish", 0.0, vec![Amf0Value::Null, key])?;
            let id = Amf0Value::Number(stream.into());
            self.command(0, "deleteStream", 0.0, vec![Amf0Value::Null, id])?;
        }
        Ok(())
    }

    fn command(
        &mut self,
        stream: u32,
        name: &str,
        transaction: f64,
        arguments: Vec<Amf0Value>,
    ) -> Result<(), Error> {
        let message = command::command(stream, name, transaction, arguments)?;
        self.writer.write(COMMANDS, &message, &mut self.out);
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Error> {
        let size = command::control(kind::SET_CHUNK_SIZE, CHUNK_SIZE);
        self.writer.write(CONTROL, &size, &mut self.out);
        self.writer.set_chunk_size(CHUNK_SIZE);
        let object = command::object([
            ("app", command::text(self.destination.app.clone())),
            ("type", command::text("nonprivate")),
            // Servers look for this prefix to know an encoder from a player.
            ("flashVer", command::text("FMLE/3.0 (compatible; Backrow)")),
            ("tcUrl", command::text(self.destination.tc_url())),
        ]);
        self.command(0, "connect", CONNECT, vec![object])?;
        self.state = State::Connecting;
        Ok(())
    }

    fn message(&mut self, message: &Message) -> Result<(), Error> {
        match message.kind {
            kind::SET_CHUNK_SIZE => self.reader.set_chunk_size(command::number(message)?),
            kind::ABORT => {
                self.reader.abort(command::number(message)?);
                Ok(())
            }
            kind::WINDOW => {
                self.window = u64::from(command::number(message)?).max(1024);
                Ok(())
            }
            kind::PEER_BANDWIDTH => {
                let answer = command::control(kind::WINDOW, WINDOW);
                self.writer.write(CONTROL, &answer, &mut self.out);
                Ok(())
            }
            kind::USER_CONTROL => {
                if let Some(answer) = command::answer(message) {
                    self.writer.write(CONTROL, &answer, &mut self.out);
                }
                Ok(())
            }
            // A command that cannot be read is none of the few that are waited for.
            kind::COMMAND | kind::COMMAND_AMF3 => {
                Command::parse(message).map_or(Ok(()), |command| self.answered(&command))
            }
            _ => Ok(()),
        }
    }

    fn answered(&mut self, command: &Command) -> Result<(), Error> {
        match (command.name.as_str(), self.state) {
            ("_result", State::Connecting) if same(command.transaction, CONNECT) => {
                let key = command::text(self.destination.key.clone());
                for (name, transaction) in [("releaseStream", 2.0), ("FCPublish", 3.0)] {
                    self.command(0, name, transaction, vec![Amf0Value::Null, key.clone()])?;
                }
                self.command(0, "createStream", CREATE_STREAM, vec![Amf0Value::Null])?;
                self.state = State::Creating;
            }
            ("_result", State::Creating) if same(command.transaction, CREATE_STREAM) => {
                let stream = match command.arguments.get(1) {
                    Some(Amf0Value::Number(id)) if *id >= 0.0 && *id <= f64::from(u32::MAX) => {
                        *id as u32
                    }
                    _ => {
                        let what = "the server's answer to `createStream` has no stream id".into();
                        return Err(Error::Command { what });
                    }
                };
                let key = command::text(self.destination.key.clone());
                let arguments = vec![Amf0Value::Null, key, command::text("live")];
                self.command(stream, "publish", PUBLISH, arguments)?;
                self.state = State::Asking(stream);
            }
            // `releaseStream` and `FCPublish` are courtesies: many servers answer them by an error.
            ("_error", _)
                if [CONNECT, CREATE_STREAM, PUBLISH]
                    .iter()
                    .any(|t| same(command.transaction, *t)) =>
            {
                return Err(self.refused(command));
            }
            ("onStatus", state) => match (command.property("code"), state) {
                (Some("NetStream.Publish.Start"), State::Asking(stream)) => {
                    self.state = State::Publishing(stream);
                }
                _ if command.property("level") == Some("error") => {
                    return Err(self.refused(command));
                }
                (Some("NetStream.Unpublish.Success"), State::Publishing(_)) => {
                    return Err(self.refused(command));
                }
                _ => {}
            },
            ("close", _) => return Err(self.refused(command)),
            _ => {}
        }
        Ok(())
    }

    /// What the server said, as a sentence that also says what to do.
    fn refused(&self, command: &Command) -> Error {
        let code = command.property("code").unwrap_or_default();
        let meaning = match code {
            "NetStream.Publish.BadName" => {
                "did not accept the stream key, or somebody is publishing under it already"
            }
            "NetConnection.Connect.InvalidApp" => "does not know the application in the address",
            "NetConnection.Connect.Rejected" | "NetStream.Publish.Rejected" => {
                "rejected the connection: check the address, key and codecs"
            }
            "NetStream.Publish.Denied" => "denied the publish: check the stream key",
            "NetStream.Unpublish.Success" => "ended the stream",
            _ => match self.state {
                State::Publishing(_) => "ended the stream with an error",
                State::Asking(_) => "refused the publish",
                _ => "refused the connection",
            },
        };
        let said: String = command
            .property("description")
            .unwrap_or_default()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(300)
            .collect();
        let server = &self.destination;
        let code = if code.is_empty() { "no code" } else { code };
        let code: String = code.chars().filter(|c| !c.is_control()).take(64).collect();
        Error::Refused(match said.trim() {
            "" => format!("the RTMP server {server} {meaning} ({code})"),
            said => format!("the RTMP server {server} {meaning} ({code}: \"{said}\")"),
        })
    }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.5
}
