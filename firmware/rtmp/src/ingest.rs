//! The server's side of a publishing connection.
//!
//! ```text
//!              C0 C1 C2            connect             publish
//!  Handshake ───────────▶ Greeted ─────────▶ Connected ────────▶ Asking ──┐ accept()
//!                                                │  ▲              │      ▼
//!                                        refuse()│  │ createStream │   Publishing ──▶ tags
//!                                                ▼  └──            │      │
//!                                             Closing ◀────────────┴──────┤ refuse()
//!                                                ▲                        │
//!                                                └────────────────────────┘ FCUnpublish,
//!                                                                           deleteStream: End
//! ```
//!
//! While a publish is *asked* for nothing further is read, so a client that sends its media without
//! waiting (OBS, librtmp) loses none of it. A repeated `onMetaData` (flvmux sends it several times a
//! second) is passed on once.

use bytes::{Buf, Bytes, BytesMut};
use flv::{Tag, TagKind};
use rtmp_runtime::amf0::Amf0Value;

use crate::chunk::{Message, ReadLimits, Reader, Writer};
use crate::command::{self, Command, kind};
use crate::handshake::Handshake;
use crate::{Address, AddressError, Error};

/// Chunk size of our answers.
const CHUNK_SIZE: u32 = 4096;
/// Window and bandwidth that we announce (RTMP 5.4.4, 5.4.5), in bytes.
const WINDOW: u32 = 2_500_000;
/// Chunk stream of our commands.
const COMMANDS: u8 = 3;
/// Chunk stream of control messages (RTMP 5.4).
const CONTROL: u8 = 2;
/// The longest app and stream name that are looked at, in bytes.
const MAX_NAME: usize = 1024;

/// What one connection may make us hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one message, so of one tag. Default 8 MiB.
    pub message: usize,
    /// Bytes of all unfinished messages together. Default 12 MiB.
    pub pending: usize,
    /// Chunk streams. Default 64.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: 8 << 20, pending: 12 << 20, streams: 64 }
    }
}

/// A client asks to publish. `Debug` shows neither its token nor its address.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// `connect`'s application.
    pub app: String,
    /// `publish`'s stream name.
    pub key: String,
    /// The client program, as it calls itself (`flashVer`).
    pub client: String,
}

impl PublishRequest {
    /// The room and token that are meant.
    pub fn address(&self) -> Result<Address, AddressError> {
        Address::parse(&self.app, &self.key)
    }
}

impl std::fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishRequest").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What a connection has to say to its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// To be answered by [`Ingest::accept`] or [`Ingest::refuse`]; nothing else comes before.
    PublishRequest(PublishRequest),
    /// A tag of the accepted stream, in the order it was sent, timestamps as they came.
    Tag(Tag),
    /// The client has ended its stream. (Many just close the connection.)
    End,
}

/// Why a publish is refused, as the client will show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such room, or somebody else is publishing there.
    BadName,
    /// Wrong token, wrong codec.
    Rejected,
}

impl Refusal {
    /// `NetStream` status codes (RTMP 7.2.2.6; ActionScript 3 `NetStatusEvent`).
    fn code(self) -> &'static str {
        match self {
            Self::BadName => "NetStream.Publish.BadName",
            Self::Rejected => "NetStream.Publish.Rejected",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeted,
    Connected,
    /// On this message stream.
    Asking(u32),
    Publishing(u32),
    Closing,
}

/// One connection. Feed it with [`push`](Self::push), take [`next_event`](Self::next_event)
/// until there is none, send [`output`](Self::output).
#[derive(Debug)]
pub struct Ingest {
    handshake: Handshake,
    reader: Reader,
    writer: Writer,
    input: BytesMut,
    out: BytesMut,
    state: State,
    app: String,
    client: String,
    next_stream: u32,
    /// The peer wants to hear of every so many bytes (RTMP 5.4.3).
    window: u64,
    acknowledged: u64,
    metadata: Bytes,
    /// The rest of an aggregate message, its time offset and whether that is known.
    aggregate: Option<Aggregate>,
}

#[derive(Debug)]
struct Aggregate {
    rest: Bytes,
    timestamp: u32,
    first: Option<u32>,
}

impl Ingest {
    /// A connection that has just been accepted.
    pub fn new(limits: Limits) -> Self {
        let limits = ReadLimits {
            message: limits.message.min(flv::MAX_BODY),
            pending: limits.pending,
            streams: limits.streams,
        };
        Self {
            handshake: Handshake::server(),
            reader: Reader::new(limits),
            writer: Writer::new(),
            input: BytesMut::new(),
            out: BytesMut::new(),
            state: State::Greeted,
            app: String::new(),
            client: String::new(),
            next_stream: 1,
            window: u64::from(WINDOW),
            acknowledged: 0,
            metadata: Bytes::new(),
            aggregate: None,
        }
    }

    /// Bytes from the client. They are only kept; [`next_event`](Self::next_event) looks at them.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Closing {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Bytes for the client.
    pub fn output(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// True once nothing more will be read: send the [`output`](Self::output) and close.
    pub fn closing(&self) -> bool {
        self.state == State::Closing
    }

    /// True while a client publishes.
    pub fn publishing(&self) -> bool {
        matches!(self.state, State::Publishing(_))
    }

    /// The next event in what has been pushed; `None` when more bytes are needed, and while a
    /// [`Event::PublishRequest`] waits for its answer. An error ends the connection.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if matches!(self.state, State::Closing | State::Asking(_)) {
                return Ok(None);
            }
            if let Some(event) = self.next_of_aggregate()? {
                return Ok(Some(event));
            }
            if !self.handshake.advance(&mut self.input, &mut self.out)? {
                return Ok(None);
            }
            let message = self.reader.next(&mut self.input)?;
            self.acknowledge();
            let Some(message) = message else { return Ok(None) };
            if let Some(event) = self.message(message)? {
                return Ok(Some(event));
            }
        }
    }

    /// Lets the publish that was asked for go ahead.
    pub fn accept(&mut self) -> Result<(), Error> {
        let State::Asking(stream) = self.state else { return Ok(()) };
        let begin = command::user_control(command::event::STREAM_BEGIN, stream);
        self.writer.write(CONTROL, &begin, &mut self.out);
        self.on_status(stream, "status", "NetStream.Publish.Start", "Publishing.")?;
        self.state = State::Publishing(stream);
        Ok(())
    }

    /// Refuses the publish that was asked for, or ends the one under way. The text reaches the
    /// person at the client (ffmpeg and OBS log it). The connection is then [closing](Self::closing).
    pub fn refuse(&mut self, refusal: Refusal, text: &str) -> Result<(), Error> {
        if let State::Asking(stream) | State::Publishing(stream) = self.state {
            self.on_status(stream, "error", refusal.code(), text)?;
        }
        self.close();
        Ok(())
    }

    fn close(&mut self) {
        self.state = State::Closing;
        self.input = BytesMut::new();
        self.aggregate = None;
    }

    fn acknowledge(&mut self) {
        let position = self.reader.position();
        if position - self.acknowledged >= self.window {
            self.acknowledged = position;
            // The sequence number wraps (RTMP 5.4.3 gives it 32 bits).
            let message = command::control(kind::ACKNOWLEDGEMENT, position as u32);
            self.writer.write(CONTROL, &message, &mut self.out);
        }
    }

    fn message(&mut self, message: Message) -> Result<Option<Event>, Error> {
        match message.kind {
            kind::SET_CHUNK_SIZE => self.reader.set_chunk_size(command::number(&message)?)?,
            kind::ABORT => self.reader.abort(command::number(&message)?),
            // At least 1 kB: a smaller one would have us answer more than we are told.
            kind::WINDOW => self.window = u64::from(command::number(&message)?).max(1024),
            kind::USER_CONTROL => {
                if let Some(answer) = command::answer(&message) {
                    self.writer.write(CONTROL, &answer, &mut self.out);
                }
            }
            kind::COMMAND | kind::COMMAND_AMF3 => {
                let stream = message.stream;
                return self.command(stream, Command::parse(&message)?);
            }
            kind::AGGREGATE => {
                let (rest, timestamp) = (message.body, message.timestamp);
                self.aggregate = Some(Aggregate { rest, timestamp, first: None });
            }
            // An AMF3 data message is, like a command, AMF0 after one byte in practice.
            kind::DATA_AMF3 if message.body.first() == Some(&0) => {
                return Ok(self.media(kind::DATA, message.timestamp, message.body.slice(1..)));
            }
            other => return Ok(self.media(other, message.timestamp, message.body)),
        }
        Ok(None)
    }

    fn media(&mut self, message_kind: u8, timestamp: u32, data: Bytes) -> Option<Event> {
        let State::Publishing(_) = self.state else { return None };
        let (kind, data) = match message_kind {
            kind::AUDIO => (TagKind::Audio, data),
            kind::VIDEO => (TagKind::Video, data),
            kind::DATA => {
                let data = command::script(&data)?;
                if data == self.metadata {
                    return None;
                }
                if data.starts_with(b"\x02\x00\x0aonMetaData") {
                    self.metadata = data.clone();
                }
                (TagKind::Script, data)
            }
            _ => return None,
        };
        // Some encoders send an empty audio message as a sign of life.
        if data.is_empty() {
            return None;
        }
        Some(Event::Tag(Tag { kind, timestamp, data }))
    }

    /// An aggregate message holds tags as an FLV file does (RTMP 7.1.6).
    fn next_of_aggregate(&mut self) -> Result<Option<Event>, Error> {
        while let Some(aggregate) = &mut self.aggregate {
            if aggregate.rest.is_empty() {
                self.aggregate = None;
                return Ok(None);
            }
            let offset = self.reader.position();
            let broken = Error::Chunk { offset, what: "an aggregate message that is cut short" };
            let Some([kind, s0, s1, s2, t1, t2, t3, t0, _, _, _]) =
                aggregate.rest.first_chunk::<{ flv::TAG_HEADER }>().copied()
            else {
                return Err(broken);
            };
            let size = u32::from_be_bytes([0, s0, s1, s2]) as usize;
            let time = u32::from_be_bytes([t0, t1, t2, t3]);
            let end = flv::TAG_HEADER + size;
            if aggregate.rest.len() < end + flv::TRAILER {
                return Err(broken);
            }
            let data = aggregate.rest.slice(flv::TAG_HEADER..end);
            aggregate.rest.advance(end + flv::TRAILER);
            let first = *aggregate.first.get_or_insert(time);
            let time = aggregate.timestamp.wrapping_add(time.wrapping_sub(first));
            let event = self.media(kind, time, data);
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn command(&mut self, stream: u32, command: Command) -> Result<Option<Event>, Error> {
        match command.name.as_str() {
            "connect" => self.connect(&command)?,
            "createStream" => {
                if self.state == State::Greeted {
                    return Err(Error::Order { command: "createStream", when: "before `connect`" });
                }
                let id = self.next_stream;
                self.next_stream = self.next_stream.wrapping_add(1).max(1);
                self.result(stream, &command, vec![Amf0Value::Null, Amf0Value::Number(id.into())])?;
            }
            "publish" => return self.publish(stream, &command),
            "releaseStream" | "FCPublish" | "getStreamLength" | "_checkbw" => {
                self.result(stream, &command, vec![Amf0Value::Null, Amf0Value::Undefined])?;
            }
            "FCUnpublish" | "deleteStream" | "closeStream" if self.publishing() => {
                self.close();
                return Ok(Some(Event::End));
            }
            "play" | "play2" => {
                let text = "this port takes publishers only; players use HTTP";
                self.on_status(stream, "error", "NetStream.Play.Failed", text)?;
                self.close();
            }
            // Clients send a few more (`onFCPublish`, `_result` to our own) that need no answer.
            _ => {}
        }
        Ok(None)
    }

    fn connect(&mut self, command: &Command) -> Result<(), Error> {
        if self.state != State::Greeted {
            return Err(Error::Order { command: "connect", when: "a second time" });
        }
        let app = command.property("app").unwrap_or_default();
        if app.len() > MAX_NAME {
            return Err(Error::Command { what: format!("an app of {} bytes", app.len()) });
        }
        self.app = app.to_owned();
        self.client = command.property("flashVer").unwrap_or("unknown").chars().take(64).collect();
        self.writer.write(CONTROL, &command::control(kind::WINDOW, WINDOW), &mut self.out);
        self.writer.write(CONTROL, &command::peer_bandwidth(WINDOW), &mut self.out);
        let size = command::control(kind::SET_CHUNK_SIZE, CHUNK_SIZE);
        self.writer.write(CONTROL, &size, &mut self.out);
        self.writer.set_chunk_size(CHUNK_SIZE);
        let properties = command::object([
            ("fmsVer", command::text("FMS/3,0,1,123")),
            ("capabilities", Amf0Value::Number(31.0)),
        ]);
        let status =
            command::status("status", "NetConnection.Connect.Success", "Connection succeeded.");
        self.result(0, command, vec![properties, status])?;
        self.state = State::Connected;
        Ok(())
    }

    fn publish(&mut self, stream: u32, command: &Command) -> Result<Option<Event>, Error> {
        match self.state {
            State::Connected => {}
            State::Greeted => {
                return Err(Error::Order { command: "publish", when: "before `connect`" });
            }
            _ => return Err(Error::Order { command: "publish", when: "a second time" }),
        }
        let key = command.string(1).unwrap_or_default();
        if key.len() > MAX_NAME {
            let what = format!("a stream name of {} bytes", key.len());
            return Err(Error::Command { what });
        }
        self.state = State::Asking(stream);
        let (app, client) = (self.app.clone(), self.client.clone());
        Ok(Some(Event::PublishRequest(PublishRequest { app, key: key.to_owned(), client })))
    }

    fn result(
        &mut self,
        stream: u32,
        request: &Command,
        arguments: Vec<Amf0Value>,
    ) -> Result<(), Error> {
        let message = command::command(stream, "_result", request.transaction, arguments)?;
        self.writer.write(COMMANDS, &message, &mut self.out);
        Ok(())
    }

    fn on_status(&mut self, stream: u32, level: &str, code: &str, text: &str) -> Result<(), Error> {
        let arguments = vec![Amf0Value::Null, command::status(level, code, text)];
        let message = command::command(stream, "onStatus", 0.0, arguments)?;
        self.writer.write(COMMANDS, &message, &mut self.out);
        Ok(())
    }
}
