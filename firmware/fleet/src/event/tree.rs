//! The values of the event's files, each with the place where it stands: so whatever turns out to be
//! wrong later, in a file made from them, is told at the place where a person wrote it.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};
use toml::de::{DeTable, DeValue};

/// The two files of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// What everybody may see.
    Event,
    /// Tokens and passwords.
    Secret,
}

impl Source {
    /// Its name in the event's folder.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Event => "event.toml",
            Self::Secret => "event.secret.toml",
        }
    }
}

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// In which file.
    pub source: Source,
    /// In which line, from 1.
    pub line: usize,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as a person would name it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// At a place in the event's files.
    pub(crate) fn at(place: Place, message: impl Into<String>) -> Self {
        Self { file: place.source.file().to_owned(), line: place.line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A value and where its key stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where.
    pub at: Place,
}

/// A value. (Dates are texts: no setting is one.)
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A number with a point.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Tree),
}

/// A table's values by key.
pub type Tree = BTreeMap<String, Node>;

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl Node {
    /// A text at a place.
    pub(crate) fn text(text: impl Into<String>, at: Place) -> Self {
        Self { value: Value::Text(text.into()), at }
    }
}

/// Reads a file.
///
/// # Errors
/// Every fault in its syntax.
pub fn parse(text: &str, source: Source) -> Result<Tree, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(text);
    let at = |offset| Place { source, line: lines.line(offset) };
    let (document, faults) = DeTable::parse_recoverable(text);
    if faults.is_empty() {
        return Ok(table(document.get_ref(), &at));
    }
    let problem = |fault: toml::de::Error| {
        let offset = fault.span().map_or(text.len(), |span| span.start);
        Problem::at(at(offset), format!("not valid TOML: {}", fault.message()))
    };
    Err(faults.into_iter().map(problem).collect())
}

fn table(table: &DeTable<'_>, at: &dyn Fn(usize) -> Place) -> Tree {
    let mut out = Tree::new();
    for (key, value) in table {
        let place = at(key.span().start);
        out.insert(key.get_ref().to_string(), node(value.get_ref(), place, at));
    }
    out
}

fn node(from: &DeValue<'_>, place: Place, at: &dyn Fn(usize) -> Place) -> Node {
    let value = match from {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Whole(number),
                // Out of every range: the check of the file made from it says so.
                Err(_) => Value::Text(number.to_string()),
            }
        }
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::Text(number.to_string()), Value::Float)
        }
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Array(items) => Value::List(
            items.iter().map(|item| node(item.get_ref(), at(item.span().start), at)).collect(),
        ),
        DeValue::Table(inner) => Value::Table(table(inner, at)),
    };
    Node { value, at: place }
}

/// Puts values over others: tables are merged, everything else is replaced.
pub fn merge(base: &mut Tree, over: &Tree) {
    for (key, node) in over {
        match (base.get_mut(key), &node.value) {
            (Some(Node { value: Value::Table(below), .. }), Value::Table(above)) => {
                merge(below, above);
            }
            _ => {
                base.insert(key.clone(), node.clone());
            }
        }
    }
}

/// Where the value of a path stands; or of the longest beginning of it that is there.
#[must_use]
pub fn find(tree: &Tree, path: &[String]) -> Option<Place> {
    let (first, rest) = path.split_first()?;
    let node = tree.get(first)?;
    let below = match &node.value {
        Value::Table(inner) => find(inner, rest),
        _ => None,
    };
    Some(below.unwrap_or(node.at))
}

/// The lines of a text.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

/// The path of the key in a line of a TOML text, for example `video`, `bitrate`.
#[must_use]
pub fn key_in_line(text: &str, line: usize) -> Option<Vec<String>> {
    fn search(table: &DeTable<'_>, lines: &Lines, line: usize) -> Option<Vec<String>> {
        for (key, value) in table {
            let here = key.get_ref().to_string();
            if let DeValue::Table(inner) = value.get_ref()
                && let Some(mut path) = search(inner, lines, line)
            {
                path.insert(0, here);
                return Some(path);
            }
            if lines.line(key.span().start) == line {
                return Some(vec![here]);
            }
        }
        None
    }
    let (document, _) = DeTable::parse_recoverable(text);
    search(document.get_ref(), &Lines::of(text), line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(text: &str, source: Source) -> Tree {
        parse(text, source).unwrap()
    }

    #[test]
    fn the_later_file_wins_key_by_key_and_places_are_kept() {
        let mut base = tree("[a]\nx = 1\ny = \"two\"\nz = [1]\n", Source::Event);
        merge(&mut base, &tree("[a]\ny = 2\nz = [2, 3]\n[b]\n", Source::Secret));
        let text = toml::Table::try_from(&base).unwrap().to_string();
        assert_eq!(text, "[a]\nx = 1\ny = 2\nz = [2, 3]\n\n[b]\n");
        let at = |path: &[&str]| {
            find(&base, &path.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(at(&["a", "x"]), Place { source: Source::Event, line: 2 });
        assert_eq!(at(&["a", "y"]), Place { source: Source::Secret, line: 2 });
        assert_eq!(at(&["a", "nothing"]), Place { source: Source::Event, line: 1 });
    }

    #[test]
    fn a_line_knows_its_key() {
        let text = "room = 1\n[video]\nwidth = 2\n[network.wifi]\nssid = \"a\"\n";
        let key = |line| key_in_line(text, line).map(|path| path.join("."));
        assert_eq!(key(1).as_deref(), Some("room"));
        assert_eq!(key(3).as_deref(), Some("video.width"));
        assert_eq!(key(5).as_deref(), Some("network.wifi.ssid"));
        assert_eq!(key(9), None);
    }

    #[test]
    fn every_fault_of_syntax_has_its_line() {
        let faults = parse("a = 1\na = 2\nb = \n", Source::Event).unwrap_err();
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|s| s.starts_with("event.toml:2: not valid TOML: ")), "{said:?}");
        assert!(said.iter().any(|s| s.starts_with("event.toml:3: not valid TOML: ")), "{said:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_values_or_faults(text in any::<String>()) {
            let _ = parse(&text, Source::Event);
            let _ = key_in_line(&text, 1);
        }
    }
}
