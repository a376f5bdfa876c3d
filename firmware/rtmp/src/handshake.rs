//! The simple handshake (RTMP 5.2): three fixed-size packets each way, answered by echo.
//!
//! ```text
//! client:  C0 C1 ────────▶          ◀──────── S0 S1 S2  :server
//!          C2    ────────▶
//! ```

use bytes::{BufMut, BytesMut};

use crate::Error;

/// RTMP's version byte (RTMP 5.2.2).
const VERSION: u8 = 3;
/// Bytes of C1, S1, C2 and S2 (RTMP 5.2.3, 5.2.4).
const PACKET: usize = 1536;

/// One end of the handshake.
#[derive(Debug)]
pub(crate) enum Handshake {
    /// Server: waits for C0 and C1.
    ServerHello,
    /// Server: waits for C2.
    ServerEcho,
    /// Client: waits for S0, S1 and S2.
    Client,
    /// Chunks follow.
    Done,
}

impl Handshake {
    /// A server's end.
    pub(crate) fn server() -> Self {
        Self::ServerHello
    }

    /// A client's end; writes C0 and C1.
    pub(crate) fn client(out: &mut BytesMut) -> Self {
        out.put_u8(VERSION);
        put_own_packet(out);
        Self::Client
    }

    /// Takes what it can from `input`; true once the handshake is over.
    pub(crate) fn advance(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<bool, Error> {
        loop {
            let need = match self {
                Self::ServerHello => 1 + PACKET,
                Self::ServerEcho => PACKET,
                Self::Client => 1 + 2 * PACKET,
                Self::Done => return Ok(true),
            };
            if matches!(self, Self::ServerHello | Self::Client)
                && let Some(&first) = input.first()
                && first != VERSION
            {
                return Err(Error::NotRtmp { first });
            }
            if input.len() < need {
                return Ok(false);
            }
            let packet = input.split_to(need);
            // The peer's own packet comes after the version byte and goes back as it came.
            let theirs = packet.get(1..=PACKET).unwrap_or_default();
            *self = match self {
                Self::ServerHello => {
                    out.put_u8(VERSION);
                    put_own_packet(out);
                    out.put_slice(theirs);
                    Self::ServerEcho
                }
                Self::Client => {
                    out.put_slice(theirs);
                    Self::Done
                }
                // C2's content is not checked: librtmp and others have sent odd echoes for years.
                Self::ServerEcho | Self::Done => Self::Done,
            };
        }
    }
}

/// Time 0, zero, and a filler that "should distinguish" the two ends (RTMP 5.2.3); nothing is
/// secret here, so a fixed pattern does and keeps the end a pure function of its input.
fn put_own_packet(out: &mut BytesMut) {
    out.put_bytes(0, 8);
    out.extend((0..PACKET - 8).map(|i| (i.wrapping_mul(167) >> 2) as u8));
}
