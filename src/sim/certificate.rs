use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::kept::{Kept, PUBLIC, SECRET};

/// The names that each certificate of the stand-in is valid for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The stand-in's CA, and what it has signed.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// TLS configurations by the address that clients connect to. Each keeps its TLS sessions.
    servers: Mutex<HashMap<IpAddr, Arc<ServerConfig>>>,
}

/// The name of the CA's key where it is kept.
const KEY: &str = "ca-key.pem";

impl Authority {
    /// The name of its certificate where it is kept.
    pub(super) const FILE: &str = "ca.pem";

    /// Returns the one that is kept, or else a new one.
    pub(super) fn new(kept: &Kept) -> io::Result<Self> {
        let key = kept.text(KEY, SECRET, || {
            let key = KeyPair::generate().map_err(io::Error::other)?;
            Ok(key.serialize_pem())
        })?;
        let key =
            KeyPair::from_pem(&key).map_err(|_| kept.unusable(KEY, "not a private key in PEM"))?;
        let params = ca().map_err(io::Error::other)?;
        let pem = kept.text(Self::FILE, PUBLIC, || {
            let signed = params.self_signed(&key).map_err(io::Error::other)?;
            Ok(signed.pem())
        })?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| kept.unusable(Self::FILE, "not a certificate in PEM"))?;
        let own = key.subject_public_key_info();
        if !certificate.windows(own.len()).any(|part| part == own) {
            let what = "not the certificate of ca-key.pem: remove both, and they are made again";
            return Err(kept.unusable(Self::FILE, what));
        }
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
            servers: Mutex::default(),
        })
    }

    /// Its certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the TLS of a server with this address.
    pub(super) fn server(&self, addr: IpAddr) -> io::Result<Arc<ServerConfig>> {
        let addr = addr.to_canonical();
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(&addr) {
            return Ok(Arc::clone(server));
        }
        let (chain, key) = self.sign(addr).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        let server = Arc::new(config);
        servers.insert(addr, Arc::clone(&server));
        Ok(server)
    }

    fn sign(&self, addr: IpAddr) -> Result<Signed, rcgen::Error> {
        let mut names = Vec::from(NAMES.map(str::to_owned));
        let addr = addr.to_string();
        if !names.contains(&addr) {
            names.push(addr);
        }
        let mut server = CertificateParams::new(names)?;
        server
            .distinguished_name
            .push(DnType::CommonName, "octave-sim");
        server.use_authority_key_identifier_extension = true;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((vec![certificate.der().clone()], key))
    }
}

type Signed = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn ca() -> Result<CertificateParams, rcgen::Error> {
    let mut ca = CertificateParams::new([])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(DnType::CommonName, "octave-sim CA");
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(ca)
}
