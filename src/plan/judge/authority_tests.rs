use super::super::fixtures::*;
use super::*;
use crate::model::{Anchor, days};

#[test]
fn authority_near_expiry_is_reported_in_time() {
    let facts = authority(present(AuthorityKey::Usable, -100, 100));
    assert_eq!(
        judge_authority(&facts, days(180), now()).reason,
        "expires in 100 days: plan its rotation, no certificate that it signs is valid for longer"
    );
    assert_eq!(judge_authority(&facts, days(30), now()).reason, "");
}

/// A worker has no key, and nothing is wrong or to be requested.
#[test]
fn missing_key_is_no_note_where_no_node_of_the_kind_has_it() {
    let mut facts = authority(present(AuthorityKey::Absent, -100, 1_000));
    let judged = |facts: &AuthorityFacts| judge_authority(facts, days(180), now());
    assert!(judged(&facts).reason.starts_with("external: "), "{}", judged(&facts).reason);
    facts.authority.key_elsewhere = true;
    let judgement = judged(&facts);
    assert_eq!(
        (judgement.condition, judgement.reason.as_str()),
        (AuthorityCondition::External, "")
    );
    let ends = authority(present(AuthorityKey::Absent, -100, 100));
    let judgement = judged(&AuthorityFacts { authority: facts.authority, ..ends });
    assert!(judgement.reason.starts_with("expires in 100 days"), "{}", judgement.reason);
}

/// Another root in the file, with its name and days left.
fn with_other(facts: &mut AuthorityFacts, name: &str, left: i64) {
    let AuthorityState::Present { anchors, .. } = &mut facts.state else { panic!() };
    let signer = anchors.signers().next().unwrap().clone();
    let other = AuthorityCertificate {
        subject: format!("CN={name}"),
        serial: "0a".to_owned(),
        not_after: Timestamp::from_seconds(now().seconds() + left * 86_400),
        ..signer.clone()
    };
    let anchor = |certificate, can_sign| Anchor { certificate, can_sign };
    *anchors = vec![anchor(signer, true), anchor(other, false)].into();
}

#[test]
fn other_root_in_the_file_near_expiry_is_reported() {
    let reason = |left: i64| {
        let mut facts = authority(present(AuthorityKey::Usable, -100, 1_000));
        with_other(&mut facts, "old", left);
        judge_authority(&facts, days(180), now()).reason
    };
    assert_eq!(
        reason(100),
        "CN=old (serial 0a), which is trusted besides, expires in 100 days: what it signed is not \
         accepted from then on"
    );
    assert_eq!(reason(181), "");
    assert_eq!(reason(-1), "", "nothing is lost any more");
}
