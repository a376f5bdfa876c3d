//! What is wrong with a certificate.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::push::PURPOSE_DER;
use rustls::{
    CertificateError, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{BROKER, OPERATOR, Pair, host};
use crate::event::Event;

pub(super) fn verifier(authority: &str) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|_| "it is damaged".to_owned())?;
        roots.add(certificate).map_err(|_| "it is not an authority's certificate".to_owned())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|_| "there is no certificate in it".to_owned())
}

/// What is wrong with a certificate and its key at a time.
pub(super) fn fault(
    pair: &Pair,
    verifier: &Arc<dyn ClientCertVerifier>,
    at: Timestamp,
) -> Option<String> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        _ => return Some("there is no certificate in it".to_owned()),
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()) else {
        return Some("there is no private key in the file beside it".to_owned());
    };
    let (first, between) = chain.split_first()?;
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let date = |time: UnixTime| {
        let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(second).map_or_else(|_| String::new(), |time| time.to_string())
    };
    if let Err(error) = verifier.verify_client_cert(first, between, now) {
        use rustls::Error::InvalidCertificate as Invalid;
        return Some(match error {
            Invalid(CertificateError::ExpiredContext { not_after, .. }) => {
                format!("it has expired on {}; `backrow certificates` renews it", date(not_after))
            }
            Invalid(CertificateError::NotValidYetContext { not_before, .. }) => {
                format!(
                    "it is valid only from {}: is this machine's clock right?",
                    date(not_before)
                )
            }
            Invalid(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                "it is not signed by authority.pem".to_owned()
            }
            other => format!("it cannot be used: {other}"),
        });
    }
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => None,
        Err(_) => Some("the key beside it is not its own".to_owned()),
    }
}

/// Why a certificate that is good otherwise is not what it is for.
pub(super) fn misfit(
    name: &str,
    pair: &Pair,
    event: &Event,
    authority: &str,
    at: Timestamp,
) -> Option<String> {
    match name {
        OPERATOR => unfit(pair, authority, at),
        BROKER => anothers(pair, host(event)),
        _ => None,
    }
}

/// Why the operator's certificate, which is good otherwise, cannot sign what is pushed.
pub(super) fn unfit(pair: &Pair, authority: &str, at: Timestamp) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).ok()?;
    let trusted = CertificateDer::from_pem_slice(authority.as_bytes()).ok()?;
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let provider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms.all;
    let usage = KeyUsage::required(PURPOSE_DER);
    let verified = anchor_from_trusted_cert(&trusted).and_then(|anchor| {
        let signer = EndEntityCert::try_from(&certificate)?;
        signer.verify_for_usage(algorithms, &[anchor], &[], now, usage, None, None).map(drop)
    });
    let why = "it is not made for signing settings; `backrow certificates` renews it";
    verified.is_err().then(|| why.to_owned())
}

/// Why the broker's certificate, which is good otherwise, is not the one of this host.
fn anothers(pair: &Pair, host: &str) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).ok()?;
    let name = ServerName::try_from(host.trim_matches(['[', ']'])).ok()?;
    let end = EndEntityCert::try_from(&certificate).ok()?;
    end.verify_is_valid_for_subject_name(&name).is_err().then(|| {
        format!("it is not made for {host}, where the broker is; `backrow certificates` renews it")
    })
}
