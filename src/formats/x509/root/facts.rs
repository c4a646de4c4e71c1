//! The facts of a certificate that is to become a root CA.

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_CERTIFICATE_POLICIES,
    OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_NAME_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::prelude::FromDer as _;

use super::super::{Certificate, Extension, KeyAlgorithm};
use super::strict::check_form;
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
            has_name_constraints: self.has_name_constraints(),
            unknown_critical: self.unknown_critical(),
            malformed: check_form(self).err(),
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

    /// The purposes that its extended key usage allows, for people, where they lack servers or
    /// clients.
    pub(super) fn purposes_of_others(&self) -> Option<String> {
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
            _ if self.names_another_authority_than(self) => KeyIdentifier::Contradicted,
            (Some(_), _) => KeyIdentifier::Present,
        }
    }

    pub(super) fn has_name_constraints(&self) -> bool {
        self.extensions.iter().any(|extension| extension.oid == OID_X509_EXT_NAME_CONSTRAINTS)
    }

    fn has_key_of(&self, other: &Self) -> bool {
        self.public_key_der() == other.public_key_der()
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
