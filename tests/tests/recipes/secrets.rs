//! No key and no password is in the tree, and no image has one from it.

use std::process::Command;

use crate::{files, none, read, root};

/// Everything that is in the repository, or would be with the next commit.
fn tree() -> Vec<String> {
    let output = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> =
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    assert!(names.len() > 100, "git knows of {} files only", names.len());
    names
}

/// Whether there is a hash of a password as in /etc/shadow: `$6$salt$hash` and its like.
fn has_shadow_hash(text: &str) -> bool {
    let salted =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'$' | b'=' | b',');
    ["1", "2a", "2b", "2y", "5", "6", "7", "y", "gy"].iter().any(|kind| {
        let start = format!("${kind}$");
        text.match_indices(&start).any(|(at, _)| {
            let rest = text.as_bytes()[at + start.len()..].iter();
            let hash: Vec<_> = rest.take_while(|byte| salted(**byte)).collect();
            hash.len() >= 22 && hash.iter().any(|byte| **byte == b'$')
        })
    })
}

#[test]
fn there_is_no_private_key_and_no_password_in_the_tree() {
    let key = format!("PRIVATE {}-----", "KEY");
    let mut complaints = Vec::new();
    for file in tree() {
        let Ok(bytes) = std::fs::read(root().join(&file)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        // A block of one; the words alone may be in a program that looks for it.
        let block = text.match_indices(&key).any(|(at, _)| {
            let before = &text[..at];
            let line = before.rsplit('\n').next().unwrap_or_default();
            let body = text[at + key.len()..].trim_start_matches(['\r', '\n', ' ', '\\']);
            let coded = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
            let length = body.trim_start_matches('n').chars().take_while(|c| coded(*c)).count();
            line.contains("-----BEGIN") && length >= 40
        });
        if block {
            complaints.push(format!("{file} has a private key"));
        }
        if has_shadow_hash(&text) {
            complaints.push(format!("{file} has the hash of a password"));
        }
        let name = file.rsplit('/').next().unwrap();
        let secret = ["id_rsa", "id_ecdsa", "id_ed25519", "shadow"].contains(&name)
            || name.starts_with("ssh_host_")
            || name.starts_with("dropbear_") && name.ends_with("_host_key")
            || name.ends_with(".key")
            || name.ends_with(".key.pem");
        if secret {
            complaints.push(format!("{file} has the name of a secret"));
        }
    }
    none(&complaints);
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for hash in ["$6$", "$y$j9T$", "$1$", "$2b$12$"] {
        let hash = format!("root:{hash}{}$.tail/of1it:19000:", "salt".repeat(6));
        assert!(has_shadow_hash(&hash), "{hash}");
    }
    assert!(!has_shadow_hash("sed 's/\\(.*\\)/$1$2/'; price: $5$ or $6$"));
}

#[test]
fn nobody_can_log_in_with_a_password() {
    let mut complaints = Vec::new();
    for file in files("buildroot/configs", "_defconfig") {
        let text = read(&file);
        if text.contains("ROOT_PASSWD") {
            complaints.push(format!("{file} sets root's password"));
        }
        for off in ["BR2_TARGET_ENABLE_ROOT_LOGIN", "BR2_TARGET_GENERIC_GETTY"] {
            if !text.contains(&format!("# {off} is not set\n")) {
                complaints.push(format!("{file}: {off} must be off"));
            }
        }
    }
    for line in read("board/common/users").lines().filter(|line| !line.starts_with('#')) {
        // Buildroot's users table: name, id, group, id, password, …; `*` lets nobody in.
        if line.split_whitespace().nth(4) != Some("*") {
            complaints.push(format!("board/common/users: a user with a password: {line}"));
        }
    }
    none(&complaints);
}
