//! The differences between a machine's files and what they are to be, without the secrets in them.
//! Pure.

use similar::TextDiff;

use super::decide::Found;
use crate::{
    event::SECRETS,
    render::{File, Rendered},
};

/// How many files differ, and what differs, as a unified diff.
#[must_use]
pub fn differences(found: &Found, wanted: &Rendered) -> (usize, String) {
    let (mut count, mut out) = (0, String::new());
    for file in &wanted.files {
        let here = found.files.get(&file.view).and_then(Option::as_ref);
        if here.is_some_and(|here| here == file.content.as_bytes()) {
            continue;
        }
        count += 1;
        out.push_str(&one(here.map(Vec::as_slice), file));
    }
    for entry in &found.manifest {
        if !wanted.files.iter().any(|file| file.path == entry.path) {
            count += 1;
            out.push_str(&format!("--- {}\n+++ (removed)\n", entry.path));
        }
    }
    (count, out)
}

fn one(here: Option<&[u8]>, file: &File) -> String {
    let path = &file.path;
    let Some(here) = here else {
        let lines = file.content.lines().count();
        let body = if file.secret { "(secret)\n".to_owned() } else { plus(&file.content) };
        return format!("--- (nothing)\n+++ {path}\n@@ -0,0 +1,{lines} @@\n{body}");
    };
    if file.secret {
        return format!("--- {path}\n+++ {path}\n(another secret)\n");
    }
    let here = String::from_utf8_lossy(here);
    // Compared as they are, and covered only then: a token that changed shows as changed.
    let diff = TextDiff::from_lines(here.as_ref(), file.content.as_str());
    let text = diff.unified_diff().header(path, path).to_string();
    text.split_inclusive('\n').map(covered).collect()
}

fn plus(content: &str) -> String {
    content.lines().map(|line| covered(&format!("+{line}\n"))).collect()
}

/// A line with its secret covered, and nothing in it that a terminal would obey.
fn covered(line: &str) -> String {
    let line: String =
        line.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let Some((key, value)) = line.split_once('=') else { return line };
    let name = key.trim_matches(['+', '-', ' ', '\t', '"', '\'']).to_lowercase();
    let stream_key = value.contains("rtmp://") || value.contains("rtmps://");
    let inline = SECRETS.iter().any(|word| value.to_lowercase().contains(word));
    if SECRETS.iter().any(|word| name.ends_with(word)) || stream_key || inline {
        return format!("{key}= •••\n");
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(content: &str, secret: bool) -> Rendered {
        let file = File {
            path: "/etc/a".to_owned(),
            view: "/etc/a".to_owned(),
            mode: "0640".to_owned(),
            group: None,
            content: content.to_owned(),
            reload: None,
            secret,
        };
        Rendered {
            machine: "m".parse().unwrap(),
            revision: "1".parse().unwrap(),
            state: "/s".to_owned(),
            files: vec![file],
        }
    }

    fn found(content: Option<&str>) -> Found {
        let content = content.map(|text| text.as_bytes().to_vec());
        Found { files: [("/etc/a".to_owned(), content)].into(), ..Found::default() }
    }

    #[test]
    fn secrets_are_covered_and_their_change_is_seen() {
        let (count, text) = differences(
            &found(Some("room = \"a\"\ntoken = \"old-secret\"\nwidth = 1\n")),
            &wanted("room = \"a\"\ntoken = \"new-secret\"\nwidth = 2\n", false),
        );
        assert_eq!(count, 1);
        assert_eq!(
            text,
            "--- /etc/a\n+++ /etc/a\n@@ -1,3 +1,3 @@\n room = \"a\"\n-token = •••\n-width = 1\n\
             +token = •••\n+width = 2\n"
        );
        let (_, text) = differences(&found(None), &wanted("wifi = { password = \"x\" }\n", false));
        assert!(!text.contains("\"x\""), "{text}");
        let (_, text) = differences(&found(Some("a\n")), &wanted("BEGIN PRIVATE KEY", true));
        assert!(text.contains("another secret") && !text.contains("BEGIN"), "{text}");
        assert_eq!(differences(&found(Some("a\n")), &wanted("a\n", false)), (0, String::new()));
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_and_no_escape_gets_through(here in any::<String>(), secret in "[a-z0-9]{12}") {
            prop_assume!(!here.contains(&secret));
            let text = format!("a = 1\ntoken = \"{secret}\"\n  password=\"{secret}\"\n");
            let (_, shown) = differences(&found(Some(&here)), &wanted(&text, false));
            prop_assert!(!shown.contains(&secret));
            prop_assert!(!shown.contains('\x1b'));
        }
    }
}
