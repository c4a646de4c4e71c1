//! Whether what the cluster lives on may be stopped for a moment: only where its like on other
//! nodes carry on, or there are none.

use crate::model::Neighbours;

/// Whether a service may be stopped; an `Err` says why not.
///
/// Where nothing could be found out, the manifest of etcd is believed, in so far as it names
/// several members: the cluster has other nodes, and what they do is not known. Where it names only
/// this one, what can't answer is not made worse by a restart.
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
            "etcd has {etcd_members} members, and whether the other nodes carry on without this \
             one is not known: {reason}"
        )),
        Err(_) => Ok(()),
    }
}

/// More than half of them have to agree.
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
    fn a_member_is_stopped_only_where_more_than_half_remain() {
        let may = |all| (0..all).map(|healthy| members(all, healthy)).collect::<Vec<_>>();
        assert_eq!(may(1), [true], "it is alone");
        assert_eq!(may(2), [false, false], "of two, one is not more than half");
        assert_eq!(may(3), [false, false, true]);
        assert_eq!(may(5), [false, false, false, true, true]);
    }

    #[test]
    fn an_api_server_is_stopped_only_where_another_one_is_ready_or_there_is_none() {
        let may = |others, ready| may_stop(&Ok(Neighbours::Servers { others, ready }), 3);
        assert_eq!(may(0, 0), Ok(()));
        assert_eq!(may(2, 1), Ok(()));
        assert_eq!(
            may(2, 0),
            Err("none of the other API servers of the cluster is ready (there are 2)".to_owned())
        );
    }

    #[test]
    fn where_nothing_is_known_the_manifest_is_believed() {
        let unknown = || Err("it does not answer".to_owned());
        assert_eq!(may_stop(&unknown(), 1), Ok(()));
        assert_eq!(may_stop(&unknown(), 0), Ok(()));
        let reason = may_stop(&unknown(), 3).unwrap_err();
        assert_eq!(
            reason,
            "etcd has 3 members, and whether the other nodes carry on without this one is not \
             known: it does not answer"
        );
    }
}
