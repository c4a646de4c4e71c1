//! Whether an essential service may be stopped for a moment: only where its peers on other nodes
//! carry on, or there are none, or nothing is left to lose.

use crate::model::{EtcdMembers, Neighbours};

/// How many members etcd has: by its own last answer, which knows those that joined or left since;
/// else by its manifest, which names those that were there when this node joined.
#[must_use]
pub fn etcd_members(manifest: usize, answered: Option<usize>) -> usize {
    // No cluster is without members: that is no answer.
    answered.filter(|members| *members > 0).unwrap_or(manifest)
}

/// Whether an essential service may be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MayStop {
    /// Its peers carry on, or there are none, or it does not count.
    Yes,
    /// etcd has no quorum at this moment. If that lasts, its members may all be stopped: nothing
    /// can be lost. A leader election looks like this for a few seconds.
    NoQuorum,
    /// Why not, for an operator.
    No(String),
}

/// Whether a service may be stopped.
///
/// Where the peers are not known, the number of [`etcd_members`] decides: several mean that the
/// cluster has other nodes, whose state is unknown. Where there is only this one, a restart does no
/// harm to a member that does not answer.
#[must_use]
pub fn may_stop(found: &Result<Neighbours, String>, etcd_members: usize) -> MayStop {
    match found {
        Ok(Neighbours::Members(members)) => may_stop_member(members),
        Ok(Neighbours::Servers { others, ready: 0 }) if *others > 0 => MayStop::No(format!(
            "none of the other API servers of the cluster is ready (there are {others})"
        )),
        Ok(Neighbours::Servers { .. }) => MayStop::Yes,
        Err(reason) if etcd_members > 1 => MayStop::No(format!(
            "etcd has {etcd_members} members, and whether the other nodes continue without this \
             one is not known: {reason}"
        )),
        Err(_) => MayStop::Yes,
    }
}

fn may_stop_member(members: &EtcdMembers) -> MayStop {
    let &EtcdMembers { voters, own, healthy_others, .. } = members;
    // A learner, or a member that was removed, is no part of the quorum.
    let Some(own) = own else { return MayStop::Yes };
    let quorum = quorum(voters);
    if voters == 1 || healthy_others >= quorum {
        MayStop::Yes
    } else if healthy_others + usize::from(own.healthy) < quorum {
        MayStop::NoQuorum
    } else {
        MayStop::No(format!(
            "etcd has {voters} members that vote, and of the others {healthy_others} are healthy: \
             without this one there would be fewer than the {quorum} it needs"
        ))
    }
}

/// The number of members that is more than half of them.
fn quorum(members: usize) -> usize {
    members / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Voter;

    fn members(voters: usize, own: Option<bool>, healthy_others: usize) -> MayStop {
        let own = own.map(|healthy| Voter { healthy });
        let found = EtcdMembers { voters, rank: 0, own, healthy_others, membership: None };
        may_stop(&Ok(Neighbours::Members(found)), 1)
    }

    #[test]
    fn member_is_stopped_only_while_quorum_remains() {
        let may = |voters| {
            let of = |others| members(voters, Some(true), others) == MayStop::Yes;
            (0..voters).map(of).collect::<Vec<_>>()
        };
        assert_eq!(may(1), [true], "it is alone");
        assert_eq!(may(2), [false, false], "of two, one is not more than half");
        assert_eq!(may(3), [false, false, true]);
        assert_eq!(may(5), [false, false, false, true, true]);
        assert_eq!(
            members(3, Some(true), 1),
            MayStop::No(
                "etcd has 3 members that vote, and of the others 1 are healthy: without this one \
                 there would be fewer than the 2 it needs"
                    .to_owned()
            )
        );
    }

    #[test]
    fn member_without_vote_is_stopped_whatever_the_others_do() {
        assert_eq!(members(2, None, 0), MayStop::Yes);
        assert_eq!(members(3, None, 1), MayStop::Yes);
    }

    #[test]
    fn lost_quorum_differs_from_one_that_would_be_lost() {
        assert_eq!(members(3, Some(false), 1), MayStop::NoQuorum);
        assert_eq!(members(3, Some(true), 0), MayStop::NoQuorum);
        assert_eq!(members(5, Some(true), 1), MayStop::NoQuorum);
        assert!(matches!(members(5, Some(true), 2), MayStop::No(_)));
        assert_eq!(members(3, Some(false), 2), MayStop::Yes, "the others have one");
    }

    #[test]
    fn api_server_is_stopped_only_with_ready_peer_or_alone() {
        let may = |others, ready| may_stop(&Ok(Neighbours::Servers { others, ready }), 3);
        assert_eq!(may(0, 0), MayStop::Yes);
        assert_eq!(may(2, 1), MayStop::Yes);
        let reason = "none of the other API servers of the cluster is ready (there are 2)";
        assert_eq!(may(2, 0), MayStop::No(reason.to_owned()));
    }

    #[test]
    fn last_answer_of_etcd_counts_over_its_manifest() {
        assert_eq!(etcd_members(3, Some(1)), 1, "the others were removed");
        assert_eq!(etcd_members(1, Some(3)), 3, "the others joined later");
        assert_eq!(etcd_members(3, None), 3);
        assert_eq!(etcd_members(3, Some(0)), 3);
    }

    #[test]
    fn unknown_peers_are_judged_by_the_known_number() {
        let unknown = || Err("it does not answer".to_owned());
        assert_eq!(may_stop(&unknown(), 1), MayStop::Yes);
        assert_eq!(may_stop(&unknown(), 0), MayStop::Yes);
        assert_eq!(
            may_stop(&unknown(), 3),
            MayStop::No(
                "etcd has 3 members, and whether the other nodes continue without this one is not \
                 known: it does not answer"
                    .to_owned()
            )
        );
    }
}
