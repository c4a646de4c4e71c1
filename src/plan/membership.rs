//! Whether this node's member of etcd still belongs to its cluster, by what the others say.
//!
//! A member is removed by a decision of more than half of all members that vote. So the others that
//! have not learned of it are never more than half of the others, however long they were off: this
//! node's member counts as one that belongs to the cluster where more than half of the others list
//! it.
//!
//! Members may have joined or left since this node last knew of them. So the answer of a member
//! counts only where it lists itself too, and the number of the others is the largest that is known
//! here or listed in an answer.
//!
//! The evidence rests on the stores of the members. It can't know of a cluster that was restored on
//! other nodes, from a snapshot or by `--force-new-cluster`, while this one and those it asks were
//! not part of it; nor of a removal that was acknowledged, and not yet applied by most members when
//! all lost power; nor of changes that no member that answers has learned of.

use crate::model::{MembershipFinding, MembershipInquiry, MembershipVerdict, PeerAnswer};

/// Judges the answers of the other members.
#[must_use]
pub fn judge_membership(inquiry: &MembershipInquiry) -> MembershipFinding {
    let (id, others, answers) = match inquiry {
        MembershipInquiry::NotPossible { reason, may_change } => {
            return MembershipFinding {
                verdict: MembershipVerdict::Unknown,
                text: format!("etcd's other members could not be asked: {reason}"),
                may_change: *may_change,
            };
        }
        MembershipInquiry::Elsewhere(reason) => {
            return MembershipFinding {
                verdict: MembershipVerdict::Doubted,
                text: format!("etcd's other members were not asked: {reason}"),
                // The address may come later than the first pass.
                may_change: true,
            };
        }
        // As on a single control-plane node: nothing can have removed it.
        MembershipInquiry::Alone(id) => {
            return MembershipFinding {
                verdict: MembershipVerdict::Belongs,
                text: format!(
                    "this node's member {id} of etcd lists no other member, and therefore makes \
                     up the cluster by itself"
                ),
                may_change: true,
            };
        }
        MembershipInquiry::Asked { id, others, answers } => (id, *others, answers),
    };
    let list = answers.iter().filter(|(_, answer)| *answer == PeerAnswer::Lists).count();
    let texts = |wanted: fn(&PeerAnswer) -> bool| {
        let of = answers.iter().filter(|(_, answer)| wanted(answer));
        of.map(|(peer, answer)| text(&peer.to_string(), answer)).collect::<Vec<_>>()
    };
    let doubts =
        texts(|one| matches!(one, PeerAnswer::DoesNotList | PeerAnswer::ListsElsewhere(_)));
    let silent = texts(|one| matches!(one, PeerAnswer::Silent(_)));
    let verdict = if list > others / 2 {
        MembershipVerdict::Belongs
    } else if doubts.is_empty() {
        MembershipVerdict::Unknown
    } else {
        MembershipVerdict::Doubted
    };
    let said = format!(
        "{list} of the other {others} members of etcd {} this node's member {id}",
        if list == 1 { "lists" } else { "list" }
    );
    let text = match verdict {
        MembershipVerdict::Belongs => format!("{said}, which therefore belongs to the cluster"),
        MembershipVerdict::Doubted | MembershipVerdict::Unknown => {
            let not_known = match others.saturating_sub(answers.len()) {
                0 => None,
                more => Some(format!("{more} of them can't be asked, since they joined later")),
            };
            let reasons = [doubts, silent, not_known.into_iter().collect()].concat();
            let because = if reasons.is_empty() { String::new() } else { ": ".to_owned() };
            format!("{said}, and more than half of them have to{because}{}", reasons.join("; "))
        }
    };
    MembershipFinding { verdict, text, may_change: true }
}

fn text(peer: &str, answer: &PeerAnswer) -> String {
    match answer {
        PeerAnswer::Lists => format!("{peer} lists it"),
        PeerAnswer::ListsElsewhere(urls) => {
            format!("{peer} lists it at another address ({})", urls.join(", "))
        }
        PeerAnswer::DoesNotList => format!("{peer} does not list it"),
        PeerAnswer::Silent(reason) => reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EtcdPeer, MemberId};

    fn finding(answers: &[PeerAnswer]) -> MembershipFinding {
        let peer = |at: usize| EtcdPeer {
            urls: vec![format!("https://10.0.0.{}:2380", at + 2).parse().unwrap()],
        };
        let answers = answers.iter().enumerate().map(|(at, one)| (peer(at), one.clone()));
        judge_membership(&asked(answers.len(), answers.collect()))
    }

    fn asked(others: usize, answers: Vec<(EtcdPeer, PeerAnswer)>) -> MembershipInquiry {
        MembershipInquiry::Asked { id: MemberId::new(171), others, answers }
    }

    fn verdict(list: usize, silent: usize, denying: usize) -> MembershipVerdict {
        let answers = [
            vec![PeerAnswer::Lists; list],
            vec![PeerAnswer::Silent("it is off".to_owned()); silent],
            vec![PeerAnswer::DoesNotList; denying],
        ];
        finding(&answers.concat()).verdict
    }

    #[test]
    fn more_than_half_of_the_others_have_to_list_the_member() {
        use MembershipVerdict::{Belongs, Unknown};
        assert_eq!(verdict(0, 0, 0), Unknown, "nothing is known of others");
        assert_eq!((verdict(1, 0, 0), verdict(0, 1, 0)), (Belongs, Unknown), "of two");
        assert_eq!((verdict(2, 0, 0), verdict(1, 1, 0)), (Belongs, Unknown), "of three");
        assert_eq!((verdict(2, 1, 0), verdict(1, 2, 0)), (Belongs, Unknown), "of four");
        assert_eq!((verdict(3, 1, 0), verdict(2, 2, 0)), (Belongs, Unknown), "of five");
    }

    #[test]
    fn one_denial_counts_only_against_a_minority() {
        assert_eq!(verdict(1, 0, 1), MembershipVerdict::Doubted);
        assert_eq!(verdict(0, 1, 1), MembershipVerdict::Doubted);
        assert_eq!(verdict(2, 0, 1), MembershipVerdict::Belongs, "it has not learned of it yet");
        let elsewhere = PeerAnswer::ListsElsewhere(vec!["https://10.0.0.9:2380".to_owned()]);
        assert_eq!(finding(&[elsewhere, PeerAnswer::Lists]).verdict, MembershipVerdict::Doubted);
    }

    /// A removal needs more than half of all members. However few of the others took part, those
    /// that did not are never enough.
    #[test]
    fn members_that_missed_the_removal_never_prove_membership() {
        for members in 2_usize..10 {
            let others = members - 1;
            let took_part = members / 2 + 1;
            // The removed member may have voted itself.
            let missed = others - (took_part - 1);
            assert_ne!(
                verdict(missed, took_part - 1, 0),
                MembershipVerdict::Belongs,
                "{members} members"
            );
        }
    }

    /// This node knows two others, and by the list of one of them there are more.
    #[test]
    fn members_that_joined_later_count_as_others() {
        let peer = |url: &str| EtcdPeer { urls: vec![url.parse().unwrap()] };
        let answers = vec![
            (peer("https://10.0.0.2:2380"), PeerAnswer::Lists),
            (peer("https://10.0.0.3:2380"), PeerAnswer::Lists),
        ];
        let verdict = |others| judge_membership(&asked(others, answers.clone())).verdict;
        assert_eq!(verdict(3), MembershipVerdict::Belongs);
        assert_eq!(verdict(4), MembershipVerdict::Unknown);
        assert_eq!(
            judge_membership(&asked(5, answers.clone())).text,
            "2 of the other 5 members of etcd list this node's member ab, and more than half of \
             them have to: 3 of them can't be asked, since they joined later"
        );
    }

    #[test]
    fn only_member_belongs_to_its_cluster() {
        let found = judge_membership(&MembershipInquiry::Alone(MemberId::new(171)));
        assert_eq!(found.verdict, MembershipVerdict::Belongs);
        assert_eq!(
            found.text,
            "this node's member ab of etcd lists no other member, and therefore makes up the \
             cluster by itself"
        );
    }

    #[test]
    fn finding_names_each_member_that_does_not_list_it() {
        assert_eq!(
            finding(&[PeerAnswer::Lists, PeerAnswer::Lists]).text,
            "2 of the other 2 members of etcd list this node's member ab, which therefore belongs \
             to the cluster"
        );
        let silent = PeerAnswer::Silent("https://10.0.0.4:2380/members: it is off".to_owned());
        let elsewhere = PeerAnswer::ListsElsewhere(vec!["https://10.0.0.9:2380".to_owned()]);
        assert_eq!(
            finding(&[PeerAnswer::Lists, PeerAnswer::DoesNotList, silent, elsewhere]).text,
            "1 of the other 4 members of etcd lists this node's member ab, and more than half of \
             them have to: https://10.0.0.3:2380 does not list it; https://10.0.0.5:2380 lists it \
             at another address (https://10.0.0.9:2380); https://10.0.0.4:2380/members: it is off"
        );
        for may_change in [false, true] {
            let reason = "etcd's manifest does not say its name".to_owned();
            let found = judge_membership(&MembershipInquiry::NotPossible { reason, may_change });
            assert_eq!(
                found.text,
                "etcd's other members could not be asked: etcd's manifest does not say its name"
            );
            assert_eq!((found.verdict, found.may_change), (MembershipVerdict::Unknown, may_change));
        }
        let reason = "this machine has none of the addresses".to_owned();
        let found = judge_membership(&MembershipInquiry::Elsewhere(reason));
        assert_eq!(found.verdict, MembershipVerdict::Doubted, "as where a member says so");
        assert!(found.text.ends_with("were not asked: this machine has none of the addresses"));
    }
}
