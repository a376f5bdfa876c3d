//! What an encoder reports of one room: the exact fields that the website's model has.

use serde_json::{Map, Value};

/// The website keeps its numbers in 32 bits with a sign.
const MAX: u64 = i32::MAX as u64;

/// A format that has fields of its own in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    WebmHigh,
    WebmLow,
    FlvHigh,
    FlvLow,
    OggHigh,
    AacHigh,
    Mp3High,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::WebmHigh,
        Self::WebmLow,
        Self::FlvHigh,
        Self::FlvLow,
        Self::OggHigh,
        Self::AacHigh,
        Self::Mp3High,
    ];

    /// How its fields begin.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebmHigh => "webm_high",
            Self::WebmLow => "webm_low",
            Self::FlvHigh => "flv_high",
            Self::FlvLow => "flv_low",
            Self::OggHigh => "ogg_high",
            Self::AacHigh => "aac_high",
            Self::Mp3High => "mp3_high",
        }
    }
}

/// How much one stream is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Who takes it now.
    pub clients: u64,
    /// Bits per second sent now, to all clients together.
    pub bitrate: u64,
    /// Bits per second of the stream itself: what one client takes.
    pub stream_bitrate: u64,
}

/// What is reported of one room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The formats, in the order of [`Format::ALL`].
    pub formats: [Load; Format::ALL.len()],
    /// HLS, which the website has no fields for: it counts in `overall_*` alone.
    pub hls: Load,
    /// The loop-through for other tools, which as in the original is not part of `overall_*`.
    pub looped: Load,
}

impl Report {
    /// Bits per second sent now to all viewers.
    #[must_use]
    pub fn bitrate(&self) -> u64 {
        self.sum(|load| load.bitrate)
    }

    /// Over all that people watch.
    fn sum(&self, part: fn(&Load) -> u64) -> u64 {
        self.formats.iter().chain([&self.hls]).map(part).fold(0, u64::saturating_add)
    }

    /// Every field and its number: 0 to 2³¹ − 1, and what is more counts as that.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, u64)> {
        let wanted = self.sum(|load| load.clients.saturating_mul(load.stream_bitrate));
        let mut fields = vec![
            ("overall_clients".to_owned(), self.sum(|load| load.clients)),
            ("overall_bitrate".to_owned(), self.bitrate()),
            ("overall_cbitrate".to_owned(), wanted),
            ("loop_clients".to_owned(), self.looped.clients),
            ("loop_bitrate".to_owned(), self.looped.bitrate),
        ];
        for (format, load) in Format::ALL.iter().zip(&self.formats) {
            let name = format.as_str();
            fields.push((format!("{name}_clients"), load.clients));
            fields.push((format!("{name}_bitrate"), load.bitrate));
            fields.push((format!("{name}_cbitrate"), load.stream_bitrate));
        }
        for (_, value) in &mut fields {
            *value = (*value).min(MAX);
        }
        fields
    }

    /// The fields as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fields = self.fields().into_iter().map(|(name, value)| (name, Value::from(value)));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn load(clients: u64, bitrate: u64, stream_bitrate: u64) -> Load {
        Load { clients, bitrate, stream_bitrate }
    }

    /// The model's fields, written out once more as the website has them.
    const KNOWN: &str = "overall_clients overall_bitrate overall_cbitrate loop_clients loop_bitrate \
        webm_high_clients webm_high_bitrate webm_high_cbitrate \
        webm_low_clients webm_low_bitrate webm_low_cbitrate \
        flv_high_clients flv_high_bitrate flv_high_cbitrate \
        flv_low_clients flv_low_bitrate flv_low_cbitrate \
        ogg_high_clients ogg_high_bitrate ogg_high_cbitrate \
        aac_high_clients aac_high_bitrate aac_high_cbitrate \
        mp3_high_clients mp3_high_bitrate mp3_high_cbitrate";

    #[test]
    fn it_has_the_fields_that_the_website_knows_and_no_other() {
        let fields = Report::default().fields();
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, KNOWN.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn hls_counts_among_all_and_the_loop_does_not() {
        let mut report = Report { hls: load(10, 9_000, 1_000), ..Report::default() };
        report.formats[Format::WebmLow as usize] = load(3, 900, 300);
        report.looped = load(1, 2_000, 2_000);
        let fields: BTreeMap<_, _> = report.fields().into_iter().collect();
        assert_eq!(fields["overall_clients"], 13);
        assert_eq!(fields["overall_bitrate"], 9_900);
        assert_eq!(fields["overall_cbitrate"], 10_900);
        assert_eq!((fields["webm_low_clients"], fields["webm_low_cbitrate"]), (3, 300));
        assert_eq!((fields["loop_clients"], fields["loop_bitrate"]), (1, 2_000));
        assert_eq!(fields["flv_high_clients"], 0);
    }

    proptest! {
        #[test]
        fn every_number_fits_the_websites_columns(clients: u64, bitrate: u64, stream_bitrate: u64) {
            let one = load(clients, bitrate, stream_bitrate);
            let report = Report { formats: [one; 7], hls: one, looped: one };
            let json: BTreeMap<String, i32> = serde_json::from_str(&report.to_json()).unwrap();
            prop_assert!(json.values().all(|value| *value >= 0));
            prop_assert_eq!(json.len(), 26);
        }
    }
}
