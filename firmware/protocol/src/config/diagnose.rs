//! What is wrong with a configuration file: every problem, each with its place.

use std::{fmt, path::Path};

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// All that is wrong with a file. Displays as one line `file:line:column: message` per problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// The problems, in the order of the file. Never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// A file that could not be read at all.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => format!("it cannot be read: {error}"),
        };
        Self {
            file: file.display().to_string(),
            problems: vec![Problem { line: 1, column: 1, message }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { line, column, message }) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{line}:{column}: {message}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A key that no section asked for; what to suggest is known only when all sections were read.
struct Unknown {
    offset: usize,
    key: String,
    is_table: bool,
    place: String,
    siblings: Vec<&'static str>,
}

/// Collects problems while a file is read.
pub(super) struct Report<'t> {
    file: String,
    text: &'t str,
    problems: Vec<(usize, String)>,
    unknown: Vec<Unknown>,
    /// Every key asked for anywhere, with its place.
    schema: Vec<(String, &'static str)>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Self {
        Self {
            file: file.display().to_string(),
            text,
            problems: Vec::new(),
            unknown: Vec::new(),
            schema: Vec::new(),
        }
    }

    pub(super) fn problem(&mut self, offset: usize, message: String) {
        self.problems.push((offset, message));
    }

    pub(super) fn knows(&mut self, place: &str, key: &'static str) {
        if !self.schema.iter().any(|(p, k)| p == place && *k == key) {
            self.schema.push((place.to_owned(), key));
        }
    }

    pub(super) fn unknown(
        &mut self,
        offset: usize,
        key: &str,
        is_table: bool,
        place: &str,
        siblings: Vec<&'static str>,
    ) {
        let (key, place) = (key.to_owned(), place.to_owned());
        self.unknown.push(Unknown { offset, key, is_table, place, siblings });
    }

    /// The value if nothing was wrong, else everything that was.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, ConfigError> {
        for unknown in std::mem::take(&mut self.unknown) {
            let message = self.explain(&unknown);
            self.problems.push((unknown.offset, message));
        }
        if self.problems.is_empty() {
            if let Some(value) = value {
                return Ok(value);
            }
            self.problem(0, "the file is not complete".to_owned());
        }
        self.problems.sort_by_key(|(offset, _)| *offset);
        let at = |offset| position(self.text, offset);
        let problems = self
            .problems
            .iter()
            .map(|(offset, message)| {
                let (line, column) = at(*offset);
                Problem { line, column, message: message.clone() }
            })
            .collect();
        Err(ConfigError { file: self.file, problems })
    }

    fn explain(&self, unknown: &Unknown) -> String {
        let Unknown { key, is_table, place, siblings, .. } = unknown;
        let key = shown(key);
        let (what, quoted) = if *is_table {
            ("table", format!("[{key}]"))
        } else {
            ("key", format!("`{key}` {place}"))
        };
        let advice = if let Some(near) = nearest(&key, siblings.iter().copied()) {
            format!(
                "did you mean {}?",
                if *is_table { format!("[{near}]") } else { format!("`{near}`") }
            )
        } else if let Some(places) = self.elsewhere(&key) {
            format!("it belongs {places}")
        } else {
            let list = siblings.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>();
            format!("known here: {}", list.join(", "))
        };
        format!("unknown {what} {quoted}; {advice}")
    }

    /// The places that do know this key.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let places: Vec<&str> = self
            .schema
            .iter()
            .filter(|(_, k)| *k == key)
            .map(|(place, _)| place.as_str())
            .collect();
        (!places.is_empty()).then(|| places.join(" or "))
    }
}

/// The candidate a typing error away from `word`, if there is one.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        // Up to a third of the letters wrong is a slip; more is another word.
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3)) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A text fit for one line of an error message.
pub fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

/// Line and column, both from 1, of a byte offset; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    (line, column)
}
