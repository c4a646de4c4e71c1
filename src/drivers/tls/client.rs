//! The server certificate verifiers, and the configuration of a client.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::ClientResolver;
use crate::formats::x509::{Certificate, MAX_INTERMEDIATES};

/// Returns the cryptography provider of the whole program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Returns the configuration of a client with this verifier and resolver.
pub fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    resolver: Arc<ClientResolver>,
) -> Result<ClientConfig, rustls::Error> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_client_cert_resolver(resolver);
    // A resumed session would show no certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Accepts servers whose certificate is signed by one of these authorities, valid now, and for the
/// server's name.
pub fn authorities(
    authorities: &[Certificate],
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    // One that webpki can't read accepts nothing, and does not affect the others.
    roots.add_parsable_certificates(
        authorities.iter().map(|authority| CertificateDer::from(authority.der())),
    );
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?)
}

/// Accepts the same, and servers whose certificate was acceptable until it expired.
pub fn authorities_despite_expiry(
    list: &[Certificate],
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    Ok(Arc::new(DespiteExpiry { strict: authorities(list)? }))
}

/// Verifies a certificate that has expired as it would have been in the last second of its
/// validity, and any other one by the machine's clock.
#[derive(Debug)]
struct DespiteExpiry {
    strict: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for DespiteExpiry {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // One that can't be read is refused by the strict verifier.
        let expiry = Certificate::from_der(end_entity)
            .ok()
            .and_then(|certificate| u64::try_from(certificate.not_after.seconds()).ok());
        let at = expiry.map_or(now, |expiry| {
            UnixTime::since_unix_epoch(Duration::from_secs(expiry.min(now.as_secs())))
        });
        self.strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// Accepts every certificate, and keeps it once the server has proven to have its key.
#[derive(Debug)]
pub struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    proven: OnceLock<CertificateDer<'static>>,
    intermediates: OnceLock<Vec<CertificateDer<'static>>>,
}

impl AnyCertificate {
    /// Returns a verifier for one connection.
    pub fn new() -> Self {
        Self {
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            proven: OnceLock::new(),
            intermediates: OnceLock::new(),
        }
    }

    /// The certificate whose key the server has proven to have.
    pub fn proven(&self) -> Option<&[u8]> {
        self.proven.get().map(AsRef::as_ref)
    }

    /// The certificates that the server has shown with its own.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        self.intermediates.get().map(Vec::as_slice).unwrap_or_default()
    }

    fn keep(&self, certificate: &CertificateDer<'_>) {
        self.proven.get_or_init(|| certificate.clone().into_owned());
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = intermediates.iter().take(MAX_INTERMEDIATES).cloned();
        self.intermediates.get_or_init(|| shown.map(CertificateDer::into_owned).collect());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = verify_tls12_signature(message, certificate, signature, &self.algorithms)?;
        self.keep(certificate);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = verify_tls13_signature(message, certificate, signature, &self.algorithms)?;
        self.keep(certificate);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
