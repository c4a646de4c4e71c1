//! A client's certificate and key, for servers that authenticate clients.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::formats::pem;
use crate::formats::x509::{Certificate, KeyError, PrivateKey};

/// A client's certificate with its chain, and its private key, which aws-lc keeps and wipes.
#[derive(Clone)]
pub struct ClientIdentity(Arc<SingleCertAndKey>);

/// Why a certificate and a key make no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is no certificate.
    #[error("there is no certificate to show to a server")]
    NoCertificate,
    /// They do not belong together.
    #[error("the private key does not fit the certificate")]
    OtherKey,
    /// The key can't be encoded.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The TLS library can't use the key.
    #[error("TLS connections can't be made with this kind of private key")]
    Unsupported,
}

impl ClientIdentity {
    /// Builds it from a chain, the client's own certificate first, and its key.
    ///
    /// # Errors
    /// When there is no certificate, or the key does not fit the first one, or can't be used.
    pub fn new(chain: &[Certificate], key: &PrivateKey) -> Result<Self, IdentityError> {
        let own = chain.first().ok_or(IdentityError::NoCertificate)?;
        if !key.fits(own) {
            return Err(IdentityError::OtherKey);
        }
        let pem = key.to_pem()?;
        let block = pem::blocks(pem.expose())
            .map_err(KeyError::from)?
            .into_iter()
            .next()
            .ok_or(KeyError::NoKey)?;
        // Borrowed, so that the only copies are those that are wiped: the block's and aws-lc's own.
        let der = match block.label.as_str() {
            "RSA PRIVATE KEY" => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(block.der.expose())),
            "EC PRIVATE KEY" => PrivateKeyDer::from(PrivateSec1KeyDer::from(block.der.expose())),
            _ => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(block.der.expose())),
        };
        let key = any_supported_type(&der).map_err(|_| IdentityError::Unsupported)?;
        let chain = chain
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
            .collect();
        Ok(Self(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))))
    }
}

/// Shows that there is one, and nothing of the key.
impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

/// Presents an identity, or none, to every server that asks for one, also to one that names other
/// authorities: its reaction is the result. Keeps what the server of one connection asked for.
#[derive(Debug)]
pub struct ClientResolver {
    identity: Option<ClientIdentity>,
    requested: OnceLock<Vec<Vec<u8>>>,
}

impl ClientResolver {
    /// Returns a resolver for one connection.
    pub fn new(identity: Option<&ClientIdentity>) -> Self {
        Self { identity: identity.cloned(), requested: OnceLock::new() }
    }

    /// The names of the CAs (DER) that the server named when it asked for a client certificate;
    /// `None` where it has not asked for one.
    pub fn requested(&self) -> Option<&[Vec<u8>]> {
        self.requested.get().map(Vec::as_slice)
    }
}

impl ResolvesClientCert for ClientResolver {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.requested
            .get_or_init(|| root_hint_subjects.iter().map(|name| name.to_vec()).collect());
        let ClientIdentity(identity) = self.identity.as_ref()?;
        ResolvesClientCert::resolve(identity.as_ref(), root_hint_subjects, sigschemes)
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}
