//! The text of playlists (RFC 8216, and 8216bis for EXT-X-GAP).

use super::window::{Entry, Listing};
use bytes::Bytes;
use std::fmt::Write as _;

/// One variant, as the multivariant playlist shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RenditionInfo {
    /// Its name in addresses.
    pub name: String,
    /// There are no pictures in it.
    pub audio_only: bool,
    /// Pixels, as shown; 0 without pictures.
    pub width: u32,
    /// Pixels, as shown; 0 without pictures.
    pub height: u32,
    /// Frames per second; 0 when not known.
    pub framerate: f64,
    /// Of the biggest segment, bit/s.
    pub bandwidth: u64,
    /// Of the segments listed, bit/s.
    pub average_bandwidth: u64,
    /// RFC 6381 codec names.
    pub codecs: String,
}

/// A variant's media playlist.
pub(super) fn media(listing: &Listing) -> Bytes {
    let mut out = String::with_capacity(200 + 120 * listing.entries.len());
    let gaps = listing.entries.iter().any(|(_, entry)| *entry == Entry::Gap);
    let independent = listing.entries.iter().all(|(slot, _)| slot.independent);
    out.push_str("#EXTM3U\n");
    line(&mut out, "#EXT-X-VERSION:", if gaps { 8 } else { 7 });
    line(&mut out, "#EXT-X-TARGETDURATION:", listing.target);
    line(&mut out, "#EXT-X-MEDIA-SEQUENCE:", listing.media_sequence);
    line(&mut out, "#EXT-X-DISCONTINUITY-SEQUENCE:", listing.discontinuity_sequence);
    if independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let mut map = None;
    for (slot, entry) in &listing.entries {
        if slot.discontinuity {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        match entry {
            Entry::Segment { init } if map != Some(*init) => {
                map = Some(*init);
                // `write!` to a String cannot fail.
                let _ = writeln!(out, "#EXT-X-MAP:URI=\"init-{init}.mp4\"");
            }
            Entry::Segment { .. } => {}
            Entry::Gap => out.push_str("#EXT-X-GAP\n"),
        }
        if let Ok(utc) = jiff::Timestamp::from_millisecond(slot.utc_ms) {
            line(&mut out, "#EXT-X-PROGRAM-DATE-TIME:", utc.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"));
        }
        let (seconds, ms) = (slot.duration_ms / 1000, slot.duration_ms % 1000);
        let _ = writeln!(out, "#EXTINF:{seconds}.{ms:03},\n{}.m4s", slot.msn);
    }
    out.into()
}

/// The multivariant playlist, in the order given.
pub(super) fn multivariant(renditions: &[RenditionInfo]) -> Bytes {
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    for rendition in renditions {
        let RenditionInfo { bandwidth, average_bandwidth, codecs, .. } = rendition;
        let _ = write!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={average_bandwidth},\
             CODECS=\"{codecs}\""
        );
        if !rendition.audio_only {
            let _ = write!(out, ",RESOLUTION={}x{}", rendition.width, rendition.height);
            if rendition.framerate > 0.0 {
                let _ = write!(out, ",FRAME-RATE={:.3}", rendition.framerate);
            }
        }
        let _ = writeln!(out, "\n{}/index.m3u8", rendition.name);
    }
    out.into()
}

fn line(out: &mut String, tag: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{tag}{value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::window::Window;

    #[test]
    fn a_media_playlist() {
        let mut window = Window::new(3, 7, 2000, 1);
        let utc = 1_795_000_000_000;
        for (n, (duration, entry)) in [
            (2000, Entry::Segment { init: 7 }),
            (2040, Entry::Gap),
            (1960, Entry::Segment { init: 9 }),
            (2000, Entry::Segment { init: 9 }),
        ]
        .into_iter()
        .enumerate()
        {
            window.close(0, duration, utc + 2000 * n as i64, n == 0 || n == 2, true);
            window.fill(0, entry);
        }
        let text = media(&window.listing(0).unwrap());
        let wanted = "#EXTM3U\n\
            #EXT-X-VERSION:8\n\
            #EXT-X-TARGETDURATION:2\n\
            #EXT-X-MEDIA-SEQUENCE:8\n\
            #EXT-X-DISCONTINUITY-SEQUENCE:8\n\
            #EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-GAP\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-18T11:06:42.000Z\n\
            #EXTINF:2.040,\n\
            8.m4s\n\
            #EXT-X-DISCONTINUITY\n\
            #EXT-X-MAP:URI=\"init-9.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-18T11:06:44.000Z\n\
            #EXTINF:1.960,\n\
            9.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-18T11:06:46.000Z\n\
            #EXTINF:2.000,\n\
            10.m4s\n";
        assert_eq!(std::str::from_utf8(&text).unwrap(), wanted);
    }

    #[test]
    fn a_multivariant_playlist() {
        let source = RenditionInfo {
            name: "source".into(),
            width: 1280,
            height: 720,
            framerate: 25.0,
            bandwidth: 1_700_000,
            average_bandwidth: 1_600_000,
            codecs: "avc1.64001f,mp4a.40.2".into(),
            ..RenditionInfo::default()
        };
        let audio = RenditionInfo {
            name: "audio".into(),
            audio_only: true,
            bandwidth: 100_000,
            average_bandwidth: 96_000,
            codecs: "mp4a.40.2".into(),
            ..RenditionInfo::default()
        };
        let wanted = "#EXTM3U\n#EXT-X-VERSION:7\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1700000,AVERAGE-BANDWIDTH=1600000,\
            CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=25.000\n\
            source/index.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=100000,AVERAGE-BANDWIDTH=96000,CODECS=\"mp4a.40.2\"\n\
            audio/index.m3u8\n";
        assert_eq!(std::str::from_utf8(&multivariant(&[source, audio])).unwrap(), wanted);
    }
}
