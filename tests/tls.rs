//! Accepted and refused certificates and TLS versions: nothing secret is sent after a refusal.
#![cfg(feature = "sim")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use octave_ws::sim::Sim;
use octave_ws::{Client, Config, Credentials, Error, ErrorKind, Phase, Token};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    Authority { issuer, pem }
}

/// A server with this certificate for one connection. It returns what came over it, in the clear.
fn serve(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (String, JoinHandle<String>) {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    serve_by(config)
}

fn serve_by(config: ServerConfig) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!(
        "https://127.0.0.1:{}",
        listener.local_addr().unwrap().port()
    );
    let server = thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let tls = ServerConnection::new(Arc::new(config)).unwrap();
        let mut received = [0; 1024];
        let n = StreamOwned::new(tls, tcp).read(&mut received);
        String::from_utf8_lossy(&received[..n.unwrap_or(0)]).into_owned()
    });
    (endpoint, server)
}

/// How a client fails that trusts the authority.
fn failure(endpoint: &str, ca_pem: &str) -> Error {
    let config = Config::new(Credentials::new("demo", Token::new("hunter2")))
        .endpoint(endpoint)
        .ca_pem(ca_pem)
        .connect_timeout(Duration::from_secs(10));
    Client::connect(&config).err().unwrap()
}

fn good() -> CertificateParams {
    CertificateParams::new(["127.0.0.1".to_owned()]).unwrap()
}

#[test]
fn a_certificate_that_will_not_do_is_final_and_gets_nothing() {
    let trusted = authority("trusted");
    let other = authority("other");
    let mut expired = good();
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut early = good();
    early.not_before = date_time_ymd(2200, 1, 1);
    let wrong_name = CertificateParams::new(["192.0.2.1".to_owned()]).unwrap();
    let mut cn_only = CertificateParams::new([]).unwrap();
    cn_only
        .distinguished_name
        .push(DnType::CommonName, "127.0.0.1");
    let mut client_only = good();
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut authority_own = good();
    authority_own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (name, params, issuer, verdict) in [
        (
            "expired",
            expired,
            Some(&trusted),
            "has expired (the clock here says 20",
        ),
        (
            "early",
            early,
            Some(&trusted),
            "is not valid yet (the clock here says 20",
        ),
        (
            "another name",
            wrong_name,
            Some(&trusted),
            "is for another name: 192.0.2.1",
        ),
        (
            "common name only",
            cn_only,
            Some(&trusted),
            "has no host name (subjectAltName)",
        ),
        (
            "for clients",
            client_only,
            Some(&trusted),
            "is not for servers (extended key usage)",
        ),
        (
            "an authority's own",
            authority_own,
            Some(&trusted),
            "is a CA certificate (CA:TRUE), which a server must not use",
        ),
        (
            "another authority",
            good(),
            Some(&other),
            "is from a CA that is not trusted",
        ),
        (
            "self-signed",
            good(),
            None,
            "is from a CA that is not trusted",
        ),
    ] {
        let key = KeyPair::generate().unwrap();
        let certificate = match issuer {
            Some(authority) => params.signed_by(&key, &authority.issuer),
            None => params.self_signed(&key),
        };
        let chain = vec![certificate.unwrap().der().clone()];
        let (endpoint, server) = serve(chain, &key, rustls::ALL_VERSIONS);
        let error = failure(&endpoint, &trusted.pem);
        assert_eq!(
            (error.phase(), error.kind()),
            (Phase::Tls, ErrorKind::Tls),
            "{name}"
        );
        assert!(!error.is_retryable(), "{name}");
        let peer = endpoint.strip_prefix("https://").unwrap();
        let text = format!("tls: the certificate of {peer} {verdict}");
        let told = error.report();
        assert!(told.starts_with(&text), "{name}: {told}");
        for (case, date) in [
            ("expired", "it was valid to 2020"),
            ("early", "it will be from 2200"),
        ] {
            let date = format!("), {date}-01-01T00:00:00Z");
            assert!(name != case || told.ends_with(&date), "{name}: {told}");
        }
        // In words alone: no name of code, no list of bytes.
        let is_code = |c: char| "{}[]".contains(c);
        assert!(!told.contains(is_code), "{name}: {told}");
        assert_eq!(server.join().unwrap(), "", "{name}");
    }
}

#[test]
fn tls_1_2_will_do() {
    let trusted = authority("trusted");
    let key = KeyPair::generate().unwrap();
    let certificate = good().signed_by(&key, &trusted.issuer).unwrap();
    let chain = vec![certificate.der().clone()];
    let (endpoint, server) = serve(chain, &key, &[&rustls::version::TLS12]);
    // The server goes away once it has seen the request.
    let error = failure(&endpoint, &trusted.pem);
    assert_eq!(error.phase(), Phase::Session);
    assert!(
        server
            .join()
            .unwrap()
            .starts_with("POST /session HTTP/1.1\r\n")
    );
}

#[test]
fn a_client_shows_its_certificate_and_its_name() {
    let authority = authority("own");
    let signed = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &authority.issuer).unwrap(), key)
    };
    let (server, server_key) = signed(good());
    let (client, client_key) = signed(CertificateParams::new([]).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(authority_certificate(&authority)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![server.der().clone()],
            PrivateKeyDer::Pkcs8(server_key.serialize_der().into()),
        )
        .unwrap();
    let (endpoint, service) = serve_by(tls);
    let config = Config::new(Credentials::new("demo", Token::new("hunter2")))
        .endpoint(&endpoint)
        // Beside the bundled ones.
        .extra_ca_pem(authority.pem.as_str())
        .client_certificate(format!("{}{}", client.pem(), client_key.serialize_pem()))
        .user_agent("agent/1.0 (gw1)");
    // The service says nothing.
    Client::connect(&config).unwrap_err();
    let received = service.join().unwrap();
    assert!(
        received.contains("\r\nUser-Agent: agent/1.0 (gw1)\r\n"),
        "{received}"
    );

    for (config, wanted) in [
        (
            config.clone().client_certificate(client.pem()),
            "there is no private key in it",
        ),
        (
            config.clone().client_certificate(""),
            "there is no certificate in it",
        ),
        (config.clone().user_agent("a\nb"), "not visible ASCII"),
        (config.clone().user_agent(""), "is empty"),
        (config.clone().user_agent("a".repeat(1025)), "is too long"),
        (config.clone().max_message(0), "is zero"),
        (
            config.extra_ca_pem("nothing"),
            "no PEM certificate among the CA certificates",
        ),
    ] {
        let error = config.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

fn authority_certificate(authority: &Authority) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()
}

#[test]
fn tls_1_1_is_final_and_gets_nothing() {
    // RFC 4346 §7.4.1.3: a ServerHello of version 3.2.
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    // RFC 8446 §6: or else a fatal alert, protocol_version.
    let alert = vec![21, 3, 2, 0, 2, 2, 70];
    for answer in [hello, alert] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            tcp.write_all(&answer).unwrap();
            let mut received = Vec::new();
            tcp.read_to_end(&mut received).unwrap();
            received
        });
        let error = failure(&endpoint, &authority("any").pem);
        assert_eq!(error.kind(), ErrorKind::Tls, "{}", error.report());
        let text = error.to_string();
        assert!(text.starts_with("tls: no TLS in common with "), "{text}");
        assert!(
            text.ends_with(": it speaks neither TLS 1.2 nor TLS 1.3"),
            "{text}"
        );
        let received = server.join().unwrap();
        assert!(!received.windows(7).any(|part| part == b"hunter2"));
    }
}

#[test]
fn an_alert_that_may_pass_is_tried_four_times_more() {
    // RFC 8446 §6: handshake_failure, internal_error, and bad_certificate.
    let alerts = [(40, 5), (80, 5), (42, 1)].map(|(alert, times)| {
        thread::spawn(move || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("https://{}", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                for _ in 0..times {
                    let (mut tcp, _) = listener.accept().unwrap();
                    tcp.write_all(&[21, 3, 3, 0, 2, 2, alert]).unwrap();
                    let _ = tcp.read_to_end(&mut Vec::new());
                }
            });
            let config = Config::new(Credentials::new("demo", Token::new("t")))
                .endpoint(endpoint)
                .retry_for(Duration::from_secs(60));
            let error = Client::connect(&config).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Tls, "{}", error.report());
            server.join().unwrap();
        })
    });
    for alert in alerts {
        alert.join().unwrap();
    }
}

/// Passes one connection on to the stand-in, and sends `garbage` to the client on request.
fn forward(to: SocketAddr) -> (String, mpsc::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let (break_it, broken) = mpsc::channel();
    let thread = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let service = TcpStream::connect(to).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| io::copy(&mut &service, &mut &client));
            scope.spawn(|| io::copy(&mut &client, &mut &service));
            let _ = broken.recv();
            (&client).write_all(b"this is no TLS record").unwrap();
            service.shutdown(Shutdown::Both).unwrap();
        });
    });
    (endpoint, break_it, thread)
}

#[test]
fn an_invalid_record_after_the_handshake_is_a_lost_connection() {
    let sim = Sim::start().unwrap();
    let (endpoint, break_it, thread) = forward(sim.addr());
    let mut client = Client::connect(&sim.config().endpoint(&endpoint)).unwrap();
    break_it.send(()).unwrap();
    let error = client.next(Duration::from_secs(60)).unwrap_err();
    let peer = endpoint.strip_prefix("https://").unwrap();
    let lost = format!("the connection to {peer} was lost");
    assert_eq!(
        (error.phase(), error.kind(), error.to_string()),
        (
            Phase::Socket,
            ErrorKind::Disconnected,
            format!("socket: {lost}")
        )
    );
    drop(client);
    thread.join().unwrap();
}
