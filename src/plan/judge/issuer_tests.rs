use super::super::fixtures::*;
use super::super::judge;
use super::*;
use crate::model::*;
use crate::plan::{Request, plan};

fn anchor(name: &str) -> AuthorityCertificate {
    AuthorityCertificate {
        serial: name.to_uppercase(),
        fingerprint: Digest::of(name.as_bytes()),
        ..certificate(at(-100), at(3000))
    }
}

/// `ca.crt` holds both, and the key is that of the new one.
fn replaced(key: AuthorityKey) -> AuthorityFacts {
    let anchors = vec![
        Anchor { certificate: anchor("old"), can_sign: false },
        Anchor { certificate: anchor("new"), can_sign: true },
    ];
    authority(AuthorityState::Present { anchors: anchors.into(), key })
}

fn issued_by(condition: Condition, names: &[&str]) -> CredentialFacts {
    let mut facts = facts_in(condition);
    if let Material::KeyMissing(leaf, _) | Material::Mismatched(leaf, _) | Material::Whole(leaf) =
        &mut facts.material
    {
        leaf.verifies_by = names.iter().map(|name| Digest::of(name.as_bytes())).collect();
    }
    facts
}

fn judged(facts: &CredentialFacts, key: AuthorityKey) -> Judgement {
    judge(facts, Some(&replaced(key)), &policy(), now())
}

#[test]
fn only_what_is_urgent_is_issued_by_another_ca() {
    for (condition, expected) in [
        (Condition::Fresh, Action::Report),
        (Condition::Due, Action::Error),
        (Condition::Urgent, Action::Renew),
        (Condition::Expired, Action::Renew),
        (Condition::KeyMissing, Action::Renew),
        (Condition::Mismatched, Action::Renew),
    ] {
        let judgement = judged(&issued_by(condition, &["old"]), AuthorityKey::Usable);
        assert_eq!((judgement.condition, judgement.action), (condition, expected));
        let change = "issued by the CA CN=kubernetes (serial OLD), and \
            /etc/kubernetes/pki/ca.key signs as another CA in /etc/kubernetes/pki/ca.crt, \
            CN=kubernetes (serial NEW)";
        assert!(judgement.reason.contains(change), "{}", judgement.reason);
        assert_eq!(judgement.reason.contains(ADVICE), expected != Action::Renew, "{condition}");
        assert_eq!(judgement.attention, condition != Condition::Fresh, "{condition}");
    }
}

#[test]
fn expired_ca_holds_up_nothing() {
    let expired = AuthorityCertificate { not_after: at(-1), ..anchor("old") };
    let anchors = vec![
        Anchor { certificate: expired, can_sign: false },
        Anchor { certificate: anchor("new"), can_sign: true },
    ];
    let key = AuthorityKey::Usable;
    let authority = authority(AuthorityState::Present { anchors: anchors.into(), key });
    let facts = issued_by(Condition::Due, &["old"]);
    assert_eq!(judge(&facts, Some(&authority), &policy(), now()).action, Action::Renew);
}

#[test]
fn certificate_of_both_is_renewed() {
    let judgement = judged(&issued_by(Condition::Due, &["old", "new"]), AuthorityKey::Usable);
    assert_eq!((judgement.action, judgement.reason.contains("signs as")), (Action::Renew, false));
}

#[test]
fn other_key_identifier_is_another_ca() {
    let judgement = judged(&issued_by(Condition::Due, &[]), AuthorityKey::Usable);
    assert_eq!(judgement.action, Action::Error);
    assert!(judgement.reason.contains("has another key identifier"), "{}", judgement.reason);
}

#[test]
fn external_ca_changes_nothing() {
    let judgement = judged(&issued_by(Condition::Due, &["old"]), AuthorityKey::Absent);
    assert_eq!((judgement.action, judgement.reason.contains("signs as")), (Action::Report, false));
}

#[test]
fn force_does_not_change_the_ca() {
    for condition in [Condition::Fresh, Condition::Due] {
        let facts = issued_by(condition, &["old"]);
        let authority = Some(replaced(AuthorityKey::Usable));
        let judgement = judge(&facts, authority.as_ref(), &policy(), now());
        let judged = [crate::plan::Judged { facts, authority, judgement }];
        let request = Request { force: true, ..Request::default() };
        let plan = plan(&judged, &request, &policy(), now());
        assert_eq!(plan.steps[0].action, Action::Error);
        assert!(plan.steps[0].reason.contains(ADVICE), "{}", plan.steps[0].reason);
    }
}

#[test]
fn certificate_in_other_bytes_is_an_error_of_its_ca() {
    let mut facts = facts_in(Condition::Due);
    let Material::Whole(leaf) = &mut facts.material else { panic!() };
    (leaf.signer, leaf.verifies_by) = (Signer::Renamed, Vec::new());
    let authority = authority_in(AuthorityCondition::KeyUnusable);
    let judgement = judge(&facts, Some(&authority), &policy(), now());
    assert_eq!((judgement.condition, judgement.action), (Condition::ForeignIssuer, Action::Error));
    assert!(judgement.reason.contains("in other bytes"), "{}", judgement.reason);
}
