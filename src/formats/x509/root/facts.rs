//! The facts of a certificate that is to become a root CA.

use der::asn1::Any;
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_CERTIFICATE_POLICIES,
    OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_NAME_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::prelude::FromDer as _;

use super::super::{Certificate, Extension, KeyAlgorithm};
use crate::model::{
    CaConstraints, CaKeyKind, CaKeyUsage, KeyIdentifier, RootCertificate, RootRelation,
    RootSignature, SameNameObstacle,
};

/// The extensions that Go and OpenSSL accept as critical ones.
const KNOWN_CRITICAL: [Oid<'_>; 6] = [
    OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_CERTIFICATE_POLICIES,
    OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_NAME_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_ALT_NAME,
];

/// A name without a part, in DER.
const EMPTY_NAME: &[u8] = &[0x30, 0];

impl Certificate {
    /// Its facts as those of a root CA.
    #[must_use]
    pub fn as_root(&self) -> RootCertificate {
        let parsed = X509Certificate::from_der(self.der()).ok().map(|(_, parsed)| parsed);
        RootCertificate {
            issuer: self.issuer.to_string(),
            has_subject: self.subject.der() != EMPTY_NAME,
            signature: self.root_signature(),
            version: parsed.as_ref().map_or(1, |parsed| parsed.version().0.saturating_add(1)),
            constraints: self.ca_constraints(),
            key_usage: match self.key_usage {
                None if self.may_sign => CaKeyUsage::Absent,
                _ if self.may_sign => CaKeyUsage::SignsCertificates,
                _ => CaKeyUsage::Other,
            },
            other_purposes: self.purposes_of_others(),
            has_name_constraints: self.has_extension(&OID_X509_EXT_NAME_CONSTRAINTS),
            unknown_critical: self.unknown_critical(),
            malformed: malformed(self, parsed.as_ref()),
            identifier: self.own_identifier(),
            key_kind: ca_key_kind(&self.key_algorithm),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }

    /// What it has in common with the present root CA. `leaves` are the certificates that root
    /// signed, with their names.
    #[must_use]
    pub fn relation_to_root(&self, present: &Self, leaves: &[(String, Self)]) -> RootRelation {
        let (own, other) = (&self.subject_key_identifier, &present.subject_key_identifier);
        if self.fingerprint == present.fingerprint {
            RootRelation::Same
        } else if self.has_key_of(present) && self.subject != present.subject {
            RootRelation::SameKeyOtherName
        } else if self.has_key_of(present) && own != other {
            RootRelation::SameKeyOtherIdentifier
        } else if self.has_key_of(present) {
            RootRelation::Renewed
        } else if !self.subject.is_equivalent_to(&present.subject) {
            RootRelation::Other
        } else {
            RootRelation::SameName { obstacle: self.same_name_obstacle(present, leaves) }
        }
    }

    fn same_name_obstacle(
        &self,
        present: &Self,
        leaves: &[(String, Self)],
    ) -> Option<SameNameObstacle> {
        let Some(identifier) = &present.subject_key_identifier else {
            return Some(SameNameObstacle::PresentHasNoIdentifier);
        };
        if self.subject_key_identifier.as_ref() == Some(identifier) {
            return Some(SameNameObstacle::SameIdentifier);
        }
        let without = leaves.iter().filter(|(_, leaf)| leaf.authority_key_identifier.is_none());
        let names: Vec<_> = without.map(|(name, _)| name.clone()).collect();
        (!names.is_empty()).then_some(SameNameObstacle::LeavesNameNone(names))
    }

    fn root_signature(&self) -> RootSignature {
        if self.issuer != self.subject {
            RootSignature::OtherCa
        } else if self.is_self_signed() {
            RootSignature::Own
        } else if self.has_sha1_signature() {
            RootSignature::Sha1
        } else {
            RootSignature::Wrong
        }
    }

    fn ca_constraints(&self) -> CaConstraints {
        let is_meant = |extension: &&Extension| extension.oid == OID_X509_EXT_BASIC_CONSTRAINTS;
        match self.extensions.iter().find(is_meant) {
            Some(extension) if self.is_authority => {
                CaConstraints::Ca { critical: extension.critical, path_length: self.path_length }
            }
            _ => CaConstraints::NoCa,
        }
    }

    fn purposes_of_others(&self) -> Option<String> {
        let usage = self.extended_key_usage.as_ref()?;
        if usage.server_auth && usage.client_auth {
            return None;
        }
        let named = [
            (usage.server_auth, "servers"),
            (usage.client_auth, "clients"),
            (usage.any, "any purpose, which OpenSSL does not take for servers and clients"),
        ];
        let named = named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
        let all: Vec<_> = named.chain(usage.others.iter().cloned()).collect();
        Some(all.join(", "))
    }

    fn unknown_critical(&self) -> Vec<String> {
        let critical = self.extensions.iter().filter(|extension| extension.critical);
        // Go judges names of hosts alone.
        let has_hosts = !self.dns_names.is_empty() || !self.ip_addresses.is_empty();
        let is_known = |extension: &&Extension| {
            KNOWN_CRITICAL.contains(&extension.oid)
                && (has_hosts || !extension.is_subject_alternative_name())
        };
        let unknown = critical.filter(|extension| !is_known(extension));
        unknown.map(|extension| extension.oid.to_id_string()).collect()
    }

    fn own_identifier(&self) -> KeyIdentifier {
        match (&self.subject_key_identifier, &self.authority_key_identifier) {
            (None, _) => KeyIdentifier::Absent,
            (Some(own), _) if own.is_empty() => KeyIdentifier::Absent,
            (Some(own), Some(named)) if own != named => KeyIdentifier::Contradicted,
            _ if self.names_another_serial_than(self) => KeyIdentifier::Contradicted,
            (Some(_), _) => KeyIdentifier::Present,
        }
    }

    fn has_extension(&self, oid: &Oid<'_>) -> bool {
        self.extensions.iter().any(|extension| extension.oid == *oid)
    }

    fn has_key_of(&self, other: &Self) -> bool {
        self.public_key_der() == other.public_key_der()
    }
}

/// What Go refuses, or reads differently than others: it takes DER alone, each extension once, and
/// string types with what they may hold.
fn malformed(certificate: &Certificate, parsed: Option<&X509Certificate<'_>>) -> Option<String> {
    let strict = match x509_cert::Certificate::from_der(certificate.der()) {
        Ok(strict) => strict,
        Err(e) => return Some(format!("it is not strict DER ({e})")),
    };
    if strict.to_der().ok().as_deref() != Some(certificate.der()) {
        return Some("it is not strict DER".to_owned());
    }
    let serial = strict.tbs_certificate().serial_number().as_bytes();
    if serial.first().is_none_or(|first| *first >= 0x80) {
        return Some("its serial number is not positive (RFC 5280, 4.1.2.2)".to_owned());
    }
    let names = [strict.tbs_certificate().subject(), strict.tbs_certificate().issuer()];
    if let Some(value) = names.iter().flat_map(|name| name.iter()).find(|one| !is_text(&one.value))
    {
        return Some(format!(
            "the text of a part of its name ({}) does not fit its type",
            value.oid
        ));
    }
    let mut oids: Vec<_> =
        certificate.extensions.iter().map(|one| one.oid.to_id_string()).collect();
    oids.sort();
    let twice = oids.iter().zip(oids.iter().skip(1)).find(|(one, other)| one == other);
    if let Some((oid, _)) = twice {
        return Some(format!("the extension {oid} is there twice"));
    }
    let is_strict = |extension: &&Extension| {
        let value = &extension.value;
        match &extension.oid {
            oid if *oid == OID_X509_EXT_BASIC_CONSTRAINTS => is_der_of::<BasicConstraints>(value),
            oid if *oid == OID_X509_EXT_KEY_USAGE => is_der_of::<KeyUsage>(value),
            oid if *oid == OID_X509_EXT_EXTENDED_KEY_USAGE => is_der_of::<ExtendedKeyUsage>(value),
            _ => true,
        }
    };
    if let Some(extension) = certificate.extensions.iter().find(|one| !is_strict(one)) {
        return Some(format!("its extension {} is not strict DER", extension.oid.to_id_string()));
    }
    let extensions = parsed?.extensions().iter();
    let is_unreadable = |extension: &&x509_parser::extensions::X509Extension<'_>| {
        matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. })
    };
    extensions
        .clone()
        .find(is_unreadable)
        .map(|extension| format!("its extension {} can't be read", extension.oid.to_id_string()))
}

/// Whether bytes are the one DER encoding of a value of this type.
fn is_der_of<'b, T: der::Decode<'b> + der::Encode>(bytes: &'b [u8]) -> bool {
    T::from_der(bytes).is_ok_and(|value| value.to_der().is_ok_and(|written| written == bytes))
}

/// Whether Go reads an attribute of a name: a string of a usual type that holds what it may.
fn is_text(value: &Any) -> bool {
    let bytes = value.value();
    let is_printable = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+,-./ :=?*&".contains(byte);
    match value.tag() {
        Tag::PrintableString => bytes.iter().all(is_printable),
        Tag::Utf8String => std::str::from_utf8(bytes).is_ok(),
        Tag::Ia5String => bytes.is_ascii(),
        Tag::NumericString => bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b' '),
        Tag::BmpString => bytes.len().is_multiple_of(2),
        Tag::TeletexString => true,
        _ => false,
    }
}

/// How well kubeadm and the clients of a cluster can use a key. kubeadm reads RSA and ECDSA keys.
fn ca_key_kind(algorithm: &KeyAlgorithm) -> CaKeyKind {
    match algorithm {
        KeyAlgorithm::Rsa2048
        | KeyAlgorithm::Rsa3072
        | KeyAlgorithm::Rsa4096
        | KeyAlgorithm::Rsa8192
        | KeyAlgorithm::EcdsaP256
        | KeyAlgorithm::EcdsaP384 => CaKeyKind::Usual,
        KeyAlgorithm::EcdsaP521 => CaKeyKind::Unusual(algorithm.to_string()),
        KeyAlgorithm::Ed25519 | KeyAlgorithm::Other(_) => {
            CaKeyKind::Unsupported(algorithm.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::{
        BMP, CN, Draft, PRINTABLE, TELETEX, UTF8, extension, identifier, name, patched,
    };
    use super::*;
    use crate::formats::x509::fixtures::{ECDSA_TREE, RSA_TREE, issuers};

    fn found(draft: Draft) -> Option<String> {
        draft.self_signed().certificate.as_root().malformed
    }

    fn named(tag: u8, text: &[u8]) -> Draft {
        Draft::authority(name(&[&[(CN, tag, text)]]), &[identifier(b"one")])
    }

    #[test]
    fn usual_roots_are_well_formed() {
        for issuer in [RSA_TREE, ECDSA_TREE].into_iter().flat_map(issuers) {
            assert_eq!(issuer.certificate.as_root().malformed, None);
        }
        for (tag, text) in [
            (PRINTABLE, b"Example Company (CA), No. 1*&".as_slice()),
            (UTF8, "Beispiel\u{e9}_@".as_bytes()),
            (TELETEX, b"Soci\xe9t\xe9"),
            (BMP, b"\0C\0A"),
        ] {
            assert_eq!(found(named(tag, text)), None, "{text:?}");
        }
    }

    #[test]
    fn what_go_can_not_read_is_found() {
        for (tag, text) in [
            (PRINTABLE, b"CORP_ROOT_CA".as_slice()),
            (PRINTABLE, b"ca@example.com"),
            (UTF8, b"\xff\xfe"),
            (0x16, b"caf\xe9"),
            // VisibleString.
            (0x1a, b"company"),
        ] {
            let reason = found(named(tag, text)).unwrap();
            assert!(reason.contains("does not fit its type"), "{reason}");
        }
        let subject = || name(&[&[(CN, UTF8, b"company")]]);
        let twice = Draft::authority(subject(), &[identifier(b"one"), identifier(b"two")]);
        assert_eq!(found(twice).as_deref(), Some("the extension 2.5.29.14 is there twice"));
        let purposes = extension("2.5.29.37", false, b"\x30\x03\x06\x05\x2b");
        let unreadable = Draft::authority(subject(), &[identifier(b"one"), purposes]);
        assert_eq!(found(unreadable).as_deref(), Some("its extension 2.5.29.37 is not strict DER"));
        // A boolean of BER in the basic constraints.
        let root = named(UTF8, b"company").self_signed().certificate;
        let ber = patched(&root, &[0x30, 3, 1, 1, 0xff], &[0x30, 3, 1, 1, 1]);
        let root = Certificate::from_der(&ber);
        assert!(root.is_err() || root.is_ok_and(|root| root.as_root().malformed.is_some()));
    }
}
