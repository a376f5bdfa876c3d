//! The text of a `site.toml`, in which single values are found and replaced. All else stays as the
//! person wrote it: comments, order, and the ends of lines.

use std::ops::Range;

use toml_edit::{Document, Item};

/// A value that is a text, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its key, with the tables it is in: `mqtt.password`.
    pub(super) key: &'static str,
    /// What it says.
    pub(super) value: String,
    /// Bytes of the text.
    span: Range<usize>,
}

impl Found {
    /// The line it begins in, from 1.
    pub(super) fn line(&self, text: &str) -> usize {
        text.get(..self.span.start).unwrap_or_default().matches('\n').count() + 1
    }
}

/// The texts at these keys, in the order of the file; none if it is not TOML.
pub(super) fn find(text: &str, keys: &[&'static str]) -> Vec<Found> {
    let Ok(document) = Document::parse(text) else { return Vec::new() };
    let mut found: Vec<Found> = keys
        .iter()
        .filter_map(|&key| {
            let item = key.split('.').try_fold(document.as_item(), Item::get)?;
            Some(Found { key, value: item.as_str()?.to_owned(), span: item.span()? })
        })
        .collect();
    found.sort_by_key(|found| found.span.start);
    found
}

/// The text with other values at these places.
pub(super) fn replace(text: &str, places: &[(Found, String)]) -> String {
    let mut places: Vec<_> = places.iter().collect();
    places.sort_by_key(|(found, _)| found.span.start);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (found, value) in places {
        out.push_str(text.get(at..found.span.start).unwrap_or_default());
        out.push_str(&quoted(value));
        at = found.span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// A text as TOML, always on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_replaced_and_all_else_stays() {
        let text =
            "# mine\r\na = 'x' # why\r\n[b.c]\r\nd = \"\"\"\r\nlong\"\"\"\r\n e={f=\"g\"}\r\n";
        let found = find(text, &["b.c.e.f", "b.c.d", "a", "no", "b.c"]);
        let keys: Vec<_> = found.iter().map(|f| (f.key, f.value.as_str(), f.line(text))).collect();
        assert_eq!(keys, [("a", "x", 2), ("b.c.d", "long", 4), ("b.c.e.f", "g", 6)]);
        let places: Vec<_> = found.into_iter().map(|f| (f, "n\"e\nw".to_owned())).collect();
        let new = r#""n\"e\nw""#;
        assert_eq!(
            replace(text, &places),
            format!("# mine\r\na = {new} # why\r\n[b.c]\r\nd = {new}\r\n e={{f={new}}}\r\n")
        );
        assert_eq!(find("a = [", &["a"]), []);
    }

    proptest! {
        #[test]
        fn any_value_is_read_as_it_was_written(value in any::<String>(), other in "[a-z]{0,5}") {
            let text = format!("# é\nx = '{other}'\r\ny = 1\r\n");
            let places: Vec<_> =
                find(&text, &["x"]).into_iter().map(|f| (f, value.clone())).collect();
            let new = replace(&text, &places);
            prop_assert_eq!(new.lines().count(), 3);
            let found = find(&new, &["x"]);
            prop_assert_eq!(found.first().map(|f| &f.value), Some(&value));
        }
    }
}
