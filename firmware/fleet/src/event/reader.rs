//! Takes typed values out of the event's tables, noting what is wrong and what nobody knows.

use protocol::config::diagnose::{nearest, shown};

use super::LISTS;
use super::tree::{Node, Place, Problem, Tree, Value};

/// A table while it is being read.
pub(super) struct Reader<'a, 'p> {
    tree: &'a Tree,
    /// What the table is, for messages: `[rooms.main-hall]`.
    pub(super) name: String,
    /// Where it begins.
    pub(super) at: Place,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'a, 'p> Reader<'a, 'p> {
    pub(super) fn new(
        tree: &'a Tree,
        name: impl Into<String>,
        at: Place,
        problems: &'p mut Vec<Problem>,
    ) -> Self {
        Self { tree, name: name.into(), at, known: Vec::new(), problems }
    }

    pub(super) fn problem(&mut self, at: Place, message: impl Into<String>) {
        self.problems.push(Problem::at(at, message));
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.tree.get(key)
    }

    fn wrong(&mut self, key: &str, node: &Node, wanted: &str) {
        let message = format!("`{key}` in {} must be {wanted}", self.name);
        self.problem(node.at, message);
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &'static str) -> Option<(&'a str, Place)> {
        let node = self.get(key)?;
        match &node.value {
            Value::Text(text) if !text.is_empty() => Some((text, node.at)),
            _ => {
                self.wrong(key, node, "a text");
                None
            }
        }
    }

    /// A text that must be there; `example` shows how to write it.
    pub(super) fn required(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<(&'a str, Place)> {
        if !self.tree.contains_key(key) {
            self.known.push(key);
            let message = format!("`{key}` is missing in {}; for example: {example}", self.name);
            self.problem(self.at, message);
            return None;
        }
        self.text(key)
    }

    /// Whether something is switched on.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        match self.get(key) {
            None => false,
            Some(Node { value: Value::Bool(value), .. }) => *value,
            Some(node) => {
                self.wrong(key, node, "true or false");
                false
            }
        }
    }

    /// A text that is read further; what is wrong with it is noted.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        key: &'static str,
    ) -> Option<(T, Place)> {
        let (text, at) = self.text(key)?;
        match text.parse() {
            Ok(value) => Some((value, at)),
            Err(error) => {
                let message = format!("`{key}` in {}: {error}", self.name);
                self.problem(at, message);
                None
            }
        }
    }

    /// The keys of a table of tables, such as `[rooms.…]`, each with its table.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(&'a str, &'a Tree, Place)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let Value::Table(tables) = &node.value else {
            self.wrong(key, node, &format!("tables: [{key}.NAME]"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, node) in tables {
            match &node.value {
                Value::Table(table) => found.push((name.as_str(), table, node.at)),
                _ => self.wrong(name, node, &format!("a table: [{key}.{}]", shown(name))),
            }
        }
        found
    }

    /// The settings among the keys; and every key that is neither asked for nor a setting is noted.
    pub(super) fn settings(mut self, settings: &[&'static str]) -> Tree {
        let mut out = Tree::new();
        let mut unknown = Vec::new();
        for (key, node) in self.tree {
            if let Some(known) = settings.iter().find(|known| *known == key) {
                match (&node.value, *known) {
                    (Value::List(_), name) if LISTS.contains(&name) => {
                        out.insert(key.clone(), node.clone());
                    }
                    (_, name) if LISTS.contains(&name) => {
                        unknown.push((node.at, format!("`{key}` must be a list of tables")));
                    }
                    (Value::Table(_), _) => {
                        out.insert(key.clone(), node.clone());
                    }
                    _ => {
                        unknown
                            .push((node.at, format!("`{key}` in {} must be a table", self.name)));
                    }
                }
            } else if !self.known.iter().any(|known| known == key) {
                let mean = nearest(key, self.known.iter().chain(settings).copied());
                let mean = mean.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                unknown.push((
                    node.at,
                    format!("unknown key `{}` in {}{mean}", shown(key), self.name),
                ));
            }
        }
        for (at, message) in unknown {
            self.problem(at, message);
        }
        out
    }

    /// Notes every key that nobody asked for.
    pub(super) fn close(self) {
        let _ = self.settings(&[]);
    }
}
