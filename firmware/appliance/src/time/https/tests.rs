//! Real TLS servers, with certificates made by openssl, that say what time it is.

use std::{path::Path, process::Command, sync::Arc};

use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a certificate for localhost; both valid from now for two days.
fn certificates(dir: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let ca = "req -x509 -days 2 -subj /CN=CA -keyout ca.key -out ca.pem";
    openssl(dir, &format!("{ca} {key}"));
    openssl(dir, &format!("req -new -subj /CN=x -keyout server.key -out server.csr {key}"));
    std::fs::write(dir.join("ext"), "subjectAltName=DNS:localhost\n").unwrap();
    let sign = "x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial";
    openssl(dir, &format!("{sign} -extfile ext -out server.pem"));
}

/// A server that answers everything with this header; its port.
async fn server(dir: &Path, header: String) -> u16 {
    let pem = std::fs::read(dir.join("server.pem")).unwrap();
    let chain = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect();
    let key = std::fs::read(dir.join("server.key")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let count = stream.read(&mut request).await.unwrap_or(0);
            assert!(request[..count].starts_with(b"HEAD / HTTP/1.1\r\n"));
            let answer = format!("HTTP/1.1 404 Not Found\r\n{header}content-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn asked(dir: &Path, host: &str, port: u16) -> Server {
    let url = format!("https://{host}:{port}/").parse().unwrap();
    Server { url, ca: Some(std::fs::read(dir.join("ca.pem")).unwrap()), only_ca: true }
}

fn header(time: Timestamp) -> String {
    let date = time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT");
    format!("date: {date}\r\n")
}

#[tokio::test]
async fn a_trusted_server_tells_the_time_to_a_box_that_has_none() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let now = Timestamp::from_second(Timestamp::now().as_second() + 60).unwrap();
    let port = server(dir.path(), header(now)).await;
    // What this machine's clock shows plays no part in it.
    let floor = "2025-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(date(&asked(dir.path(), "localhost", port), floor).await.unwrap(), now);

    let late = now + jiff::SignedDuration::from_secs(1);
    let error = date(&asked(dir.path(), "localhost", port), late).await.unwrap_err();
    assert!(matches!(error, DateError::TooEarly { .. }), "{error}");

    let error = date(&asked(dir.path(), "127.0.0.1", port), floor).await.unwrap_err();
    assert!(matches!(error, DateError::Untrusted { .. }), "another name: {error}");

    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let error = date(&asked(other.path(), "localhost", port), floor).await.unwrap_err();
    assert!(matches!(error, DateError::Untrusted { .. }), "another authority: {error}");
}

#[tokio::test]
async fn a_time_at_which_the_certificate_is_not_valid_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let floor = "2025-01-01T00:00:00Z".parse().unwrap();
    for time in ["2025-06-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        let port = server(dir.path(), header(time.parse().unwrap())).await;
        let error = date(&asked(dir.path(), "localhost", port), floor).await.unwrap_err();
        assert!(matches!(error, DateError::Untrusted { .. }), "{error}");
    }
    let port = server(dir.path(), String::new()).await;
    let error = date(&asked(dir.path(), "localhost", port), floor).await.unwrap_err();
    assert_eq!(error.to_string(), "localhost does not tell the time");
}

#[test]
fn only_the_form_that_http_has_is_a_date() {
    let time = "2026-11-25T22:40:00Z".parse().unwrap();
    assert_eq!(parse("Wed, 25 Nov 2026 22:40:00 GMT"), Some(time));
    for no in ["", "now", "Wed, 25 Nov 2026 22:40:00 +0100", "Wed, 99 Nov 2026 22:40:00 GMT"] {
        assert_eq!(parse(no), None, "{no}");
    }
}
