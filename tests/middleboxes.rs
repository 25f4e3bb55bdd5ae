//! Through real proxies: nginx and HAProxy, which end TLS in front of the service, and tinyproxy,
//! through which the client makes its way out.
//!
//! Run with `cargo test --all-features --test middleboxes -- --ignored`.
#![cfg(feature = "sim")]

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use octave_ws::sim::{ClientAction, Options, Sim};
use octave_ws::{Client, Config, ErrorKind, Phase, Update};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use patience::until;
use running::{Running, folder};

mod patience;
mod running;

const TEMPERATURE: &str = "/demo/devices/gw1/temperature";
const LONG: Duration = Duration::from_secs(60);

/// A certificate for loopback that signs itself, and its key, in one file.
fn certificate(folder: &Path) -> String {
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    fs::write(
        folder.join("both.pem"),
        certificate.clone() + &key.serialize_pem(),
    )
    .unwrap();
    certificate
}

fn config(sim: &Sim) -> Config {
    sim.config().connect_timeout(LONG)
}

/// Subscribes, receives an event and takes leave.
fn exchange(sim: &Sim, config: &Config) {
    let mut client = Client::connect(config).unwrap();
    client.subscribe(&TEMPERATURE.parse().unwrap()).unwrap();
    sim.publish(TEMPERATURE, &json!(1));
    let Update::Event(event) = client.next(LONG).unwrap() else {
        panic!("no event")
    };
    assert_eq!(event.elems::<i32>().unwrap(), 1);
    client.close().unwrap();
}

/// Asserts that the log, of lines as `CONNECTION METHOD STATUS`, tells of one connection for both
/// legs. The second leg is logged once it is over.
fn assert_one_connection(log: &Path) {
    until("both requests are in the log", || {
        let text = fs::read_to_string(log).unwrap_or_default();
        let requests: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split(' ').collect())
            .filter(|words: &Vec<&str>| words.len() == 3 && words[1] != "<BADREQ>")
            .collect();
        if let [post, get] = &requests[..] {
            assert_eq!((post[1], post[2]), ("POST", "201"));
            assert_eq!((get[1], get[2]), ("GET", "101"));
            assert_eq!(post[0], get[0], "two connections");
            return true;
        }
        false
    });
}

#[test]
#[ignore = "needs nginx"]
fn nginx_in_front_of_the_service() {
    let sim = Sim::start().unwrap();
    let folder = folder("nginx");
    let ca = certificate(&folder);
    let nginx = Running::start(&folder, |port| {
        let at = folder.display();
        let service = sim.addr();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/errors;
             events {{}}
             http {{
                 log_format one '$connection $request_method $status';
                 access_log {at}/requests one;
                 client_body_temp_path {at}/1; proxy_temp_path {at}/2; fastcgi_temp_path {at}/3;
                 uwsgi_temp_path {at}/4; scgi_temp_path {at}/5;
                 map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
                 server {{
                     listen 127.0.0.1:{port} ssl;
                     ssl_certificate {at}/both.pem; ssl_certificate_key {at}/both.pem;
                     location / {{
                         proxy_pass https://{service};
                         proxy_http_version 1.1;
                         proxy_set_header Upgrade $http_upgrade;
                         proxy_set_header Connection $connection_upgrade;
                     }}
                 }}
             }}"
        );
        fs::write(folder.join("config"), config).unwrap();
        let args = [
            "-p",
            &format!("{at}"),
            "-e",
            &format!("{at}/errors"),
            "-c",
            &format!("{at}/config"),
        ];
        ("nginx".to_owned(), args.map(str::to_owned).to_vec())
    });
    let endpoint = format!("https://127.0.0.1:{}", nginx.port);
    exchange(&sim, &config(&sim).endpoint(endpoint).ca_pem(ca));
    assert_one_connection(&folder.join("requests"));
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_in_front_of_the_service() {
    let sim = Sim::start().unwrap();
    let folder = folder("haproxy");
    let ca = certificate(&folder);
    let haproxy = Running::start(&folder, |port| {
        let at = folder.display();
        let service = sim.addr();
        let config = format!(
            "global
               log stdout format raw local0
             defaults
               mode http
               timeout connect 10s
               timeout client 10s
               timeout server 10s
               timeout tunnel 1m
               option dontlognull
             frontend front
               bind 127.0.0.1:{port} ssl crt {at}/both.pem
               log global
               log-format \"%cp %HM %ST\"
               default_backend back
             backend back
               server service {service} ssl verify none\n"
        );
        fs::write(folder.join("config"), config).unwrap();
        let args = ["-db", "-f", &format!("{at}/config")];
        ("haproxy".to_owned(), args.map(str::to_owned).to_vec())
    });
    let endpoint = format!("https://127.0.0.1:{}", haproxy.port);
    // It may not be ready for the first connection.
    let config = config(&sim).endpoint(endpoint).retry_for(LONG);
    exchange(&sim, &config.ca_pem(ca));
    assert_one_connection(&folder.join("output"));
}

#[test]
#[ignore = "needs microsocks"]
fn microsocks_on_the_way_out() {
    let sim = Sim::start().unwrap();
    let start = |login: &[&str]| {
        Running::start(&folder("microsocks"), |port| {
            let port = port.to_string();
            let args = ["-i", "127.0.0.1", "-p", &port];
            let args = args.iter().chain(login).map(ToString::to_string);
            ("microsocks".to_owned(), args.collect())
        })
    };
    let (open, closed) = (start(&[]), start(&["-u", "someone", "-P", "pass.word"]));
    let through = |url: &str, proxy: &Running| {
        let url = url.replace("PROXY", &format!("127.0.0.1:{}", proxy.port));
        // By its name, too.
        let endpoint = format!("https://localhost:{}", sim.addr().port());
        config(&sim).endpoint(endpoint).proxy(url)
    };
    exchange(&sim, &through("socks5://PROXY", &open));
    exchange(&sim, &through("socks5h://PROXY", &open));
    exchange(
        &sim,
        &through("socks5://someone:pass%2Eword@PROXY", &closed),
    );
    exchange(
        &sim,
        &through("socks5h://someone:pass%2Eword@PROXY", &closed),
    );
    let (open, closed) = (&open, &closed);
    for (url, proxy, kind, told) in [
        (
            "socks5://PROXY",
            closed,
            ErrorKind::Refused,
            "requires a user and password",
        ),
        (
            "socks5://x:y@PROXY",
            closed,
            ErrorKind::Refused,
            "refused the user and password",
        ),
        (
            "socks5h://PROXY",
            open,
            ErrorKind::Disconnected,
            "cannot connect to 127.0.0.1:1: connection refused",
        ),
    ] {
        let config = through(url, proxy);
        let config = match kind {
            ErrorKind::Disconnected => config.endpoint("https://127.0.0.1:1"),
            _ => config,
        };
        let error = Client::connect(&config).err().unwrap();
        assert_eq!((error.kind(), error.phase()), (kind, Phase::Proxy));
        let wanted = format!("proxy: 127.0.0.1:{} {told}", proxy.port);
        assert_eq!(error.to_string(), wanted);
        assert_eq!(error.is_retryable(), kind == ErrorKind::Disconnected);
    }
}

#[test]
#[ignore = "needs tinyproxy"]
fn tinyproxy_on_the_way_out() {
    let (observer, seen) = mpsc::channel();
    let sim = Sim::start_with(Options::default().observer(observer)).unwrap();
    let folder = folder("tinyproxy");
    let proxy = Running::start(&folder, |port| {
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\n\
             BasicAuth someone pass.word\n"
        );
        fs::write(folder.join("config"), config).unwrap();
        let path = folder.join("config").display().to_string();
        let args = vec!["-d".to_owned(), "-c".to_owned(), path];
        ("tinyproxy".to_owned(), args)
    });
    let port = proxy.port;
    let url = format!("http://someone:pass%2Eword@127.0.0.1:{port}");
    exchange(&sim, &config(&sim).proxy(url));

    let config = config(&sim).proxy(format!("127.0.0.1:{port}"));
    let error = Client::connect(&config).err().unwrap();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Status(407), Phase::Proxy)
    );
    assert!(!error.is_retryable());
    let message = format!(
        "proxy: HTTP 407 from 127.0.0.1:{port} for a tunnel to {}",
        sim.addr()
    );
    assert_eq!(error.to_string(), message);

    drop(sim);
    let connections = seen
        .iter()
        .filter(|seen| seen.action == ClientAction::Connected);
    assert_eq!(connections.count(), 1);
}
