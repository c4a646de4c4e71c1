//! The content of kubelet's client certificate where there is no old one to copy: the form in which
//! the cluster's own signer for kubelets issues it (`kubernetes.io/kube-apiserver-client-kubelet`).

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{CN, O};
use const_oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_KP_CLIENT_AUTH,
};
use der::asn1::{Any, OctetString};
use der::{Decode as _, Encode as _, Tag};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use super::issue::{Content, library};
use super::{Certificate, IssueError, KeyAlgorithm, PrivateKey, Terms};
use crate::model::Timestamp;

/// The prefix of a node's name in its certificate.
pub const NODE_PREFIX: &str = "system:node:";

/// The group of all nodes.
pub const NODES: &str = "system:nodes";

/// Returns a template for the certificate of kubelet on this node, to re-issue from. Its key is
/// discarded, it is not signed, and it was never valid.
///
/// # Errors
/// When the library fails, which should not happen.
pub fn kubelet_template(node: &str) -> Result<Certificate, IssueError> {
    // The kind that kubelet generates.
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).map_err(library)?;
    let subject = subject(node)?;
    let content = Content { issuer: subject.clone(), subject, extensions: extensions()? };
    let (not_before, not_after) = (Timestamp::from_seconds(0), Timestamp::from_seconds(1));
    let der = content.signed(
        &Terms { serial: [1; 16], not_before, not_after },
        key.public_key_der(),
        &key,
    )?;
    Certificate::from_der(&der).map_err(library)
}

/// Encodes the group before the name, each in an RDN of its own, in the order and form of Go.
fn subject(node: &str) -> Result<Name, IssueError> {
    let mut name = RdnSequence::default();
    for (oid, text) in [(O, NODES.to_owned()), (CN, format!("{NODE_PREFIX}{node}"))] {
        let value = Any::new(Tag::PrintableString, text.into_bytes()).map_err(library)?;
        let mut part = RelativeDistinguishedName::default();
        part.insert(AttributeTypeAndValue { oid, value }).map_err(library)?;
        name.push(part);
    }
    // The library has no other way to build a name from parts.
    Name::from_der(&name.to_der().map_err(library)?).map_err(library)
}

fn extensions() -> Result<Vec<x509_cert::ext::Extension>, IssueError> {
    let usage = KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment)
        .to_der()
        .map_err(library)?;
    let purpose = ExtendedKeyUsage(vec![ID_KP_CLIENT_AUTH]).to_der().map_err(library)?;
    let constraints =
        BasicConstraints { ca: false, path_len_constraint: None }.to_der().map_err(library)?;
    [
        (ID_CE_KEY_USAGE, true, usage),
        (ID_CE_EXT_KEY_USAGE, false, purpose),
        (ID_CE_BASIC_CONSTRAINTS, true, constraints),
    ]
    .into_iter()
    .map(|(oid, critical, value)| extension(oid, critical, value))
    .collect()
}

fn extension(
    extn_id: ObjectIdentifier,
    critical: bool,
    value: Vec<u8>,
) -> Result<x509_cert::ext::Extension, IssueError> {
    Ok(x509_cert::ext::Extension {
        extn_id,
        critical,
        extn_value: OctetString::new(value).map_err(library)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ECDSA_TREE, RSA_TREE, issuers, leaves, now, terms};
    use super::super::{Extension, reissue, verify_renewed};
    use super::*;

    #[test]
    fn issued_kubelet_certificate_equals_kubeadms() {
        for tree in [RSA_TREE, ECDSA_TREE] {
            let kubeadms =
                leaves(tree).into_iter().find(|leaf| leaf.name == "kubelet").unwrap().certificate;
            let issuer = issuers(tree)
                .into_iter()
                .find(|issuer| kubeadms.is_signed_by(&issuer.certificate))
                .unwrap();
            let node =
                kubeadms.subject.parts().into_iter().find(|(kind, _)| *kind == "CN").unwrap().1;
            let template = kubelet_template(node.strip_prefix(NODE_PREFIX).unwrap()).unwrap();
            let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
            let der = reissue(&template, &issuer.certificate, &issuer.key, &key, &terms()).unwrap();
            let ours = Certificate::from_der(&der).unwrap();
            verify_renewed(&ours, &template, &issuer.certificate, now()).unwrap();
            assert_eq!(ours.subject, kubeadms.subject, "{tree}");
            // Byte for byte, except that kubeadm 1.20 wrote no basic constraints, and the cluster's
            // signer always did.
            let said = |extension: &&Extension| {
                kubeadms.extensions.iter().any(|other| other.oid == extension.oid)
            };
            let both: Vec<_> = ours.extensions.iter().filter(said).cloned().collect();
            assert_eq!(both, kubeadms.extensions, "{tree}");
            let more = ours.extensions.len() - both.len();
            assert_eq!(more, usize::from(tree == RSA_TREE), "{tree}");
            assert!(!ours.is_authority);
        }
    }
}
