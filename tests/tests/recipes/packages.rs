//! The form of package files, as Buildroot's check-package wants it.

use std::path::Path;

use crate::{files, none, read, root};

fn packages() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(root().join("buildroot/package"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What every text of the recipe must have.
fn text_complaints(file: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain =
        |number: usize, what: &str| complaints.push(format!("{file}:{number}: {what}"));
    let lines: Vec<_> = text.split('\n').collect();
    if lines.last() != Some(&"") {
        complain(lines.len(), "no newline at the end");
    }
    if text.ends_with("\n\n") {
        complain(lines.len(), "empty lines at the end");
    }
    for (number, line) in (1..).zip(&lines) {
        if line.ends_with([' ', '\t', '\r']) {
            complain(number, "space at the end of the line");
        }
        if number > 1 && line.is_empty() && lines[number - 2].is_empty() && number < lines.len() {
            complain(number, "two empty lines");
        }
    }
    complaints
}

#[test]
fn files_are_tidy() {
    let ends = [".mk", "Config.in", ".hash", "_defconfig", "external.desc", ".txt"];
    let recipe = ends.iter().flat_map(|end| files("buildroot", end));
    let board =
        [".cfg", ".fragment"].iter().flat_map(|end| files("board", end)).collect::<Vec<_>>();
    let complaints: Vec<_> =
        recipe.chain(board).flat_map(|file| text_complaints(&file, &read(&file))).collect();
    none(&complaints);
}

#[test]
fn recipes_have_the_form() {
    let mut complaints = Vec::new();
    for name in packages() {
        let file = format!("buildroot/package/{name}/{name}.mk");
        let text = read(&file);
        let rule = "#".repeat(80);
        let header = format!("{rule}\n#\n# {name}\n#\n{rule}\n\n");
        if !text.starts_with(&header) {
            complaints.push(format!("{file}: the header is not of 80 # with the package's name"));
        }
        let kind = text.lines().last().unwrap_or_default();
        if !(kind.starts_with("$(eval $(") && kind.ends_with("-package))")) {
            complaints.push(format!("{file}: the last line does not make a package"));
        }
        complaints.extend(recipe_complaints(&file, &name, &text));
    }
    none(&complaints);
}

fn recipe_complaints(file: &str, name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let prefix = name.to_uppercase().replace('-', "_");
    let (mut continued, mut defining) = (false, false);
    for (number, line) in (1..).zip(text.lines()) {
        let mut complain = |what: &str| complaints.push(format!("{file}:{number}: {what}: {line}"));
        if continued && !line.starts_with('\t') {
            complain("a continued line begins with a tab");
        }
        if defining && !line.is_empty() && !line.starts_with(['\t', '#']) && line != "endef" {
            complain("a line of a definition begins with a tab");
        }
        if line.starts_with(' ') {
            complain("begins with a space");
        }
        continued = line.ends_with('\\');
        if continued && (!line.ends_with(" \\") || line.ends_with("  \\")) {
            complain("one space goes before \\");
        }
        let assigned = line
            .split_once('=')
            .map(|(left, _)| left.trim_end_matches([':', '+', '?']))
            .filter(|left| !left.starts_with(['\t', '#', ' ']) && !left.is_empty());
        if let Some(left) = assigned {
            if !left.ends_with(' ') {
                complain("spaces go around =");
            }
            // The one list that check-package lets a package add to.
            if !left.starts_with(&format!("{prefix}_")) && left.trim() != "BR_NO_CHECK_HASH_FOR" {
                complain("the variable is not the package's");
            }
        }
        defining = (defining || line.starts_with("define ")) && line != "endef";
    }
    complaints
}

#[test]
fn every_package_is_in_the_menu_and_explains_itself() {
    let menu: String = packages()
        .iter()
        .map(|name| format!("source \"$BR2_EXTERNAL_BACKROW_PATH/package/{name}/Config.in\"\n"))
        .collect();
    assert_eq!(
        read("buildroot/Config.in"),
        menu,
        "buildroot/Config.in: every package once, sorted"
    );

    let mut complaints = Vec::new();
    for name in packages() {
        let file = format!("buildroot/package/{name}/Config.in");
        let text = read(&file);
        let symbol = format!("BR2_PACKAGE_{}", name.to_uppercase().replace('-', "_"));
        if !text.starts_with(&format!("config {symbol}\n\tbool \"{name}\"\n")) {
            complaints.push(format!("{file}: does not begin with {symbol} and its name"));
        }
        let Some((attributes, help)) = text.split_once("\n\thelp\n") else {
            complaints.push(format!("{file}: has no help"));
            continue;
        };
        let help: Vec<_> =
            help.lines().take_while(|line| line.starts_with('\t') || line.is_empty()).collect();
        let help: Vec<_> = help.join("\n").trim_end().lines().map(str::to_owned).collect();
        for line in &help {
            // A tab counts as eight.
            if !(line.is_empty() || line.starts_with("\t  ")) || line.len() + 7 > 80 {
                complaints
                    .push(format!("{file}: help is not a tab, two spaces and a line: {line}"));
            }
        }
        match &help[..] {
            [.., empty, url] if empty.is_empty() && url.starts_with("\t  https://") => {}
            _ => {
                complaints
                    .push(format!("{file}: help does not end with an empty line and the URL"));
            }
        }
        // check-package's order: what it is, what it needs, what it brings.
        let order = ["bool", "depends", "select"];
        let ranks: Vec<_> = attributes
            .lines()
            .skip(1)
            .filter_map(|line| order.iter().position(|word| line.trim().starts_with(word)))
            .collect();
        if !ranks.is_sorted() {
            complaints.push(format!("{file}: the order is bool, depends on, select, help"));
        }
        if attributes.lines().skip(1).any(|line| !line.starts_with('\t')) {
            complaints.push(format!("{file}: attributes begin with a tab"));
        }
    }
    none(&complaints);
}

#[test]
fn every_download_and_licence_has_its_sum() {
    let mut complaints = Vec::new();
    for file in files("buildroot", ".hash") {
        for (number, line) in
            (1..).zip(read(&file).lines()).filter(|(_, line)| !line.starts_with('#'))
        {
            // Two spaces, as check-package wants it.
            let fields: Vec<_> = line.split("  ").collect();
            let good = matches!(fields[..], ["sha256", sum, name]
                if sum.len() == 64 && sum.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                    && !name.is_empty() && !name.contains(' '));
            if !good {
                complaints.push(format!("{file}:{number}: not `sha256  sum  file`: {line}"));
            }
        }
    }
    for name in packages() {
        let recipe = read(&format!("buildroot/package/{name}/{name}.mk"));
        let list = format!("buildroot/package/{name}/{name}.hash");
        if !Path::new(&root().join(&list)).exists() {
            // What `make dist` packs from this tree is no download.
            if !recipe.contains("_SITE_METHOD = file\n")
                || !recipe.contains("BR_NO_CHECK_HASH_FOR += ")
            {
                complaints.push(format!("{list} is not there"));
            }
            continue;
        }
        let list_text = read(&list);
        let has = |file: &str| list_text.lines().any(|line| line.ends_with(&format!("  {file}")));
        let licences = recipe.lines().find_map(|line| line.split_once("_LICENSE_FILES = "));
        for licence in licences.map(|(_, files)| files).unwrap_or_default().split(' ') {
            if !has(licence) {
                complaints.push(format!("{list}: no sum of the licence `{licence}`"));
            }
        }
        if let Some((_, version)) = recipe.lines().find_map(|line| line.split_once("_VERSION = "))
            && !version.contains('$')
            && !list_text.contains(&format!("{name}-{version}.tar"))
        {
            complaints.push(format!("{list}: no sum of version {version}"));
        }
    }
    none(&complaints);
}

#[test]
fn the_tree_describes_itself_to_buildroot() {
    let description = read("buildroot/external.desc");
    assert!(description.starts_with("name: BACKROW\ndesc: "), "{description}");
    assert!(read("buildroot/external.mk").contains("$(BR2_EXTERNAL_BACKROW_PATH)/package/*/*.mk"));
}
