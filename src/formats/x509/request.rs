//! Signing requests (PKCS#10, RFC 2986) for an external CA.
//!
//! A request has the subject of the old certificate, byte for byte. Of the key identifiers it has
//! only that of the new key: the authority adds its own.

use der::Encode as _;
use der::asn1::BitString;
use spki::{DynSignatureAlgorithmIdentifier as _, SubjectPublicKeyInfoOwned};
use x509_cert::attr::Attributes;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq};

use super::issue::{exactly, library, subject_key_identifier, with_value};
use super::{Certificate, Extension, IssueError, PrivateKey};
use crate::formats::pem;

/// Returns a request for a certificate like `old` for a new key, in PEM. It is signed with that
/// key, which proves that the requester has it.
///
/// # Errors
/// When something of `old` can't be written byte for byte as it was, or the library fails.
pub fn request(old: &Certificate, new_key: &PrivateKey) -> Result<String, IssueError> {
    use der::Decode as _;
    let mut attributes = Attributes::new();
    let extensions = ExtensionReq(extensions(old, new_key)?);
    // An empty list is not allowed.
    if !extensions.0.is_empty() {
        attributes.insert(extensions.try_into().map_err(library)?).map_err(library)?;
    }
    let info = CertReqInfo {
        version: x509_cert::request::Version::V1,
        subject: exactly(&old.subject, "the subject")?,
        public_key: SubjectPublicKeyInfoOwned::from_der(new_key.public_key_der())
            .map_err(library)?,
        attributes,
    };
    let signature = new_key.sign(&info.to_der().map_err(library)?).map_err(library)?;
    let algorithm = new_key.signature_algorithm_identifier().map_err(library)?;
    let request =
        CertReq { info, algorithm, signature: BitString::from_bytes(&signature).map_err(library)? };
    Ok(pem::encode("CERTIFICATE REQUEST", &request.to_der().map_err(library)?))
}

fn extensions(
    old: &Certificate,
    new_key: &PrivateKey,
) -> Result<Vec<x509_cert::ext::Extension>, IssueError> {
    let asked = old.extensions.iter().filter(|extension| !extension.is_authority_key_identifier());
    let asked = asked.map(|extension: &Extension| match extension.is_subject_key_identifier() {
        true => with_value(extension, &subject_key_identifier(new_key.public_key_der())?),
        false => with_value(extension, &extension.value),
    });
    asked.collect()
}
