//! The event's authority and the certificates that it signs: one for each machine, whose name is its
//! user name at the broker; one for the broker; one for the operator.
//!
//! `authority.key` is never sent anywhere. The operator's certificate alone is made for signing, too:
//! what `backrow push` brings over the broker ([`PURPOSE`]).

mod judge;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use protocol::{names::DeviceName, push::PURPOSE};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use sha2::{Digest as _, Sha256};

use self::judge::{fault, misfit, verifier};
use crate::event::{Event, Problem};

/// The authority's certificate is `authority.pem`.
pub const AUTHORITY: &str = "authority";
/// The broker's own.
pub const BROKER: &str = "broker";
/// The operator's, with which `backrow` asks the broker.
pub const OPERATOR: &str = "operator";

/// Certificates hold for so long, in years. An event is shorter; its boxes may be used again.
const YEARS: i16 = 5;
/// A certificate that ends sooner than this is renewed by `backrow certificates`.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// A file cannot be read or written.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key or certificate is not what it should be.
    #[error("{file}: {what}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The text of a machine's certificate files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

/// An event's certificates as they lie in its folder.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// The authority's certificate, PEM.
    pub authority: Option<String>,
    /// The others by name.
    pub pairs: BTreeMap<String, Pair>,
}

impl Certificates {
    /// Reads those that an event needs; none, where it has no broker with encryption.
    ///
    /// # Errors
    /// A problem for each that is missing, expired, damaged, or not signed by the authority.
    pub fn read(event: &Event, now: Timestamp) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let Some(names) = needed(event) else { return Ok(Self::default()) };
        let folder = event.certificates();
        let advice = format!("`backrow certificates {}` makes it", event.dir.display());
        let mut tell = |name: &str, why: String| {
            let file = format!("certificates/{name}.pem");
            problems.push(Problem { file, line: 1, message: why });
        };
        let authority = match fs::read_to_string(folder.join("authority.pem")) {
            Ok(text) => text,
            Err(error) => {
                tell(AUTHORITY, format!("it cannot be read: {error}; {advice}"));
                return Err(problems);
            }
        };
        let verifier = match verifier(&authority) {
            Ok(verifier) => verifier,
            Err(why) => {
                tell(AUTHORITY, why);
                return Err(problems);
            }
        };
        let mut pairs = BTreeMap::new();
        for name in names {
            let read = |end: &str| fs::read_to_string(folder.join(format!("{name}.{end}")));
            match (read("pem"), read("key")) {
                (Ok(certificate), Ok(key)) => {
                    let pair = Pair { certificate, key };
                    match fault(&pair, &verifier, now)
                        .or_else(|| misfit(&name, &pair, event, &authority, now))
                    {
                        Some(why) => tell(&name, why),
                        None => {
                            pairs.insert(name, pair);
                        }
                    }
                }
                (Err(error), _) => {
                    tell(
                        &name,
                        format!("the certificate of {name} cannot be read: {error}; {advice}"),
                    );
                }
                (_, Err(error)) => {
                    tell(&name, format!("its key, {name}.key, cannot be read: {error}; {advice}"));
                }
            }
        }
        if problems.is_empty() {
            Ok(Self { authority: Some(authority), pairs })
        } else {
            Err(problems)
        }
    }
}

impl Certificates {
    /// Empty ones, to see what else is wrong with an event whose certificates are not good.
    #[must_use]
    pub fn stand_in(event: &Event) -> Self {
        let Some(names) = needed(event) else { return Self::default() };
        let empty = || Pair { certificate: String::new(), key: String::new() };
        let pairs = names.into_iter().map(|name| (name, empty())).collect();
        Self { authority: Some(String::new()), pairs }
    }
}

/// The broker's, as all others reach it.
fn host(event: &Event) -> &str {
    event.broker.as_ref().and_then(|(url, _)| url.host_str()).unwrap_or_default()
}

/// The names of all certificates that an event needs, the authority's not among them.
fn needed(event: &Event) -> Option<Vec<String>> {
    let (url, _) = event.broker.as_ref()?;
    if url.scheme() != "mqtts" {
        return None;
    }
    let broker = event.machines.values().any(|machine| machine.broker).then(|| BROKER.to_owned());
    let machines = event.machines.keys().map(DeviceName::to_string);
    Some(machines.chain(broker).chain([OPERATOR.to_owned()]).collect())
}

/// Makes the certificates that are missing or end soon, and the authority if there is none. What is
/// good stays. The names of those that were made.
///
/// # Errors
/// If the folder cannot be written, or the authority's key is damaged.
pub fn make(event: &Event, now: Timestamp) -> Result<Vec<String>, CertificateFault> {
    let Some(names) = needed(event) else { return Ok(Vec::new()) };
    let folder = event.certificates();
    fs::create_dir_all(&folder)
        .map_err(|source| CertificateFault::File { file: folder.clone(), source })?;
    let (issuer, authority) = authority(&folder, now)?;
    let file = folder.join("authority.pem");
    let verifier = verifier(&authority)
        .map_err(|what| CertificateFault::Damaged { file: file.clone(), what })?;
    let later = now.checked_add(SOON).unwrap_or(now);
    let mut made = Vec::new();
    for name in names {
        let read = |end: &str| fs::read_to_string(folder.join(format!("{name}.{end}"))).ok();
        if let (Some(certificate), Some(key)) = (read("pem"), read("key")) {
            let pair = Pair { certificate, key };
            let misfit = misfit(&name, &pair, event, &authority, later);
            if fault(&pair, &verifier, later).or(misfit).is_none() {
                continue;
            }
        }
        let host = (name == BROKER).then_some(host(event));
        let pair = signed(&name, host, &issuer, now).map_err(|error| {
            CertificateFault::Damaged { file: file.clone(), what: error.to_string() }
        })?;
        write(&folder.join(format!("{name}.key")), &pair.key, 0o600)?;
        write(&folder.join(format!("{name}.pem")), &pair.certificate, 0o644)?;
        made.push(name);
    }
    Ok(made)
}

fn authority(
    folder: &Path,
    now: Timestamp,
) -> Result<(Issuer<'static, KeyPair>, String), CertificateFault> {
    let (file, secret) = (folder.join("authority.pem"), folder.join("authority.key"));
    let damaged = |error: rcgen::Error| CertificateFault::Damaged {
        file: secret.clone(),
        what: error.to_string(),
    };
    match (fs::read_to_string(&file), fs::read_to_string(&secret)) {
        (Ok(certificate), Ok(key)) => {
            let key = KeyPair::from_pem(&key).map_err(damaged)?;
            Ok((Issuer::new(authority_params(&key, now), key), certificate))
        }
        (Err(a), Err(b))
            if a.kind() == io::ErrorKind::NotFound && b.kind() == io::ErrorKind::NotFound =>
        {
            let key = KeyPair::generate().map_err(damaged)?;
            let params = authority_params(&key, now);
            let certificate = params.self_signed(&key).map_err(damaged)?.pem();
            write(&secret, &key.serialize_pem(), 0o600)?;
            write(&file, &certificate, 0o644)?;
            Ok((Issuer::new(params, key), certificate))
        }
        // One of the two alone: to make a new authority would shut out every machine.
        (Err(source), _) => Err(CertificateFault::File { file, source }),
        (_, Err(source)) => Err(CertificateFault::File { file: secret, source }),
    }
}

/// The same for the same key, so that a certificate signed later names the same issuer.
fn authority_params(key: &KeyPair, now: Timestamp) -> CertificateParams {
    let digest = Sha256::digest(key.public_key_raw());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("Backrow authority {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, YEARS * 2);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    out.push(DnType::CommonName, name);
    out
}

fn valid(params: &mut CertificateParams, now: Timestamp, years: i16) {
    let date = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    // A box without a clock of its own may be some days behind.
    let from = date.checked_sub(jiff::Span::new().days(7)).unwrap_or(date);
    let day = |date: jiff::civil::Date, years: i16| {
        let number = |part: i8| u8::try_from(part).unwrap_or(1);
        // The 29th of February has no like in most years.
        date_time_ymd(
            i32::from(date.year() + years),
            number(date.month()),
            number(date.day()).min(28),
        )
    };
    params.not_before = day(from, 0);
    params.not_after = day(date, years);
}

fn signed(
    name: &str,
    host: Option<&str>,
    issuer: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if name == OPERATOR {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::Other(PURPOSE.to_vec()));
    }
    if let Some(host) = host {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.push(match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into()?),
        });
    }
    valid(&mut params, now, YEARS);
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), CertificateFault> {
    let written = || {
        let _ = fs::remove_file(file);
        let mut open = fs::OpenOptions::new();
        let mut out = open.write(true).create_new(true).mode(mode).open(file)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()
    };
    written().map_err(|source| CertificateFault::File { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests;
