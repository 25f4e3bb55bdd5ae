//! `session`: an id, or a URL, for another client.

use std::net::TcpStream;
use std::sync::Arc;

use octave_ws::sim::Sim;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{octave_ws, start, stderr, text};

/// The one line that it prints.
fn printed(sim: &Sim, args: &[&str]) -> String {
    let output = octave_ws(sim, args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stderr.is_empty());
    let line = text(&output.stdout).strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'));
    line.to_owned()
}

/// Opens the socket by the URL, with a client that is not ours.
fn open(sim: &Sim, url: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(sim.addr()).unwrap();
    let tls = ClientConnection::new(Arc::new(config), sim.addr().ip().into()).unwrap();
    tungstenite::client(url, StreamOwned::new(tls, tcp)).is_ok()
}

#[test]
fn its_id_opens_a_socket_once() {
    let (sim, _seen) = start(0.0);
    let id = printed(&sim, &["session"]);
    let url = format!("wss://{}/session/{id}/ws", sim.addr());
    assert!(open(&sim, &url));
    assert!(!open(&sim, &url));
}

#[test]
fn its_url_is_the_sockets() {
    let (sim, _seen) = start(0.0);
    let url = printed(&sim, &["session", "--url"]);
    assert!(url.starts_with(&format!("wss://{}/session/", sim.addr())));
    assert!(open(&sim, &url));
}

#[test]
fn it_fails_as_listen_does() {
    let (sim, _seen) = start(0.0);
    let mut command = octave_ws(&sim, &["session", "-vv"]);
    let output = command.env("OCTAVE_TOKEN", "wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert!(output.stdout.is_empty());
    let last = stderr(&output).lines().last().unwrap();
    let peer = sim.addr();
    let line = format!(
        "error: session: HTTP 400 from {peer}: invalid credentials (check OCTAVE_USER, \
         OCTAVE_COMPANY and the token: user \"demo_user\", company \"demo\", token from \
         OCTAVE_TOKEN)"
    );
    assert_eq!(last, line);
}
