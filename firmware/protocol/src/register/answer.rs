//! What a website answers to a report: one line, or a Python traceback, or something that is not
//! the register's at all.

/// Bytes of an answer that are looked at. The longest is a traceback.
pub const ANSWER_BYTES: usize = 64 * 1024;
/// Characters of a foreign text that are shown to people.
const SHOWN: usize = 120;

/// What the website said. The texts in it are short, of one line, and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It took the report.
    Ok,
    /// It has no secret set, and so takes nothing from anybody.
    NoSecret,
    /// It has another secret.
    WrongSecret,
    /// It has no such group.
    UnknownGroup,
    /// It stumbled over the report.
    Exception {
        /// The exception's class: `TypeError`.
        class: String,
        /// The traceback's last line, which says what happened; may be empty.
        detail: String,
    },
    /// This is not a register's answer.
    Foreign {
        /// How it begins; may be empty.
        begins: String,
    },
}

impl Answer {
    /// Reads the body of an answer with status 200. Never fails: whatever is not known is foreign.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let body = body.get(..ANSWER_BYTES).unwrap_or(body);
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        if text == "OK" {
            return Self::Ok;
        }
        let first = text.lines().next().unwrap_or_default().trim_end();
        let foreign = || Self::Foreign { begins: shown(first) };
        let Some(error) = first.strip_prefix("ERROR ") else { return foreign() };
        match error.split_whitespace().next() {
            Some("CONFIG") => Self::NoSecret,
            Some("SECRET") => Self::WrongSecret,
            Some("GROUP") => Self::UnknownGroup,
            Some(class) if class.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.')) => {
                let last = text.lines().skip(1).filter(|line| !line.trim().is_empty()).last();
                Self::Exception { class: shown(class), detail: shown(last.unwrap_or_default()) }
            }
            _ => foreign(),
        }
    }
}

/// The beginning of a foreign text, on one line and without control characters.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(plain).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_original_answers() {
        let read = |text: &str| Answer::read(text.as_bytes());
        assert_eq!(read("OK\n"), Answer::Ok);
        assert_eq!(read("ERROR CONFIG (No secret)\n"), Answer::NoSecret);
        assert_eq!(read("ERROR SECRET\n"), Answer::WrongSecret);
        assert_eq!(read("ERROR GROUP\n"), Answer::UnknownGroup);
        let traceback = "ERROR TypeError\nTraceback (most recent call last):\n  File \"views.py\", line 9\n\
                         TypeError: 'ogv_high_clients' is an invalid keyword argument for this function\n";
        let detail =
            "TypeError: 'ogv_high_clients' is an invalid keyword argument for this function";
        assert_eq!(
            read(traceback),
            Answer::Exception { class: "TypeError".into(), detail: detail.into() }
        );
        assert_eq!(
            read("ERROR ValueError"),
            Answer::Exception { class: "ValueError".into(), detail: String::new() }
        );
    }

    #[test]
    fn what_is_not_a_registers_answer_is_told_as_it_begins() {
        let read = |text: &str| Answer::read(text.as_bytes());
        let foreign = |begins: &str| Answer::Foreign { begins: begins.into() };
        assert_eq!(read(""), foreign(""));
        assert_eq!(read("<!doctype html>\n<title>Log in</title>OK"), foreign("<!doctype html>"));
        assert_eq!(read("OKAY"), foreign("OKAY"));
        assert_eq!(read("ERROR"), foreign("ERROR"));
        assert_eq!(read("ERROR <b>502</b>"), foreign("ERROR <b>502</b>"));
        assert_eq!(read(&"x".repeat(10_000)), foreign(&"x".repeat(SHOWN)));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_short_and_of_one_line(
            body in proptest::collection::vec(any::<u8>(), 0..300), error: bool, times in 1usize..500
        ) {
            let mut whole = if error { b"ERROR ".to_vec() } else { Vec::new() };
            whole.extend(body.repeat(times));
            let texts = match Answer::read(&whole) {
                Answer::Exception { class, detail } => vec![class, detail],
                Answer::Foreign { begins } => vec![begins],
                _ => vec![],
            };
            for text in texts {
                prop_assert!(text.chars().count() <= SHOWN && !text.chars().any(char::is_control));
            }
        }
    }
}
