//! For the fuzzer: a whole decision about any bytes as `site.toml`, with what is promised checked.

use std::{io, path::Path};

use super::{
    accept::{Kept, Places, decode},
    answer::{self, Change, Facts},
    plan::{Found, Networks, plan},
    secrets,
};

/// Decides about these bytes twice: as a new box, and as the box that took them.
///
/// # Panics
/// If a promise is broken.
pub fn site(bytes: &[u8], file: &[u8]) {
    let read = |_: &str| match file.is_empty() {
        true => Err(io::Error::from(io::ErrorKind::NotFound)),
        false => Ok(file.to_vec()),
    };
    let found = |site: &[u8]| Found {
        site: Some(site.to_vec()),
        keys: Some(file.to_vec()),
        names: Vec::new(),
        read: &read,
    };
    let places = Places {
        certs: Path::new("/run/backrow/certs"),
        spool: Some(Path::new("/data/recordings")),
    };
    let first = plan(Ok(&found(bytes)), &Kept::default(), &Networks::default(), places);
    let facts = Facts::default();
    let changes = answer::changes(&first, &facts, Some(bytes), |_| Some(bytes.to_vec()));
    let Some(accepted) = &first.accepted else {
        assert!(!first.problems.is_empty(), "refused without a reason");
        assert!(!changes.iter().any(|c| matches!(c, Change::Site(_) | Change::Shred(_))));
        return;
    };
    let marked = changes.into_iter().find_map(|change| match change {
        Change::Site(text) => Some(text),
        _ => None,
    });
    let marked = marked.unwrap_or_else(|| bytes.to_vec());
    // What was taken away is known, and the rest says the same again.
    let mut kept = Kept { secrets: accepted.secrets.clone(), ..Kept::default() };
    kept.site = Some(accepted.text.clone());
    for file in &accepted.files {
        kept.files.insert(file.name.clone(), file.stored.clone());
        kept.contents.insert(file.stored.clone(), file.bytes.clone());
    }
    let Ok((text, _)) = decode(&marked) else { return };
    assert_eq!(secrets::mark(text), text, "a secret is left");
    let again = plan(Ok(&found(&marked)), &kept, &Networks::default(), places);
    let changes = answer::changes(&again, &facts, Some(&marked), |_| Some(marked.clone()));
    assert!(!changes.iter().any(|c| matches!(c, Change::Site(_))), "written again for nothing");
    assert_eq!(again.accepted.map(|a| a.site).as_ref(), Some(&accepted.site));
}
