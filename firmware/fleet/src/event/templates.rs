//! Reads `[[templates.KIND]]`.

use std::path::{Component, Path};

use protocol::config::diagnose::shown;

use super::{
    Kind, Place, Problem, Template,
    reader::Reader,
    tree::{Tree, Value},
};

/// The templates of an event whose folder is `dir`.
pub(super) fn read(tree: &Tree, dir: &Path, problems: &mut Vec<Problem>) -> Vec<Template> {
    let mut templates = Vec::new();
    for (word, node) in tree {
        let (Ok(kind), Value::List(items)) = (word.parse::<Kind>(), &node.value) else {
            let message = format!(
                "[[templates.{}]]: templates are lists for a kind of machine: [[templates.box]], \
                 [[templates.collector]] or [[templates.encoder]]",
                shown(word)
            );
            problems.push(Problem::at(node.at, message));
            continue;
        };
        for item in items {
            let Value::Table(table) = &item.value else { continue };
            let mut reader = Reader::new(table, format!("[[templates.{word}]]"), item.at, problems);
            let path = reader.required("path", "path = \"/etc/backrow/site.toml\"");
            if let Some((path, at)) = path
                && !good_path(path)
            {
                reader.problem(
                    at,
                    "`path` must begin with / and have only letters, digits and . _ - + @ /",
                );
            }
            let file = reader.text("file");
            if let Some((file, at)) = file {
                let inside = Path::new(file)
                    .components()
                    .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
                if !inside || !dir.join(file).is_file() {
                    reader.problem(
                        at,
                        format!("there is no file {} in the event's folder", shown(file)),
                    );
                }
            }
            let mode = reader.text("mode");
            if let Some((mode, at)) = mode
                && !((3..=4).contains(&mode.len())
                    && mode.chars().all(|c| ('0'..='7').contains(&c)))
            {
                reader.problem(at, "`mode` must be octal digits, for example: mode = \"0640\"");
            }
            let word = |(text, at): (&str, Place), reader: &mut Reader<'_, '_>, key: &str| {
                if !text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@'))
                {
                    reader.problem(at, format!("`{key}` must be a name"));
                }
                text.to_owned()
            };
            let group = reader.text("group").map(|found| word(found, &mut reader, "group"));
            let reload = reader.text("reload").map(|found| word(found, &mut reader, "reload"));
            reader.close();
            if let Some((path, _)) = path {
                templates.push(Template {
                    kind,
                    path: path.to_owned(),
                    file: file.map(|(file, _)| file.to_owned()),
                    mode: mode.map(|(mode, _)| mode.to_owned()),
                    group,
                    reload,
                    at: item.at,
                });
            }
        }
    }
    templates
}

/// Whether a path can be given to a shell as it is.
pub(crate) fn good_path(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && !path.ends_with('/')
        && path.split('/').all(|part| part != "..")
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "._-+@/{}".contains(c))
}
