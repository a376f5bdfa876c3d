//! The time from a server's `Date`, over TLS, with a clock that may be wrong.
//!
//! A certificate is valid from a time to a time, so a machine that does not know the time cannot
//! check it, and without a checked certificate nobody's word for the time can be trusted. This is
//! how the circle is opened:
//! * The handshake proves that the server holds the key of the certificate it shows. The chain and
//!   the name are kept and not judged yet; all that is said to the server is `HEAD /`, no secret.
//! * Then the whole chain is verified as it would be at the time the server offers: signatures up
//!   to a trusted authority, the name, and validity. A server can thus only offer a time at which
//!   its own certificate is valid.
//! * The time must be after the floor (the image's build, the time kept): nobody can set the clock
//!   back to when a stolen certificate had not expired.
//!
//! So who could lie about the time must hold the key of a certificate for this very name, and can
//! lie only within its validity after the floor. Whoever can do that could as well be the encoder.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use url::Url;

/// For the whole exchange.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a `Date` header.
const MAX_DATE: usize = 64;

/// Who is asked for the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address, `https://`.
    pub url: Url,
    /// A PEM file's content with authorities to trust.
    pub ca: Option<Vec<u8>>,
    /// Only those; else the public ones too.
    pub only_ca: bool,
}

/// Why a server's time was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DateError {
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
    /// No answer.
    #[error("{host} does not answer: {cause}")]
    NoAnswer {
        /// Who.
        host: String,
        /// Why.
        cause: String,
    },
    /// An answer without a time.
    #[error("{0} does not tell the time")]
    NoDate(String),
    /// A time that cannot be.
    #[error("{host} says that it is {offered}, but it is at least {floor}")]
    TooEarly {
        /// Who.
        host: String,
        /// Its time.
        offered: Timestamp,
        /// Ours, at least.
        floor: Timestamp,
    },
    /// The certificate is not good at the time it offers.
    #[error("{host} cannot be trusted: {cause}")]
    Untrusted {
        /// Who.
        host: String,
        /// Why.
        cause: Error,
    },
}

/// Asks a server for the time, which is at least `floor`.
///
/// # Errors
/// [`DateError`].
pub async fn date(server: &Server, floor: Timestamp) -> Result<Timestamp, DateError> {
    let host = server.url.host_str().unwrap_or_default().to_owned();
    let postponed = Arc::new(Postponed::new(server)?);
    let config = ClientConfig::builder_with_provider(postponed.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| DateError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(postponed.clone())
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .user_agent(concat!("backrow-appliance/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(config)
        .https_only(true)
        // Another server's certificate would be kept, and its time taken for this one's.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| DateError::Setup(error.to_string()))?;
    let answer = client.head(server.url.clone()).send().await.map_err(|error| {
        let mut cause = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            cause = error.to_string();
            source = error.source();
        }
        DateError::NoAnswer { host: host.clone(), cause }
    })?;
    // Whatever it answers: any answer has the time.
    let offered = answer
        .headers()
        .get(reqwest::header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(parse)
        .ok_or_else(|| DateError::NoDate(host.clone()))?;
    if offered < floor {
        return Err(DateError::TooEarly { host, offered, floor });
    }
    postponed.judge(offered).map_err(|cause| DateError::Untrusted { host, cause })?;
    Ok(offered)
}

/// `Tue, 25 Nov 2026 22:40:00 GMT`.
fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > MAX_DATE || !text.trim_end().ends_with("GMT") {
        return None;
    }
    DateTimeParser::new().parse_timestamp(text).ok()
}

/// What a server showed.
#[derive(Debug)]
struct Shown {
    certificate: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
    ocsp: Vec<u8>,
}

/// Keeps what is shown in the handshake, to judge it when the time is known.
struct Postponed {
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    shown: Mutex<Option<Shown>>,
}

impl fmt::Debug for Postponed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postponed").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Postponed {
    fn new(server: &Server) -> Result<Self, DateError> {
        let provider = Arc::new(ring::default_provider());
        let setup = |error: &dyn fmt::Display| DateError::Setup(error.to_string());
        let extra = match &server.ca {
            Some(pem) => CertificateDer::pem_slice_iter(pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| setup(&error))?,
            None => Vec::new(),
        };
        let verifier: Arc<dyn ServerCertVerifier> = if server.only_ca {
            let mut roots = RootCertStore::empty();
            for certificate in extra {
                roots.add(certificate).map_err(|error| setup(&error))?;
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| setup(&error))?
        } else {
            let verifier = Verifier::new_with_extra_roots(extra, provider.clone());
            Arc::new(verifier.map_err(|error| setup(&error))?)
        };
        Ok(Self { provider, verifier, shown: Mutex::new(None) })
    }

    /// Verifies what was shown, as at this time.
    fn judge(&self, at: Timestamp) -> Result<(), Error> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        let shown = shown.ok_or_else(|| Error::General("no certificate was shown".to_owned()))?;
        let since = u64::try_from(at.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(since));
        let Shown { certificate, chain, name, ocsp } = shown;
        self.verifier.verify_server_cert(&certificate, &chain, &name, &ocsp, now).map(drop)
    }
}

impl ServerCertVerifier for Postponed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown {
            certificate: end_entity.clone().into_owned(),
            chain: intermediates.iter().map(|link| link.clone().into_owned()).collect(),
            name: server_name.to_owned(),
            ocsp: ocsp_response.to_vec(),
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        // Not true yet: `judge` decides before anything of the answer is used.
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
