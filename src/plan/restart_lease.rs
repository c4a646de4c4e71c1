//! The Lease under which the nodes of a cluster restart their services, one node at a time: who
//! may take it, and what happens where it can't be had.

use std::time::Duration;

use crate::model::{LeaseState, Urgency};

/// How long a Lease is valid after its last renewal. A restart is given up after less than that.
pub const LEASE_DURATION: Duration = Duration::from_secs(300);

/// How much of it has to be left right before a service is stopped: the longest time until it is
/// known to be healthy again, or not.
pub const NEEDED_BEFORE_STOP: Duration = Duration::from_secs(240);

/// The longest duration of a Lease that counts: one that states more holds up no restart for
/// longer.
const LONGEST_DURATION: Duration = Duration::from_secs(900);

/// How long an urgent restart waits for a Lease that can't be had.
const URGENT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How much later each further member of etcd is restarted where nothing else keeps two of them
/// from restarting at once. Stopping one takes half a minute, starting it up to a minute.
const DELAY_PER_RANK: Duration = Duration::from_secs(120);

/// Whether a Lease may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is free, expired, or held by this node already.
    Take,
    /// Another node holds it.
    Wait {
        /// That node.
        holder: String,
        /// After how much time it expires, unless it is renewed.
        remaining: Duration,
    },
}

/// Whether the Lease may be taken by `own`. `unchanged` is how long it has been the same, by this
/// node's own clock that runs on: the times in it are by the clocks of others.
#[must_use]
pub fn claim(lease: Option<&LeaseState>, own: &str, unchanged: Duration) -> Claim {
    let held = lease.and_then(|lease| Some((lease.holder.as_deref()?, lease.duration)));
    match held.filter(|(holder, _)| *holder != own) {
        None => Claim::Take,
        Some((holder, duration)) => {
            let remaining = duration.min(LONGEST_DURATION).saturating_sub(unchanged);
            if remaining.is_zero() {
                Claim::Take
            } else {
                Claim::Wait { holder: holder.to_owned(), remaining }
            }
        }
    }
}

/// What is done about a member of etcd or an API server where the Lease can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutLease {
    /// It is restarted after this time.
    GoAfter(Duration),
    /// It is not restarted in this pass.
    Wait,
}

/// Decides it by the urgency of what the service uses, the time for which the Lease could not be
/// had, and the number of etcd's members that come before this node's.
#[must_use]
pub fn without_lease(urgency: Urgency, waited: Duration, rank: usize) -> WithoutLease {
    let in_turn = DELAY_PER_RANK.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX));
    match urgency {
        Urgency::Comfortable | Urgency::Due => WithoutLease::Wait,
        Urgency::Urgent if waited < URGENT_TIMEOUT => WithoutLease::Wait,
        Urgency::Urgent | Urgency::Expired => WithoutLease::GoAfter(in_turn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(holder: Option<&str>, duration: Duration) -> LeaseState {
        LeaseState { holder: holder.map(str::to_owned), duration }
    }

    #[test]
    fn free_and_own_leases_are_taken() {
        assert_eq!(claim(None, "a", Duration::ZERO), Claim::Take);
        assert_eq!(claim(Some(&lease(None, LEASE_DURATION)), "a", Duration::ZERO), Claim::Take);
        let own = lease(Some("a"), LEASE_DURATION);
        assert_eq!(claim(Some(&own), "a", Duration::ZERO), Claim::Take, "of an earlier run");
    }

    #[test]
    fn lease_of_another_node_is_taken_once_it_expired_by_the_local_clock() {
        let others = lease(Some("b"), LEASE_DURATION);
        let wait = |remaining| Claim::Wait { holder: "b".to_owned(), remaining };
        let at = |unchanged| claim(Some(&others), "a", unchanged);
        assert_eq!(at(Duration::ZERO), wait(LEASE_DURATION));
        assert_eq!(at(LEASE_DURATION - SECOND), wait(SECOND));
        assert_eq!(at(LEASE_DURATION), Claim::Take);
    }

    #[test]
    fn absurd_duration_holds_nothing_up_for_ever() {
        let absurd = lease(Some("b"), Duration::MAX);
        assert_eq!(claim(Some(&absurd), "a", LONGEST_DURATION), Claim::Take);
    }

    #[test]
    fn without_lease_urgency_decides() {
        let decide = |urgency, minutes: u32| without_lease(urgency, 60 * minutes * SECOND, 1);
        assert_eq!(decide(Urgency::Comfortable, 600), WithoutLease::Wait);
        assert_eq!(decide(Urgency::Due, 600), WithoutLease::Wait);
        assert_eq!(decide(Urgency::Urgent, 59), WithoutLease::Wait);
        assert_eq!(decide(Urgency::Urgent, 60), WithoutLease::GoAfter(DELAY_PER_RANK));
        assert_eq!(decide(Urgency::Expired, 0), WithoutLease::GoAfter(DELAY_PER_RANK));
        assert_eq!(
            without_lease(Urgency::Expired, Duration::ZERO, 0),
            WithoutLease::GoAfter(Duration::ZERO)
        );
    }
}
