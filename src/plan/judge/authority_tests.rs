use super::super::fixtures::*;
use super::*;
use crate::model::days;

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
