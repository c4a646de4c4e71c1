//! Material: what is found of a credential, as facts.

use crate::credentials::{Above, Loaded, LoadedAuthority, Stored};
use crate::formats::x509::Certificate;
use crate::model::{AbsolutePath, Credential, CredentialFacts, Leaf, Material, NameParts, Signer};

pub(super) fn parser_failed(path: &AbsolutePath) -> String {
    format!("{path}: could not be parsed because of a bug in kubecertd; please report it")
}

pub(super) fn unreadable(credential: &Credential) -> CredentialFacts {
    let material = Material::Unreadable(parser_failed(credential.location.certificate_file()));
    CredentialFacts {
        credential: credential.clone(),
        material,
        files: Vec::new(),
        backup: None,
        template: None,
        user: None,
        notes: Vec::new(),
        kubelet: None,
        copy: None,
        other_writers: None,
    }
}

/// Converts loaded files to facts; `look` gets the rest.
pub(super) fn material(
    loaded: Loaded,
    authority: Option<&LoadedAuthority>,
    look: &mut dyn FnMut(Stored),
) -> Material {
    let mut leaf_of = |stored: Box<Stored>| {
        let leaf = leaf(&stored, authority);
        look(*stored);
        leaf
    };
    match loaded {
        Loaded::Absent => Material::Absent,
        Loaded::Unreadable(text) => Material::Unreadable(text),
        Loaded::NoCertificate(text) => Material::NoCertificate(text),
        Loaded::Damaged(text) => Material::Damaged(text),
        Loaded::CertificateMissing(text) => Material::CertificateMissing(text),
        Loaded::KeyMissing(stored, text) => Material::KeyMissing(leaf_of(stored), text),
        Loaded::Mismatched(stored, text) => Material::Mismatched(leaf_of(stored), text),
        Loaded::Whole(stored) => Material::Whole(leaf_of(stored)),
    }
}

pub(super) fn leaf(stored: &Stored, authority: Option<&LoadedAuthority>) -> Leaf {
    let Stored { certificate, further, .. } = stored;
    let Above { signer, verifies_by, end: chain_end } = match authority {
        Some(authority) => authority.above(certificate, further),
        None => Above { signer: Signer::Unknown, verifies_by: Vec::new(), end: None },
    };
    Leaf {
        subject: certificate.subject.to_string(),
        issuer: certificate.issuer.to_string(),
        parts: parts(certificate),
        serial: certificate.serial.to_string(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        key_algorithm: certificate.key_algorithm.to_string(),
        key_can_be_made: certificate.key_algorithm.can_be_made(),
        names: certificate.names(),
        fingerprint: certificate.fingerprint,
        signer,
        sha1: certificate.has_sha1_signature(),
        verifies_by,
        chain_end,
    }
}

pub(super) fn parts(certificate: &Certificate) -> NameParts {
    NameParts { subject: certificate.subject.parts(), issuer: certificate.issuer.parts() }
}
