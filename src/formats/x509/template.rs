//! Certificates to re-issue from where there is no old one: they have the form in which kubeadm and
//! the cluster's own signers issue theirs.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{CN, O};
use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME, ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH,
};
use der::asn1::{Any, OctetString};
use der::{Decode as _, Encode as _, Tag};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use super::issue::{Content, library};
use super::names::general_name;
use super::{Certificate, IssueError, KeyAlgorithm, PrivateKey, Terms};
use crate::model::{San, Subject, Timestamp, Usage};

/// Returns a certificate to re-issue from. Its key is discarded, it is not signed, and it was never
/// valid.
///
/// # Errors
/// When a name can't be encoded, or the library fails, which should not happen.
pub fn template(
    subject: &Subject,
    usages: &[Usage],
    names: &[San],
) -> Result<Certificate, IssueError> {
    unsigned(encoded(subject, Tag::PrintableString)?, extensions(usages, names)?)
}

/// Returns a certificate to re-issue from, with this subject and these extensions.
pub(super) fn unsigned(
    subject: Name,
    extensions: Vec<Extension>,
) -> Result<Certificate, IssueError> {
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).map_err(library)?;
    let content = Content { issuer: subject.clone(), subject, extensions };
    let (not_before, not_after) = (Timestamp::from_seconds(0), Timestamp::from_seconds(1));
    let terms = Terms { serial: [1; 16], not_before, not_after };
    let der = content.signed(&terms, key.public_key_der(), &key)?;
    Certificate::from_der(&der).map_err(library)
}

/// Encodes the group before the name, each in an RDN of its own, in the order and form of Go.
pub(super) fn encoded(subject: &Subject, form: Tag) -> Result<Name, IssueError> {
    let group = subject.organization.iter().map(|group| (O, group));
    let parts = group.chain([(CN, &subject.common_name)]);
    name_of(parts.map(|(oid, text)| (oid, form, text.as_str())))
}

/// Encodes the parts of a name, each in an RDN of its own.
pub(super) fn name_of<'t>(
    parts: impl Iterator<Item = (ObjectIdentifier, Tag, &'t str)>,
) -> Result<Name, IssueError> {
    let mut name = RdnSequence::default();
    for (oid, form, text) in parts {
        let value = Any::new(form, text.as_bytes()).map_err(library)?;
        let mut part = RelativeDistinguishedName::default();
        part.insert(AttributeTypeAndValue { oid, value }).map_err(library)?;
        name.push(part);
    }
    // The library has no other way to build a name from parts.
    Name::from_der(&name.to_der().map_err(library)?).map_err(library)
}

/// Returns the extensions in Go's order. The authority key identifier is only a place: re-issuing
/// puts that of the issuer there, or leaves it out.
pub(super) fn extensions(usages: &[Usage], names: &[San]) -> Result<Vec<Extension>, IssueError> {
    let usage = KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment)
        .to_der()
        .map_err(library)?;
    let purposes = usages.iter().map(|usage| match usage {
        Usage::Server => ID_KP_SERVER_AUTH,
        Usage::Client => ID_KP_CLIENT_AUTH,
    });
    let purposes = ExtendedKeyUsage(purposes.collect()).to_der().map_err(library)?;
    let constraints =
        BasicConstraints { ca: false, path_len_constraint: None }.to_der().map_err(library)?;
    let issuer = AuthorityKeyIdentifier::default().to_der().map_err(library)?;
    let mut all = vec![
        extension(ID_CE_KEY_USAGE, true, usage)?,
        extension(ID_CE_EXT_KEY_USAGE, false, purposes)?,
        extension(ID_CE_BASIC_CONSTRAINTS, true, constraints)?,
        extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, issuer)?,
    ];
    if !names.is_empty() {
        let names = names.iter().map(general_name).collect::<Result<_, _>>()?;
        let names = SubjectAltName(names).to_der().map_err(library)?;
        all.push(extension(ID_CE_SUBJECT_ALT_NAME, false, names)?);
    }
    Ok(all)
}

pub(super) fn extension(
    extn_id: ObjectIdentifier,
    critical: bool,
    value: Vec<u8>,
) -> Result<Extension, IssueError> {
    Ok(Extension { extn_id, critical, extn_value: OctetString::new(value).map_err(library)? })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ECDSA_TREE, RSA_TREE, issuers, leaves, now, terms};
    use super::super::{Extension, reissue, verify_renewed};
    use super::*;

    /// Everything that kubeadm wrote in both trees, byte for byte, except that kubeadm 1.20 wrote
    /// no basic constraints.
    #[test]
    fn issued_template_equals_kubeadms() {
        for tree in [RSA_TREE, ECDSA_TREE] {
            for kubeadms in leaves(tree).into_iter().map(|leaf| leaf.certificate) {
                let parts = kubeadms.subject.parts();
                let part = |kind: &str| {
                    parts.iter().find(|(own, _)| *own == kind).map(|(_, value)| value.clone())
                };
                let subject = Subject { common_name: part("CN").unwrap(), organization: part("O") };
                let uses = kubeadms.extended_key_usage.clone().unwrap();
                let usages = [(uses.server_auth, Usage::Server), (uses.client_auth, Usage::Client)];
                let usages: Vec<_> =
                    usages.into_iter().filter(|(is, _)| *is).map(|(_, usage)| usage).collect();
                let names: Vec<San> =
                    kubeadms.names().iter().map(|name| name.parse().unwrap()).collect();
                let template = template(&subject, &usages, &names).unwrap();
                let issuer = issuers(tree)
                    .into_iter()
                    .find(|issuer| kubeadms.is_signed_by(&issuer.certificate))
                    .unwrap();
                let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
                let der =
                    reissue(&template, &issuer.certificate, &issuer.key, &key, &terms()).unwrap();
                let ours = Certificate::from_der(&der).unwrap();
                verify_renewed(&ours, &template, &issuer.certificate, now()).unwrap();
                assert_eq!(ours.subject, kubeadms.subject, "{tree}");
                let said = |extension: &&Extension| {
                    kubeadms.extensions.iter().any(|other| other.oid == extension.oid)
                };
                let both: Vec<_> = ours.extensions.iter().filter(said).cloned().collect();
                assert_eq!(both, kubeadms.extensions, "{tree} {}", kubeadms.subject);
                let more = ours.extensions.len() - both.len();
                assert_eq!(more, usize::from(tree == RSA_TREE), "{tree}");
                assert!(!ours.is_authority);
            }
        }
    }
}
