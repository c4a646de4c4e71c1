//! Facts in every state, for the tests of the state tables and of what stands on them.

use std::time::Duration;

use proptest::prelude::*;

use super::judge;
use crate::model::*;
use crate::plan::Judged;

pub(in crate::plan) const DAY: i64 = 86_400;

pub(in crate::plan) fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_219_200)
}

pub(in crate::plan) fn at(days: i64) -> Timestamp {
    Timestamp::from_seconds(now().seconds() + days * DAY)
}

pub(in crate::plan) fn policy() -> Policy {
    Policy {
        renew_before: days(15),
        urgent_before: days(3),
        validity: days(365),
        backdate: Duration::from_secs(300),
        key: KeyChoice::Keep,
    }
}

pub(in crate::plan) fn leaf(signer: Signer, not_before: Timestamp, not_after: Timestamp) -> Leaf {
    Leaf {
        subject: "CN=kube-apiserver".into(),
        issuer: "CN=other".into(),
        parts: NameParts::default(),
        serial: "01".into(),
        not_before,
        not_after,
        key_algorithm: "RSA-2048".into(),
        key_can_be_made: true,
        names: Vec::new(),
        fingerprint: Digest::of(b"leaf"),
        signer,
        sha1: false,
        verifies_by: if signer == Signer::Authority { vec![Digest::of(b"ca")] } else { vec![] },
        chain_end: None,
    }
}

pub(in crate::plan) fn backup() -> BackupFacts {
    let location = Location::Bundle(AbsolutePath::constant("/etc/kubernetes/pki/apiserver.pem"));
    BackupFacts {
        name: "20261121T000000Z".to_owned(),
        location,
        fingerprint: Digest::of(b"leaf"),
        key_algorithm: "RSA-2048".into(),
        key_can_be_made: true,
    }
}

pub(in crate::plan) fn facts(material: Material) -> CredentialFacts {
    let path = |path| AbsolutePath::new(path).unwrap();
    let credential = Credential {
        name: CredentialName::new("apiserver").unwrap(),
        kubeadm_name: None,
        location: Location::Pair {
            certificate: path("/etc/kubernetes/pki/apiserver.crt"),
            key: path("/etc/kubernetes/pki/apiserver.key"),
        },
        authority: Some(AuthorityName::new("ca").unwrap()),
        renewal: Renewal::Ours,
        need: Need::Manifest("kube-apiserver.yaml".into()),
    };
    CredentialFacts {
        credential,
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

pub(in crate::plan) fn authority(state: AuthorityState) -> AuthorityFacts {
    let path = |path| AbsolutePath::new(path).unwrap();
    let authority = Authority {
        name: AuthorityName::new("ca").unwrap(),
        certificate: path("/etc/kubernetes/pki/ca.crt"),
        key: path("/etc/kubernetes/pki/ca.key"),
        other_keys: Vec::new(),
        clients: None,
        clients_may: None,
        root: true,
        key_elsewhere: false,
        need: Need::Manifest("kube-apiserver.yaml".into()),
    };
    AuthorityFacts { authority, state, relations: Relations::default() }
}

pub(in crate::plan) fn certificate(
    not_before: Timestamp,
    not_after: Timestamp,
) -> AuthorityCertificate {
    AuthorityCertificate {
        subject: "CN=kubernetes".into(),
        parts: NameParts::default(),
        serial: "00".into(),
        not_before,
        not_after,
        fingerprint: Digest::of(b"ca"),
    }
}

/// The certificate as the only anchor, which can sign.
pub(in crate::plan) fn only(certificate: AuthorityCertificate) -> Anchors<AuthorityCertificate> {
    vec![Anchor { certificate, can_sign: true }].into()
}

pub(in crate::plan) fn present(
    key: AuthorityKey,
    not_before: i64,
    not_after: i64,
) -> AuthorityState {
    AuthorityState::Present { anchors: only(certificate(at(not_before), at(not_after))), key }
}

/// Facts that are in exactly this state.
pub(in crate::plan) fn authority_in(condition: AuthorityCondition) -> AuthorityFacts {
    authority(match condition {
        AuthorityCondition::Usable => present(AuthorityKey::Usable, -100, 3000),
        AuthorityCondition::External => present(AuthorityKey::Absent, -100, 3000),
        AuthorityCondition::Expired => present(AuthorityKey::Usable, -100, -1),
        AuthorityCondition::NotYetValid => present(AuthorityKey::Usable, 1, 3000),
        AuthorityCondition::KeyUnusable => {
            present(AuthorityKey::Unusable("ca.key: is encrypted".into()), -100, 3000)
        }
        AuthorityCondition::Absent => AuthorityState::Absent,
        AuthorityCondition::Unreadable => AuthorityState::Unreadable("ca.crt: is empty".into()),
        AuthorityCondition::NotARoot => {
            AuthorityState::NotARoot("ca.crt: is no CA certificate".into())
        }
    })
}

/// Facts that are in exactly this state, where the authority's end plays no part.
pub(in crate::plan) fn facts_in(condition: Condition) -> CredentialFacts {
    let old = |not_after| leaf(Signer::Authority, at(-300), at(not_after));
    let whole = |not_after| facts(Material::Whole(old(not_after)));
    match condition {
        Condition::Fresh => whole(16),
        Condition::Due | Condition::EndsWithAuthority => whole(15),
        Condition::Urgent => whole(3),
        Condition::Expired => whole(-1),
        Condition::NotYetValid => facts(Material::Whole(leaf(Signer::Authority, at(1), at(300)))),
        Condition::Sha1 => facts(Material::Whole(Leaf { sha1: true, ..old(300) })),
        Condition::Absent => {
            let mut facts = facts(Material::Absent);
            facts.credential.need = Need::Optional;
            facts
        }
        Condition::NoCertificate => {
            facts(Material::NoCertificate("its current user has a token".into()))
        }
        Condition::Missing => facts(Material::Absent),
        Condition::KeyMissing => {
            facts(Material::KeyMissing(old(300), "apiserver.key: does not exist".into()))
        }
        Condition::CertificateMissing => {
            facts(Material::CertificateMissing("apiserver.crt: does not exist".into()))
        }
        Condition::Mismatched => facts(Material::Mismatched(
            old(300),
            "apiserver.key: does not fit apiserver.crt".into(),
        )),
        Condition::Damaged => facts(Material::Damaged("apiserver.crt: is empty".into())),
        Condition::Unreadable => {
            facts(Material::Unreadable("apiserver.crt: is a directory, not a file".into()))
        }
        Condition::ForeignIssuer => {
            facts(Material::Whole(leaf(Signer::Foreign, at(-300), at(300))))
        }
        Condition::SelfSigned => facts(Material::Whole(leaf(Signer::Itself, at(-300), at(300)))),
        Condition::InStep | Condition::Behind | Condition::Changed => {
            unreachable!("only a copy can be {condition}")
        }
    }
}

/// kubelet's client certificate as it would be in this state.
pub(in crate::plan) fn kubelets(condition: Condition) -> CredentialFacts {
    let mut facts = facts_in(condition);
    facts.credential.renewal = Renewal::Kubelet;
    let kubeconfig = AbsolutePath::new("/etc/kubernetes/kubelet.conf").unwrap();
    facts.kubelet = Some(KubeletClient {
        kubeconfig,
        embedded: None,
        lost: None,
        rotation_off: None,
        node: Ok("cp1".into()),
    });
    facts
}

pub(in crate::plan) fn copied_leaf(of: &str, left: i64) -> Leaf {
    Leaf {
        subject: String::new(),
        issuer: String::new(),
        parts: NameParts::default(),
        serial: String::new(),
        not_before: Timestamp::from_seconds(0),
        not_after: Timestamp::from_seconds(now().seconds() + left * 86_400),
        key_algorithm: String::new(),
        key_can_be_made: true,
        names: Vec::new(),
        fingerprint: Digest::of(of.as_bytes()),
        signer: Signer::Authority,
        sha1: false,
        verifies_by: vec![Digest::of(b"ca")],
        chain_end: None,
    }
}

pub(in crate::plan) fn copy(
    material: Material,
    original: Result<&str, &str>,
    found: bool,
) -> Judged {
    let original = original.map(|of| Digest::of(of.as_bytes())).map_err(str::to_owned);
    let of = CopyOf { original: CredentialName::constant("admin.conf"), found };
    let credential = Credential {
        name: CredentialName::constant("copy"),
        kubeadm_name: None,
        location: Location::Kubeconfig(AbsolutePath::constant("/root/.kube/config")),
        authority: None,
        renewal: Renewal::Copy(of),
        need: Need::Optional,
    };
    let copy = Some(CopyFacts { original, equivalent: false });
    let facts = CredentialFacts {
        credential,
        material,
        files: Vec::new(),
        backup: None,
        template: None,
        user: None,
        notes: Vec::new(),
        kubelet: None,
        copy,
        other_writers: None,
    };
    let judgement = judge(&facts, None, &policy(), now());
    Judged { facts, authority: None, judgement }
}

prop_compose! {
    pub(in crate::plan) fn policies()(
        renew in 0u64..400,
        urgent in 0u64..400,
        clear in 1u64..4000,
        backdate in 0u64..86_400,
    ) -> Policy {
        let validity = days(renew + 1 + clear);
        Policy {
            renew_before: days(renew),
            urgent_before: days(urgent.min(renew)),
            validity,
            backdate: Duration::from_secs(backdate),
            key: KeyChoice::Keep,
        }
    }
}

prop_compose! {
    pub(in crate::plan) fn signers()(pick in 0usize..5) -> Signer {
        use Signer::*;
        [Authority, Intermediate, Foreign, Itself, Unknown][pick]
    }
}

prop_compose! {
    pub(in crate::plan) fn any_facts()(
        kind in 0usize..7,
        signer in signers(),
        begin in -4_000 * DAY..40 * DAY,
        life in 0i64..8_000 * DAY,
    ) -> CredentialFacts {
        let begin = now().seconds() + begin;
        let end = Timestamp::from_seconds(begin + life);
        let leaf = leaf(signer, Timestamp::from_seconds(begin), end);
        facts(match kind {
            0 => Material::Absent,
            1 => Material::Unreadable("x".into()),
            2 => Material::Damaged("x".into()),
            3 => Material::KeyMissing(leaf, "x".into()),
            4 => Material::Mismatched(leaf, "x".into()),
            _ => Material::Whole(leaf),
        })
    }
}

prop_compose! {
    pub(in crate::plan) fn any_authority()(
        kind in 0usize..8,
        begin in -4_000 * DAY..10 * DAY,
        life in 0i64..8_000 * DAY,
    ) -> AuthorityFacts {
        let begin = now().seconds() + begin;
        let end = Timestamp::from_seconds(begin + life);
        let certificate = certificate(Timestamp::from_seconds(begin), end);
        authority(match kind {
            0 => AuthorityState::Absent,
            1 => AuthorityState::NotARoot("x".into()),
            2 => AuthorityState::Present { anchors: only(certificate), key: AuthorityKey::Absent },
            3 => AuthorityState::Present {
                anchors: only(certificate),
                key: AuthorityKey::Unusable("x".into()),
            },
            _ => AuthorityState::Present { anchors: only(certificate), key: AuthorityKey::Usable },
        })
    }
}
