//! The state table of a copy of a credential.

use crate::model::{
    Action, Condition, CopyOf, CredentialFacts, CredentialName, Judgement, Material, Timestamp,
};
use crate::plan::words::remaining;

/// What is thought of a copy. Its dates are its original's business.
pub(super) fn judge_copy(facts: &CredentialFacts, of: &CopyOf, now: Timestamp) -> Judgement {
    let original = &of.original;
    let held = facts.copy.as_ref().map(|copy| &copy.original);
    let (condition, action, reason) = match (&facts.material, held) {
        (Material::Absent, _) if of.found => (
            Condition::Absent,
            Action::Nothing,
            format!("holds no certificate of {original}, so it is no copy of it"),
        ),
        (Material::Absent, _) => (
            Condition::Absent,
            Action::Nothing,
            "missing, and a missing copy is not made".to_owned(),
        ),
        (Material::Whole(leaf), Some(Ok(fingerprint))) if leaf.fingerprint == *fingerprint => (
            Condition::InStep,
            Action::Nothing,
            format!(
                "holds the content of {original}, which expires {}",
                remaining(now, leaf.not_after)
            ),
        ),
        // It gives no rights any more, so it is no proof that its owner may have the next key.
        (Material::Whole(leaf), Some(Ok(_))) if is_equivalent(facts) && now > leaf.not_after => (
            Condition::Changed,
            Action::Report,
            format!(
                "{}holds an expired certificate that {original} is not known to have held; {}",
                facts.files.first().map(|path| format!("{path}: ")).unwrap_or_default(),
                remedy(original)
            ),
        ),
        (Material::Whole(leaf), Some(Ok(_))) if is_equivalent(facts) => (
            Condition::Behind,
            Action::Copy,
            format!(
                "holds another certificate of the same user, CA and usages as {original}, which \
                 expires {}",
                remaining(now, leaf.not_after)
            ),
        ),
        (Material::Whole(leaf), Some(Ok(_))) => {
            let end = remaining(now, leaf.not_after);
            let expires = if now > leaf.not_after { "expired" } else { "expires" };
            (
                Condition::Behind,
                Action::Copy,
                format!("holds an earlier certificate of {original}, which {expires} {end}"),
            )
        }
        // What it should hold is not known now.
        (Material::Whole(_) | Material::Changed(_), Some(Err(why))) => (
            Condition::Behind,
            Action::Report,
            format!("is a copy of {original}, which can't be copied now: {why}"),
        ),
        (Material::Changed(text), _) => {
            (Condition::Changed, Action::Report, format!("{text}; {}", remedy(original)))
        }
        (Material::Unreadable(text), _) => {
            (Condition::Unreadable, Action::Report, format!("{text}; it is left as it is"))
        }
        // Nothing else is said of a copy.
        _ => (
            Condition::Unreadable,
            Action::Report,
            "could not be read; it is left as it is".to_owned(),
        ),
    };
    // Where the original is broken, that is what needs attention.
    let attention =
        matches!(condition, Condition::Changed | Condition::Unreadable) || action == Action::Copy;
    Judgement { condition, action, reason, attention }
}

fn is_equivalent(facts: &CredentialFacts) -> bool {
    facts.copy.as_ref().is_some_and(|copy| copy.equivalent)
}

fn remedy(original: &CredentialName) -> String {
    format!(
        "it is left as it is. To have it updated again, put the content of {original} into it; \
         else remove it from the configuration"
    )
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
