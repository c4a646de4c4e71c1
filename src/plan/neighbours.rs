//! Whether an essential service may be stopped for a moment: only where its peers on other nodes
//! carry on, or there are none.

use crate::model::Neighbours;

/// How many members etcd has: by its own last answer, which knows those that joined or left since;
/// else by its manifest, which names those that were there when this node joined.
#[must_use]
pub fn etcd_members(manifest: usize, answered: Option<usize>) -> usize {
    // No cluster is without members: that is no answer.
    answered.filter(|members| *members > 0).unwrap_or(manifest)
}

/// Whether a service may be stopped; an `Err` says why not.
///
/// Where the peers are not known, the number of [`etcd_members`] decides: several mean that the
/// cluster has other nodes, whose state is unknown. Where there is only this one, a restart does no
/// harm to a member that does not answer.
///
/// # Errors
/// A text for an operator.
pub fn may_stop(found: &Result<Neighbours, String>, etcd_members: usize) -> Result<(), String> {
    match found {
        Ok(Neighbours::Members { all, healthy }) if *all > 1 && *healthy < quorum(*all) => {
            Err(format!(
                "etcd has {all} members, and of the others {healthy} are healthy: without this one \
                 there would be fewer than the {} it needs",
                quorum(*all)
            ))
        }
        Ok(Neighbours::Servers { others, ready: 0 }) if *others > 0 => Err(format!(
            "none of the other API servers of the cluster is ready (there are {others})"
        )),
        Ok(Neighbours::Members { .. } | Neighbours::Servers { .. }) => Ok(()),
        Err(reason) if etcd_members > 1 => Err(format!(
            "etcd has {etcd_members} members, and whether the other nodes continue without this \
             one is not known: {reason}"
        )),
        Err(_) => Ok(()),
    }
}

/// The number of members that is more than half of them.
fn quorum(members: usize) -> usize {
    members / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(all: usize, healthy: usize) -> bool {
        may_stop(&Ok(Neighbours::Members { all, healthy }), 1).is_ok()
    }

    #[test]
    fn member_is_stopped_only_while_quorum_remains() {
        let may = |all| (0..all).map(|healthy| members(all, healthy)).collect::<Vec<_>>();
        assert_eq!(may(1), [true], "it is alone");
        assert_eq!(may(2), [false, false], "of two, one is not more than half");
        assert_eq!(may(3), [false, false, true]);
        assert_eq!(may(5), [false, false, false, true, true]);
    }

    #[test]
    fn api_server_is_stopped_only_with_ready_peer_or_alone() {
        let may = |others, ready| may_stop(&Ok(Neighbours::Servers { others, ready }), 3);
        assert_eq!(may(0, 0), Ok(()));
        assert_eq!(may(2, 1), Ok(()));
        assert_eq!(
            may(2, 0),
            Err("none of the other API servers of the cluster is ready (there are 2)".to_owned())
        );
    }

    #[test]
    fn last_answer_of_etcd_counts_over_its_manifest() {
        assert_eq!(etcd_members(3, Some(1)), 1, "the others were removed");
        assert_eq!(etcd_members(1, Some(3)), 3, "the others joined later");
        assert_eq!(etcd_members(3, None), 3);
        assert_eq!(etcd_members(3, Some(0)), 3);
    }

    #[test]
    fn unknown_peers_are_judged_by_the_manifest() {
        let unknown = || Err("it does not answer".to_owned());
        assert_eq!(may_stop(&unknown(), 1), Ok(()));
        assert_eq!(may_stop(&unknown(), 0), Ok(()));
        let reason = may_stop(&unknown(), 3).unwrap_err();
        assert_eq!(
            reason,
            "etcd has 3 members, and whether the other nodes continue without this one is not \
             known: it does not answer"
        );
    }
}
