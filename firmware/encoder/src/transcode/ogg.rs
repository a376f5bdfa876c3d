//! Ogg Opus for live listening (RFC 3533 and RFC 7845): header pages once, then pages that each
//! hold whole packets, so that a listener may start at any page. Packets in, pages out; no I/O.

use bytes::{BufMut, Bytes, BytesMut};

/// Samples per ms at Opus's clock of 48 kHz.
const PER_MS: u64 = 48;
/// How far the sum of packets may part from their times before the times win, in samples (60 ms).
const TOLERANCE: u64 = 60 * PER_MS;
const FIRST_PAGE: u8 = 2;
const MAX_LACING: usize = 255;

/// A page of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Time of its first packet, ms.
    pub ts_ms: u64,
    /// The bytes.
    pub data: Bytes,
}

/// Writes one logical stream.
#[derive(Debug)]
pub(crate) struct OggOpus {
    serial: u32,
    sequence: u32,
    pre_skip: u64,
    /// Granule position at the end of what has been written and gathered, without pre-skip.
    position: Option<u64>,
    page_ms: u64,
    lacing: Vec<u8>,
    body: BytesMut,
    started_ms: u64,
}

/// Duration of a packet in samples at 48 kHz (RFC 6716, section 3.1); 0 for one that is no Opus.
pub(crate) fn packet_samples(packet: &[u8]) -> u64 {
    let Some(toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1).map_or(0, |b| b & 0x3f)),
    };
    frame * frames
}

impl OggOpus {
    /// `serial` tells this stream from the one before it, `page_ms` is how much sound a page holds.
    pub(crate) fn new(serial: u32, pre_skip: u16, page_ms: u64) -> Self {
        Self {
            serial,
            sequence: 0,
            pre_skip: pre_skip.into(),
            position: None,
            page_ms,
            lacing: Vec::new(),
            body: BytesMut::new(),
            started_ms: 0,
        }
    }

    /// The two header pages; `head` is the encoder's `OpusHead`.
    pub(crate) fn header(&mut self, head: &[u8]) -> Bytes {
        let mut tags = BytesMut::new();
        tags.put_slice(b"OpusTags");
        tags.put_u32_le(7);
        tags.put_slice(b"Backrow");
        tags.put_u32_le(0);
        let mut out = BytesMut::new();
        for (flags, packet) in [(FIRST_PAGE, head), (0, &tags[..])] {
            self.add(packet);
            out.put(self.page(flags, 0));
        }
        out.freeze()
    }

    /// Adds a packet; gives a page when enough has gathered.
    pub(crate) fn packet(&mut self, ts_ms: u64, packet: &[u8]) -> Option<Page> {
        let samples = packet_samples(packet);
        if samples == 0 || packet.len() >= MAX_LACING * MAX_LACING {
            return None;
        }
        let want = ts_ms.saturating_mul(PER_MS);
        let start = self.position.filter(|at| at.abs_diff(want) <= TOLERANCE);
        let needed = packet.len() / MAX_LACING + 1;
        let full = self.lacing.len() + needed > MAX_LACING;
        // What was gathered before a jump ends where it ended.
        let before =
            if (start.is_none() || full) && !self.lacing.is_empty() { self.flush() } else { None };
        if self.lacing.is_empty() {
            self.started_ms = ts_ms;
        }
        self.add(packet);
        self.position = Some(start.unwrap_or(want).saturating_add(samples));
        if before.is_some() {
            return before;
        }
        (ts_ms.saturating_sub(self.started_ms) + samples / PER_MS >= self.page_ms)
            .then(|| self.flush())
            .flatten()
    }

    /// The page begun, if any packet is in it.
    pub(crate) fn flush(&mut self) -> Option<Page> {
        if self.lacing.is_empty() {
            return None;
        }
        let granule = self.position.unwrap_or(0).saturating_add(self.pre_skip);
        Some(Page { ts_ms: self.started_ms, data: self.page(0, granule) })
    }

    fn add(&mut self, packet: &[u8]) {
        let whole = packet.len() / MAX_LACING;
        self.lacing.extend(std::iter::repeat_n(255, whole));
        self.lacing.push((packet.len() % MAX_LACING) as u8);
        self.body.put_slice(packet);
    }

    fn page(&mut self, flags: u8, granule: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(27 + self.lacing.len() + self.body.len());
        out.put_slice(b"OggS\0");
        out.put_u8(flags);
        out.put_u64_le(granule);
        out.put_u32_le(self.serial);
        out.put_u32_le(self.sequence);
        out.put_u32_le(0);
        out.put_u8(u8::try_from(self.lacing.len()).unwrap_or(u8::MAX));
        out.put_slice(&self.lacing);
        out.put_slice(&self.body);
        let crc = crc(&out).to_le_bytes();
        if let Some(field) = out.get_mut(22..26) {
            field.copy_from_slice(&crc);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.lacing.clear();
        self.body.clear();
        out.freeze()
    }
}

/// Ogg's checksum: polynomial 0x04c11db7, not reflected, from 0 (RFC 3533, section 6).
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut r = (i as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            r = if r & 0x8000_0000 != 0 { (r << 1) ^ 0x04c1_1db7 } else { r << 1 };
            bit += 1;
        }
        table[i] = r;
        i += 1;
    }
    table
};

fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, b| {
        let index = ((crc >> 24) as u8) ^ b;
        (crc << 8) ^ CRC_TABLE[usize::from(index)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A 20 ms stereo packet (CELT, fullband) of `len` bytes.
    fn packet(len: usize) -> Vec<u8> {
        let mut p = vec![7; len];
        p[0] = 0xfc;
        p
    }

    fn granule(page: &[u8]) -> u64 {
        u64::from_le_bytes(page[6..14].try_into().unwrap())
    }

    #[test]
    fn durations() {
        assert_eq!(packet_samples(&[0xfc]), 960);
        assert_eq!(packet_samples(&[0xfb, 3]), 2880);
        assert_eq!(packet_samples(&[0x08]), 960);
        assert_eq!(packet_samples(&[]), 0);
    }

    #[test]
    fn the_checksum_is_oggs() {
        // From the CRC catalogue: CRC-32/MPEG-2's polynomial with init 0 gives this for "123456789".
        assert_eq!(crc(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn pages_hold_whole_packets_and_end_at_room_time() {
        let mut ogg = OggOpus::new(9, 312, 100);
        let header = ogg.header(b"OpusHead");
        assert!(header.starts_with(b"OggS\0\x02"));
        let mut pages = Vec::new();
        for i in 0..10 {
            pages.extend(ogg.packet(1000 + i * 20, &packet(300)));
        }
        assert_eq!(pages.len(), 2);
        assert_eq!(pages[0].ts_ms, 1000);
        assert_eq!(granule(&pages[0].data), 1100 * 48 + 312);
        assert_eq!(pages[1].ts_ms, 1100);
        assert_eq!(pages[0].data.len(), 27 + 10 + 5 * 300);
    }

    #[test]
    fn jitter_is_smoothed_and_a_jump_is_followed() {
        let mut ogg = OggOpus::new(1, 0, 40);
        assert_eq!(ogg.packet(0, &packet(10)), None);
        let page = ogg.packet(23, &packet(10)).unwrap();
        assert_eq!(granule(&page.data), 1920);
        assert_eq!(ogg.packet(40, &packet(10)), None);
        let before = ogg.packet(5000, &packet(10)).unwrap();
        assert_eq!((before.ts_ms, granule(&before.data)), (40, 2880));
        let after = ogg.flush().unwrap();
        assert_eq!((after.ts_ms, granule(&after.data)), (5000, 5020 * 48));
        assert_eq!(ogg.flush(), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_panics(packets in prop::collection::vec((any::<u64>(), 0usize..4000), 0..60)) {
            let mut ogg = OggOpus::new(1, 312, 200);
            let (mut given, mut bytes) = (0, 0);
            for (ts, len) in packets {
                let data = packet(len.max(1));
                given += data.len();
                let page = ogg.packet(ts, &data);
                bytes += page.map_or(0, |p| p.data.len() - 27 - usize::from(p.data[26]));
            }
            let last = ogg.flush();
            bytes += last.map_or(0, |p| p.data.len() - 27 - usize::from(p.data[26]));
            prop_assert_eq!(bytes, given);
        }
    }
}
