use super::*;
use crate::model::PresentRoot;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

const POLICY: RootPolicy =
    RootPolicy { leaf_validity: days(365), renew_before: days(15), allow_trusted: false };

fn file() -> AbsolutePath {
    AbsolutePath::constant("/etc/kubernetes/pki/ca.crt")
}

/// One as kubeadm makes it, for ten years.
fn good() -> RootCandidate {
    RootCandidate {
        certificate: RootCertificate {
            issuer: "CN=company".to_owned(),
            has_subject: true,
            signature: RootSignature::Own,
            version: 3,
            constraints: CaConstraints::Ca { critical: true, path_length: None },
            key_usage: CaKeyUsage::SignsCertificates,
            other_purposes: None,
            has_name_constraints: false,
            unknown_critical: Vec::new(),
            malformed: None,
            identifier: KeyIdentifier::Present,
            key_kind: CaKeyKind::Usual,
            not_before: NOW,
            not_after: NOW.plus(days(3650)),
        },
        key: CandidateKey::Fits,
        trial: None,
        trusted_in: None,
        unread_trust: Vec::new(),
        present: None,
    }
}

fn judged(change: impl Fn(&mut RootCandidate)) -> RootJudgement {
    let mut candidate = good();
    change(&mut candidate);
    judge_root(&candidate, &POLICY, NOW)
}

fn related(relation: RootRelation) -> RootJudgement {
    judged(|one| {
        one.present = Some(PresentRoot { file: file(), relation: relation.clone() });
    })
}

#[test]
fn usual_root_is_accepted() {
    assert_eq!(judged(|_| {}), RootJudgement::default());
    for relation in
        [RootRelation::Renewed, RootRelation::Other, RootRelation::SameName { obstacle: None }]
    {
        assert_eq!(related(relation.clone()), RootJudgement::default(), "{relation:?}");
    }
}

/// A change of a good root, and the only fault that it makes.
type FaultCase = (fn(&mut RootCandidate), RootFault);

#[test]
fn each_fault_is_found_alone() {
    let cases: [FaultCase; 20] = [
        (
            |one| one.certificate.malformed = Some("why".to_owned()),
            RootFault::Malformed("why".to_owned()),
        ),
        (|one| one.trial = Some("why".to_owned()), RootFault::Trial("why".to_owned())),
        (
            |one| one.certificate.signature = RootSignature::OtherCa,
            RootFault::Intermediate("CN=company".to_owned()),
        ),
        (|one| one.certificate.signature = RootSignature::Wrong, RootFault::Signature),
        (|one| one.certificate.signature = RootSignature::Sha1, RootFault::Sha1),
        (|one| one.certificate.version = 1, RootFault::Version(1)),
        (|one| one.certificate.has_subject = false, RootFault::NoSubject),
        (|one| one.certificate.constraints = CaConstraints::NoCa, RootFault::NoCa),
        (
            |one| {
                one.certificate.constraints =
                    CaConstraints::Ca { critical: false, path_length: None };
            },
            RootFault::NotCritical,
        ),
        (|one| one.certificate.key_usage = CaKeyUsage::Absent, RootFault::NoKeyUsage),
        (|one| one.certificate.key_usage = CaKeyUsage::Other, RootFault::MayNotSign),
        (
            |one| one.certificate.other_purposes = Some("servers".to_owned()),
            RootFault::Purposes("servers".to_owned()),
        ),
        (|one| one.certificate.has_name_constraints = true, RootFault::NameConstraints),
        (
            |one| one.certificate.unknown_critical = vec!["1.2.3".to_owned()],
            RootFault::UnknownCritical("1.2.3".to_owned()),
        ),
        (|one| one.certificate.identifier = KeyIdentifier::Absent, RootFault::NoIdentifier),
        (
            |one| one.certificate.identifier = KeyIdentifier::Contradicted,
            RootFault::OtherIdentifier,
        ),
        (
            |one| {
                one.certificate.key_kind = CaKeyKind::Unsupported("Ed25519".to_owned());
                one.certificate.signature = RootSignature::Wrong;
            },
            RootFault::KeyKind("Ed25519".to_owned()),
        ),
        (|one| one.key = CandidateKey::OfAnother, RootFault::KeyOfAnother),
        (
            |one| one.certificate.not_before = NOW.plus(days(1)),
            RootFault::NotYetValid(NOW.plus(days(1))),
        ),
        (|one| one.trusted_in = Some(file()), RootFault::Trusted(file())),
    ];
    for (change, fault) in cases {
        assert_eq!(judged(change), RootJudgement { faults: vec![fault], warnings: vec![] });
    }
}

#[test]
fn trusted_root_needs_the_word_of_the_operator() {
    let mut candidate = good();
    candidate.trusted_in = Some(file());
    let allowed = RootPolicy { allow_trusted: true, ..POLICY };
    assert_eq!(judge_root(&candidate, &allowed, NOW), RootJudgement::default());
    // What is known, or allowed, needs no warning.
    candidate.unread_trust = vec!["file: why".to_owned()];
    assert_eq!(judge_root(&candidate, &allowed, NOW), RootJudgement::default());
    assert!(judge_root(&candidate, &POLICY, NOW).warnings.is_empty());
}

#[test]
fn unread_parts_of_the_trust_store_are_counted() {
    let unread = |count: usize| (0..count).map(|at| format!("file {at}")).collect();
    let shown = |count| RootWarning::TrustStore(unread(count)).to_string();
    assert!(shown(3).ends_with("(file 0; file 1; file 2)"), "{}", shown(3));
    assert!(shown(5).ends_with("(file 0; file 1; file 2; 2 more)"), "{}", shown(5));
}

#[test]
fn life_has_to_hold_a_certificate_and_its_renewal() {
    let lives = |not_after: Timestamp| judged(|one| one.certificate.not_after = not_after);
    let needed = NOW.plus(days(380));
    let short = lives(needed.minus(Duration::from_secs(1)));
    let RootJudgement { faults, warnings } = &short;
    assert!(matches!(faults.as_slice(), [RootFault::Short { .. }]) && warnings.is_empty());
    assert_eq!(
        faults[0].to_string(),
        "it expires in 379 days: certificates that it signs are valid for 365 days and renewed 15 \
         days before they expire, so it has to be valid for longer than both together"
    );
    let enough = lives(needed);
    assert!(enough.is_usable());
    assert_eq!(enough.warnings, [RootWarning::ShortLife("in 380 days".to_owned())]);
    assert!(lives(NOW.plus(SHORT_LIFE)).warnings.is_empty());
    assert_eq!(lives(NOW.minus(days(3))).faults, [RootFault::Expired("3 days ago".to_owned())]);
}

#[test]
fn relation_to_present_root_can_be_a_fault() {
    let name_none = SameNameObstacle::LeavesNameNone(vec!["apiserver".to_owned()]);
    for (relation, words) in [
        (RootRelation::SameKeyOtherName, "Go would accept no certificate"),
        (RootRelation::SameKeyOtherIdentifier, "OpenSSL would accept no certificate"),
        (
            RootRelation::SameName { obstacle: Some(SameNameObstacle::PresentHasNoIdentifier) },
            "the present one has no subjectKeyIdentifier",
        ),
        (
            RootRelation::SameName { obstacle: Some(SameNameObstacle::SameIdentifier) },
            "both have the same subjectKeyIdentifier",
        ),
        (
            RootRelation::SameName { obstacle: Some(name_none) },
            "apiserver have no authorityKeyIdentifier",
        ),
    ] {
        let RootJudgement { faults, .. } = related(relation);
        assert!(faults.len() == 1 && faults[0].to_string().contains(words), "{faults:?}");
    }
    assert_eq!(related(RootRelation::Same).warnings, [RootWarning::Present(file())]);
}

/// A change of a good root, and the only warning that it makes.
type WarningCase = (fn(&mut RootCandidate), RootWarning);

#[test]
fn what_can_be_used_may_need_a_warning() {
    let cases: [WarningCase; 4] = [
        (
            |one| one.unread_trust = vec!["file: why".to_owned()],
            RootWarning::TrustStore(vec!["file: why".to_owned()]),
        ),
        (
            |one| {
                one.certificate.constraints =
                    CaConstraints::Ca { critical: true, path_length: Some(0) };
            },
            RootWarning::PathLength,
        ),
        (
            |one| one.certificate.key_kind = CaKeyKind::Unusual("ECDSA-P521".to_owned()),
            RootWarning::KeyKind("ECDSA-P521".to_owned()),
        ),
        (|one| one.key = CandidateKey::NotGiven, RootWarning::NoKey),
    ];
    for (change, warning) in cases {
        assert_eq!(judged(change), RootJudgement { faults: vec![], warnings: vec![warning] });
    }
}
