//! Deadlines: the times at which a certificate becomes urgent or expires, and a pass is made
//! whatever the schedule says.

use std::time::Duration;

use super::Judged;
use super::judge::OwnLife;
use crate::model::{AuthorityFacts, Policy, Renewal, Timestamp};

/// The end of a certificate's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    name: String,
    /// The last second in which it is accepted.
    end: Timestamp,
    /// Its life, which decides when it is urgent; `None` where that plays no part.
    own: Option<OwnLife>,
    renewed_here: bool,
}

/// The next time at which a certificate becomes urgent or expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time.
    pub at: Timestamp,
    /// What happens then: `apiserver becomes urgent`.
    pub text: String,
}

/// The lives of the certificates of a node; those of CAs too, which are alarmed when they expire.
#[must_use]
pub fn lives<'f>(
    authorities: impl IntoIterator<Item = &'f AuthorityFacts>,
    credentials: &[Judged],
    now: Timestamp,
) -> Vec<Life> {
    let of_authority = |facts: &AuthorityFacts| {
        let end = facts.state.certificate(now)?.not_after;
        Some(Life { name: facts.authority.name.to_string(), end, own: None, renewed_here: false })
    };
    let of_credential = |judged: &Judged| {
        let leaf = judged.facts.material.leaf()?;
        let own = OwnLife::of(leaf, judged.authority.as_ref(), now);
        let credential = &judged.facts.credential;
        let renewed_here = matches!(credential.renewal, Renewal::Ours | Renewal::Copy(_));
        Some(Life {
            name: credential.name.to_string(),
            end: leaf.accepted_until(),
            own,
            renewed_here,
        })
    };
    let authorities = authorities.into_iter().filter_map(of_authority);
    authorities.chain(credentials.iter().filter_map(of_credential)).collect()
}

/// Returns the first deadline after this time. Only what is renewed here becomes urgent.
#[must_use]
pub fn next_deadline(lives: &[Life], policy: &Policy, after: Timestamp) -> Option<Deadline> {
    let deadlines = |life: &Life| {
        let own = life.own.map_or(*policy, |own| own.policy(3, policy));
        let urgent = life.renewed_here.then(|| Deadline {
            at: life.end.minus(own.urgent_before),
            text: format!("{} becomes urgent", life.name),
        });
        // Its last second is a valid one.
        let at = life.end.plus(Duration::from_secs(1));
        let expired = Deadline { at, text: format!("{} expires", life.name) };
        urgent.into_iter().chain([expired])
    };
    let all = lives.iter().flat_map(deadlines);
    all.filter(|deadline| deadline.at > after).min_by_key(|deadline| deadline.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::days;
    use crate::plan::judge::fixtures::policy;

    const END: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn life(name: &str, hours_after: u64, whole: Option<u64>, renewed_here: bool) -> Life {
        let end = END.plus(Duration::from_secs(hours_after * 3_600));
        let own = whole.map(|whole| OwnLife::lasting(days(whole)));
        Life { name: name.to_owned(), end, own, renewed_here }
    }

    #[test]
    fn deadlines_come_in_order() {
        let lives = [
            life("apiserver", 0, Some(365), true),
            life("kubelet-client", 1, None, false),
            life("short", 0, Some(6), true),
        ];
        let mut found = Vec::new();
        let mut after = END.minus(days(10));
        while let Some(deadline) = next_deadline(&lives, &policy(), after) {
            found.push((deadline.at.seconds_since(END), deadline.text));
            after = deadline.at;
        }
        let expected = [
            (-3 * 86_400, "apiserver becomes urgent"),
            (-86_400, "short becomes urgent"),
            (1, "apiserver expires"),
            (3_601, "kubelet-client expires"),
        ];
        assert_eq!(found, expected.map(|(at, text)| (at, text.to_owned())));
    }
}
