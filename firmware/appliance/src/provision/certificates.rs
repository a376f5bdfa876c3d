//! Certificates and keys from CONFIG: whether they are what they should be, before anything relies
//! on them.

use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// What a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Authorities to trust.
    Authority,
    /// The box's own certificate, and those between it and the authority.
    Certificate,
    /// Its private key.
    Key,
}

/// Whether a file has a private key in it, whatever it was meant to be.
pub(super) fn is_private(file: &[u8]) -> bool {
    file.windows(11).any(|window| window == b"PRIVATE KEY")
}

/// What is wrong with a file by itself.
pub(super) fn check(kind: Kind, file: &[u8]) -> Result<(), String> {
    match kind {
        Kind::Authority => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|_| "it has a damaged certificate in it".to_owned())?;
            }
            Ok(())
        }
        Kind::Certificate => certificates(file).map(drop),
        Kind::Key => key(file).map(drop),
    }
}

/// What is wrong with a certificate and its key together; each is right by itself.
pub(super) fn check_pair(certificate: &[u8], secret: &[u8]) -> Result<(), String> {
    let chain = certificates(certificate)?;
    let provider = ring::default_provider();
    match CertifiedKey::from_der(chain, key(secret)?, &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("the key is not the certificate's; put the two that belong together".to_owned())
        }
        Err(error) => Err(format!("the certificate and the key cannot be used: {error}")),
    }
}

/// Windows' editors put a mark before the first line, which PEM does not know.
fn text(file: &[u8]) -> &[u8] {
    file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file)
}

fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text(file)).collect();
    match found {
        Ok(found) if !found.is_empty() => {
            // That it parses shows here: an authority must, and any certificate can be asked to.
            for certificate in &found {
                rustls::server::ParsedCertificate::try_from(certificate)
                    .map_err(|_| "it has a damaged certificate in it".to_owned())?;
            }
            Ok(found)
        }
        Ok(_) => {
            Err("there is no certificate in it (it must be in PEM form, with a line that says \
                      BEGIN CERTIFICATE)"
                .to_owned())
        }
        Err(_) => Err("it is damaged: its lines are not whole".to_owned()),
    }
}

fn key(file: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let locked = file.windows(21).any(|window| window == b"ENCRYPTED PRIVATE KEY")
        || file.windows(18).any(|window| window == b"Proc-Type: 4,ENCRY");
    if locked {
        return Err("the key is locked with a password, which a box cannot type; unlock it with: \
                    openssl pkey -in THIS-FILE -out NEW-FILE"
            .to_owned());
    }
    PrivateKeyDer::from_pem_slice(text(file)).map_err(|_| {
        "there is no private key in it (it must be in PEM form, with a line that says BEGIN PRIVATE \
         KEY)"
            .to_owned()
    })
}

/// The file as it is kept: without what Windows put before its first line.
pub(super) fn cleaned(file: &[u8]) -> Vec<u8> {
    text(file).to_vec()
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::Command;

    use super::*;

    /// A certificate and its key, made by openssl.
    pub(in super::super) fn made(name: &str) -> (Vec<u8>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("c"), dir.path().join("k"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "3650", "-subj", &format!("/CN={name}"), "-out"])
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (std::fs::read(certificate).unwrap(), std::fs::read(key).unwrap())
    }

    #[test]
    fn a_certificate_and_its_key() {
        let (certificate, key) = made("box-7");
        check(Kind::Authority, &certificate).unwrap();
        check(Kind::Certificate, &certificate).unwrap();
        check(Kind::Key, &key).unwrap();
        check_pair(&certificate, &key).unwrap();
        assert!(is_private(&key) && !is_private(&certificate));
        let windows = |file: &[u8]| {
            let text = String::from_utf8(file.to_vec()).unwrap().replace('\n', "\r\n");
            format!("\u{feff}{text}").into_bytes()
        };
        check_pair(&windows(&certificate), &windows(&key)).unwrap();
        let (_, other) = made("box-8");
        assert!(check_pair(&certificate, &other).unwrap_err().contains("not the certificate's"));
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let (certificate, key) = made("box-7");
        let why = |kind, file: &[u8]| check(kind, file).unwrap_err();
        assert!(why(Kind::Certificate, &key).contains("no certificate in it"));
        assert!(why(Kind::Key, &certificate).contains("no private key in it"));
        assert!(why(Kind::Authority, b"").contains("no certificate in it"));
        let short = &certificate[..certificate.len() / 2];
        assert!(check(Kind::Certificate, short).is_err());
        let text = String::from_utf8(certificate).unwrap();
        let wrong = text.replacen("MII", "AAA", 1);
        assert!(why(Kind::Authority, wrong.as_bytes()).contains("damaged"));
        assert!(why(Kind::Certificate, wrong.as_bytes()).contains("damaged"));
        let locked =
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----";
        assert!(why(Kind::Key, locked).contains("openssl pkey"));
    }
}
