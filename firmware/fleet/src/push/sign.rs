//! A revision as a message for a machine that is reached only over the broker, signed with the
//! operator's key.

use std::{fs, path::Path};

use protocol::push::{Document, MAX_BYTES, Signed};
use rustls::{
    SignatureScheme,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};

use crate::{
    certificates::OPERATOR,
    render::{BOX_SITE, Rendered},
};

/// How keys of certificates sign, the usual one first.
const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

/// The files that a document carries, by name.
///
/// # Errors
/// In words: there is a file that goes elsewhere.
pub(super) fn files(wanted: &Rendered) -> Result<Vec<(String, String)>, String> {
    let one = |file: &crate::render::File| {
        let name = file.path.strip_prefix(BOX_SITE).and_then(|name| name.strip_prefix('/'));
        let name = name.ok_or_else(|| {
            format!("over MQTT a box takes only site.toml and its certificates, not {}", file.path)
        })?;
        Ok((name.to_owned(), file.content.clone()))
    };
    wanted.files.iter().map(one).collect()
}

/// The message for a document, signed with the operator's key from the event's certificates.
///
/// # Errors
/// In words: the key cannot be used, or the document is not one that a machine takes.
pub(super) fn message(document: &Document, certificates: &Path) -> Result<String, String> {
    document.check().map_err(|why| why.to_string())?;
    let read = |end: &str| {
        let file = certificates.join(format!("{OPERATOR}.{end}"));
        fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let (certificate, key) = (read("pem")?, read("key")?);
    let text = document.to_json();
    let signature = sign(&key, &Signed::message(&text))?;
    let message = Signed::new(text, certificate, &signature).to_json();
    match message.len() {
        0..=MAX_BYTES => Ok(message),
        size => Err(format!("its files make a message of {size} bytes; {MAX_BYTES} is the most")),
    }
}

fn sign(key: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let unusable = || format!("{OPERATOR}.key cannot sign");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| unusable())?;
    let key = ring::sign::any_supported_type(&key).map_err(|_| unusable())?;
    let signer = key.choose_scheme(SCHEMES).ok_or_else(unusable)?;
    signer.sign(message).map_err(|_| unusable())
}
