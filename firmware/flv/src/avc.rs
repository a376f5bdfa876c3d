//! H.264 in FLV: the decoder configuration (avcC, ISO/IEC 14496-15, 5.3.3.1) and the two ways to
//! divide an access unit into NAL units: start codes (Annex B of H.264) and length prefixes.

use bytes::{BufMut, Bytes, BytesMut};
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, ByteReader};

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_AUD: u8 = 9;
/// No encoder makes bigger parameter sets; the field would hold 65535 bytes.
const MAX_DIMENSION: u32 = 16_384;

/// Why H.264 data cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AvcError {
    /// The configuration ends before its last field.
    #[error("the H.264 configuration of {size} bytes is too short")]
    Short {
        /// Its length.
        size: usize,
    },
    /// Not version 1.
    #[error("the H.264 configuration has version {0}, not 1")]
    Version(u8),
    /// There is no sequence parameter set, or no picture parameter set.
    #[error("the H.264 configuration has no {0}")]
    Missing(&'static str),
    /// The sequence parameter set cannot be read.
    #[error("the H.264 sequence parameter set is broken: {0}")]
    Sps(String),
    /// A NAL unit's length prefix reaches beyond the access unit.
    #[error("a NAL unit at byte {at} says it is {size} bytes long, {left} are left")]
    Nal {
        /// Where the NAL unit starts.
        at: usize,
        /// Its length prefix.
        size: usize,
        /// Bytes left.
        left: usize,
    },
}

/// A parsed AVCDecoderConfigurationRecord.
#[derive(Debug, Clone, PartialEq)]
pub struct AvcConfig {
    /// profile_idc.
    pub profile: u8,
    /// Constraint flags.
    pub compat: u8,
    /// level_idc, ten times the level.
    pub level: u8,
    /// Pixels, after cropping.
    pub width: u32,
    /// Pixels, after cropping.
    pub height: u32,
    /// Pixel width and height, when the stream says so and they differ.
    pub pixel_aspect: Option<(u16, u16)>,
    /// Frames per second, when the stream says so.
    pub framerate: Option<f64>,
    /// Bytes in a NAL unit's length prefix: 1, 2 or 4.
    pub length_size: usize,
    /// Sequence parameter sets, each a whole NAL unit.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, each a whole NAL unit.
    pub pps: Vec<Bytes>,
    /// The record as it came.
    pub bytes: Bytes,
}

impl AvcConfig {
    /// Reads the payload of an AVC sequence header.
    ///
    /// # Errors
    /// Any [`AvcError`] but `Nal`.
    pub fn parse(data: &[u8]) -> Result<Self, AvcError> {
        let short = || AvcError::Short { size: data.len() };
        let [version, profile, compat, level, lengths, sps_count, rest @ ..] = data else {
            return Err(short());
        };
        if *version != 1 {
            return Err(AvcError::Version(*version));
        }
        let mut rest = rest;
        let sps = sets(&mut rest, sps_count & 0x1f).ok_or_else(short)?;
        let (pps_count, after) = rest.split_first().ok_or_else(short)?;
        rest = after;
        let pps = sets(&mut rest, *pps_count).ok_or_else(short)?;
        let first = sps.first().ok_or(AvcError::Missing("sequence parameter set"))?;
        if pps.is_empty() {
            return Err(AvcError::Missing("picture parameter set"));
        }
        let seen = Seen::read(first)?;
        Ok(Self {
            profile: *profile,
            compat: *compat,
            level: *level,
            width: seen.width,
            height: seen.height,
            pixel_aspect: seen.pixel_aspect,
            framerate: seen.framerate,
            length_size: usize::from(lengths & 3) + 1,
            sps,
            pps,
            bytes: Bytes::copy_from_slice(data),
        })
    }

    /// RFC 6381 codec name, such as `avc1.64001f`.
    pub fn codec_string(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.profile, self.compat, self.level)
    }
}

/// Builds an avcC record for 4-byte length prefixes from whole SPS and PPS NAL units.
///
/// # Errors
/// [`AvcError::Missing`], [`AvcError::Short`], [`AvcError::Sps`].
pub fn build_config(sps: &[u8], pps: &[u8]) -> Result<Bytes, AvcError> {
    let &[_, profile, compat, level, ..] = sps else {
        return Err(AvcError::Missing("sequence parameter set"));
    };
    if pps.is_empty() {
        return Err(AvcError::Missing("picture parameter set"));
    }
    let (Ok(sps_len), Ok(pps_len)) = (u16::try_from(sps.len()), u16::try_from(pps.len())) else {
        return Err(AvcError::Sps("longer than 65535 bytes".into()));
    };
    let seen = Seen::read(sps)?;
    let mut out = BytesMut::with_capacity(15 + sps.len() + pps.len());
    out.put_slice(&[1, profile, compat, level, 0xff, 0xe1]);
    out.put_u16(sps_len);
    out.put_slice(sps);
    out.put_u8(1);
    out.put_u16(pps_len);
    out.put_slice(pps);
    if matches!(profile, 100 | 110 | 122 | 144) {
        let [chroma, luma_depth, chroma_depth] = seen.formats;
        out.put_slice(&[0xfc | chroma, 0xf8 | luma_depth, 0xf8 | chroma_depth, 0]);
    }
    Ok(out.freeze())
}

/// What is wanted from a sequence parameter set.
struct Seen {
    width: u32,
    height: u32,
    pixel_aspect: Option<(u16, u16)>,
    framerate: Option<f64>,
    /// chroma_format_idc, bit_depth_luma_minus8, bit_depth_chroma_minus8.
    formats: [u8; 3],
}

impl Seen {
    fn read(sps: &[u8]) -> Result<Self, AvcError> {
        let broken = |what: String| AvcError::Sps(what);
        if sps.first().is_none_or(|head| head & 0x1f != NAL_SPS) {
            return Err(broken("it is another kind of NAL unit".into()));
        }
        let bits = BitReader::new(ByteReader::skipping_h264_header(sps));
        let sps = SeqParameterSet::from_bits(bits).map_err(|e| broken(format!("{e:?}")))?;
        let (width, height) = sps.pixel_dimensions().map_err(|e| broken(format!("{e:?}")))?;
        if !(1..=MAX_DIMENSION).contains(&width) || !(1..=MAX_DIMENSION).contains(&height) {
            return Err(broken(format!("a picture of {width}x{height}")));
        }
        let vui = sps.vui_parameters.as_ref();
        let pixel_aspect = vui
            .and_then(|vui| vui.aspect_ratio_info.as_ref())
            .and_then(|aspect| aspect.get())
            .filter(|&(w, h)| w != h && w > 0 && h > 0);
        let framerate = vui
            .and_then(|vui| vui.timing_info.as_ref())
            .filter(|timing| timing.num_units_in_tick > 0)
            .map(|t| f64::from(t.time_scale) / (2.0 * f64::from(t.num_units_in_tick)))
            .filter(|fps| (0.1..=1000.0).contains(fps));
        let chroma = &sps.chroma_info;
        let formats = [
            chroma.chroma_format.to_u32() as u8 & 3,
            chroma.bit_depth_luma_minus8 & 7,
            chroma.bit_depth_chroma_minus8 & 7,
        ];
        Ok(Self { width, height, pixel_aspect, framerate, formats })
    }
}

/// `count` parameter sets, each after its 16-bit length.
fn sets(rest: &mut &[u8], count: u8) -> Option<Vec<Bytes>> {
    (0..count)
        .map(|_| {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (set, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            *rest = after;
            Some(Bytes::copy_from_slice(set))
        })
        .collect()
}

/// The NAL units of an Annex B byte stream, without start codes or trailing zeros.
pub fn annexb_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        loop {
            let from = rest?;
            let next = after_start_code(from);
            let end = match next {
                Some(next) => from.len() - next.len() - 3,
                None => from.len(),
            };
            rest = next;
            let unit = from.get(..end)?;
            let zeros = unit.iter().rev().take_while(|&&byte| byte == 0).count();
            let unit = unit.get(..end - zeros)?;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    })
}

/// What follows the first `00 00 01`.
fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    let at = data.windows(3).position(|window| window == [0, 0, 1])?;
    data.get(at + 3..)
}

/// The NAL units of a length-prefixed access unit (the payload of an AVC tag).
pub fn avcc_units(
    data: &[u8],
    length_size: usize,
) -> impl Iterator<Item = Result<&[u8], AvcError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = data.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        let (size, left) = match rest.split_at_checked(length_size) {
            Some((prefix, after)) => {
                let size = prefix.iter().fold(0usize, |n, &b| n << 8 | usize::from(b));
                if let Some(unit) = after.get(..size) {
                    at += length_size + size;
                    return Some(Ok(unit));
                }
                (size, after.len())
            }
            None => (length_size, rest.len()),
        };
        at = data.len();
        Some(Err(AvcError::Nal { at: start, size, left }))
    })
}

/// An access unit with start codes as one with 4-byte lengths. Parameter sets and delimiters are
/// left out: in FLV the sequence header has them.
pub fn annexb_to_avcc(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 8);
    for unit in annexb_units(data) {
        if !matches!(kind(unit), NAL_SPS | NAL_PPS | NAL_AUD) {
            out.put_u32(unit.len() as u32);
            out.put_slice(unit);
        }
    }
    out.freeze()
}

/// An access unit with length prefixes as one with 4-byte start codes.
///
/// # Errors
/// [`AvcError::Nal`] when a length reaches beyond the data.
pub fn avcc_to_annexb(data: &[u8], length_size: usize) -> Result<Bytes, AvcError> {
    let mut out = BytesMut::with_capacity(data.len() + 8);
    for unit in avcc_units(data, length_size) {
        out.put_slice(&[0, 0, 0, 1]);
        out.put_slice(unit?);
    }
    Ok(out.freeze())
}

/// The avcC record for a byte stream that carries its parameter sets, or `None` when this access
/// unit does not have both.
pub fn config_in_annexb(data: &[u8]) -> Option<Result<Bytes, AvcError>> {
    let find = |wanted| annexb_units(data).find(|unit| kind(unit) == wanted);
    Some(build_config(find(NAL_SPS)?, find(NAL_PPS)?))
}

/// Whether a byte stream's access unit is an IDR picture.
pub fn annexb_has_idr(data: &[u8]) -> bool {
    annexb_units(data).any(|unit| kind(unit) == NAL_IDR)
}

fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |head| head & 0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x264, 320x180, 25 fps, High, level 1.2.
    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03,
        0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    #[test]
    fn a_configuration_is_built_and_read_back() {
        let built = build_config(SPS, PPS).unwrap();
        let config = AvcConfig::parse(&built).unwrap();
        assert_eq!((config.width, config.height), (320, 180));
        assert_eq!(config.codec_string(), "avc1.64000c");
        assert_eq!(config.framerate, Some(25.0));
        assert_eq!((&config.sps[0][..], &config.pps[0][..]), (SPS, PPS));
        assert_eq!(config.length_size, 4);
        // High profile: 4:2:0, 8 bits, no extensions.
        assert!(built.ends_with(&[0xfd, 0xf8, 0xf8, 0x00]));
        for cut in 0..built.len() - 4 {
            assert!(AvcConfig::parse(&built[..cut]).is_err(), "{cut} bytes were taken");
        }
    }

    #[test]
    fn start_codes_of_both_lengths_and_trailing_zeros() {
        let stream = [
            &[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1][..],
            SPS,
            &[0, 0, 1],
            PPS,
            &[0, 0, 0, 1, 0x65, 1, 2, 0, 0, 0],
        ]
        .concat();
        let units: Vec<&[u8]> = annexb_units(&stream).collect();
        assert_eq!(units, [&[9, 0xf0][..], SPS, PPS, &[0x65, 1, 2]]);
        assert!(annexb_has_idr(&stream));
        assert_eq!(&annexb_to_avcc(&stream)[..], [0, 0, 0, 3, 0x65, 1, 2]);
        assert_eq!(config_in_annexb(&stream), Some(build_config(SPS, PPS)));
        assert_eq!(config_in_annexb(&[0, 0, 1, 0x65]), None);
    }

    #[test]
    fn a_length_beyond_the_end_is_named() {
        assert_eq!(
            avcc_to_annexb(&[0, 0, 0, 1, 7, 0, 0, 0, 9, 1], 4).unwrap_err().to_string(),
            "a NAL unit at byte 5 says it is 9 bytes long, 1 are left"
        );
    }

    fn unit() -> impl Strategy<Value = Vec<u8>> {
        // Bytes that cannot form a start code, and a type that is kept.
        prop::collection::vec(1u8.., 0..40).prop_map(|body| [&[0x41][..], &body].concat())
    }

    proptest! {
        #[test]
        fn both_ways_give_the_same_units(units in prop::collection::vec(unit(), 0..6)) {
            let mut prefixed = Vec::new();
            for unit in &units {
                prefixed.extend((unit.len() as u32).to_be_bytes());
                prefixed.extend(unit);
            }
            let stream = avcc_to_annexb(&prefixed, 4).unwrap();
            prop_assert_eq!(&annexb_to_avcc(&stream)[..], &prefixed[..]);
        }

        #[test]
        fn rubbish_never_panics(data in prop::collection::vec(any::<u8>(), 0..80), size in 1usize..=4) {
            let _ = AvcConfig::parse(&data);
            let _ = avcc_to_annexb(&data, size);
            let _ = annexb_to_avcc(&data);
            let _ = build_config(&data, PPS);
        }

        #[test]
        fn a_mutated_parameter_set_never_panics(at in 0..SPS.len(), byte: u8) {
            let mut sps = SPS.to_vec();
            sps[at] = byte;
            let _ = build_config(&sps, PPS);
        }
    }
}
