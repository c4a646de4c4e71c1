use super::super::fixtures::*;
use super::*;
use crate::model::days;

#[test]
fn authority_near_expiry_is_reported_in_time() {
    let facts = authority(present(AuthorityKey::Usable, -100, 100));
    assert_eq!(
        judge_authority(&facts, days(180), now()).reason,
        "ends in 100 days: plan its rotation, nothing it signs outlives it"
    );
    assert_eq!(judge_authority(&facts, days(30), now()).reason, "");
}
