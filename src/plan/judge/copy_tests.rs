use super::super::fixtures::{copied_leaf, copy, now};
use super::*;
use crate::model::Renewal;
use crate::plan::Judged;

fn equivalent(days: i64) -> Judged {
    let mut facts = copy(Material::Whole(copied_leaf("other", days)), Ok("new"), false).facts;
    if let Some(copy) = &mut facts.copy {
        copy.equivalent = true;
    }
    let Renewal::Copy(of) = facts.credential.renewal.clone() else { panic!("it is no copy") };
    let judgement = judge_copy(&facts, &of, now());
    Judged { facts, authority: None, judgement }
}

#[test]
fn table_of_copies_is_the_one_in_the_docs() {
    let held = |of| Material::Whole(copied_leaf(of, 100));
    let rows = [
        (
            "is not there, or by a path for many files is of no interest",
            copy(Material::Absent, Ok("new"), true),
        ),
        (
            "holds the certificate that its original holds, and its key",
            copy(held("new"), Ok("new"), false),
        ),
        ("holds an earlier one, and its key", copy(held("old"), Ok("new"), false)),
        ("holds a valid one of the same user, CA and usages, and its key", equivalent(100)),
        ("holds an expired one of these, and no earlier one of the original", equivalent(-1)),
        (
            "holds an earlier one, while the original is broken or not of its CA",
            copy(held("old"), Err("broken"), false),
        ),
        (
            "holds anything else, or a certificate without its key",
            copy(Material::Changed("it is other".into()), Ok("new"), false),
        ),
        (
            "can't be read, or its path can be redirected by another user",
            copy(Material::Unreadable("a link".into()), Ok("new"), true),
        ),
    ];
    let mut table = "| a copy that | is | and |\n|---|---|---|".to_owned();
    for (what, judged) in &rows {
        let Judgement { condition, action, .. } = judged.judgement;
        table += &format!("\n| {what} | {condition} | {action} |");
    }
    assert!(
        include_str!("../../../docs/judging.md").contains(&table),
        "docs/judging.md does not hold this table:\n\n{table}\n"
    );
    let attention: Vec<bool> = rows.iter().map(|(_, judged)| judged.judgement.attention).collect();
    assert_eq!(
        attention,
        [false, false, true, true, true, false, true, true],
        "a broken original is reported there"
    );
    assert_eq!(
        rows[2].1.judgement.reason,
        "holds an earlier certificate of admin.conf, which expires in 100 days"
    );
    assert!(rows[6].1.judgement.reason.starts_with(
        "it is other; it is left as it is. To have it updated again, put the content of \
         admin.conf into it"
    ));
}

/// Its dates are its original's: a copy is never due, urgent or expired.
#[test]
fn copy_of_expired_original_is_up_to_date() {
    let judged = copy(Material::Whole(copied_leaf("new", -5)), Ok("new"), false);
    assert_eq!(
        (judged.judgement.condition, judged.judgement.attention),
        (Condition::InStep, false)
    );
}
