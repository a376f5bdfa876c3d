//! The same on the box's own screen (HDMI), as text: for a room where nobody has a laptop at hand.
//!
//! What is drawn is a pure function of the picture; it fits 80×25, the smallest console there is.
//! The console's font knows little more than ASCII, so that is all it gets.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Light, Picture};
use crate::page;
use crate::paths::Paths;

const COLUMNS: usize = 80;
/// One less than there are: writing the last one would scroll.
const LINES: usize = 24;
/// Where sentences begin.
const INDENT: usize = 17;
/// It is drawn again after this long in any case: the kernel may have written across it.
const AGAIN: Duration = Duration::from_secs(60);
/// How fast the screen turns over while the box is looked for.
const FLASH: Duration = Duration::from_millis(400);

/// Clear, no cursor, and never dark: a screen that sleeps tells nothing.
const BEGIN: &str = "\x1b[9;0]\x1b[13]\x1b[?25l\x1b[0m\x1b[H\x1b[2J";

/// Draws on `/dev/tty1`, if there is one, until cancelled. `identify` is whether somebody looks for
/// this box.
pub async fn run(
    paths: &Paths,
    mut picture: watch::Receiver<Arc<Picture>>,
    mut identify: watch::Receiver<bool>,
    cancel: CancellationToken,
) {
    let screen = paths.system("dev/tty1");
    if !screen.exists() {
        return;
    }
    let mut drawn = String::new();
    let mut turned = false;
    loop {
        let wanted = *identify.borrow_and_update();
        turned = wanted && !turned;
        let shown = picture.borrow_and_update().clone();
        let text = draw(&shown, &page::token(paths), turned);
        if text != drawn {
            drawn.clone_from(&text);
            write(&screen, text).await;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            Ok(()) = picture.changed(), if !wanted => {}
            Ok(()) = identify.changed() => {}
            () = tokio::time::sleep(if wanted { FLASH } else { AGAIN }) => {
                if !wanted {
                    drawn.clear();
                }
            }
        }
    }
}

/// A console that takes nothing (stopped by Ctrl-S, say) is passed over: without O_NONBLOCK it
/// would hold us up.
async fn write(screen: &Path, text: String) {
    let screen: PathBuf = screen.to_owned();
    let written = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
        let mut screen =
            OpenOptions::new().write(true).custom_flags(flags.cast_signed()).open(screen)?;
        screen.write_all(text.as_bytes())
    });
    if let Ok(Err(error)) = written.await {
        tracing::debug!("the screen cannot be written to: {error}");
    }
}

/// What the screen shows, with the console's own codes for colour; `turned` exchanges ink and paper.
#[must_use]
pub fn draw(picture: &Picture, token: &str, turned: bool) -> String {
    let mut out = String::from(if turned { "\x1b[?5h" } else { "\x1b[?5l" });
    out.push_str(BEGIN);
    let lines = layout(picture, token);
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push_str("\r\n");
        }
        match line {
            Line::Plain(text) => out.push_str(text),
            Line::Bold(text) => {
                let _ = write!(out, "\x1b[1m{text}\x1b[0m");
            }
            Line::Lit(light, text) => {
                let colour = match light {
                    Light::Grey => "37",
                    Light::Green => "32",
                    Light::Amber => "1;33",
                    Light::Red => "1;37;41",
                };
                let (word, rest) = text.split_at_checked(WORD).unwrap_or((text, ""));
                let _ = write!(out, "\x1b[{colour}m{word}\x1b[0m{rest}");
            }
        }
    }
    out
}

/// The width of a light's word on the screen, with a space on either side.
const WORD: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Plain(String),
    Bold(String),
    Lit(Light, String),
}

fn layout(picture: &Picture, token: &str) -> Vec<Line> {
    let room = match picture.room.as_str() {
        "" => "not set up".to_owned(),
        room => format!("room {}", plain(room)),
    };
    let mut lines = vec![
        Line::Bold(cut(&format!(" Backrow: {room}"), COLUMNS)),
        Line::Bold(cut(&format!(" {}", plain(&picture.headline)), COLUMNS)),
        Line::Plain(String::new()),
    ];
    let footer = footer(picture, token);
    // What is left for advice, the most urgent first.
    let mut spare = LINES.saturating_sub(lines.len() + picture.rows.len() + footer.len() + 1);
    let advised: Vec<Vec<String>> = {
        let mut advice = vec![Vec::new(); picture.rows.len()];
        for light in [Light::Red, Light::Amber, Light::Grey] {
            for (row, lines) in picture.rows.iter().zip(&mut advice) {
                let wanted = row.light == light && !row.todo.is_empty();
                let mut wrapped = if wanted { wrap(&plain(&row.todo)) } else { Vec::new() };
                if wrapped.len() > spare {
                    // Half a piece of advice may be worse than none.
                    wrapped.clear();
                }
                spare -= wrapped.len();
                if wanted {
                    *lines = wrapped;
                }
            }
        }
        advice
    };
    for (row, advice) in picture.rows.iter().zip(advised) {
        let word = match row.light {
            Light::Grey => " .. ",
            Light::Green => " OK ",
            Light::Amber | Light::Red => " !! ",
        };
        let title = cut(&plain(&row.title), INDENT - WORD - 2);
        let text = format!("{word} {title:<width$}{}", plain(&row.says), width = INDENT - WORD - 1);
        lines.push(Line::Lit(row.light, cut(&text, COLUMNS)));
        lines.extend(advice.into_iter().map(|it| Line::Plain(format!("{:INDENT$}{it}", ""))));
    }
    lines.push(Line::Plain(String::new()));
    lines.extend(footer);
    lines.truncate(LINES);
    lines
}

fn footer(picture: &Picture, token: &str) -> Vec<Line> {
    let mut places: Vec<String> =
        picture.addresses.iter().filter(|it| !it.contains(':')).cloned().collect();
    if !picture.device.is_empty() {
        places.push(format!("{}.local", plain(&picture.device)));
    }
    let places: Vec<String> = places.iter().map(|it| format!("http://{it}/")).collect();
    let page = match places.as_slice() {
        [] => " Its page: once there is a network.".to_owned(),
        places => format!(" Its page: {}", places.join(" or ")),
    };
    let token = match token {
        "" => " There is no token: nothing can be changed from the page.".to_owned(),
        token => format!(" Token for changing things there: {}", plain(token)),
    };
    let version = format!(" Version {}", plain(&picture.version));
    [page, token, version].into_iter().map(|it| Line::Plain(cut(&it, COLUMNS))).collect()
}

/// The text in what every console can show, and nothing that steers the console.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => out.push(character),
            '“' | '”' => out.push('"'),
            '‘' | '’' => out.push('\''),
            '–' | '—' => out.push('-'),
            '…' => out.push_str("..."),
            '×' => out.push('x'),
            '°' => {}
            _ => out.push('?'),
        }
    }
    out
}

/// At most `width` characters, the last of them dots where something is missing. ASCII only.
fn cut(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let kept = text.get(..width.saturating_sub(3)).unwrap_or_default();
    format!("{kept}...")
}

/// Lines that fit beside the indent, broken between words.
fn wrap(text: &str) -> Vec<String> {
    let width = COLUMNS - INDENT;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, width)),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
