//! A TLS front, as a proxy before the encoder is: a certificate of a private authority, and the
//! bytes passed on in the clear.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tool;

/// A running front.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    authority: PathBuf,
    task: JoinHandle<()>,
    _directory: TempDir,
}

impl TlsFront {
    /// Stands before `target`, as `localhost`.
    ///
    /// # Panics
    /// When no certificate can be made or no port be had.
    pub async fn start(target: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = directory.path().join("authority.pem");
        let (chain, key) = certificate(directory.path(), &authority).await;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Whatever ends a connection is seen by the two it joins.
                    if let Ok(mut client) = acceptor.accept(client).await
                        && let Ok(mut server) = TcpStream::connect(target).await
                    {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, authority, task, _directory: directory }
    }

    /// `localhost` and the port: the name that the certificate is for.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The authority's certificate, as a PEM file.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes an authority, and a certificate signed by it: for `localhost`, and for this machine as an
/// emulated one sees it.
async fn certificate(
    directory: &Path,
    authority: &Path,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let file = |name: &str| directory.join(name).display().to_string();
    let openssl = async |line: &str| {
        let args: Vec<String> = line
            .split_whitespace()
            .map(|word| match word.strip_prefix('@') {
                Some(name) => file(name),
                None => word.to_owned(),
            })
            .collect();
        tool::run("openssl", &args).await;
    };
    std::fs::write(
        file("names"),
        "subjectAltName=DNS:localhost,IP:10.0.2.2\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
         -keyout @authority.key -out @authority.pem",
    )
    .await;
    openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
         -keyout @server.key -out @server.csr",
    )
    .await;
    openssl(
        "x509 -req -in @server.csr -CA @authority.pem -CAkey @authority.key -CAcreateserial -days 2 \
         -extfile @names -out @server.pem",
    )
    .await;
    assert!(authority.is_file());
    let chain = CertificateDer::pem_file_iter(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}
