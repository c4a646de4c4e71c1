//! Certificates of a short life, which would be due from their first day.

use std::time::Duration;

use crate::model::{AuthorityFacts, CredentialFacts, LEAST_GAIN, Leaf, Policy, Renewal, Timestamp};

/// The policy for one credential. A certificate whose whole life is hardly longer than
/// `renew_before` is due at two thirds of it, and urgent at five sixths. kubelet renews its own
/// before nine tenths.
#[must_use]
pub fn policy_for(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    policy: &Policy,
    now: Timestamp,
) -> Policy {
    let parts = if facts.credential.renewal == Renewal::Kubelet { 10 } else { 3 };
    let life = facts.material.leaf().and_then(|leaf| OwnLife::of(leaf, authority, now));
    life.map_or(*policy, |life| life.policy(parts, policy))
}

/// The whole life of a certificate that does not expire with its CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) struct OwnLife {
    whole: Duration,
    /// Whether it begins with its CA, as what is issued by a clock that may be ahead: then
    /// the configured validity is its life.
    begins_with_authority: bool,
}

impl OwnLife {
    /// `None` where it is short because its authority expires then: only a new authority helps it.
    pub(in crate::plan) fn of(
        leaf: &Leaf,
        authority: Option<&AuthorityFacts>,
        now: Timestamp,
    ) -> Option<Self> {
        let certificate = authority.and_then(|facts| facts.state.certificate(now));
        if certificate.is_some_and(|one| one.not_after < leaf.not_after.plus(LEAST_GAIN)) {
            return None;
        }
        let begins_with_authority =
            certificate.is_some_and(|one| leaf.not_before <= one.not_before);
        Some(Self { whole: whole_life(leaf), begins_with_authority })
    }

    #[cfg(test)]
    pub(in crate::plan) fn lasting(whole: Duration) -> Self {
        Self { whole, begins_with_authority: false }
    }

    /// The policy for it; a short one is due with one part of so many left.
    pub(in crate::plan) fn policy(self, parts: u32, policy: &Policy) -> Policy {
        let whole = match self.begins_with_authority {
            true => self.whole.min(policy.validity),
            false => self.whole,
        };
        if whole >= policy.renew_before + LEAST_GAIN {
            return *policy;
        }
        let renew_before = whole / parts;
        Policy {
            renew_before,
            urgent_before: policy.urgent_before.min(renew_before / 2),
            ..*policy
        }
    }
}

/// The least that a renewal has to gain to be worth it.
pub(super) fn least_gain(leaf: &Leaf) -> Duration {
    LEAST_GAIN.min(whole_life(leaf) / 3)
}

fn whole_life(leaf: &Leaf) -> Duration {
    let seconds = leaf.not_after.seconds_since(leaf.not_before);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AuthorityCondition, AuthorityState, Condition, Material, Signer, days};
    use crate::plan::judge::fixtures::{authority_in, certificate, facts, leaf, now, only, policy};
    use crate::plan::judge::judge;

    const HOUR: i64 = 3_600;

    /// A certificate with this whole life, of which so much is left.
    fn with_life(hours: i64, left: i64) -> CredentialFacts {
        let end = Timestamp::from_seconds(now().seconds() + left * HOUR);
        let begin = Timestamp::from_seconds(end.seconds() - hours * HOUR);
        facts(Material::Whole(leaf(Signer::Authority, begin, end)))
    }

    fn condition(hours: i64, left: i64, renewal: Renewal) -> Condition {
        let mut facts = with_life(hours, left);
        facts.credential.renewal = renewal;
        let usable = authority_in(AuthorityCondition::Usable);
        judge(&facts, Some(&usable), &policy(), now()).condition
    }

    #[test]
    fn short_life_is_due_at_two_thirds() {
        let ours = |hours, left| condition(hours, left, Renewal::Ours);
        // 15 days and a day: the usual rule.
        assert_eq!(ours(16 * 24, 15 * 24), Condition::Due);
        assert_eq!(ours(16 * 24 - 1, 15 * 24), Condition::Fresh);
        assert_eq!(ours(240, 81), Condition::Fresh);
        assert_eq!(ours(240, 80), Condition::Due);
        assert_eq!(ours(240, 40), Condition::Urgent);
        assert_eq!(ours(24, 9), Condition::Fresh);
        assert_eq!(ours(24, 8), Condition::Due);
        assert_eq!(ours(24, 4), Condition::Urgent);
        assert_eq!(ours(24, -1), Condition::Expired);
    }

    /// It renews between seven and nine tenths.
    #[test]
    fn short_life_of_kubelet_is_due_when_kubelet_is_late() {
        let kubelets = |left| condition(240, left, Renewal::Kubelet);
        assert_eq!(kubelets(25), Condition::Fresh);
        assert_eq!(kubelets(24), Condition::Due);
    }

    /// By a clock that may be ahead.
    #[test]
    fn life_of_what_begins_with_its_authority_is_the_configured_validity() {
        let usable = authority_in(AuthorityCondition::Usable);
        let short = Policy { validity: days(9), ..policy() };
        let condition = |left, policy| {
            let facts = with_life(20 * 365 * 24, left);
            judge(&facts, Some(&usable), policy, now()).condition
        };
        assert_eq!(condition(9 * 24, &short), Condition::Fresh);
        assert_eq!(condition(3 * 24, &short), Condition::Due);
        assert_eq!(condition(9 * 24, &policy()), Condition::Due);
    }

    #[test]
    fn reason_names_the_time_that_counts() {
        let usable = authority_in(AuthorityCondition::Usable);
        let reason = judge(&with_life(240, 80), Some(&usable), &policy(), now()).reason;
        assert_eq!(reason, "expires in 3 days, within 3 days");
    }

    /// It would be due again at once.
    #[test]
    fn certificate_that_ends_with_its_authority_is_none_of_a_short_life() {
        let mut usable = authority_in(AuthorityCondition::Usable);
        let end = now().plus(days(10));
        if let AuthorityState::Present { anchors, .. } = &mut usable.state {
            *anchors = only(certificate(now().minus(days(300)), end));
        }
        let judged = judge(&with_life(240, 240), Some(&usable), &policy(), now());
        assert_eq!(judged.condition, Condition::EndsWithAuthority);
    }
}
