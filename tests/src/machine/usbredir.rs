//! The USB redirection protocol (version 0.7), as far as a plugged-in camera needs it. Pure.
//!
//! Every packet is a header (type, length, id, all little-endian) and a body. Both sides begin with
//! a hello that lists what they can do; what both can do changes the form of later packets: ids of
//! 64 bits, and lengths of 32 bits in bulk packets. We are the side with the device ("usb-host").

use std::fmt;

/// What we can do, as bits of the hello: a version in the connect packet (1), the disconnect
/// acknowledged (3), packet sizes of endpoints (4), ids of 64 bits (5), long bulk transfers (6).
/// xHCI wants all of them.
pub const CAPABILITIES: u32 = 1 << 1 | 1 << 3 | 1 << 4 | WIDE_IDS | LONG_BULK;
const WIDE_IDS: u32 = 1 << 5;
const LONG_BULK: u32 = 1 << 6;
/// No packet of a camera is longer.
const LONGEST: usize = 1 << 20;

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It is done.
    Success = 0,
    /// The guest took it back.
    Cancelled = 1,
    /// The device does not know that request.
    Stall = 4,
}

/// A control transfer, or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The endpoint, with 0x80 for "to the host".
    pub endpoint: u8,
    /// `bRequest`.
    pub request: u8,
    /// `bmRequestType`.
    pub kind: u8,
    /// How it ended; 0 in a request.
    pub status: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// `wLength`.
    pub length: u16,
    /// What is carried.
    pub data: Vec<u8>,
}

/// A bulk transfer, or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// The endpoint, with 0x80 for "to the host".
    pub endpoint: u8,
    /// How it ended; 0 in a request.
    pub status: u8,
    /// How many bytes are wanted, or there.
    pub length: u32,
    /// 0 before USB 3.
    pub stream: u32,
    /// What is carried.
    pub data: Vec<u8>,
}

/// A packet's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Who speaks, and what it can do.
    Hello(String, u32),
    /// The device is plugged in: speed, class, subclass, protocol; vendor, product, version.
    Connect([u8; 4], [u16; 3]),
    /// It is pulled.
    Disconnect,
    /// The guest resets it.
    Reset,
    /// Class, subclass and protocol of its interfaces.
    Interfaces(Vec<[u8; 3]>),
    /// For each endpoint: address, type, interface, packet size.
    Endpoints(Vec<(u8, u8, u8, u16)>),
    /// The guest chooses a configuration.
    SetConfiguration(u8),
    /// The guest asks which it is.
    GetConfiguration,
    /// Status, and the configuration there is now.
    ConfigurationStatus(u8, u8),
    /// The guest chooses for an interface an alternate setting.
    SetAlternate(u8, u8),
    /// The guest asks for an interface's.
    GetAlternate(u8),
    /// Status, interface, setting.
    AlternateStatus(u8, u8, u8),
    /// The guest takes back the transfer with this packet's id.
    Cancel,
    /// The guest has seen the device go.
    DisconnectSeen,
    /// A control transfer.
    Control(Control),
    /// A bulk transfer.
    Bulk(Bulk),
    /// Any other: its type.
    Other(u32),
}

/// Why bytes are no packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usbredir: {}", self.0)
    }
}

/// The form that both sides have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    wide_ids: bool,
    long_bulk: bool,
}

impl Form {
    /// What holds once the other side has said what it can do.
    pub fn agreed(theirs: u32) -> Self {
        let both = theirs & CAPABILITIES;
        Self { wide_ids: both & WIDE_IDS != 0, long_bulk: both & LONG_BULK != 0 }
    }

    fn header(self) -> usize {
        if self.wide_ids { 16 } else { 12 }
    }
}

/// Cuts a stream of bytes into packets, and takes up the form that a hello agrees on.
#[derive(Debug, Default)]
pub struct Decoder {
    form: Form,
    buffer: Vec<u8>,
}

impl Decoder {
    /// The form now in force.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Takes in some bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet and its id.
    ///
    /// # Errors
    /// [`Malformed`] when the other side does not speak this protocol.
    pub fn packet(&mut self) -> Result<Option<(u64, Packet)>, Malformed> {
        let header = self.form.header();
        if self.buffer.len() < header {
            return Ok(None);
        }
        let mut head = Reader(&self.buffer[..header]);
        let (kind, length) = (head.u32()?, head.u32()? as usize);
        let id = if self.form.wide_ids { head.u64()? } else { head.u32()?.into() };
        if length > LONGEST {
            return Err(Malformed(format!("a packet of {length} bytes")));
        }
        if self.buffer.len() < header + length {
            return Ok(None);
        }
        let packet = body(kind, Reader(&self.buffer[header..header + length]), self.form)?;
        self.buffer.drain(..header + length);
        if let Packet::Hello(_, theirs) = &packet {
            self.form = Form::agreed(*theirs);
        }
        Ok(Some((id, packet)))
    }
}

fn body(kind: u32, mut body: Reader<'_>, form: Form) -> Result<Packet, Malformed> {
    Ok(match kind {
        0 => {
            let name: Vec<u8> =
                body.take(64)?.iter().copied().take_while(|byte| *byte != 0).collect();
            let capabilities = if body.0.is_empty() { 0 } else { body.u32()? };
            Packet::Hello(String::from_utf8_lossy(&name).into_owned(), capabilities)
        }
        1 => Packet::Connect(
            [body.u8()?, body.u8()?, body.u8()?, body.u8()?],
            [body.u16()?, body.u16()?, body.u16()?],
        ),
        2 => Packet::Disconnect,
        3 => Packet::Reset,
        6 => Packet::SetConfiguration(body.u8()?),
        7 => Packet::GetConfiguration,
        8 => Packet::ConfigurationStatus(body.u8()?, body.u8()?),
        9 => Packet::SetAlternate(body.u8()?, body.u8()?),
        10 => Packet::GetAlternate(body.u8()?),
        11 => Packet::AlternateStatus(body.u8()?, body.u8()?, body.u8()?),
        21 => Packet::Cancel,
        24 => Packet::DisconnectSeen,
        100 => Packet::Control(Control {
            endpoint: body.u8()?,
            request: body.u8()?,
            kind: body.u8()?,
            status: body.u8()?,
            value: body.u16()?,
            index: body.u16()?,
            length: body.u16()?,
            data: body.rest(),
        }),
        101 => {
            let (endpoint, status, low, stream) =
                (body.u8()?, body.u8()?, body.u16()?, body.u32()?);
            let high = if form.long_bulk { body.u16()? } else { 0 };
            let length = u32::from(high) << 16 | u32::from(low);
            Packet::Bulk(Bulk { endpoint, status, length, stream, data: body.rest() })
        }
        other => Packet::Other(other),
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| Malformed("a packet is shorter than its type wants".to_owned()))?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }
}

/// The bytes of a packet. A hello always has the form from before any agreement.
///
/// # Panics
/// For [`Packet::Other`], which nobody sends.
pub fn encode(id: u64, packet: &Packet, form: Form) -> Vec<u8> {
    let mut body = Vec::new();
    let kind: u32 = match packet {
        Packet::Hello(name, capabilities) => {
            body.extend(name.bytes().chain(std::iter::repeat(0)).take(64));
            body.extend(capabilities.to_le_bytes());
            0
        }
        Packet::Connect(bytes, words) => {
            body.extend(bytes);
            body.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            1
        }
        Packet::Disconnect => 2,
        Packet::Reset => 3,
        Packet::Interfaces(interfaces) => {
            body.extend(u32::try_from(interfaces.len()).unwrap().to_le_bytes());
            let numbers: Vec<u8> = (0u8..).take(interfaces.len()).collect();
            let column = |at: usize| interfaces.iter().map(move |classes| classes[at]).collect();
            for column in [numbers, column(0), column(1), column(2)] {
                body.extend(column.into_iter().chain(std::iter::repeat(0)).take(32));
            }
            4
        }
        Packet::Endpoints(endpoints) => {
            let (mut types, mut interfaces, mut sizes) = ([255; 32], [0; 32], [0u16; 32]);
            for (address, kind, interface, size) in endpoints {
                let place = usize::from(address & 0x0f) + if address & 0x80 == 0 { 0 } else { 16 };
                (types[place], interfaces[place], sizes[place]) = (*kind, *interface, *size);
            }
            body.extend(types);
            body.extend([0; 32]);
            body.extend(interfaces);
            body.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
            5
        }
        Packet::SetConfiguration(configuration) => {
            body.push(*configuration);
            6
        }
        Packet::GetConfiguration => 7,
        Packet::ConfigurationStatus(status, configuration) => {
            body.extend([*status, *configuration]);
            8
        }
        Packet::SetAlternate(interface, setting) => {
            body.extend([*interface, *setting]);
            9
        }
        Packet::GetAlternate(interface) => {
            body.push(*interface);
            10
        }
        Packet::AlternateStatus(status, interface, setting) => {
            body.extend([*status, *interface, *setting]);
            11
        }
        Packet::Cancel => 21,
        Packet::DisconnectSeen => 24,
        Packet::Control(it) => {
            body.extend([it.endpoint, it.request, it.kind, it.status]);
            body.extend([it.value, it.index, it.length].iter().flat_map(|word| word.to_le_bytes()));
            body.extend(&it.data);
            100
        }
        Packet::Bulk(it) => {
            let [a, b, c, d] = it.length.to_le_bytes();
            body.extend([it.endpoint, it.status, a, b]);
            body.extend(it.stream.to_le_bytes());
            body.extend(form.long_bulk.then_some([c, d]).into_iter().flatten());
            body.extend(&it.data);
            101
        }
        Packet::Other(kind) => panic!("a packet of type {kind} is not ours to send"),
    };
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    let wide = form.wide_ids && kind != 0;
    bytes.extend(&id.to_le_bytes()[..if wide { 8 } else { 4 }]);
    bytes.extend(body);
    bytes
}

#[cfg(test)]
#[path = "usbredir_tests.rs"]
mod tests;
