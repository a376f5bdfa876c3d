//! Makes every machine's files from the event: settings over defaults, then templates, then the
//! check by the very code with which the daemon will read the file.
//!
//! ```text
//! settings ─▶ {{ … }} in them filled in ─▶ template ─▶ file ─▶ protocol::config ─▶ revision
//! ```
//! A value that is not there is an error, never an empty text. Pure but for the templates' files.

mod builtin;
mod context;
mod exposed;
mod passwords;
mod website;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use minijinja::{Environment, Error, UndefinedBehavior, syntax::SyntaxConfig};
use protocol::{
    config,
    names::{DeviceName, Revision},
};
use sha2::{Digest as _, Sha256};

use self::{
    builtin::When,
    context::{Settings, context},
};
pub use self::{
    builtin::{BOX_SITE, Reload},
    exposed::{exposed, is_local},
    website::unreached,
};
use crate::{
    certificates::Certificates,
    event::{Event, Machine, Problem, Template, tree},
};

/// Stands for the revision while that is counted: it cannot be part of what it is counted from.
const NO_REVISION: &str = "000000000000";

/// A file as it will be on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it goes.
    pub path: String,
    /// Where its present content is to be read.
    pub view: String,
    /// Its mode, octal.
    pub mode: String,
    /// Its group, if it is not root's.
    pub group: Option<String>,
    /// What is in it.
    pub content: String,
    /// What has to be started anew when it changed.
    pub reload: Option<Reload>,
    /// Whether its lines are not to be shown at all.
    pub secret: bool,
}

/// A machine's files.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The machine.
    pub machine: DeviceName,
    /// What all of the files together are called.
    pub revision: Revision,
    /// Where the machine keeps what it had before.
    pub state: String,
    /// The files, in the order in which they are put in their places.
    pub files: Vec<File>,
}

/// Renders every machine.
///
/// # Errors
/// All that is wrong with any of them.
pub fn all(
    event: &Event,
    certificates: &Certificates,
) -> Result<BTreeMap<DeviceName, Rendered>, Vec<Problem>> {
    let (mut done, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, machine) in &event.machines {
        match render(event, name, machine, certificates) {
            Ok(rendered) => {
                done.insert(name.clone(), rendered);
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(done) } else { Err(problems) }
}

/// What is to be rendered, before its template is filled in.
struct Spec {
    path: String,
    view: Option<&'static str>,
    mode: String,
    group: Option<String>,
    /// The template's name for messages, and its text.
    name: String,
    text: String,
    reload: Option<Reload>,
}

fn specs(event: &Event, name: &DeviceName, machine: &Machine) -> Result<Vec<Spec>, Vec<Problem>> {
    let tls = event.broker.as_ref().is_some_and(|(url, _)| url.scheme() == "mqtts");
    let mut specs: Vec<Spec> = builtin::files(machine.kind)
        .into_iter()
        .filter(|(file, _)| match file.when {
            When::Always => true,
            When::Tls => tls,
            When::Https => machine.https.is_some(),
            When::Broker => machine.broker,
            When::Browsers => machine.broker && event.browsers.is_some(),
        })
        .map(|(file, reload)| Spec {
            path: file.path.replace("NAME", name.as_str()),
            view: file.view,
            mode: file.mode.to_owned(),
            group: file.group.map(str::to_owned),
            name: format!("built-in {}", file.name),
            text: file.text.to_owned(),
            reload: Some(reload),
        })
        .collect();
    let mut problems = Vec::new();
    for template in event.templates.iter().filter(|template| template.kind == machine.kind) {
        if let Err(problem) = other(&mut specs, template, &event.dir) {
            problems.push(problem);
        }
    }
    if problems.is_empty() { Ok(specs) } else { Err(problems) }
}

/// An event's own template takes the place of the built-in one with its path, or comes before all.
fn other(specs: &mut Vec<Spec>, template: &Template, dir: &Path) -> Result<(), Problem> {
    let text = match &template.file {
        None => None,
        Some(file) => Some(fs::read_to_string(dir.join(file)).map_err(|error| {
            Problem::at(template.at, format!("the template {file} cannot be read: {error}"))
        })?),
    };
    let reload = template.reload.clone().map(Reload::Unit);
    if let Some(spec) = specs.iter_mut().find(|spec| spec.path == template.path) {
        if let (Some(text), Some(file)) = (text, &template.file) {
            (spec.text, spec.name) = (text, file.clone());
        }
        if let Some(mode) = &template.mode {
            spec.mode.clone_from(mode);
        }
        spec.group = template.group.clone().or(spec.group.take());
        spec.reload = reload.or(spec.reload.take());
        return Ok(());
    }
    let (Some(text), Some(file)) = (text, &template.file) else {
        let message = format!(
            "[[templates.{}]]: no built-in template goes to {}, so `file` is needed",
            template.kind, template.path
        );
        return Err(Problem::at(template.at, message));
    };
    specs.insert(
        0,
        Spec {
            path: template.path.clone(),
            view: None,
            mode: template.mode.clone().unwrap_or_else(|| "0640".to_owned()),
            group: template.group.clone(),
            name: file.clone(),
            text,
            reload,
        },
    );
    Ok(())
}

fn render(
    event: &Event,
    name: &DeviceName,
    machine: &Machine,
    certificates: &Certificates,
) -> Result<Rendered, Vec<Problem>> {
    let environment = environment();
    let specs = specs(event, name, machine)?;
    let settings = Settings::of(event, name, machine, &environment)?;
    let fill = |revision: &str| -> Result<Vec<File>, Vec<Problem>> {
        let values = context(event, name, machine, &settings, certificates, revision);
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for spec in &specs {
            match environment.render_named_str(&spec.name, &spec.text, values.clone()) {
                Ok(content) => files.push(file(spec, content)),
                Err(error) => problems.push(Problem {
                    file: spec.name.clone(),
                    line: error.line().unwrap_or(1),
                    message: format!("{}: {}", who(name, machine), undefined(&error)),
                }),
            }
        }
        if problems.is_empty() { Ok(files) } else { Err(problems) }
    };
    let revision = revision(&fill(NO_REVISION)?);
    let files = fill(&revision)?;
    let mut problems: Vec<Problem> =
        files.iter().flat_map(|file| check(file, name, machine, &settings)).collect();
    let revision = revision.parse::<Revision>().map_err(|error| {
        vec![Problem::at(machine.at, format!("the revision of {name}: {error}"))]
    })?;
    if !problems.is_empty() {
        problems.sort();
        return Err(problems);
    }
    let state = builtin::state(machine.kind, name.as_str());
    Ok(Rendered { machine: name.clone(), revision, state, files })
}

fn file(spec: &Spec, mut content: String) -> File {
    if !content.ends_with('\n') {
        content.push('\n');
    }
    File {
        path: spec.path.clone(),
        view: spec.view.map_or_else(|| spec.path.clone(), str::to_owned),
        mode: spec.mode.clone(),
        group: spec.group.clone(),
        secret: content.contains("PRIVATE KEY") || content.contains(passwords::MARK),
        content,
        reload: spec.reload.clone(),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_debug(true);
    let syntax = SyntaxConfig::builder().trim_blocks(true).build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    environment.add_filter("toml", to_toml);
    environment
}

/// A value as TOML: a text in quotes, or a whole table with all below it.
#[allow(clippy::needless_pass_by_value)] // a filter's form
fn to_toml(value: minijinja::Value) -> Result<String, Error> {
    let wrong = |why: String| Error::new(minijinja::ErrorKind::InvalidOperation, why);
    if value.is_undefined() {
        return Err(Error::from(minijinja::ErrorKind::UndefinedError));
    }
    let value = toml::Value::try_from(&value).map_err(|error| wrong(error.to_string()))?;
    match value {
        toml::Value::Table(table) => {
            toml::to_string(&table).map_err(|error| wrong(error.to_string()))
        }
        other => Ok(other.to_string()),
    }
}

/// `machine box-1 (room main)`.
fn who(name: &DeviceName, machine: &Machine) -> String {
    match machine.rooms.as_slice() {
        [] => format!("machine {name}"),
        [room] => format!("machine {name} (room {room})"),
        [first, .., last] => format!("machine {name} (rooms {first} to {last})"),
    }
}

/// What a template's error says, with the words in the template that it is about.
fn undefined(error: &Error) -> String {
    let words = error
        .range()
        .and_then(|range| error.template_source().and_then(|source| source.get(range)))
        .map(|words| words.trim().chars().take(60).collect::<String>());
    match (error.kind(), words) {
        (minijinja::ErrorKind::UndefinedError, Some(words)) => {
            format!("`{words}` is not defined; set it in event.toml")
        }
        (_, Some(words)) => format!("`{words}`: {}", plain(error)),
        (_, None) => plain(error),
    }
}

fn plain(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Checks a file as its daemon will; what is wrong is told where the event says it.
fn check(file: &File, name: &DeviceName, machine: &Machine, settings: &Settings) -> Vec<Problem> {
    let path = Path::new(&file.path);
    let error = match path.file_name().and_then(|name| name.to_str()) {
        Some("site.toml") => config::site::load(&file.content, path).err(),
        Some("encoder.toml") => config::encoder::load(&file.content, path).err(),
        _ => None,
    };
    let who = who(name, machine);
    let place = |line: usize| {
        let path = tree::key_in_line(&file.content, line)?;
        tree::find(&settings.tree, &path)
    };
    let problem = |problem: config::Problem| match place(problem.line) {
        Some(at) => Problem::at(at, format!("{who}: {}", problem.message)),
        None => {
            let text =
                format!("{who}: in {} line {}: {}", file.path, problem.line, problem.message);
            Problem::at(machine.at, text)
        }
    };
    error.into_iter().flat_map(|error| error.problems).map(problem).collect()
}

/// The same for the same files, and another for others.
fn revision(files: &[File]) -> String {
    let mut digest = Sha256::new();
    for file in files {
        let group = file.group.as_deref().unwrap_or("-");
        for part in [&file.path, &file.mode, group, &file.content] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    let digest = digest.finalize();
    digest.iter().take(6).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
