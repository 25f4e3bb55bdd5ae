use std::io::{self, ErrorKind::InvalidData, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, ConfigBuilder,
    HandshakeKind, PeerIncompatible, ProtocolVersion, RootCertStore, StreamOwned,
};

use crate::clock::{self, Clock};
use crate::config::{Config, Pem};
use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase, Setting};
use crate::logger::{Logger, record};
use crate::printable::{self, Printable};
use crate::protocol::Retry;
use crate::step::Step;
use crate::transport::wire::Wire;
use crate::{Error, Result};

/// A TLS connection over a [`Wire`].
pub(crate) type Stream = StreamOwned<ClientConnection, Wire>;

/// Sessions remembered for resumption: those of one service.
const SESSIONS: usize = 4;

/// Maximum number of a certificate's names in an error.
const MAX_NAMES: usize = 4;

/// Maximum length of a PEM file's line in an error.
const MAX_LINE: usize = 64;

/// Creates the TLS configuration. A client uses one for all connections, so that later ones resume
/// the session of the first.
///
/// The authorities to trust are those of `ca_pem`, or the bundled ones, and those of the configuration
/// beside them.
///
/// # Errors
/// `Config` where none of them can be used, or the client's certificate cannot.
pub(crate) fn configure(config: &Config, ca_pem: Option<&Pem>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => add_roots(&mut roots, pem, &config.logger)?,
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    if let Some(pem) = &config.extra_ca_pem {
        add_roots(&mut roots, pem, &config.logger)?;
    }
    let unusable = |error| Error::config("TLS cannot be set up").because(error);
    let tls = ClientConfig::builder_with_details(provider, Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    let mut tls = match &config.client_certificate {
        Some(pem) => with_certificate(tls, pem)?,
        None => tls.with_no_client_auth(),
    };
    tls.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(tls))
}

/// Adds the certificates, as far as they can be used.
fn add_roots(roots: &mut RootCertStore, Pem(pem): &Pem, logger: &Logger) -> Result<()> {
    let before = roots.len();
    let mut unusable = Vec::new();
    for (i, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let added = match certificate {
            Ok(certificate) => {
                let added = roots.add(certificate);
                added.map_err(|_| "it is not an X.509 certificate".to_owned())
            }
            Err(error) => Err(broken(&error)),
        };
        if let Err(why) = added {
            unusable.push(format!("CA certificate {} cannot be used: {why}", i + 1));
        }
    }
    if roots.len() == before {
        let none = || "no PEM certificate among the CA certificates".to_owned();
        let message = unusable.into_iter().next().unwrap_or_else(none);
        return Err(Error::config(message).about(Setting::CaPem));
    }
    // The others are used.
    for message in unusable {
        record!(logger, Warn, "{message}");
    }
    Ok(())
}

/// Lets the client show a certificate, with its private key.
fn with_certificate(
    tls: ConfigBuilder<ClientConfig, WantsClientCert>,
    Pem(pem): &Pem,
) -> Result<ClientConfig> {
    let wrong =
        |why: String| Error::config(format!("the client certificate cannot be used: {why}"));
    let certificates = CertificateDer::pem_slice_iter(pem);
    let certificates: Vec<_> = certificates
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(broken(&error)))?;
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong("there is no private key in it".to_owned()),
        error => wrong(broken(&error)),
    })?;
    tls.with_client_auth_cert(certificates, key)
        .map_err(|error| wrong(error.to_string()))
}

/// Shakes hands with the service, by the deadline that `wire` has.
///
/// # Errors
/// Returns `Tls` if the certificate is invalid or TLS failed for good, and else an error after which
/// another attempt is made.
pub(crate) fn handshake(
    mut wire: Wire,
    config: &Arc<ClientConfig>,
    endpoint: &Endpoint,
) -> Result<Stream> {
    let name = ServerName::try_from(endpoint.at.host.clone()).map_err(|error| {
        Error::config(format!("{:?} is no host name", endpoint.at.host)).because(error)
    })?;
    let mut tls = ClientConnection::new(Arc::clone(config), name)
        .map_err(|error| failed(endpoint, io::Error::new(InvalidData, error)))?;
    while tls.is_handshaking() {
        advance(&mut tls, &mut wire).map_err(|error| failed(endpoint, error))?;
    }
    Ok(StreamOwned::new(tls, wire))
}

/// Writes or reads a part of the handshake. The last flight, where it is the client's, stays queued:
/// it is sent with the first request.
fn advance(tls: &mut ClientConnection, wire: &mut Wire) -> io::Result<()> {
    if tls.wants_write() {
        return tls.write_tls(wire).map(drop);
    }
    if tls.read_tls(wire)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    tls.process_new_packets().map(drop).map_err(|error| {
        // An alert says why. The peer may be gone already.
        let _ = tls.write_tls(wire);
        io::Error::new(InvalidData, error)
    })
}

/// Writes data, the first in one write with what is left of the handshake. Not rustls's own way, which
/// reads where it cannot write.
pub(crate) fn write(stream: &mut Stream, data: &[u8], is_first: bool) -> io::Result<usize> {
    if !is_first {
        send(stream)?;
    }
    let length = stream.conn.writer().write(data)?;
    // What is taken counts as written: a failure is that of the next write.
    let sent = send(stream);
    if length == 0 && !data.is_empty() {
        sent?;
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(length)
}

/// Writes the records that are left.
pub(crate) fn send(stream: &mut Stream) -> io::Result<()> {
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock)?;
    }
    Ok(())
}

/// Returns the step of a completed handshake.
pub(crate) fn secured(stream: &Stream) -> Step {
    let tls = &stream.conn;
    let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
    let chain = tls.peer_certificates().unwrap_or_default();
    Step::Secured {
        version: match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        },
        cipher: suite.map_or_else(String::new, |suite| format!("{suite:?}")),
        is_resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        certificate: chain.first().map_or_else(Vec::new, |first| first.to_vec()),
    }
}

/// Returns the length of a record beyond its content, RFC 8446 §5.2 and RFC 5288 §3, and that of the
/// certificates, which a resumed session does not send.
pub(crate) fn overhead(stream: &Stream) -> (u64, u64) {
    let tls = &stream.conn;
    let record = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => 5 + 1 + 16,
        _ => 5 + 8 + 16,
    };
    let chain = tls.peer_certificates().unwrap_or_default();
    let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    let chain = chain.iter().filter(|_| !is_resumed);
    let certificates: usize = chain.map(|certificate| certificate.len()).sum();
    (record, certificates as u64)
}

fn failed(endpoint: &Endpoint, error: io::Error) -> Error {
    let new = |kind, message: String| Error::new(Phase::Tls, kind, message);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        None => Error::from_io(Phase::Tls, endpoint, error),
        Some(rustls::Error::InvalidCertificate(
            why @ (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }),
        )) if clock::is_unset(clock::now()) => {
            let verdict = verdict(why);
            let message = format!(
                "the certificate of {endpoint} {verdict}, and that clock was never set: it is before \
                 this program was built"
            );
            // Machines without a battery begin in 1970, until they have asked for the time.
            new(ErrorKind::Tls, message).retry_as(Retry::Always)
        }
        Some(rustls::Error::InvalidCertificate(why)) => {
            let message = format!("the certificate of {endpoint} {}", verdict(why));
            new(ErrorKind::Tls, message)
        }
        Some(rustls::Error::AlertReceived(
            AlertDescription::UserCanceled | AlertDescription::CloseNotify,
        )) => {
            let message = format!("the connection to {endpoint} was lost");
            new(ErrorKind::Disconnected, message).because(error)
        }
        Some(rustls::Error::AlertReceived(alert)) if is_transient(*alert) => {
            let message = format!("{endpoint} refused the handshake");
            let failed = new(ErrorKind::Tls, message).retry_as(Retry::AtMost(MAX_ALERTS));
            failed.because(error)
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            let message = format!("{endpoint} does not speak TLS");
            new(ErrorKind::Tls, message)
        }
        Some(
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            )
            | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
        ) => {
            let message =
                format!("no TLS in common with {endpoint}: it speaks neither TLS 1.2 nor TLS 1.3");
            new(ErrorKind::Tls, message)
        }
        Some(_) => {
            let message = format!("no TLS in common with {endpoint}");
            new(ErrorKind::Tls, message).because(error)
        }
    }
}

/// Number of retries after a transient alert.
const MAX_ALERTS: u32 = 4;

/// Returns whether an alert (RFC 8446 §6.2) may be gone the next time, as those of a service that
/// is being set up. Those about certificates and versions are not.
fn is_transient(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    !matches!(
        alert,
        Alert::ProtocolVersion
            | Alert::AccessDenied
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateUnobtainable
            | Alert::CertificateRequired
            | Alert::BadCertificateStatusResponse
            | Alert::BadCertificateHashValue
            | Alert::UnknownCA
    )
}

/// Describes a certificate error: rustls has some of them as numbers and as names of its own code.
fn verdict(why: &CertificateError) -> String {
    let date = |time: SystemTime| humantime::format_rfc3339_seconds(time);
    let at = |time: &UnixTime| date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()));
    let now = || date(clock::now());
    match why {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "has expired (the clock here says {}), it was valid to {}",
            now(),
            at(not_after)
        ),
        CertificateError::Expired => format!("has expired (the clock here says {})", now()),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "is not valid yet (the clock here says {}), it will be from {}",
            now(),
            at(not_before)
        ),
        CertificateError::NotValidYet => {
            format!("is not valid yet (the clock here says {})", now())
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "has no host name (subjectAltName)".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // The format of rustls: `DnsName("example.com")`.
            let bare = |name: &String| match name.split_once('(') {
                Some((_, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
                None => name.clone(),
            };
            let names: Vec<String> = presented.iter().take(MAX_NAMES).map(bare).collect();
            let names = printable::escape_words(&names.join(", "));
            format!("is for another name: {names}")
        }
        CertificateError::NotValidForName => "is for another name".to_owned(),
        CertificateError::UnknownIssuer => "is from a CA that is not trusted".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers (extended key usage)".to_owned()
        }
        CertificateError::BadEncoding => "cannot be read".to_owned(),
        CertificateError::BadSignature => "has a wrong signature".to_owned(),
        CertificateError::Revoked => "has been revoked".to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "has an unknown critical extension".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "has an unsupported signature algorithm".to_owned()
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "is a CA certificate (CA:TRUE), which a server must not use".to_owned()
        }
        other => {
            let mut name = format!("{other:?}");
            name.truncate(name.find([' ', '{']).unwrap_or(name.len()));
            format!("is not acceptable: {name}")
        }
    }
}

/// Describes an error in a PEM file, without its bytes.
fn broken(error: &pem::Error) -> String {
    let shown = |line: &[u8]| {
        let line = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]).into_owned();
        Printable(line.trim()).to_string()
    };
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("there is no line -----END {}-----", shown(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("the line \"{}\" is not PEM", shown(line))
        }
        pem::Error::Base64Decode(_) => "it is not base64".to_owned(),
        other => other.to_string(),
    }
}
