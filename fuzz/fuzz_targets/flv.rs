//! Anything as an FLV stream: the parser, what looks into tags, and the segmenter, with what they
//! promise checked.
//!
//! The first byte chooses the size of the pieces that the rest is pushed in; its top bit a plainer
//! framing, in which mutations reach the insides of tags instead of breaking the stream.

#![no_main]

use flv::aac::{AudioSpecificConfig, adts_header};
use flv::avc::{AvcConfig, annexb_to_avcc, avcc_to_annexb, build_config, config_in_annexb};
use flv::interleave::Interleaver;
use flv::metadata::Metadata;
use flv::segmenter::{Options, SegmentEvent, Segmenter};
use flv::timeline::{Rebase, Steps};
use flv::{Limits, Parser, Tag, TagKind};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { max_tag: 1 << 16 };

fuzz_target!(|input: &[u8]| {
    let Some((&first, stream)) = input.split_first() else { return };
    let tags = if first & 0x80 == 0 {
        let tags = parse(stream, usize::from(first) + 1);
        assert_eq!(tags, parse(stream, stream.len().max(1)), "the tags depend on the pieces");
        tags
    } else {
        plain(stream)
    };
    tags.iter().for_each(look);
    time(&tags);
    segment(&tags);
    interleave(&tags);
});

/// Tags framed by one byte for the kind, two for the time since the last, two for the length.
fn plain(mut stream: &[u8]) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut timestamp = 0u32;
    while let Some((&[kind, t0, t1, l0, l1], rest)) = stream.split_first_chunk() {
        let kind = match kind % 3 {
            0 => TagKind::Audio,
            1 => TagKind::Video,
            _ => TagKind::Script,
        };
        // Steps of up to 2^31 ms, small ones more likely; some go back.
        let step = u32::from(t0) << (t1 % 24);
        let back = t1 > 0xf0;
        timestamp = if back { timestamp.wrapping_sub(step) } else { timestamp.wrapping_add(step) };
        let length = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        tags.push(Tag { kind, timestamp, data: body.to_vec().into() });
        stream = rest;
    }
    tags
}

fn parse(stream: &[u8], piece: usize) -> Vec<Tag> {
    let mut parser = Parser::new(LIMITS);
    let mut tags = Vec::new();
    let mut written = 0;
    for piece in stream.chunks(piece) {
        parser.push(piece);
        while let Ok(Some(tag)) = parser.next_tag() {
            assert!(tag.data.len() <= LIMITS.max_tag);
            written += tag.encoded_len() as u64;
            tags.push(tag);
        }
        assert!(parser.buffered() <= LIMITS.max_tag + flv::TAG_HEADER + flv::TRAILER + piece.len());
    }
    // Everything up to the position is a header and whole tags.
    assert!(parser.position() <= stream.len() as u64);
    assert!(tags.is_empty() || parser.position() > written);
    let _ = parser.finish();
    tags
}

/// Everything that looks into a tag.
fn look(tag: &Tag) {
    assert_eq!(tag.to_bytes().len(), tag.encoded_len());
    let _ = tag.check();
    let payload = tag.payload();
    if let Some(metadata) = Metadata::from_tag(tag) {
        let again = Metadata::from_tag(&metadata.to_tag(0));
        assert_eq!(again.as_ref(), Some(&metadata), "metadata changes when written again");
    }
    match tag.kind {
        TagKind::Video => {
            if let Ok(config) = AvcConfig::parse(&payload) {
                assert!(config.width > 0 && config.height > 0);
                let _ = config.codec_string();
                if let (Some(sps), Some(pps)) = (config.sps.first(), config.pps.first())
                    && let Ok(built) = build_config(sps, pps)
                {
                    let again = AvcConfig::parse(&built).expect("a record of our own");
                    assert_eq!((again.width, again.height), (config.width, config.height));
                }
            }
            for length_size in [1, 2, 4] {
                let _ = avcc_to_annexb(&payload, length_size);
            }
            let _ = annexb_to_avcc(&payload);
            let _ = config_in_annexb(&payload);
        }
        TagKind::Audio => {
            if let Ok(config) = AudioSpecificConfig::parse(&payload) {
                assert!(config.rate > 0 && config.frame_samples > 0);
                let _ = adts_header(&config, payload.len());
            }
        }
        TagKind::Script => {}
    }
}

fn time(tags: &[Tag]) {
    let mut rebase = Rebase::new(Steps::default());
    let mut last = [0; 3];
    for tag in tags {
        let ms = rebase.place(tag.kind, tag.timestamp).ms;
        let last = &mut last[match tag.kind {
            TagKind::Audio => 0,
            TagKind::Video => 1,
            TagKind::Script => 2,
        }];
        assert!(ms >= *last, "room time goes back");
        *last = ms;
    }
}

fn segment(tags: &[Tag]) {
    let mut segmenter = Segmenter::new(Options::default());
    let mut events = Vec::new();
    for tag in tags {
        events.extend(segmenter.push(tag.clone()));
    }
    events.extend(segmenter.finish());
    let mut open: Option<(u64, Vec<u8>)> = None;
    let mut next = 0;
    let mut media = 0;
    for event in events {
        match event {
            SegmentEvent::Start { seq, header, .. } => {
                assert!(open.is_none() && seq == next);
                next += 1;
                open = Some((seq, header.to_vec()));
            }
            SegmentEvent::Data(data) => {
                open.as_mut().expect("data in a segment").1.extend_from_slice(&data);
            }
            SegmentEvent::End { seq, .. } => {
                let (started, bytes) = open.take().expect("an end of a segment");
                assert_eq!(started, seq);
                let mut parser = Parser::default();
                parser.push(&bytes);
                while let Some(tag) = parser.next_tag().expect("a whole segment") {
                    let header = tag.kind == TagKind::Script || tag.is_sequence_header();
                    media += u64::from(!header);
                }
                parser.finish().expect("a whole segment");
            }
        }
    }
    assert!(open.is_none());
    let header = |tag: &&Tag| tag.kind == TagKind::Script || tag.is_sequence_header();
    let input = tags.iter().filter(|tag| !header(tag)).count() as u64;
    assert_eq!(media + segmenter.dropped(), input, "a tag is lost, or there twice");
}

fn interleave(tags: &[Tag]) {
    let mut interleaver = Interleaver::new(500);
    let mut out = 0;
    for tag in tags {
        interleaver.push(tag.clone());
        while interleaver.pop().is_some() {
            out += 1;
        }
    }
    while interleaver.drain().is_some() {
        out += 1;
    }
    assert_eq!(out, tags.len(), "a tag is lost");
}
