//! What ends an RTMP connection, in plain words.

use thiserror::Error;

/// Why a connection cannot go on. After an error the connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The first byte was not RTMP's version (RTMP 5.2.2).
    #[error(
        "this is not RTMP: the first byte is {first:#04x}, RTMP begins with 0x03{hint}",
        hint = handshake_hint(*first)
    )]
    NotRtmp {
        /// The byte that came.
        first: u8,
    },
    /// A chunk that cannot be understood (RTMP 5.3).
    #[error("broken RTMP chunk at byte {offset}: {what}")]
    Chunk {
        /// Bytes since the end of the handshake.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// One message announces more bytes than are taken.
    #[error("an RTMP message of {size} bytes at byte {offset} is over the limit of {limit} bytes")]
    OversizeMessage {
        /// Bytes since the end of the handshake.
        offset: u64,
        /// The size announced.
        size: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// Unfinished messages together hold more than is taken.
    #[error("unfinished RTMP messages hold {size} bytes, over the limit of {limit} bytes")]
    TooMuchPending {
        /// Bytes held.
        size: usize,
        /// The most that is held.
        limit: usize,
    },
    /// A command that cannot be decoded (RTMP 7.1.1).
    #[error("broken RTMP command: {what}")]
    Command {
        /// What is wrong with it.
        what: String,
    },
    /// A command at the wrong time, e.g. `publish` before `connect`.
    #[error("RTMP command `{command}` came {when}")]
    Order {
        /// The command.
        command: &'static str,
        /// When it came.
        when: &'static str,
    },
    /// The server said no; client side only.
    #[error("{0}")]
    Refused(String),
    /// A tag was to be sent before the server had agreed; client side only.
    #[error("not publishing yet: the server has not answered")]
    NotPublishing,
}

fn handshake_hint(first: u8) -> &'static str {
    match first {
        0x16 => " (this looks like TLS: use rtmp://, or put a TLS proxy in front for rtmps://)",
        b'G' | b'P' | b'H' | b'O' => " (this looks like HTTP: that is another port)",
        0x06 | 0x08 => " (encrypted RTMPE is not supported)",
        _ => "",
    }
}
