//! A USB video grabber as a state machine: what an MS2109 says it is, made small enough for an
//! emulated machine: USB Video Class 1.0, YUY2, 320 by 240, by bulk transfers. Pure.

use std::collections::VecDeque;

use super::usbredir::{Bulk, Control, Packet, Status};

/// Pixels per row.
pub const WIDTH: u16 = 320;
/// Rows.
pub const HEIGHT: u16 = 240;
/// Pictures per second.
pub const RATE: u32 = 10;

const FRAME: usize = WIDTH as usize * HEIGHT as usize * 2;
/// Frame interval in units of 100 ns.
const INTERVAL: u32 = 10_000_000 / RATE;
/// Most bytes of one payload, its header included.
const PAYLOAD: u32 = 16384;
const CLOCK: u32 = 48_000_000;
const VENDOR: u16 = 0x534d;
const PRODUCT: u16 = 0x2109;
const VERSION: u16 = 0x2100;
/// The endpoint that pictures come from.
const PICTURES: u8 = 0x81;
const NAMES: [&str; 2] = ["MACROSILICON", "Backrow test grabber"];

/// The device.
#[derive(Debug, Default)]
pub struct Camera {
    /// Pictures given completely.
    pub frames: u64,
    given: usize,
    toggle: bool,
    waiting: VecDeque<(u64, Bulk)>,
}

impl Camera {
    /// What is said when it is plugged in, in this order.
    pub fn plugged() -> Vec<Packet> {
        let mut packets = tables();
        packets.push(Packet::Connect([2, 0xef, 2, 1], [VENDOR, PRODUCT, VERSION]));
        packets
    }

    /// What is answered at once. Requests for pictures wait for [`Camera::give`].
    pub fn take(&mut self, id: u64, packet: Packet) -> Vec<(u64, Packet)> {
        let ok = Status::Success as u8;
        match packet {
            Packet::Control(request) => vec![(id, Packet::Control(answer(request)))],
            Packet::Bulk(request) if request.endpoint == PICTURES => {
                self.waiting.push_back((id, request));
                Vec::new()
            }
            Packet::Bulk(request) => vec![(id, Packet::Bulk(ended(request, Status::Stall)))],
            Packet::SetConfiguration(number) => {
                let mut packets: Vec<_> = tables().into_iter().map(|packet| (0, packet)).collect();
                packets.push((id, Packet::ConfigurationStatus(ok, number)));
                packets
            }
            Packet::GetConfiguration => vec![(id, Packet::ConfigurationStatus(ok, 1))],
            Packet::SetAlternate(interface, setting) => {
                vec![(id, Packet::AlternateStatus(ok, interface, setting))]
            }
            Packet::GetAlternate(interface) => {
                vec![(id, Packet::AlternateStatus(ok, interface, 0))]
            }
            // Only what is still waiting can be taken back; all else has its answer on the way.
            Packet::Cancel => match self.waiting.iter().position(|(waiting, _)| *waiting == id) {
                Some(place) => self.waiting.remove(place).map_or_else(Vec::new, |(id, request)| {
                    vec![(id, Packet::Bulk(ended(request, Status::Cancelled)))]
                }),
                None => Vec::new(),
            },
            Packet::Reset => {
                self.given = 0;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Whether the guest waits for pictures.
    pub fn wanted(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the next piece begins a picture.
    pub fn at_start(&self) -> bool {
        self.given == 0
    }

    /// Forgets everything that the guest asked for: the plug is pulled.
    pub fn pull(&mut self) {
        self.waiting.clear();
        self.given = 0;
    }

    /// Answers the oldest request with the next piece of picture.
    pub fn give(&mut self) -> Option<(u64, Packet)> {
        let (id, request) = self.waiting.pop_front()?;
        let room = request.length.min(PAYLOAD).saturating_sub(2) as usize;
        let piece = room.min(FRAME - self.given);
        let last = self.given + piece == FRAME;
        // Header length, then: end of header, end of frame, frame identifier.
        let flags = 0x80 | if last { 2 } else { 0 } | u8::from(self.toggle);
        let mut data = vec![2, flags];
        data.extend((self.given..self.given + piece).map(|at| sample(at, self.frames)));
        self.given += piece;
        if last {
            self.given = 0;
            self.toggle = !self.toggle;
            self.frames += 1;
        }
        let length = u32::try_from(data.len()).unwrap_or_default();
        let status = Status::Success as u8;
        Some((id, Packet::Bulk(Bulk { status, length, data, ..request })))
    }
}

/// One byte of a picture: a light third, a third that moves, and a dark third, in grey.
fn sample(at: usize, frame: u64) -> u8 {
    if at % 2 == 1 {
        return 128;
    }
    let column = at / 2 % usize::from(WIDTH);
    match column * 3 / usize::from(WIDTH) {
        0 => 200,
        1 => ((column as u64 * 2 + frame * 9) & 0x7f) as u8 + 64,
        _ => 40,
    }
}

fn ended(request: Bulk, status: Status) -> Bulk {
    Bulk { status: status as u8, length: 0, data: Vec::new(), ..request }
}

fn tables() -> Vec<Packet> {
    vec![
        Packet::Interfaces(vec![[0x0e, 1, 0], [0x0e, 2, 0]]),
        Packet::Endpoints(vec![(0, 0, 0, 64), (0x80, 0, 0, 64), (PICTURES, 2, 1, 512)]),
    ]
}

fn answer(request: Control) -> Control {
    let out = request.kind & 0x80 == 0;
    let data = match (request.kind, request.request) {
        (0x80, 6) => descriptor(request.value),
        (0x80, 0) => Some(vec![0, 0]),
        // Requests to the streaming interface: probe and commit.
        (0xa1, get) if request.index & 0xff == 1 => setting(get),
        (0x00 | 0x01 | 0x02 | 0x21, _) => Some(Vec::new()),
        _ => None,
    };
    let Some(mut data) = data else {
        return Control { status: Status::Stall as u8, length: 0, data: Vec::new(), ..request };
    };
    data.truncate(request.length.into());
    let length = if out { request.length } else { u16::try_from(data.len()).unwrap_or_default() };
    Control { status: Status::Success as u8, length, data, ..request }
}

/// What the class-specific request gives: current, least, greatest and default are all the same.
fn setting(request: u8) -> Option<Vec<u8>> {
    let mut probe = Vec::new();
    probe.extend(1u16.to_le_bytes()); // the interval is fixed
    probe.extend([1, 1]); // format, frame
    probe.extend(INTERVAL.to_le_bytes());
    probe.extend([0; 10]); // key frames, quality, window, delay
    probe.extend(u32::try_from(FRAME).unwrap_or_default().to_le_bytes());
    probe.extend(PAYLOAD.to_le_bytes());
    match request {
        0x81..=0x84 | 0x87 => Some(probe),
        0x85 => Some(u16::try_from(probe.len()).unwrap_or_default().to_le_bytes().to_vec()),
        0x86 => Some(vec![3]),
        _ => None,
    }
}

fn descriptor(value: u16) -> Option<Vec<u8>> {
    let [number, kind] = value.to_le_bytes();
    match (kind, number) {
        (1, _) => Some(device()),
        (2, _) => Some(configuration()),
        (3, 0) => Some(vec![4, 3, 9, 4]),
        (3, number) => {
            let name = NAMES.get(usize::from(number) - 1)?;
            let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            Some([vec![u8::try_from(text.len() + 2).ok()?, 3], text].concat())
        }
        _ => None,
    }
}

fn device() -> Vec<u8> {
    // Length, type, USB 2.0, class "several interfaces", packet size of endpoint 0.
    let mut bytes = vec![18, 1, 0, 2, 0xef, 2, 1, 64];
    bytes.extend([VENDOR, PRODUCT, VERSION].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend([1, 2, 0, 1]); // names of maker and product, no serial number, one configuration
    bytes
}

fn configuration() -> Vec<u8> {
    let input = [17, 0x24, 2, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0];
    let output = [9, 0x24, 3, 2, 1, 1, 0, 1, 0];
    let mut control = vec![13, 0x24, 1, 0, 1];
    control
        .extend(u16::try_from(13 + input.len() + output.len()).unwrap_or_default().to_le_bytes());
    control.extend(CLOCK.to_le_bytes());
    control.extend([1, 1]);

    // Uncompressed, one frame size, "YUY2" as a GUID, 16 bits per pixel, the first is the default.
    let mut format = vec![27, 0x24, 4, 1, 1];
    format.extend(b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71");
    format.extend([16, 1, 0, 0, 0, 0]);
    let bytes = u32::try_from(FRAME).unwrap_or_default();
    let mut frame = vec![30, 0x24, 5, 1, 0];
    frame.extend([WIDTH, HEIGHT].iter().flat_map(|side| side.to_le_bytes()));
    let bits = bytes * 8 * RATE;
    frame.extend([bits, bits, bytes, INTERVAL].iter().flat_map(|word| word.to_le_bytes()));
    frame.push(1);
    frame.extend(INTERVAL.to_le_bytes());
    let mut streaming = vec![14, 0x24, 1, 1];
    streaming
        .extend(u16::try_from(14 + format.len() + frame.len()).unwrap_or_default().to_le_bytes());
    streaming.extend([PICTURES, 0, 2, 0, 0, 0, 1, 0]);

    let body = [
        vec![8, 11, 0, 2, 0x0e, 3, 0, 0],   // two interfaces belong together
        vec![9, 4, 0, 0, 0, 0x0e, 1, 0, 0], // the control interface
        control,
        input.to_vec(),
        output.to_vec(),
        vec![9, 4, 1, 0, 1, 0x0e, 2, 0, 0], // the streaming interface
        streaming,
        format,
        frame,
        vec![7, 5, PICTURES, 2, 0, 2, 0], // its endpoint: bulk, 512 bytes
    ]
    .concat();
    let mut bytes = vec![9, 2];
    bytes.extend(u16::try_from(9 + body.len()).unwrap_or_default().to_le_bytes());
    bytes.extend([2, 1, 0, 0x80, 250]);
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(value: u16, length: u16) -> Control {
        let zero = Control {
            endpoint: 0x80,
            request: 6,
            kind: 0x80,
            status: 0,
            value,
            index: 0,
            length,
            data: Vec::new(),
        };
        answer(zero)
    }

    #[test]
    fn descriptors_are_as_long_as_they_say() {
        let all = get(0x0200, 1000).data;
        assert_eq!(u16::from_le_bytes([all[2], all[3]]) as usize, all.len());
        let mut at = 0;
        while at < all.len() {
            assert!(all[at] > 0, "a descriptor of no length at {at}");
            at += usize::from(all[at]);
        }
        assert_eq!(at, all.len());
        assert_eq!(get(0x0100, 8).data.len(), 8);
        assert_eq!(get(0x0302, 255).data[2], b'B');
        assert_eq!(get(0x0309, 255).status, Status::Stall as u8);
    }

    #[test]
    fn a_picture_comes_in_pieces_and_the_last_says_so() {
        let mut camera = Camera::default();
        let request = Bulk { endpoint: 0x81, status: 0, length: PAYLOAD, stream: 0, data: vec![] };
        let mut pixels = 0;
        for id in 0..10 {
            assert_eq!(camera.take(id, Packet::Bulk(request.clone())), []);
            let Some((given, Packet::Bulk(piece))) = camera.give() else { panic!("no piece") };
            assert_eq!(given, id);
            assert_eq!(piece.data.len(), piece.length as usize);
            assert_eq!(piece.data[1], if id == 9 { 0x82 } else { 0x80 });
            pixels += piece.data.len() - 2;
        }
        assert_eq!((pixels, camera.frames, camera.at_start()), (FRAME, 1, true));
        assert_eq!(camera.give(), None);
    }

    #[test]
    fn only_what_waits_can_be_taken_back() {
        let mut camera = Camera::default();
        let request = Bulk { endpoint: 0x81, status: 0, length: 512, stream: 0, data: vec![] };
        camera.take(5, Packet::Bulk(request));
        assert_eq!(camera.take(4, Packet::Cancel), []);
        let [(5, Packet::Bulk(taken))] = &camera.take(5, Packet::Cancel)[..] else {
            panic!("nothing was taken back")
        };
        assert_eq!(taken.status, Status::Cancelled as u8);
        assert!(!camera.wanted());
    }
}
