//! Keys, and certificates with exactly the content that kubeadm writes.

use std::time::Duration;

use der::Decode as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use x509_cert::request::CertReq;

use super::DemoError;
use super::table::{CredentialEntry, Usage};
use crate::formats::pem;
use crate::formats::x509::{KeyAlgorithm, PrivateKey, random_serial};
use crate::model::{Secret, Timestamp};

/// A private key, as a file holds it and as `rcgen` signs with it.
pub(super) struct Key {
    pub(super) pem: Secret,
    pub(super) pair: KeyPair,
}

impl Key {
    pub(super) fn generate(algorithm: &KeyAlgorithm) -> Result<Self, DemoError> {
        let pem = PrivateKey::generate(algorithm)?.to_pem()?;
        let pair = KeyPair::from_pem(&String::from_utf8_lossy(pem.expose()))?;
        Ok(Self { pem, pair })
    }
}

/// The first and the last second of a certificate's validity.
#[derive(Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// An authority with its key.
#[derive(Debug)]
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    key: Secret,
}

impl Authority {
    pub(super) fn make(name: &str, key: Key, lifetime: Lifetime) -> Result<Self, DemoError> {
        let mut params = params(None, name, lifetime)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        // kubeadm's authorities have their own name as a DNS name.
        params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key.pair)?, key: key.pem })
    }

    /// Returns its certificate as a PEM block.
    pub(super) fn certificate(&self) -> String {
        pem::encode("CERTIFICATE", self.issuer.der())
    }

    /// Returns its key as a PEM block.
    pub(super) fn key(&self) -> &Secret {
        &self.key
    }

    /// Reads the public key of a request. Its kind is that of the authority's own key, as of every
    /// key of a node.
    pub(super) fn requested_key(&self, request: &[u8]) -> Result<RequestedKey, DemoError> {
        let unreadable = |reason: String| DemoError::Request(reason);
        let blocks = pem::blocks(request).map_err(|e| unreadable(e.to_string()))?;
        let block = blocks.first().ok_or_else(|| unreadable("it is empty".to_owned()))?;
        let request =
            CertReq::from_der(block.der.expose()).map_err(|e| unreadable(e.to_string()))?;
        let bits = request.info.public_key.subject_public_key.raw_bytes().to_vec();
        Ok(RequestedKey { bits, algorithm: self.issuer.key().algorithm() })
    }
}

/// The public key of a signing request.
pub(super) struct RequestedKey {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// The content of a certificate under construction.
pub(super) struct Leaf<'a> {
    pub(super) entry: &'a CredentialEntry,
    pub(super) lifetime: Lifetime,
}

impl Leaf<'_> {
    /// Returns the certificate as a PEM block.
    pub(super) fn signed_by(
        &self,
        authority: &Authority,
        key: &impl PublicKeyData,
    ) -> Result<String, DemoError> {
        let certificate = self.params()?.signed_by(key, &authority.issuer)?;
        Ok(pem::encode("CERTIFICATE", certificate.der()))
    }

    /// Returns the certificate as a PEM block.
    pub(super) fn self_signed(&self, key: &Key) -> Result<String, DemoError> {
        Ok(pem::encode("CERTIFICATE", self.params()?.self_signed(&key.pair)?.der()))
    }

    fn params(&self) -> Result<CertificateParams, DemoError> {
        let mut params = params(self.entry.organization, self.entry.common_name, self.lifetime)?;
        params.extended_key_usages = match self.entry.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        for name in self.entry.names {
            params.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
        }
        params
            .subject_alt_names
            .extend(self.entry.addresses.iter().copied().map(SanType::IpAddress));
        params.use_authority_key_identifier_extension = true;
        params.custom_extensions.push(no_authority());
        Ok(params)
    }
}

/// Sets the parameters that authorities and leaves have in common.
fn params(
    organization: Option<&str>,
    name: &str,
    lifetime: Lifetime,
) -> Result<CertificateParams, DemoError> {
    let mut params = CertificateParams::default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(lifetime.not_before);
    params.not_after = epoch + since_1970(lifetime.not_after);
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in organization
        .map(|name| (DnType::OrganizationName, name))
        .into_iter()
        .chain([(DnType::CommonName, name)])
    {
        params.distinguished_name.push(kind, DnValue::PrintableString(value.try_into()?));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    Ok(params)
}

/// Returns a critical basicConstraints that says "no authority": an empty SEQUENCE. rcgen's own
/// would add a subject key identifier, which kubeadm's certificates don't have.
fn no_authority() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0]);
    extension.set_criticality(true);
    extension
}

fn since_1970(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.seconds()).unwrap_or_default())
}
