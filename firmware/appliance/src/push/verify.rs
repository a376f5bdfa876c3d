//! Whether a revision was signed by somebody who may: with a certificate of the authority that the
//! box trusts in `[mqtt] ca`, made for signing documents. Pure.

use std::time::Duration;

use jiff::Timestamp;
use protocol::push::{PURPOSE_DER, Signed};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, UnixTime, pem::PemObject as _},
};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

/// The signer's certificate, and as many between it and the authority.
const MAX_CHAIN: usize = 5;

/// Whether a message may be believed at this time, by the authority's certificate (PEM).
///
/// # Errors
/// In words.
pub fn verify(signed: &Signed, authority: &[u8], now: Timestamp) -> Result<(), String> {
    let trusted: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(authority)
        .collect::<Result<_, _>>()
        .map_err(|_| "the authority's certificate on the box is damaged".to_owned())?;
    let anchors: Vec<_> =
        trusted.iter().filter_map(|trusted| anchor_from_trusted_cert(trusted).ok()).collect();
    let chain: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(signed.certificates.as_bytes())
            .take(MAX_CHAIN + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| "`certificates` is damaged".to_owned())?;
    let Some((signer, between)) = chain.split_first().filter(|_| chain.len() <= MAX_CHAIN) else {
        return Err(format!("`certificates` has {} certificates in it", chain.len()));
    };
    let signer = EndEntityCert::try_from(signer)
        .map_err(|error| format!("the signer's certificate is damaged ({error:?})"))?;
    let provider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms.all;
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let usage = KeyUsage::required(PURPOSE_DER);
    signer
        .verify_for_usage(algorithms, &anchors, between, now, usage, None, None)
        .map_err(|error| certificate(&error))?;
    let (message, signature) =
        (Signed::message(&signed.document), signed.signature().map_err(|error| error.to_string())?);
    let good = algorithms
        .iter()
        .any(|algorithm| signer.verify_signature(*algorithm, &message, &signature).is_ok());
    if good {
        return Ok(());
    }
    Err("the signature does not fit: the document was changed after it was signed".to_owned())
}

fn certificate(error: &Error) -> String {
    match error {
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => {
            "the signer's certificate is not of the authority in `ca` of [mqtt]".to_owned()
        }
        Error::RequiredEkuNotFoundContext(_) => {
            "the signer's certificate is not one for signing settings: an operator's is, a machine's \
             is not"
                .to_owned()
        }
        Error::CertExpired { .. } => "the signer's certificate has expired".to_owned(),
        Error::CertNotValidYet { .. } => {
            "the signer's certificate is not valid yet: is this box's clock right?".to_owned()
        }
        other => format!("the signer's certificate cannot be used ({other:?})"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::Command;

    use super::*;

    /// An authority of openssl's, and what it signs.
    pub(crate) struct Authority(tempfile::TempDir);

    impl Authority {
        pub(crate) fn new() -> Self {
            let this = Self(tempfile::tempdir().unwrap());
            this.openssl(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                 -subj /CN=authority -keyout @ca.key -out @ca.pem",
            );
            this.certificate("operator", "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.7.3.36");
            this.certificate("box-7", "1.3.6.1.5.5.7.3.2");
            this
        }

        fn openssl(&self, line: &str) {
            let word = |word: &str| match word.strip_prefix('@') {
                Some(name) => self.0.path().join(name).display().to_string(),
                None => word.to_owned(),
            };
            let done =
                Command::new("openssl").args(line.split_whitespace().map(word)).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }

        fn certificate(&self, name: &str, purposes: &str) {
            let extensions = format!("basicConstraints=CA:FALSE\nextendedKeyUsage={purposes}\n");
            std::fs::write(self.0.path().join("extensions"), extensions).unwrap();
            self.openssl(&format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
                 -keyout @{name}.key -out @{name}.csr"
            ));
            self.openssl(&format!(
                "x509 -req -in @{name}.csr -CA @ca.pem -CAkey @ca.key -CAcreateserial -days 1 \
                 -extfile @extensions -out @{name}.pem"
            ));
        }

        pub(crate) fn file(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.path().join(name)).unwrap()
        }

        /// A document signed as `name`.
        pub(crate) fn sign(&self, name: &str, document: &str) -> Signed {
            std::fs::write(self.0.path().join("message"), Signed::message(document)).unwrap();
            self.openssl(&format!("dgst -sha256 -sign @{name}.key -out @signature @message"));
            let signature = std::fs::read(self.0.path().join("signature")).unwrap();
            Signed::new(document.to_owned(), self.file(&format!("{name}.pem")), &signature)
        }
    }

    #[test]
    fn only_who_may_sign_is_believed() {
        let authority = Authority::new();
        let ca = authority.file("ca.pem");
        let now = Timestamp::now();
        let verified = |signed: &Signed| verify(signed, ca.as_bytes(), now);
        let good = authority.sign("operator", "{}");
        assert_eq!(verified(&good), Ok(()));

        let why = |change: &dyn Fn(&mut Signed)| {
            let mut signed = good.clone();
            change(&mut signed);
            verified(&signed).unwrap_err()
        };
        assert!(why(&|it| it.document.push(' ')).contains("changed after it was signed"));
        assert!(why(&|it| it.signature.replace_range(20..22, "00")).contains("changed after"));
        assert!(why(&|it| it.signature.clear()).contains("changed after"));
        assert!(why(&|it| it.certificates.clear()).contains("has 0 certificates"));
        assert!(why(&|it| it.certificates = it.certificates.repeat(9)).contains("has 6"));
        assert!(why(&|it| it.certificates.truncate(300)).contains("damaged"));
        assert!(why(&|it| it.certificates = ca.clone()).contains("cannot be used"));
        // A machine of the same authority.
        let machine = verified(&authority.sign("box-7", "{}")).unwrap_err();
        assert!(machine.contains("not one for signing settings"), "{machine}");
        let strange = Authority::new().sign("operator", "{}");
        let strange = verify(&strange, ca.as_bytes(), Timestamp::now()).unwrap_err();
        assert!(strange.contains("not of the authority"), "{strange}");
        let later = now + jiff::SignedDuration::from_hours(48);
        assert!(verify(&good, ca.as_bytes(), later).unwrap_err().contains("has expired"));
        let earlier = now - jiff::SignedDuration::from_hours(48);
        let early = verify(&good, ca.as_bytes(), earlier).unwrap_err();
        assert!(early.contains("is this box's clock right?"), "{early}");
        assert!(verify(&good, b"", now).is_err());
    }
}
