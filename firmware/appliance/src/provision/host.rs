//! Writes what this boot runs with: below `/run`, and the machine's name.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use super::{accept::Accepted, plan::Plan};
use crate::{kept, network::apply, paths::Paths};

/// Letters of a page token that nobody takes for others.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// How many of them; in groups of four.
const TOKEN_LEN: usize = 12;

/// Lays everything out for the programs that start after.
pub(super) fn lay_out(paths: &Paths, plan: &Plan, hostname: &str) -> io::Result<()> {
    let group = group(paths, "collector");
    let certs = paths.run().join("certs");
    folder(&certs, 0o750, group)?;
    if let Some(accepted) = &plan.accepted {
        for file in &accepted.files {
            // What logs in to the network is root's alone.
            let (mode, group) = if file.collector { (0o640, group) } else { (0o600, None) };
            write(&certs.join(&file.stored), &file.bytes, mode, group)?;
        }
        write(&paths.site(), accepted.run.as_bytes(), 0o640, group)?;
    } else {
        remove(&paths.site())?;
    }
    let ssh = paths.run().join("ssh");
    folder(&ssh, 0o700, None)?;
    let keys: String = plan.ssh.iter().map(|key| format!("{key}\n")).collect();
    match keys.is_empty() {
        true => remove(&ssh.join("authorized_keys"))?,
        false => write(&ssh.join("authorized_keys"), keys.as_bytes(), 0o600, None)?,
    }
    kept::write_json(&paths.run().join("network.json"), &plan.situation)?;
    apply::write(paths, &plan.situation.settings(plan.situation.in_force))?;
    drop_ins(paths, plan.accepted.as_ref())?;
    write(&paths.run().join("hostname"), format!("{hostname}\n").as_bytes(), 0o644, None)
}

/// What systemd's time client and journal sender read.
fn drop_ins(paths: &Paths, accepted: Option<&Accepted>) -> io::Result<()> {
    let on_box = accepted.map(|accepted| &accepted.site.on_box);
    let servers: Vec<&str> =
        on_box.into_iter().flat_map(|b| &b.time_servers).map(|server| server.as_str()).collect();
    let time = (!servers.is_empty()).then(|| format!("[Time]\nNTP={}\n", servers.join(" ")));
    let upload = on_box.and_then(|on_box| on_box.log_upload.as_ref());
    let upload = upload.map(journal_upload);
    for (path, text) in [
        ("run/systemd/timesyncd.conf.d/backrow.conf", time),
        ("run/systemd/journal-upload.conf.d/backrow.conf", upload),
    ] {
        match text {
            Some(text) => write(&paths.system(path), text.as_bytes(), 0o644, None)?,
            None => remove(&paths.system(path))?,
        }
    }
    Ok(())
}

/// The sender's own defaults are a key, a certificate and an authority that no box has. `-` is no
/// key (systemd 252 and later); it is for the server to say whom it listens to.
fn journal_upload(server: &url::Url) -> String {
    use url::Position::{AfterHost, BeforeScheme};
    // Where it sees no port it puts 19532 behind, even behind a path; so the address's own is written,
    // which `Url` leaves out when it is the scheme's. Then it puts `/upload`, and the receiver knows no
    // `//upload`.
    let host = &server[BeforeScheme..AfterHost];
    let port = server.port_or_known_default().unwrap_or(443);
    let path = server.path().trim_end_matches('/');
    format!(
        "[Upload]\nURL={host}:{port}{path}\nServerKeyFile=-\nServerCertificateFile=-\n\
         TrustedCertificateFile=/etc/ssl/certs/ca-certificates.crt\n"
    )
}

/// Gives the machine its name; not when this is a test in a folder.
pub(super) fn set_hostname(paths: &Paths, hostname: &str) {
    if paths.system("") == Path::new("/")
        && let Err(error) = rustix::system::sethostname(hostname.as_bytes())
    {
        tracing::warn!("the host name cannot be set to {hostname}: {error}");
    }
}

/// The page's token: the one that is kept, or a new one. Also in `/run`, for a box without data.
pub(super) fn page_token(paths: &Paths) -> io::Result<String> {
    let file = paths.kept().join("token");
    let known = fs::read_to_string(&file).unwrap_or_default();
    let good =
        |token: &str| token.len() >= TOKEN_LEN && token.chars().all(|c| c.is_ascii_graphic());
    let token = match known.trim() {
        token if good(token) => token.to_owned(),
        _ => {
            let token = new_token()?;
            if let Err(error) = kept::write(&file, format!("{token}\n").as_bytes(), 0o600) {
                tracing::warn!("the page's token cannot be kept: {error}");
            }
            token
        }
    };
    write(&paths.run().join("token"), format!("{token}\n").as_bytes(), 0o600, None)?;
    Ok(token)
}

fn new_token() -> io::Result<String> {
    let mut random = [0; TOKEN_LEN];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
    let letters: Vec<u8> = random.iter().map(letter).collect();
    let groups: Vec<_> = letters.chunks(4).map(String::from_utf8_lossy).collect();
    Ok(groups.join("-"))
}

fn write(path: &Path, bytes: &[u8], mode: u32, group: Option<u32>) -> io::Result<()> {
    kept::write(path, bytes, mode)?;
    match group {
        Some(group) => chown(path, None, Some(group)),
        None => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folder(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    match group {
        Some(group) => chown(path, None, Some(group)),
        None => Ok(()),
    }
}

/// A group's number.
fn group(paths: &Paths, name: &str) -> Option<u32> {
    let groups = fs::read_to_string(paths.system("etc/group")).ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_goes_to_the_port_and_path_that_the_address_means() {
        for (address, written) in [
            ("https://logs.example.org:19532", "https://logs.example.org:19532"),
            ("https://logs.example.org:19532/", "https://logs.example.org:19532"),
            ("https://logs.example.org:443", "https://logs.example.org:443"),
            ("https://logs.example.org/of/boxes/", "https://logs.example.org:443/of/boxes"),
            ("http://[2001:db8::1]", "http://[2001:db8::1]:80"),
        ] {
            let text = journal_upload(&address.parse().unwrap());
            assert!(text.contains(&format!("\nURL={written}\n")), "{address}: {text}");
        }
    }
}
