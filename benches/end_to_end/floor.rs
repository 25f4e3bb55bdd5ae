//! The least that a client can cost: tungstenite over rustls, without parsing or output.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::sync::Arc;

use octave_ws::{Config, SessionId};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::Message;

use crate::TEMPERATURE;

/// Subscribes to a stream of the service that the environment names, and reads to the end.
pub(crate) fn run() {
    let config = Config::from_env().unwrap();
    let url = SessionId::request(&config).unwrap().url(&config).unwrap();
    let mut roots = RootCertStore::empty();
    let pem = fs::read(env::var("OCTAVE_CA_FILE").unwrap()).unwrap();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let authority = url.split('/').nth(2).unwrap();
    let host = authority.rsplit_once(':').unwrap().0.to_owned();
    let name = ServerName::try_from(host).unwrap();
    let tls = ClientConnection::new(Arc::new(tls), name).unwrap();
    let tcp = TcpStream::connect(authority).unwrap();
    let (mut socket, _) = tungstenite::client(&url, StreamOwned::new(tls, tcp)).unwrap();
    let request =
        format!(r#"{{"msgId":"1","object":"event","type":"subscribe","path":"{TEMPERATURE}"}}"#);
    socket.send(Message::text(request)).unwrap();
    while socket.read().is_ok() {}
}
