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
