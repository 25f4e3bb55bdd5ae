use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::sim::Sim;
use crate::transport::connect::tests::black_hole;
use crate::{Credentials, IpVersion, Setting, Token};

const LONG: Duration = Duration::from_secs(10);

fn dial(config: &Config, stop: &Stop, timeout: Duration) -> Result<Link> {
    let mut route = Route::new(&config.clone().stop(stop.clone()))?;
    route.dial(Instant::now() + timeout)
}

fn config(endpoint: String) -> Config {
    Config::new(Credentials::new("demo", Token::new("t"))).endpoint(endpoint)
}

/// Returns the error's kind and its whole text.
fn failure(config: &Config, timeout: Duration) -> (ErrorKind, String) {
    let Err(error) = dial(config, &Stop::new().unwrap(), timeout) else {
        panic!("connected")
    };
    (error.kind(), error.to_string())
}

#[test]
fn a_name_is_looked_up_and_each_address_tried() {
    let sim = Sim::start().unwrap();
    let port = sim.addr().port();
    let config = config(format!("https://localhost:{port}")).ca_pem(sim.ca_pem());
    let stop = Stop::new().unwrap();
    dial(&config, &stop, LONG).unwrap();
    stop.stop();
    let error = dial(&config, &stop, LONG).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Stopped);
}

#[test]
fn an_untrusted_ca_is_final() {
    let sim = Sim::start().unwrap();
    let (kind, text) = failure(&config(sim.endpoint()), LONG);
    assert_eq!(kind, ErrorKind::Tls);
    let peer = sim.addr();
    let verdict = "is from a CA that is not trusted";
    assert_eq!(text, format!("tls: the certificate of {peer} {verdict}"));
}

#[test]
fn refused_silent_and_early_closed_connections_are_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = config(format!("https://{addr}"));
    let silence = format!("tls: handshake with {addr} timed out");
    assert_eq!(
        failure(&config, Duration::from_millis(50)),
        (ErrorKind::TimedOut, silence)
    );
    drop(listener);
    let refused = format!("connect: no connection to {addr}");
    assert_eq!(failure(&config, LONG), (ErrorKind::Disconnected, refused));
}

#[test]
fn addresses_that_are_dead_cost_less_than_a_second() {
    let (dead, _hole) = black_hole();
    let sim = Sim::start().unwrap();
    let (steps, told) = mpsc::channel();
    let config = config(sim.endpoint()).ca_pem(sim.ca_pem());
    let config = config.observer(move |step| steps.send(step.clone()).unwrap());
    let start = Instant::now();
    let addrs = [dead, dead, dead, sim.addr()];
    let mut route = Route::new(&config).unwrap();
    route.dial_one_of(&addrs, None, start + LONG).unwrap();
    assert!(start.elapsed() < LONG / 5);
    let (addr, tried) = (sim.addr(), vec![dead, sim.addr()]);
    assert_eq!(told.recv(), Ok(Step::Connected { addr, tried }));
}

#[test]
fn an_address_that_connects_and_is_silent_leaves_time_for_the_next_one() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = TcpListener::bind("127.0.0.1:0").unwrap();
    let [first, second] = [&silent, &ended].map(|of| of.local_addr().unwrap());
    let ending = thread::spawn(move || drop(ended.accept().unwrap()));
    let sim = Sim::start().unwrap();
    let mut route = Route::new(&config(sim.endpoint()).ca_pem(sim.ca_pem())).unwrap();
    let addrs = [first, second, sim.addr()];
    route
        .dial_one_of(&addrs, None, Instant::now() + LONG / 5)
        .unwrap();
    ending.join().unwrap();
    // Each counts where the next attempt is put off.
    assert_eq!(route.dials.times().len(), addrs.len());
    // Of several failing proxies, the last error is returned.
    let silence = format!("tls: handshake with {} timed out", sim.addr());
    let error = route
        .dial_one_of(&[first, first], None, Instant::now() + LONG / 100)
        .err()
        .unwrap();
    assert_eq!(error.to_string(), silence);
}

#[test]
fn the_tried_addresses_are_reported() {
    let listeners = [(); 6].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addrs = listeners.map(|listener| listener.local_addr().unwrap());
    let [a, b, c, d, ..] = addrs;
    let mut route = Route::new(&config("https://h:1".to_owned())).unwrap();
    let error = route.dial_one_of(&addrs, None, Instant::now() + LONG);
    let told = format!("connect: no connection to h:1 ({a}, {b}, {c}, {d} and 2 more)");
    assert_eq!(error.err().unwrap().to_string(), told);
}

#[test]
fn a_connect_that_hangs_ends_at_the_deadline_or_with_a_stop() {
    let (addr, _hole) = black_hole();
    let config = config(format!("https://{addr}"));
    let late = format!("connect: connection to {addr} timed out");
    let got = failure(&config, Duration::from_millis(50));
    assert_eq!(got, (ErrorKind::TimedOut, late));
    let stop = Stop::new().unwrap();
    let stopper = stop.clone();
    let thread = thread::spawn(move || stopper.stop());
    let error = dial(&config, &stop, LONG).err().unwrap();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Stopped, Phase::Connect)
    );
    thread.join().unwrap();
}

#[test]
fn an_unknown_name_is_transient() {
    let config = config("https://none.invalid".to_owned());
    let error = dial(&config, &Stop::new().unwrap(), LONG).err().unwrap();
    assert_eq!(error.phase(), Phase::Resolve);
    assert!(error.is_retryable());
}

#[test]
fn an_absent_proxy_is_not_taken_for_the_service() {
    let (hole, _hole) = black_hole();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let gone = gone.unwrap();
    for (proxy, timeout, text) in [
        (
            gone.to_string(),
            LONG,
            format!("no connection to the proxy {gone}"),
        ),
        (
            hole.to_string(),
            LONG / 100,
            format!("connection to the proxy {hole} timed out"),
        ),
        (
            "none.invalid".to_owned(),
            LONG,
            "no address for the proxy none.invalid".to_owned(),
        ),
    ] {
        let config = config("https://h".to_owned()).proxy(proxy);
        let error = dial(&config, &Stop::new().unwrap(), timeout).err().unwrap();
        let told = format!("{}: {text}", error.phase());
        assert_eq!(error.to_string(), told);
        assert_eq!(error.setting(), Some(Setting::Proxy));
    }
}

#[test]
fn a_failing_proxy_is_reported() {
    for (answer, kind, text) in [
        (
            "HTTP/1.1 502 Bad Gateway\r\nRetry-After: 10\r\n\r\n",
            ErrorKind::Status(502),
            "HTTP 502 from PEER for a tunnel to h:443",
        ),
        (
            "HTTP/1.1 407 Who\r\n\r\n",
            ErrorKind::Status(407),
            "HTTP 407 from PEER for a tunnel to h:443",
        ),
        (
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate, Digest realm=\"a, b\", c=d\r\n\
             Proxy-Authenticate: NTLM\r\n\r\n",
            ErrorKind::Status(407),
            "HTTP 407 from PEER for a tunnel to h:443, which asks for Negotiate, Digest, NTLM",
        ),
        (
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Digest a=b, basic realm=x\r\n\r\n",
            ErrorKind::Status(407),
            "HTTP 407 from PEER for a tunnel to h:443",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://login/?t=1\r\n\r\n",
            ErrorKind::Status(302),
            "HTTP 302 from PEER, a redirect to http://login for a tunnel to h:443",
        ),
        (
            "garbage\r\n",
            ErrorKind::Malformed,
            "the answer of PEER is not HTTP",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nmore",
            ErrorKind::Malformed,
            "PEER sent more than its answer",
        ),
        ("", ErrorKind::Disconnected, "PEER ended the connection"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let proxy = thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n = tcp.read(&mut request).unwrap();
            tcp.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        let config = config("https://h".to_owned()).proxy(format!("http://u:p@{addr}"));
        let text = format!("proxy: {}", text.replace("PEER", &addr.to_string()));
        let error = dial(&config, &Stop::new().unwrap(), LONG).err().unwrap();
        assert_eq!((error.kind(), error.to_string()), (kind, text));
        let retry_after = answer.contains("Retry-After").then_some(LONG);
        assert_eq!(error.retry_after(), retry_after);
        let request = proxy.join().unwrap();
        let head = "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n";
        assert_eq!(
            request,
            format!("{head}Proxy-Authorization: Basic dTpw\r\n\r\n")
        );
    }
}

#[test]
fn a_socks_proxy_gets_the_address_or_the_name_and_has_a_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = |scheme: &str, host: &str| {
        let config = config(format!("http://{host}:80")).allow_plaintext();
        let config = config.ip_version(IpVersion::V4);
        config.proxy(format!("{scheme}://{addr}"))
    };
    let silence = format!("proxy: timed out waiting for an answer from {addr}");
    let got = failure(&config("socks5", "localhost"), LONG / 100);
    assert_eq!(got, (ErrorKind::TimedOut, silence));
    drop(listener.accept().unwrap());
    let ipv6 = b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50";
    for (scheme, host, target) in [
        ("socks5", "localhost", &b"\x01\x7f\x00\x00\x01\x00\x50"[..]),
        ("socks5h", "localhost", b"\x03\x09localhost\x00\x50"),
        // Some proxies look up any text as a name.
        ("socks5h", "127.0.0.1", b"\x01\x7f\x00\x00\x01\x00\x50"),
        ("socks5h", "[::1]", ipv6),
    ] {
        let (proxy, length) = (listener.try_clone().unwrap(), target.len());
        let proxy = thread::spawn(move || {
            let (mut tcp, _) = proxy.accept().unwrap();
            tcp.read_exact(&mut [0; 3]).unwrap();
            tcp.write_all(b"\x05\x00").unwrap();
            let mut request = vec![0; 3 + length];
            tcp.read_exact(&mut request).unwrap();
            tcp.write_all(b"\x05\x00\x00\x01\0\0\0\0\0\0").unwrap();
            request.split_off(3)
        });
        dial(&config(scheme, host), &Stop::new().unwrap(), LONG).unwrap();
        assert_eq!(proxy.join().unwrap(), target);
    }
}

#[test]
fn a_proxy_connects_or_has_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = config("http://h".to_owned())
        .allow_plaintext()
        .proxy(addr.to_string());
    let silence = format!("proxy: timed out waiting for an answer from {addr}");
    assert_eq!(failure(&config, LONG / 100), (ErrorKind::TimedOut, silence));
    drop(listener.accept().unwrap());
    let proxy = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        // The next bytes go to the service.
        let mut sent = String::new();
        tcp.read_to_string(&mut sent).unwrap();
        sent
    });
    let mut link = dial(&config, &Stop::new().unwrap(), LONG).unwrap();
    link.write_all(b"GET /").unwrap();
    drop(link);
    assert!(proxy.join().unwrap().ends_with("\r\n\r\nGET /"));
}

#[test]
fn plain_http_on_the_port_is_final() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // To the client's end, lest a reset overtake the answer.
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let text = format!("tls: {addr} does not speak TLS");
    let got = failure(&config(format!("https://{addr}")), LONG);
    assert_eq!(got, (ErrorKind::Tls, text));
    server.join().unwrap();
}

#[test]
fn invalid_ca_certificates_are_named() {
    let config = config("https://localhost".to_owned());
    let none = failure(&config.clone().ca_pem("nothing"), LONG).1;
    assert_eq!(none, "config: no PEM certificate among the CA certificates");
    for (pem, what) in [
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "it is not an X.509 certificate",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAA;A\n-----END CERTIFICATE-----\n",
            "it is not base64",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "there is no line -----END CERTIFICATE-----",
        ),
        (
            "-----BEGIN CERT\u{1b}\nAAAA\n",
            "the line \"-----BEGIN CERT\\u{1b}\" is not PEM",
        ),
    ] {
        let told = failure(&config.clone().ca_pem(pem), LONG).1;
        assert_eq!(
            told,
            format!("config: CA certificate 1 cannot be used: {what}")
        );
    }
    // One usable certificate is enough.
    let good = Sim::start().unwrap().ca_pem().to_owned();
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let worse = "-----BEGIN CERTIFICATE-----\nAA;A\n-----END CERTIFICATE-----\n";
    for pem in [format!("{bad}{worse}{good}"), format!("{good}{bad}{worse}")] {
        config.clone().ca_pem(pem).validate().unwrap();
    }
}

#[test]
fn a_socks_proxy_gets_one_address_after_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = config("http://h:80".to_owned()).allow_plaintext();
    let mut route = Route::new(&config.proxy(format!("socks5://{addr}"))).unwrap();
    let proxy = thread::spawn(move || {
        // To the first it finds no way: host unreachable.
        [4, 0].map(|code| {
            let (mut tcp, _) = listener.accept().unwrap();
            tcp.read_exact(&mut [0; 3]).unwrap();
            tcp.write_all(b"\x05\x00").unwrap();
            let mut request = [0; 10];
            tcp.read_exact(&mut request).unwrap();
            tcp.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            request[7]
        })
    });
    let targets = ["192.0.2.1:80", "192.0.2.2:80"].map(|target| target.parse().ok());
    let deadline = Instant::now() + LONG;
    route.dial_to_one_of(&[addr], &targets, deadline).unwrap();
    assert_eq!(proxy.join().unwrap(), [1, 2]);
}

#[test]
fn an_attempt_leaves_room_for_two_connections_within_the_span() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(format!("http://{}", listener.local_addr().unwrap())).allow_plaintext();
    let mut route = Route::new(&config).unwrap();
    let mut dialed = Vec::new();
    for n in 0..8 {
        let next = route.next_attempt();
        assert_eq!(next.is_some(), n > BEFORE, "{n}");
        // Later attempts keep the span to the third last one.
        assert!(next.is_none_or(|at| at >= dialed[n - BEFORE - 1] + SPAN));
        dialed.push(Instant::now());
        // One that is lent counts, too, and may never come back.
        route.lend().dial(Instant::now() + LONG).unwrap();
    }
}
