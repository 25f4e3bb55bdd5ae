use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;

/// The names that the stand-in's certificate is good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A server's TLS with a certificate for loopback, and the PEM of the authority that signed it:
/// both made now and kept by nobody.
pub(super) fn make() -> io::Result<(Arc<ServerConfig>, String)> {
    let (chain, key, ca_pem) = sign().map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok((Arc::new(config), ca_pem))
}

type Signed = (
    Vec<rustls::pki_types::CertificateDer<'static>>,
    PrivateKeyDer<'static>,
    String,
);

fn sign() -> Result<Signed, rcgen::Error> {
    let mut ca = CertificateParams::new([])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(DnType::CommonName, "octave-sim CA");
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let ca = Issuer::new(ca, ca_key);

    let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
    server
        .distinguished_name
        .push(DnType::CommonName, "octave-sim");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &ca)?;
    let key = PrivateKeyDer::Pkcs8(server_key.serialize_der().into());
    Ok((vec![certificate.der().clone()], key, ca_pem))
}
