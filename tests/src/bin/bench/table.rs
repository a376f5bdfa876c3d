//! Collects figures and writes them as Markdown.

use std::fmt::Write as _;

/// Several takes of one figure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Takes(pub(crate) Vec<f64>);

impl Takes {
    /// Smallest, middle and largest.
    pub(crate) fn spread(&self) -> (f64, f64, f64) {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
    }
}

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Its middle must not be above this.
    AtMost(f64),
    /// It is only told.
    None,
}

#[derive(Debug)]
struct Row {
    what: String,
    unit: &'static str,
    takes: Takes,
    target: Target,
}

/// All figures, and the commands that made them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    commands: Vec<String>,
}

impl Report {
    /// Adds a figure.
    pub(crate) fn row(&mut self, what: &str, unit: &'static str, takes: Takes, target: Target) {
        eprintln!("{what}: {:.3?} {unit}", takes.0);
        let what = what.to_owned();
        self.rows.push(Row { what, unit, takes, target });
    }

    /// Adds a command line to tell how a figure was made; paths are told by their last part.
    pub(crate) fn command(&mut self, program: &str, args: &[String]) {
        let short = |word: &str| match word.rsplit_once('/') {
            Some((start, end)) if start.starts_with('/') || start.contains(":/") => {
                let kind = start.split_once(":/").map_or("", |(kind, _)| kind);
                let colon = if kind.is_empty() { "" } else { ":" };
                format!("{kind}{colon}{end}")
            }
            _ => word.to_owned(),
        };
        let words: Vec<_> = args.iter().map(|word| short(word)).collect();
        self.commands.push(format!("{} {}", short(program), words.join(" ")));
    }

    /// The whole report.
    pub(crate) fn markdown(&self, machine: &str) -> String {
        let mut text = format!("## Measured\n\n{machine}\n\n");
        text.push_str("| | unit | min | median | max | target | met |\n");
        text.push_str("|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let (min, median, max) = row.takes.spread();
            let (target, met) = match row.target {
                Target::AtMost(limit) => {
                    (format!("≤ {limit}"), if median <= limit { "yes" } else { "**no**" })
                }
                Target::None => (String::new(), ""),
            };
            let Row { what, unit, .. } = row;
            let _ = writeln!(
                text,
                "| {what} | {unit} | {min:.3} | {median:.3} | {max:.3} | {target} | {met} |"
            );
        }
        text.push_str("\nThe commands:\n\n```\n");
        for command in &self.commands {
            let _ = writeln!(text, "{command}");
        }
        text.push_str("```");
        text
    }
}
