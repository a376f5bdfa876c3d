//! How to reach the broker, and what to say when it cannot be reached.

use std::{fs, io, path::Path, sync::Arc};

use protocol::{
    config::{Mqtt, mqtt::ClientCertificate},
    names::DeviceName,
    payload::Lifecycle,
    topics::Topic,
};
use rumqttc::{
    ConnectReturnCode, ConnectionError, DisconnectReasonCode, LastWill, MqttOptions, QoS,
    StateError, TlsConfiguration, TlsError, Transport, mqttbytes::Error as MqttError,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use watchdog::mood::Mood;

use super::{Periods, outbox::state_json};

/// The largest packet that is taken: a revision, and its topic. Whoever understands a message bounds
/// it further.
const MAX_INCOMING: u32 = protocol::push::MAX_BYTES as u32 + 2 * 1024;

/// The options of one connection. Certificates are read anew each time, so that renewed ones count.
pub(super) fn options(
    broker: &Mqtt,
    device: &DeviceName,
    periods: &Periods,
    companion: bool,
) -> Result<MqttOptions, String> {
    let beside = if companion { "-box" } else { "" };
    let id = format!("backrow-{device}{beside}");
    let mut options = MqttOptions::new(id, (broker.host().to_owned(), broker.port()));
    let seconds = u16::try_from(periods.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1);
    options.set_keep_alive(seconds);
    options.set_connect_timeout(periods.connect);
    options.set_clean_start(true);
    // The broker keeps back what is larger: it could never be taken, and would end the connection.
    options.set_max_packet_size(Some(MAX_INCOMING));
    if !companion {
        let (state, lost) = (Topic::State.of(device), state_json(Lifecycle::Lost));
        options.set_last_will(LastWill::new(state, lost.to_vec(), QoS::AtLeastOnce, true, None));
    }
    match (&broker.username, &broker.password) {
        (Some(username), Some(password)) => {
            options.set_credentials(username.clone(), password.clone().into_bytes());
        }
        (Some(username), None) => {
            options.set_username(username.clone());
        }
        _ => {}
    }
    if broker.tls() {
        let config = Arc::new(tls(broker)?);
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    Ok(options)
}

/// What TLS with this broker takes: the authorities to trust, and our certificate.
///
/// # Errors
/// In words: a file is missing or damaged.
pub fn tls(broker: &Mqtt) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &broker.ca {
        None => builder.with_platform_verifier().map_err(|error| {
            format!("this machine's certificate authorities cannot be read: {error}")
        })?,
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                let bad = |error| format!("{}: not a CA certificate: {error}", file.display());
                roots.add(certificate).map_err(bad)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let Some(ClientCertificate { certificate, key }) = &broker.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| format!("{}: there is no private key in PEM form in it", key.display()))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| {
        format!("{} and {} do not go together: {error}", certificate.display(), key.display())
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{}: there is no certificate in PEM form in it", file.display())),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{}: there is no such file", file.display()),
        _ => format!("{}: cannot be read: {error}", file.display()),
    })
}

/// Why there is no connection (any more), as a mood and a sentence.
pub fn explain(error: &ConnectionError, shown: &str, device: &DeviceName) -> (Mood, String) {
    let sad = |what: String| (Mood::Sad, format!("the broker at {shown} {what}"));
    let lost = |what: &str| (Mood::Lost, format!("the broker at {shown} {what}"));
    match error {
        ConnectionError::Timeout(_) => lost("does not answer"),
        ConnectionError::MqttState(StateError::AwaitPingResp) => lost("does not answer any more"),
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => sad(refused(*code)),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            sad(match reason_code {
                DisconnectReasonCode::SessionTakenOver => format!(
                    "took another device's connection for ours: two devices are named \"{device}\""
                ),
                DisconnectReasonCode::ServerShuttingDown => "is shutting down".to_owned(),
                DisconnectReasonCode::NotAuthorized => {
                    "does not allow this device what it does".to_owned()
                }
                other => format!("ended the connection ({other:?})"),
            })
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            sad("closed the connection".to_owned())
        }
        ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => {
            io_reason(error, shown)
        }
        ConnectionError::MqttState(StateError::Deserialization(MqttError::Io(error)))
        | ConnectionError::Tls(TlsError::Io(error)) => io_reason(error, shown),
        ConnectionError::Tls(error) => sad(format!("cannot be trusted: {error}")),
        other => sad(format!("is not understood: {other}")),
    }
}

fn refused(code: ConnectReturnCode) -> String {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            "refused our user name, password or certificate".to_owned()
        }
        ConnectReturnCode::ServerBusy | ConnectReturnCode::ServerUnavailable => {
            "is too busy".to_owned()
        }
        other => format!("refused us ({other:?})"),
    }
}

fn io_reason(error: &io::Error, shown: &str) -> (Mood, String) {
    let sad = |what: &str| (Mood::Sad, format!("the broker at {shown} {what}"));
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return sad(&tls_reason(tls));
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => sad("refused the connection"),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => sad("closed the connection"),
        io::ErrorKind::TimedOut => (Mood::Lost, format!("the broker at {shown} does not answer")),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (Mood::Lost, format!("there is no way to the broker at {shown}: is the network up?"))
        }
        _ if error.to_string().contains("lookup") => (
            Mood::Sad,
            format!(
                "the broker's name in {shown} is not known: is it right, and is there a name server?"
            ),
        ),
        _ => sad(&format!("cannot be reached: {error}")),
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error};
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "shows a certificate of an unknown CA: check `ca` in [mqtt]".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "shows a certificate for another name: check `url` in [mqtt]".to_owned(),
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "shows a certificate that is not valid now: is this machine's clock right?".to_owned(),
        Error::InvalidCertificate(why) => format!("shows a bad certificate ({why:?})"),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate,
        ) => "wants a client certificate: check `certificate` and `key` in [mqtt]".to_owned(),
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked,
        ) => "does not trust our client certificate".to_owned(),
        Error::InvalidMessage(_) => "does not speak TLS at this port".to_owned(),
        other => format!("and we cannot agree on encryption: {other}"),
    }
}
