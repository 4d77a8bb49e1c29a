//! What a receiver's certificate is verified with: the platform's roots and the operator's. May read root
//! certificates; must never offer a connection without verification.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::config::{OutboundError, TlsConfig};

/// The protocol that a TLS server names where it speaks HTTP/2.
pub(super) const HTTP2: &[u8] = b"h2";

/// Settings of TLS that verify a server by its name and offer it HTTP/2 and HTTP/1.1. Built once: clones share
/// the cache of sessions.
pub(super) fn client_config(config: &TlsConfig) -> Result<ClientConfig, OutboundError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(OutboundError::Tls)?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    tls.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// The platform's roots and the configured ones.
fn roots(config: &TlsConfig) -> Result<RootCertStore, OutboundError> {
    let mut roots = RootCertStore::empty();
    let platform = rustls_native_certs::load_native_certs();
    for error in &platform.errors {
        tracing::debug!(%error, "a root certificate of the platform was not read");
    }
    roots.add_parsable_certificates(platform.certs);
    for path in &config.extra_roots {
        let failed = |source| OutboundError::ExtraRoots {
            path: path.clone(),
            source,
        };
        let before = roots.len();
        for certificate in
            CertificateDer::pem_file_iter(path).map_err(|error| failed(error.into()))?
        {
            let certificate = certificate.map_err(|error| failed(error.into()))?;
            roots
                .add(certificate)
                .map_err(|error| failed(error.into()))?;
        }
        if roots.len() == before {
            return Err(OutboundError::NoRoots(path.clone()));
        }
    }
    if roots.is_empty() {
        // Not an error: a gateway that delivers over http only needs none.
        tracing::warn!(
            "no root certificates on this system: https deliveries fail; install them or set outbound.tls.extra_roots"
        );
    }
    Ok(roots)
}
