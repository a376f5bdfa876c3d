//! Takes typed values out of TOML tables, noting what is missing, wrong or unknown.

use std::{cell::RefCell, path::Path};

use toml::de::{DeTable, DeValue};

use super::{
    diagnose::{ConfigError, Report},
    values::{Expected, Value, Wrong, name_of},
};

/// One table while it is being read. Every key is asked for by name; [`Section::close`] then
/// reports the keys nobody asked for.
pub(super) struct Section<'r, 't, 'd> {
    report: &'r RefCell<Report<'t>>,
    table: Option<&'d DeTable<'t>>,
    offset: usize,
    place: String,
    known: RefCell<Vec<&'static str>>,
}

/// Reads a whole file: `read` takes the top-level section apart.
pub(super) fn read_document<T>(
    text: &str,
    file: &Path,
    read: impl FnOnce(&Section<'_, '_, '_>) -> Option<T>,
) -> Result<T, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let report = RefCell::new(Report::new(file, text));
    let (document, syntax) = DeTable::parse_recoverable(text);
    let mut value = None;
    if syntax.is_empty() {
        let root = Section {
            report: &report,
            table: Some(document.get_ref()),
            offset: 0,
            place: "at the top level".to_owned(),
            known: RefCell::default(),
        };
        value = read(&root);
        root.close();
    }
    // What is left of a file with broken syntax would only give misleading complaints.
    for error in syntax {
        let offset = error.span().map_or(text.len(), |span| span.start);
        report.borrow_mut().problem(offset, format!("not valid TOML: {}", error.message()));
    }
    report.into_inner().finish(value)
}

impl<'r, 't, 'd> Section<'r, 't, 'd> {
    fn get(&self, key: &'static str) -> Option<(&'d DeValue<'t>, usize)> {
        self.known.borrow_mut().push(key);
        self.report.borrow_mut().knows(&self.place, key);
        let value = self.table?.get(key)?;
        Some((value.get_ref(), value.span().start))
    }

    /// A value if the key is there. A wrong one is reported and counts as not there.
    pub(super) fn optional<V: Value>(&self, key: &'static str) -> Option<V> {
        let (value, offset) = self.get(key)?;
        match V::read(value) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let message = wrong.sentence(key, &self.place, value, &V::expected());
                self.report.borrow_mut().problem(offset, message);
                None
            }
        }
    }

    /// The values of a list, none if the key is not there. Each wrong one is reported at its place.
    pub(super) fn list<V: Value>(&self, key: &'static str) -> Vec<V> {
        let Expected { what, example } = V::expected();
        let expected = Expected::new(format!("a list, each {what}"), format!("[{example}]"));
        let mut values = Vec::new();
        let wrong = |wrong: &Wrong, value: &DeValue<'_>, offset| {
            let message = wrong.sentence(key, &self.place, value, &expected);
            self.report.borrow_mut().problem(offset, message);
        };
        match self.get(key) {
            None => {}
            Some((DeValue::Array(array), _)) => {
                for item in array.iter() {
                    match V::read(item.get_ref()) {
                        Ok(value) => values.push(value),
                        Err(why) => wrong(&why, item.get_ref(), item.span().start),
                    }
                }
            }
            Some((other, offset)) => wrong(&Wrong::Type, other, offset),
        }
        values
    }

    /// A value, or its default.
    pub(super) fn or<V: Value>(&self, key: &'static str, default: V) -> V {
        self.optional(key).unwrap_or(default)
    }

    /// A value that must be there; `None` after its absence or error was reported.
    pub(super) fn required<V: Value>(&self, key: &'static str) -> Option<V> {
        if !self.has(key) {
            self.get(key);
            self.missing::<V>(key);
            return None;
        }
        self.optional(key)
    }

    /// Reports that a key is missing.
    pub(super) fn missing<V: Value>(&self, key: &'static str) {
        let message = format!(
            "`{key}` is missing {}; it is {}, for example: {key} = {}",
            self.place,
            V::expected().what,
            V::expected().example
        );
        self.report.borrow_mut().problem(self.offset, message);
    }

    /// Whether there is such a table at all.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the key is there and a list of nothing.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key)).map(|value| value.get_ref());
        matches!(value, Some(DeValue::Array(array)) if array.is_empty())
    }

    /// Reports a problem of a key's (right) value with the rest of the file.
    pub(super) fn problem(&self, key: &str, message: String) {
        let value = self.table.and_then(|table| table.get(key));
        let offset = value.map_or(self.offset, |value| value.span().start);
        self.report.borrow_mut().problem(offset, message);
    }

    /// A table that may be left out: its section is then empty.
    pub(super) fn section(&self, key: &'static str) -> Section<'r, 't, 'd> {
        // A table in a table has both their names.
        let parent = self.place.strip_prefix("in [").and_then(|place| place.strip_suffix(']'));
        let name = match parent {
            Some(parent) if !parent.starts_with('[') => format!("{parent}.{key}"),
            _ => key.to_owned(),
        };
        let place = format!("in [{name}]");
        match self.get(key) {
            Some((DeValue::Table(table), offset)) => self.child(Some(table), offset, place),
            Some((other, offset)) => {
                let message = format!(
                    "`{key}` {} is {}; it must be a table: write [{name}] on a line of its own and \
                     its keys below",
                    self.place,
                    name_of(other)
                );
                self.report.borrow_mut().problem(offset, message);
                self.child(None, offset, place)
            }
            None => self.child(None, self.offset, place),
        }
    }

    /// An array of tables, `[[key]]`; `None` when there is no such key.
    pub(super) fn sections(&self, key: &'static str) -> Option<Vec<Section<'r, 't, 'd>>> {
        let (value, offset) = self.get(key)?;
        let wrong = |value: &DeValue<'_>, offset| {
            let message = format!(
                "`{key}` {} is {}; it must be a list of tables: write [[{key}]] on a line of its \
                 own and its keys below, once for each",
                self.place,
                name_of(value)
            );
            self.report.borrow_mut().problem(offset, message);
        };
        let DeValue::Array(array) = value else {
            wrong(value, offset);
            return Some(Vec::new());
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(self.child(
                        Some(table),
                        item.span().start,
                        format!("in [[{key}]]"),
                    ));
                }
                other => wrong(other, item.span().start),
            }
        }
        Some(sections)
    }

    fn child(
        &self,
        table: Option<&'d DeTable<'t>>,
        offset: usize,
        place: String,
    ) -> Section<'r, 't, 'd> {
        Section { report: self.report, table, offset, place, known: RefCell::default() }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn close(&self) {
        let known = self.known.borrow();
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            if !known.iter().any(|k| *k == key.get_ref().as_ref()) {
                let is_table = match value.get_ref() {
                    DeValue::Table(_) => true,
                    DeValue::Array(array) => array.iter().any(|v| v.get_ref().is_table()),
                    _ => false,
                };
                self.report.borrow_mut().unknown(
                    key.span().start,
                    key.get_ref(),
                    is_table,
                    &self.place,
                    known.clone(),
                );
            }
        }
    }
}
