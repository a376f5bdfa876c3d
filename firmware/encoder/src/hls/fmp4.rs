//! Fragmented MP4: the initialization segment and media segments of one variant
//! (ISO/IEC 14496-12, 14496-14, 14496-15; constraints of RFC 8216, 3.3).
//!
//! Track 1 is video at 90 kHz, track 2 audio at its own sampling rate: FLV's milliseconds and AAC's
//! frames are both whole numbers there, so nothing is ever rounded.

use bytes::Bytes;
use flv::aac::AudioSpecificConfig;
use flv::avc::AvcConfig;
use mp4_atom::{
    Atom as _, Audio, Avc1, Avcc, Codec, Dinf, Dref, DrefEntry, Encode as _, Ftyp, Hdlr, Matrix,
    Mdhd, Mdia, Mfhd, Minf, Moof, Moov, Mp4a, Mvex, Mvhd, Pasp, Smhd, Stbl, Stco, Stsd, Styp, Tfdt,
    Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry, Url, Visual, Vmhd,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};

/// Ticks per second of video tracks.
pub(super) const VIDEO_SCALE: u64 = 90_000;
/// Video ticks in an FLV millisecond.
pub(super) const TICKS: u64 = VIDEO_SCALE / 1000;

const VIDEO: u32 = 1;
const AUDIO: u32 = 2;
/// sample_depends_on = 2: depends on no other; and its opposite, with sample_is_non_sync_sample.
const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;
/// Box header of `mdat`.
const MDAT_HEADER: usize = 8;

/// One access unit.
#[derive(Debug, Clone)]
pub(super) struct VideoSample {
    /// Decoding time, ticks.
    pub(super) dts: u64,
    /// Presentation time minus decoding time, ticks.
    pub(super) composition: i32,
    /// Ticks to the next one's decoding time.
    pub(super) duration: u32,
    pub(super) key: bool,
    /// NAL units with length prefixes.
    pub(super) data: Bytes,
}

/// One AAC frame.
#[derive(Debug, Clone)]
pub(super) struct AudioSample {
    /// In samples at the track's rate.
    pub(super) start: u64,
    /// In samples at the track's rate.
    pub(super) duration: u32,
    pub(super) data: Bytes,
}

/// Why boxes could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the H.264 or AAC configuration does not fit into MP4: {0}")]
    Boxes(#[from] mp4_atom::Error),
    #[error("a segment of {0} bytes is too long for MP4")]
    TooLong(usize),
}

/// The initialization segment of a variant with these tracks.
pub(super) fn init(
    video: Option<&AvcConfig>,
    audio: Option<&AudioSpecificConfig>,
) -> Result<Bytes, Error> {
    let ftyp = Ftyp {
        major_brand: b"iso6".into(),
        minor_version: 0,
        compatible_brands: vec![b"iso6".into(), b"mp41".into()],
    };
    let video = video.map(video_track).transpose()?;
    let trak: Vec<Trak> = video.into_iter().chain(audio.map(audio_track)).collect();
    let trex = trak.iter().map(|trak| Trex {
        track_id: trak.tkhd.track_id,
        default_sample_description_index: 1,
        ..Trex::default()
    });
    let moov = Moov {
        mvhd: Mvhd {
            timescale: 1000,
            rate: 1.into(),
            volume: 1.into(),
            matrix: identity(),
            next_track_id: AUDIO + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex { mehd: None, trex: trex.collect() }),
        trak,
        ..Moov::default()
    };
    let mut out = Vec::new();
    ftyp.encode(&mut out)?;
    moov.encode(&mut out)?;
    Ok(out.into())
}

/// A media segment: one fragment with what there is of each track.
pub(super) fn segment(
    sequence: u32,
    video: &[VideoSample],
    audio: &[AudioSample],
) -> Result<Bytes, Error> {
    let video_bytes: usize = video.iter().map(|sample| sample.data.len()).sum();
    let audio_bytes: usize = audio.iter().map(|sample| sample.data.len()).sum();
    let payload = video_bytes + audio_bytes;
    let mut moof = Moof { mfhd: Mfhd { sequence_number: sequence }, traf: Vec::new() };
    moof.traf.extend(video.first().map(|first| video_run(first.dts, video)));
    moof.traf.extend(audio.first().map(|first| audio_run(first.start, audio)));
    // Data offsets count from the start of `moof`, so its size comes first.
    let mut boxes = Vec::new();
    moof.encode(&mut boxes)?;
    let too_long = |_| Error::TooLong(payload);
    let data_start = boxes.len() + MDAT_HEADER;
    for traf in &mut moof.traf {
        let before = if traf.tfhd.track_id == VIDEO { 0 } else { video_bytes };
        let offset = i32::try_from(data_start + before).map_err(too_long)?;
        for trun in &mut traf.trun {
            trun.data_offset = Some(offset);
        }
    }
    let mut out = Vec::with_capacity(32 + data_start + payload);
    let styp = Styp {
        major_brand: b"msdh".into(),
        minor_version: 0,
        compatible_brands: vec![b"msdh".into()],
    };
    styp.encode(&mut out)?;
    moof.encode(&mut out)?;
    let mdat = u32::try_from(MDAT_HEADER + payload).map_err(too_long)?;
    out.extend_from_slice(&mdat.to_be_bytes());
    out.extend_from_slice(b"mdat");
    video.iter().for_each(|sample| out.extend_from_slice(&sample.data));
    audio.iter().for_each(|sample| out.extend_from_slice(&sample.data));
    Ok(out.into())
}

fn video_run(start: u64, samples: &[VideoSample]) -> Traf {
    let entries: Vec<TrunEntry> = samples
        .iter()
        .map(|sample| TrunEntry {
            duration: Some(sample.duration),
            size: Some(sample.data.len() as u32),
            flags: Some(if sample.key { SYNC } else { NON_SYNC }),
            cts: Some(sample.composition.into()),
        })
        .collect();
    run(VIDEO, NON_SYNC, start, entries)
}

fn audio_run(start: u64, samples: &[AudioSample]) -> Traf {
    let entries: Vec<TrunEntry> = samples
        .iter()
        .map(|sample| TrunEntry {
            duration: Some(sample.duration),
            size: Some(sample.data.len() as u32),
            flags: None,
            cts: None,
        })
        .collect();
    run(AUDIO, SYNC, start, entries)
}

fn run(track_id: u32, flags: u32, start: u64, entries: Vec<TrunEntry>) -> Traf {
    Traf {
        tfhd: Tfhd {
            track_id,
            default_sample_flags: Some(flags),
            default_base_is_moof: true,
            ..Tfhd::default()
        },
        tfdt: Some(Tfdt { base_media_decode_time: start }),
        trun: vec![Trun { data_offset: Some(0), samples: entries.into() }],
        ..Traf::default()
    }
}

fn video_track(config: &AvcConfig) -> Result<Trak, Error> {
    let (width, height) = (config.width as u16, config.height as u16);
    let (shown_width, shown_height) = shown_size(config);
    let avc1 = Avc1 {
        visual: Visual { data_reference_index: 1, width, height, ..Visual::default() },
        avcc: Avcc::decode_body(&mut &config.bytes[..])?,
        pasp: config.pixel_aspect.map(|(w, h)| Pasp { h_spacing: w.into(), v_spacing: h.into() }),
        ..Avc1::default()
    };
    let tkhd = Tkhd {
        width: (shown_width.min(0xffff) as u16).into(),
        height: (shown_height.min(0xffff) as u16).into(),
        ..track_header(VIDEO)
    };
    let media = Minf { vmhd: Some(Vmhd::default()), ..Minf::default() };
    Ok(track(tkhd, VIDEO_SCALE as u32, b"vide", "Video", media, Codec::Avc1(avc1)))
}

fn audio_track(config: &AudioSpecificConfig) -> Trak {
    let decoder = DecoderConfig {
        object_type_indication: 0x40, // ISO/IEC 14496-3 audio
        stream_type: 5,               // an audio stream
        dec_specific: Some(DecoderSpecific { raw: config.bytes.clone(), ..<_>::default() }),
        ..DecoderConfig::default()
    };
    let mp4a = Mp4a {
        audio: Audio {
            data_reference_index: 1,
            channel_count: if config.channels == 0 { 2 } else { config.channels.into() },
            sample_size: 16,
            // 16 bits are too few for 88.2 and 96 kHz; the decoder looks into `esds` anyway.
            sample_rate: u16::try_from(config.rate).unwrap_or(0).into(),
        },
        esds: mp4_atom::Esds {
            es_desc: EsDescriptor {
                es_id: AUDIO as u16,
                dec_config: decoder,
                sl_config: SLConfig::default(),
                ..EsDescriptor::default()
            },
        },
        btrt: None,
        taic: None,
    };
    let tkhd = Tkhd { volume: 1.into(), alternate_group: 1, ..track_header(AUDIO) };
    let media = Minf { smhd: Some(Smhd::default()), ..Minf::default() };
    track(tkhd, config.rate, b"soun", "Audio", media, Codec::Mp4a(mp4a))
}

/// Pixels as shown, that is with square ones.
pub(super) fn shown_size(config: &AvcConfig) -> (u32, u32) {
    let (w, h) = config.pixel_aspect.unwrap_or((1, 1));
    let shown = u64::from(config.width) * u64::from(w) / u64::from(h).max(1);
    (u32::try_from(shown).unwrap_or(config.width), config.height)
}

fn track_header(track_id: u32) -> Tkhd {
    Tkhd { track_id, enabled: true, in_movie: true, matrix: identity(), ..Tkhd::default() }
}

fn identity() -> Matrix {
    Matrix { a: 1 << 16, b: 0, u: 0, c: 0, d: 1 << 16, v: 0, x: 0, y: 0, w: 1 << 30 }
}

fn track(
    tkhd: Tkhd,
    timescale: u32,
    kind: &[u8; 4],
    name: &str,
    media: Minf,
    codec: Codec,
) -> Trak {
    Trak {
        tkhd,
        mdia: Mdia {
            mdhd: Mdhd { timescale, language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: kind.into(), name: name.into() },
            minf: Minf {
                dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
                stbl: Stbl {
                    stsd: Stsd { codecs: vec![codec] },
                    // Empty, and still required (14496-12, 8.7.5).
                    stco: Some(Stco::default()),
                    ..Stbl::default()
                },
                ..media
            },
        },
        ..Trak::default()
    }
}
