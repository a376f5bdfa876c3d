//! What a website would be sent, as a person may see it: the secret is struck out.

use std::fmt::Write as _;

use protocol::config::Website;
use protocol::config::encoder::Room;
use protocol::names::RoomName;
use protocol::register::{CONTENT_TYPE, Report, STRUCK_OUT, form};
use watchdog::board::Board;

use super::component;

/// How each website takes each room: a line for each.
#[must_use]
pub fn moods(websites: &[Website], rooms: &[Room], board: &Board) -> String {
    let mut text = String::new();
    for room in rooms.iter().filter(|room| room.group.is_some()) {
        for website in websites {
            if let Some(status) = board.get(&component(&room.name, &website.name)) {
                let (room, name, mood) = (&room.name, &website.name, status.mood);
                let _ = writeln!(text, "{room} on {name}: {mood}: {}", status.reason);
            }
        }
    }
    text
}

/// Every request, each with its numbers once more in plain.
#[must_use]
pub fn requests(
    websites: &[Website],
    rooms: &[Room],
    report: impl Fn(&RoomName) -> Report,
) -> String {
    let mut text = String::new();
    for room in rooms {
        let Some(group) = &room.group else { continue };
        let report = report(&room.name);
        for website in websites {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "# room {}, to {} every {} s\nPOST {}\ncontent-type: {CONTENT_TYPE}\n\n{}\n\n# data is",
                room.name,
                website.name,
                website.interval.as_secs_f32(),
                website.shown(),
                form(STRUCK_OUT, group, &report),
            );
            for (field, value) in report.fields() {
                let _ = writeln!(text, "#   {field:<18} {value}");
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_secret_is_shown() {
        let text = "[[room]]\nname = \"demo\"\ntoken = \"correct-horse\"\n[[register]]\n\
                    url = \"http://user:hush@w.example.org/r?key=hush\"\nsecret = \"hush\"\n";
        let config = protocol::config::encoder::load(text, "e.toml".as_ref()).unwrap();
        let shown = requests(&config.register, &config.rooms, |_| Report::default());
        assert!(shown.starts_with(
            "# room demo, to w-example-org every 30 s\nPOST http://w.example.org/r\n\
             content-type: application/x-www-form-urlencoded\n\n\
             secret=*****&group=demo&data=%7B%22aac_high_bitrate%22%3A0%2C"
        ));
        assert!(shown.contains("\n#   overall_bitrate    0\n"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
