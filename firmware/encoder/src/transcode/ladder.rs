//! What a room is turned into: the ladder file, and the list of streams that follows from it.
//!
//! The file holds the `[[ladder]]` and `[webm]` tables of `encoder.toml`:
//! ```toml
//! [[ladder]]
//! name = "480p"
//! height = 480
//! bitrate = "700k"
//! [webm]
//! high = "800k"      # or "off"
//! low = "300k"
//! ```

use protocol::config::BitRate;
use serde::Deserialize;

/// Bits per second.
pub type Bits = u32;

/// Everything made from one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// H.264 renditions below the source, which is passed through.
    pub rungs: Vec<Rung>,
    /// VP8 + Opus at the source's size, up to 720 lines; `None`: off.
    pub webm_high: Option<Bits>,
    /// VP8 + Opus, up to 360 lines; `None`: off.
    pub webm_low: Option<Bits>,
}

/// One H.264 rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Name, as in the addresses of its playlist.
    pub name: String,
    /// Lines.
    pub height: u32,
    /// Bits per second.
    pub bitrate: Bits,
}

/// One output of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// A rung's name, or `webm-high`, `webm-low`, `ogg`, `mp3`, `preview`.
    pub name: String,
    /// What it is made of.
    pub kind: Kind,
}

/// What an output is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// H.264 in FLV video tags.
    Rung {
        /// Lines.
        height: u32,
        /// Bits per second.
        bitrate: Bits,
    },
    /// VP8 + Opus.
    Webm {
        /// Most lines.
        height: u32,
        /// Bits per second of the picture.
        bitrate: Bits,
    },
    /// Opus in Ogg.
    Ogg,
    /// MP3.
    Mp3,
    /// A JPEG now and then.
    Preview,
}

/// Why a ladder is no ladder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("ladder {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, or not with these keys.
    #[error("ladder {name}: {source}")]
    Toml {
        /// The file, or what stands for it.
        name: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value that makes no sense.
    #[error("ladder {name}: {problem}")]
    Value {
        /// The file, or what stands for it.
        name: String,
        /// What and what to do.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    ladder: Vec<FileRung>,
    #[serde(default)]
    webm: FileWebm,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRung {
    name: String,
    height: u32,
    bitrate: Rate,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileWebm {
    high: Option<Rate>,
    low: Option<Rate>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rate {
    Number(u32),
    Text(String),
}

/// Streams are told apart by one byte, and few machines make more than a handful.
const MOST_RUNGS: usize = 16;
const OWN_NAMES: [&str; 6] = ["webm-high", "webm-low", "ogg", "mp3", "preview", "decode"];

impl Default for Ladder {
    /// 480p at 700 kbit/s, 240p at 250, WebM at 800 and 300.
    fn default() -> Self {
        let rung = |name: &str, height, bitrate| Rung { name: name.into(), height, bitrate };
        Self {
            rungs: vec![rung("480p", 480, 700_000), rung("240p", 240, 250_000)],
            webm_high: Some(800_000),
            webm_low: Some(300_000),
        }
    }
}

impl Ladder {
    /// What an encoder's configuration asks for.
    pub fn of(config: &protocol::config::Encoder) -> Self {
        let rung = |rung: &protocol::config::encoder::Rung| Rung {
            name: rung.name.to_string(),
            height: rung.height,
            bitrate: rung.bitrate.0,
        };
        Self {
            rungs: config.ladder.iter().map(rung).collect(),
            webm_high: config.webm.high.map(|rate| rate.0),
            webm_low: config.webm.low.map(|rate| rate.0),
        }
    }

    /// Reads a ladder file.
    pub fn load(path: &std::path::Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: name.clone(), source })?;
        Self::parse(&text, &name)
    }

    /// Reads a ladder; `name` is for messages.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        let file: File = toml::from_str(text)
            .map_err(|source| Error::Toml { name: name.into(), source: Box::new(source) })?;
        let value = |problem: String| Error::Value { name: name.into(), problem };
        let rate = |rate: Rate, what: &str| bits(&rate).map_err(|p| value(format!("{what}: {p}")));
        let mut rungs: Vec<Rung> = Vec::new();
        for FileRung { name, height, bitrate } in file.ladder {
            if name.is_empty() || OWN_NAMES.contains(&name.as_str()) || name == "source" {
                return Err(value(format!("`{name}` cannot be the name of a rung: take another")));
            }
            if rungs.iter().any(|r| r.name == name) {
                return Err(value(format!("two rungs are named `{name}`")));
            }
            if !(16..=4320).contains(&height) {
                return Err(value(format!("rung `{name}`: height {height} is not in 16..=4320")));
            }
            let bitrate = rate(bitrate, &format!("rung `{name}`"))?
                .ok_or_else(|| value(format!("rung `{name}`: leave it out to turn it off")))?;
            rungs.push(Rung { name, height, bitrate });
        }
        if rungs.len() > MOST_RUNGS {
            return Err(value(format!("{} rungs: at most {MOST_RUNGS}", rungs.len())));
        }
        let webm = |given: Option<Rate>, what: &str, default| match given {
            None => Ok(default),
            Some(given) => rate(given, what),
        };
        let default = Self::default();
        Ok(Self {
            rungs,
            webm_high: webm(file.webm.high, "webm.high", default.webm_high)?,
            webm_low: webm(file.webm.low, "webm.low", default.webm_low)?,
        })
    }

    /// The ladder as text that [`Ladder::parse`] reads.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for Rung { name, height, bitrate } in &self.rungs {
            let name = toml::Value::from(name.as_str());
            out += &format!("[[ladder]]\nname = {name}\nheight = {height}\nbitrate = {bitrate}\n");
        }
        let webm = |bits: Option<Bits>| bits.map_or("\"off\"".into(), |b| b.to_string());
        out + &format!("[webm]\nhigh = {}\nlow = {}\n", webm(self.webm_high), webm(self.webm_low))
    }

    /// Every output, in the order of their numbers on the pipe.
    pub fn streams(&self) -> Vec<Stream> {
        let rungs = self
            .rungs
            .iter()
            .map(|r| (r.name.as_str(), Kind::Rung { height: r.height, bitrate: r.bitrate }));
        let webm = |name, height, bits: Option<Bits>| {
            bits.map(|bitrate| (name, Kind::Webm { height, bitrate }))
        };
        rungs
            .chain(webm("webm-high", 720, self.webm_high))
            .chain(webm("webm-low", 360, self.webm_low))
            .chain([("ogg", Kind::Ogg), ("mp3", Kind::Mp3), ("preview", Kind::Preview)])
            .map(|(name, kind)| Stream { name: name.into(), kind })
            .collect()
    }
}

/// `"700k"`, `"1.5M"`, `"700000"`, 700000, or `"off"`.
fn bits(rate: &Rate) -> Result<Option<Bits>, String> {
    let bits = match rate {
        Rate::Number(bits) => *bits,
        Rate::Text(text) if text == "off" => return Ok(None),
        Rate::Text(text) => match text.parse::<BitRate>() {
            Ok(rate) => rate.0,
            Err(why) => return Err(format!("`{text}` is no bit rate: {why}")),
        },
    };
    if !(8_000..=100_000_000).contains(&bits) {
        return Err(format!("{bits} bit/s is not between 8k and 100M"));
    }
    Ok(Some(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let ladder = Ladder::parse(
            "[[ladder]]\nname='a'\nheight=480\nbitrate='1.5M'\n[webm]\nhigh=800000\nlow='off'",
            "x",
        )
        .unwrap();
        assert_eq!(ladder.rungs[0].bitrate, 1_500_000);
        assert_eq!((ladder.webm_high, ladder.webm_low), (Some(800_000), None));
        assert_eq!(Ladder::parse(&ladder.to_toml(), "x").unwrap(), ladder);
        let all = Ladder::default();
        assert_eq!(Ladder::parse(&all.to_toml(), "x").unwrap(), all);
        let names: Vec<_> = all.streams().into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["480p", "240p", "webm-high", "webm-low", "ogg", "mp3", "preview"]);
    }

    #[test]
    fn bad_ladders_say_why() {
        let error = |text: &str| Ladder::parse(text, "l.toml").unwrap_err().to_string();
        let rung = |rest: &str| error(&format!("[[ladder]]\n{rest}"));
        assert_eq!(
            rung("name='a'\nheight=480\nbitrate='fast'"),
            "ladder l.toml: rung `a`: `fast` is no bit rate: it does not begin with a number"
        );
        assert_eq!(
            rung("name='ogg'\nheight=480\nbitrate=700000"),
            "ladder l.toml: `ogg` cannot be the name of a rung: take another"
        );
        assert!(rung("name='a'\nheight=5\nbitrate='1M'").contains("height 5"));
        assert!(rung("name='a'\nheight=50\nbitrat='1M'").contains("unknown field `bitrat`"));
        assert!(error("[webm]\nhigh = 3").contains("webm.high: 3 bit/s"));
    }
}
