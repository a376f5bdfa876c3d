//! AAC: the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) and ADTS headers (1.A.2.2).

use crate::bits::Bits;

const RATES: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];
const ADTS_HEADER: usize = 7;
/// The frame length field has 13 bits.
const ADTS_MAX: usize = 0x1fff;

/// Why an AAC configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AacError {
    /// It ends before its last field.
    #[error("the AAC configuration of {size} bytes is too short")]
    Short {
        /// Its length.
        size: usize,
    },
    /// Not a sampling rate.
    #[error("the AAC configuration gives no usable sampling rate")]
    Rate,
    /// ADTS can only say AAC Main, LC, SSR and LTP at the listed rates with 1 to 8 channels.
    #[error("{0} cannot be written with ADTS headers")]
    NotAdts(String),
    /// A frame too long for ADTS.
    #[error("an AAC frame of {0} bytes is too long for ADTS")]
    LongFrame(usize),
}

/// A parsed AudioSpecificConfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// Audio object type of the signal as declared: 2 is AAC-LC, 5 HE-AAC, 29 HE-AAC v2.
    pub object_type: u8,
    /// Object type of the core coder: 2 for HE-AAC.
    pub core_object_type: u8,
    /// Rate of the core coder, Hz. Frames last [`Self::frame_samples`] of these.
    pub rate: u32,
    /// channelConfiguration; 0 means that the stream itself describes its channels.
    pub channel_configuration: u8,
    /// Channels; 0 when not known.
    pub channels: u8,
    /// Samples in a frame at `rate`: 1024, or 960.
    pub frame_samples: u32,
    /// The configuration as it came.
    pub bytes: Vec<u8>,
}

impl AudioSpecificConfig {
    /// Reads the payload of an AAC sequence header.
    ///
    /// # Errors
    /// [`AacError::Short`], [`AacError::Rate`].
    pub fn parse(data: &[u8]) -> Result<Self, AacError> {
        let short = AacError::Short { size: data.len() };
        let mut bits = Bits::new(data);
        let object_type = object_type(&mut bits).ok_or(short.clone())?;
        let rate = rate(&mut bits)?;
        let channel_configuration = bits.take(4).ok_or(short.clone())? as u8;
        let mut core_object_type = object_type;
        if object_type == 5 || object_type == 29 {
            self::rate(&mut bits)?;
            core_object_type = self::object_type(&mut bits).ok_or(short)?;
        }
        // frameLengthFlag opens GASpecificConfig. Encoders that stop before it mean 1024.
        let frame_samples = if bits.take(1) == Some(1) { 960 } else { 1024 };
        let channels = match channel_configuration {
            n @ 1..=6 => n,
            7 | 12 | 14 => 8,
            11 => 7,
            _ => 0,
        };
        Ok(Self {
            object_type,
            core_object_type,
            rate,
            channel_configuration,
            channels,
            frame_samples,
            bytes: data.to_vec(),
        })
    }

    /// RFC 6381 codec name, such as `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }
}

/// The 7-byte ADTS header for one raw frame of `len` bytes.
///
/// # Errors
/// [`AacError::NotAdts`], [`AacError::LongFrame`].
pub fn adts_header(asc: &AudioSpecificConfig, len: usize) -> Result<[u8; 7], AacError> {
    let not_adts = |what: String| AacError::NotAdts(what);
    let profile = match asc.core_object_type {
        aot @ 1..=4 => aot - 1,
        aot => return Err(not_adts(format!("AAC object type {aot}"))),
    };
    let index = RATES
        .iter()
        .position(|&rate| rate == asc.rate)
        .ok_or_else(|| not_adts(format!("AAC at {} Hz", asc.rate)))? as u8;
    let channels = asc.channel_configuration;
    if !(1..=7).contains(&channels) {
        return Err(not_adts(format!("channel configuration {channels}")));
    }
    let whole = len.saturating_add(ADTS_HEADER);
    if whole > ADTS_MAX {
        return Err(AacError::LongFrame(len));
    }
    Ok([
        0xff,
        0xf1, // MPEG-4, no CRC
        profile << 6 | index << 2 | channels >> 2,
        (channels & 3) << 6 | (whole >> 11) as u8,
        (whole >> 3) as u8,
        (whole << 5) as u8 | 0x1f,
        0xfc, // buffer fullness: variable rate; one frame
    ])
}

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.take(5)? {
        31 => Some(bits.take(6)? as u8 + 32),
        short => Some(short as u8),
    }
}

fn rate(bits: &mut Bits<'_>) -> Result<u32, AacError> {
    let rate = match bits.take(4) {
        Some(15) => bits.take(24),
        Some(index) => RATES.get(index as usize).copied(),
        None => None,
    };
    rate.filter(|rate| (1000..=192_000).contains(rate)).ok_or(AacError::Rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn low_complexity_stereo() {
        let asc = AudioSpecificConfig::parse(&[0x12, 0x10]).unwrap();
        assert_eq!((asc.rate, asc.channels, asc.frame_samples), (44100, 2, 1024));
        assert_eq!(asc.codec_string(), "mp4a.40.2");
        let header = adts_header(&asc, 0x123).unwrap();
        // LC, index 4, two channels, 298 bytes with the header.
        assert_eq!(header, [0xff, 0xf1, 0x50, 0x80, 0x25, 0x5f, 0xfc]);
    }

    #[test]
    fn high_efficiency_keeps_its_core() {
        // AOT 5, core 24 kHz, stereo, extension 48 kHz, core AOT 2.
        let asc = AudioSpecificConfig::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((asc.object_type, asc.core_object_type, asc.rate), (5, 2, 24000));
        assert_eq!(asc.codec_string(), "mp4a.40.5");
        assert!(adts_header(&asc, 10).is_ok());
    }

    #[test]
    fn an_explicit_rate_is_read_but_not_for_adts() {
        // AOT 2, index 15, 45000 Hz, mono.
        let packed = 0b0_0010_1111u64 << 28 | 45000 << 4 | 1;
        let bytes = (packed << 27).to_be_bytes();
        let asc = AudioSpecificConfig::parse(&bytes).unwrap();
        assert_eq!((asc.rate, asc.channels), (45000, 1));
        assert_eq!(
            adts_header(&asc, 1).unwrap_err().to_string(),
            "AAC at 45000 Hz cannot be written with ADTS headers"
        );
    }

    proptest! {
        #[test]
        fn rubbish_is_an_error_or_a_sane_rate(data in prop::collection::vec(any::<u8>(), 0..12), len: usize) {
            if let Ok(asc) = AudioSpecificConfig::parse(&data) {
                prop_assert!(asc.rate >= 1000);
                let _ = adts_header(&asc, len);
            }
        }
    }
}
