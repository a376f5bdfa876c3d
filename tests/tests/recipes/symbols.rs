//! Options of Buildroot and of the kernel.

use std::collections::{BTreeSet, HashSet};

use crate::{files, none, read, root};

const EXTERNAL: &str = "$(BR2_EXTERNAL_BACKROW_PATH)";

/// Symbols that the pinned release has, and those of our own packages.
fn known() -> HashSet<String> {
    let mut known: HashSet<String> =
        read("buildroot/symbols.txt").lines().map(str::to_owned).collect();
    for file in files("buildroot", "Config.in") {
        let text = read(&file);
        known.extend(
            text.lines().filter_map(|line| line.strip_prefix("config ")).map(str::to_owned),
        );
    }
    known
}

/// The names of options in a text.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("BR2_") && !word.starts_with("BR2_EXTERNAL"))
        .collect()
}

#[test]
fn the_list_of_symbols_is_whole() {
    let text = read("buildroot/symbols.txt");
    let symbols: Vec<_> = text.lines().collect();
    assert!(symbols.len() > 5000, "{} symbols are too few for a release", symbols.len());
    assert!(
        symbols.is_sorted_by(|a, b| a < b),
        "buildroot/symbols.txt is not as symbols.sh writes it"
    );
    let odd =
        |symbol: &&&str| !symbol.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    assert_eq!(symbols.iter().find(odd), None);
}

#[test]
fn every_option_of_every_board_exists() {
    let known = known();
    let mut complaints = Vec::new();
    for file in files("buildroot/configs", "_defconfig") {
        let mut seen = HashSet::new();
        for (number, line) in (1..).zip(read(&file).lines()) {
            let unset = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set"));
            let Some(symbol) = unset.or_else(|| Some(line.split_once('=')?.0)) else {
                complaints
                    .push(format!("{file}:{number}: `{line}` is not as savedefconfig writes it"));
                continue;
            };
            if !known.contains(symbol) {
                complaints.push(format!("{file}:{number}: Buildroot has no {symbol}"));
            }
            if !seen.insert(symbol.to_owned()) {
                complaints.push(format!("{file}:{number}: {symbol} is there twice"));
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_option_our_packages_ask_for_exists() {
    let known = known();
    let mut complaints = Vec::new();
    for file in files("buildroot", "Config.in").into_iter().chain(files("buildroot", ".mk")) {
        for (number, line) in (1..).zip(read(&file).lines()) {
            for symbol in named(line).into_iter().filter(|symbol| !known.contains(*symbol)) {
                // A mirror and the like are variables of make, not only options.
                if symbol != "BR2_KERNEL_MIRROR" {
                    complaints.push(format!("{file}:{number}: Buildroot has no {symbol}"));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_file_a_board_names_is_there() {
    let mut complaints = Vec::new();
    for file in files("buildroot/configs", "_defconfig") {
        let text = read(&file);
        for path in text.split(['"', ' ', '\n']).filter_map(|word| word.strip_prefix(EXTERNAL)) {
            if !root().join("buildroot").join(path.trim_start_matches('/')).exists() {
                complaints.push(format!("{file}: {EXTERNAL}{path} is not there"));
            }
        }
        let board = file.rsplit_once("backrow_").unwrap().1.trim_end_matches("_defconfig");
        if !text.contains(&format!("BR2_ROOTFS_POST_SCRIPT_ARGS=\"{board}\"")) {
            complaints.push(format!("{file}: the scripts are not told that the board is {board}"));
        }
    }
    none(&complaints);
}

/// A kernel option that is set twice says the opposite of what half its readers believe.
#[test]
fn kernel_fragments_say_everything_once() {
    let mut complaints = Vec::new();
    for file in files("board", ".fragment") {
        let mut seen = HashSet::new();
        for (number, line) in (1..).zip(read(&file).lines()) {
            let unset = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set"));
            let symbol = match unset.or_else(|| Some(line.split_once('=')?.0)) {
                Some(symbol) if symbol.starts_with("CONFIG_") => symbol.to_owned(),
                _ if line.is_empty() || line.starts_with('#') => continue,
                _ => {
                    complaints.push(format!("{file}:{number}: `{line}` is no kernel option"));
                    continue;
                }
            };
            if !seen.insert(symbol) {
                complaints.push(format!("{file}:{number}: `{line}` is there already"));
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_release_is_pinned() {
    let text = read("buildroot/VERSION");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("buildroot/VERSION has no {key}")).to_owned()
    };
    assert_eq!(value("RELEASE"), "2026.05.1");
    let commit = value("COMMIT");
    assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
}
