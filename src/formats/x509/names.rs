//! Changes the names of a certificate: subject alternative names that an operator adds or removes.

use std::net::IpAddr;

use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use der::asn1::{Ia5String, OctetString};
use der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::issue::{Content, exactly, library, with_value};
use super::{Certificate, Extension, IssueError, KeyAlgorithm, PrivateKey, Terms};
use crate::model::{San, SanChange, Timestamp};

/// Why the names can't be changed.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The name to remove is not present.
    #[error("{0} is not among its names, which are {1}")]
    NotThere(San, String),
    /// The change has no effect.
    #[error(
        "it has all of these names already, and none of those to remove: there is nothing to change"
    )]
    Nothing,
    /// No name would be left.
    #[error("no name would be left")]
    NoneLeft,
    /// The old names, or the new ones, can't be written.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// Returns a certificate with the content of the old one except for its names, to re-issue from.
/// Its key is discarded, it is not signed, and it was never valid. Names of other kinds, and the
/// order of those that stay, are kept.
///
/// # Errors
/// When there would be no change or no name left, or the library fails.
pub fn with_names(old: &Certificate, change: &SanChange) -> Result<Certificate, NamesError> {
    let mut names =
        match old.extensions.iter().find(|extension| extension.is_subject_alternative_name()) {
            Some(extension) => SubjectAltName::from_der(&extension.value).map_err(library)?.0,
            None => Vec::new(),
        };
    let before = names.clone();
    for name in &change.remove {
        let left: Vec<_> = names.iter().filter(|one| !is(one, name)).cloned().collect();
        if left.len() == names.len() {
            return Err(NamesError::NotThere(name.clone(), old.names().join(", ")));
        }
        names = left;
    }
    for name in &change.add {
        if !names.iter().any(|one| is(one, name)) {
            names.push(general_name(name)?);
        }
    }
    if names == before {
        return Err(NamesError::Nothing);
    }
    if names.is_empty() {
        return Err(NamesError::NoneLeft);
    }
    let value = SubjectAltName(names).to_der().map_err(library)?;
    Ok(template(old, &value)?)
}

fn is(name: &GeneralName, wanted: &San) -> bool {
    match (name, wanted) {
        (GeneralName::DnsName(name), San::Dns(wanted)) => {
            name.as_str().eq_ignore_ascii_case(wanted)
        }
        (GeneralName::IpAddress(bytes), San::Address(wanted)) => {
            bytes.as_bytes() == octets(*wanted)
        }
        _ => false,
    }
}

pub(super) fn general_name(name: &San) -> Result<GeneralName, IssueError> {
    Ok(match name {
        San::Dns(name) => GeneralName::DnsName(Ia5String::new(name).map_err(library)?),
        San::Address(address) => {
            GeneralName::IpAddress(OctetString::new(octets(*address)).map_err(library)?)
        }
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn template(old: &Certificate, names: &[u8]) -> Result<Certificate, IssueError> {
    let mut extensions = Vec::with_capacity(old.extensions.len() + 1);
    for extension in &old.extensions {
        extensions.push(with_value(
            extension,
            if extension.is_subject_alternative_name() { names } else { &extension.value },
        )?);
    }
    if !old.extensions.iter().any(Extension::is_subject_alternative_name) {
        let extn_value = OctetString::new(names).map_err(library)?;
        extensions.push(x509_cert::ext::Extension {
            extn_id: ID_CE_SUBJECT_ALT_NAME,
            critical: false,
            extn_value,
        });
    }
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).map_err(library)?;
    let subject = exactly(&old.subject, "the subject")?;
    let content = Content { issuer: subject.clone(), subject, extensions };
    let (not_before, not_after) = (Timestamp::from_seconds(0), Timestamp::from_seconds(1));
    let der = content.signed(
        &Terms { serial: [1; 16], not_before, not_after },
        key.public_key_der(),
        &key,
    )?;
    Certificate::from_der(&der).map_err(library)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ECDSA_TREE, RSA_TREE, certificate};
    use super::*;

    fn change(add: &[&str], remove: &[&str]) -> SanChange {
        let parsed = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        SanChange { add: parsed(add), remove: parsed(remove) }
    }

    #[test]
    fn names_are_added_and_removed_and_nothing_else_changes() {
        for tree in [RSA_TREE, ECDSA_TREE] {
            let old = certificate(tree, "apiserver.crt");
            let new = with_names(
                &old,
                &change(&["api.example.com", "192.0.2.7", "2001:db8::7"], &["kubernetes.default"]),
            )
            .unwrap();
            let mut expected: Vec<_> = old
                .dns_names
                .iter()
                .filter(|name| *name != "kubernetes.default")
                .cloned()
                .collect();
            expected.push("api.example.com".to_owned());
            assert_eq!(new.dns_names, expected);
            let more: [IpAddr; 2] = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
            assert_eq!(new.ip_addresses, [&old.ip_addresses[..], &more].concat());
            let others = |certificate: &Certificate| -> Vec<_> {
                certificate
                    .extensions
                    .iter()
                    .filter(|one| one.oid.to_id_string() != "2.5.29.17")
                    .cloned()
                    .collect()
            };
            assert_eq!((new.subject.der(), others(&new)), (old.subject.der(), others(&old)));
        }
    }

    #[test]
    fn certificate_without_names_gets_names() {
        let old = certificate(RSA_TREE, "front-proxy-client.crt");
        assert_eq!(
            with_names(&old, &change(&["a.example.com"], &[])).unwrap().dns_names,
            ["a.example.com"]
        );
    }

    #[test]
    fn change_without_effect_or_names_left_is_refused() {
        let old = certificate(RSA_TREE, "apiserver.crt");
        let refused =
            |add: &[&str], remove: &[&str]| with_names(&old, &change(add, remove)).unwrap_err();
        assert!(matches!(refused(&["KUBERNETES"], &[]), NamesError::Nothing));
        assert!(matches!(refused(&[], &["none.example.com"]), NamesError::NotThere(..)));
        let all = old.names();
        assert!(matches!(
            refused(&[], &all.iter().map(String::as_str).collect::<Vec<_>>()),
            NamesError::NoneLeft
        ));
    }
}
