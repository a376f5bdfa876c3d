//! What to do with a machine, from what is on it and what is to be. Pure.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::render::Rendered;

/// What was found on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The revision that was pushed last.
    pub revision: Option<String>,
    /// The revision on trial: a push did not come to its end.
    pub trial: Option<String>,
    /// What was pushed last: each file's sum, where its content is to be read, and its place.
    pub manifest: Vec<Entry>,
    /// What is in the files, by where it is read; `None` where there is none.
    pub files: BTreeMap<String, Option<Vec<u8>>>,
}

/// A line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256, hexadecimal.
    pub sum: String,
    /// Where the file goes.
    pub path: String,
    /// Where its content is read.
    pub view: String,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it has this revision.
    UpToDate,
    /// An earlier push put this revision there and was cut off; it runs: see whether it is well.
    Resume,
    /// An earlier push was cut off with another revision, or half-way: go back, and look again.
    GoBack,
    /// Send the files.
    Send,
    /// These files are not as they were pushed: somebody changed them there.
    ByHand(Vec<String>),
}

/// The sum of a file as the manifest has it.
#[must_use]
pub fn sum(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of a manifest; what is no line of one is passed over.
#[must_use]
pub fn manifest(text: &str) -> Vec<Entry> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (sum, _mode, _group) = (words.next()?, words.next()?, words.next()?);
        let (path, view) = (words.next()?, words.next()?);
        let entry = Entry { sum: sum.to_owned(), path: path.to_owned(), view: view.to_owned() };
        (path.starts_with('/') && view.starts_with('/')).then_some(entry)
    };
    text.lines().filter_map(line).collect()
}

impl Found {
    fn content(&self, view: &str) -> Option<&[u8]> {
        self.files.get(view)?.as_deref()
    }

    fn is(&self, wanted: &Rendered) -> bool {
        self.revision.as_deref() == Some(wanted.revision.as_str())
            && wanted
                .files
                .iter()
                .all(|file| self.content(&file.view) == Some(file.content.as_bytes()))
    }
}

/// Decides. `running` is the revision that the machine says it runs, if it says one at all.
#[must_use]
pub fn decide(found: &Found, wanted: &Rendered, running: Option<&str>, overwrite: bool) -> Step {
    let is = found.is(wanted);
    if let Some(trial) = &found.trial {
        // Cut off after the files were moved and before the daemon was started anew: it runs another.
        let runs = running == Some(wanted.revision.as_str());
        return if is && runs && trial == wanted.revision.as_str() {
            Step::Resume
        } else {
            Step::GoBack
        };
    }
    if is {
        // The files are there and the daemon has not read them: they are sent, and it is reloaded.
        let other = running.is_some_and(|running| running != wanted.revision.as_str());
        return if other { Step::Send } else { Step::UpToDate };
    }
    let wanted_at = |view: &str| wanted.files.iter().find(|file| file.view == view);
    let changed: Vec<String> = found
        .manifest
        .iter()
        .filter(|entry| {
            let now = found.content(&entry.view);
            let pushed = now.is_some_and(|now| sum(now) == entry.sum);
            // Changed to what it is to be now is no loss.
            let right =
                wanted_at(&entry.view).is_some_and(|file| now == Some(file.content.as_bytes()));
            !pushed && !right
        })
        .map(|entry| entry.view.clone())
        .collect();
    if changed.is_empty() || overwrite { Step::Send } else { Step::ByHand(changed) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::File;

    fn file(path: &str, content: &str) -> File {
        File {
            path: path.to_owned(),
            view: path.to_owned(),
            mode: "0640".to_owned(),
            group: None,
            content: content.to_owned(),
            reload: None,
            secret: false,
        }
    }

    fn rendered(revision: &str, files: &[(&str, &str)]) -> Rendered {
        Rendered {
            machine: "box".parse().unwrap(),
            revision: revision.parse().unwrap(),
            state: "/state".to_owned(),
            files: files.iter().map(|(path, content)| file(path, content)).collect(),
        }
    }

    /// A machine on which this was pushed.
    fn with(pushed: &Rendered) -> Found {
        let entry = |file: &File| Entry {
            sum: sum(file.content.as_bytes()),
            path: file.path.clone(),
            view: file.view.clone(),
        };
        let content = |file: &File| (file.view.clone(), Some(file.content.clone().into_bytes()));
        Found {
            revision: Some(pushed.revision.to_string()),
            trial: None,
            manifest: pushed.files.iter().map(entry).collect(),
            files: pushed.files.iter().map(content).collect(),
        }
    }

    #[test]
    fn each_finding_has_its_step() {
        let (old, new) = (rendered("1", &[("/a", "old")]), rendered("2", &[("/a", "new")]));
        let step = |found: &Found| decide(found, &new, None, false);
        assert_eq!(step(&Found::default()), Step::Send);
        assert_eq!(step(&with(&old)), Step::Send);
        assert_eq!(step(&with(&new)), Step::UpToDate);
        assert_eq!(decide(&with(&new), &new, Some("1"), false), Step::Send);
        assert_eq!(decide(&with(&new), &new, Some("2"), false), Step::UpToDate);

        let mut found = with(&old);
        found.files.insert("/a".into(), Some(b"mine".to_vec()));
        assert_eq!(step(&found), Step::ByHand(vec!["/a".to_owned()]));
        assert_eq!(decide(&found, &new, None, true), Step::Send);
        found.files.insert("/a".into(), None);
        assert_eq!(step(&found), Step::ByHand(vec!["/a".to_owned()]));
        found.files.insert("/a".into(), Some(b"new".to_vec()));
        assert_eq!(step(&found), Step::Send);

        let mut found = with(&new);
        found.trial = Some("2".to_owned());
        assert_eq!(decide(&found, &new, Some("2"), false), Step::Resume);
        // The files were moved, and nobody says that they are read.
        assert_eq!(decide(&found, &new, Some("1"), false), Step::GoBack);
        assert_eq!(step(&found), Step::GoBack);
        found.files.insert("/a".into(), Some(b"old".to_vec()));
        assert_eq!(decide(&found, &new, Some("2"), false), Step::GoBack);
        let mut found = with(&old);
        found.trial = Some("1".to_owned());
        assert_eq!(step(&found), Step::GoBack);
    }

    proptest! {
        /// Whatever was found: nothing is called up to date that is not; nobody's change is
        /// overwritten unasked; and nothing is sent over what is on trial.
        #[test]
        fn no_finding_is_taken_for_another(
            here in proptest::option::of("[a-c]"), pushed in "[a-c]", wanted in "[a-c]",
            revision in "[12]", trial in proptest::option::of("[12]"), overwrite in any::<bool>(),
            running in proptest::option::of("[12]"),
        ) {
            let new = rendered("2", &[("/f", &wanted)]);
            let mut found = with(&rendered(&revision, &[("/f", &pushed)]));
            found.files.insert("/f".into(), here.clone().map(String::into_bytes));
            found.trial = trial;
            match decide(&found, &new, running.as_deref(), overwrite) {
                Step::UpToDate => {
                    prop_assert_eq!(here.as_ref(), Some(&wanted));
                    prop_assert!(found.trial.is_none());
                }
                Step::Resume => {
                    prop_assert_eq!(here.as_ref(), Some(&wanted));
                    prop_assert_eq!(running.as_deref(), Some("2"));
                }
                Step::GoBack => prop_assert!(found.trial.is_some()),
                Step::Send => {
                    prop_assert!(found.trial.is_none());
                    let theirs = here.as_ref() != Some(&pushed) && here.as_ref() != Some(&wanted);
                    prop_assert!(overwrite || !theirs);
                }
                Step::ByHand(_) => prop_assert!(!overwrite && here.as_ref() != Some(&pushed)),
            }
        }

        #[test]
        fn any_text_is_a_manifest(text in any::<String>()) {
            let _ = manifest(&text);
        }
    }
}
