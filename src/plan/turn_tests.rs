use super::*;
use crate::model::{EtcdMembers, Voter};

const ETCD: Stake = Stake::Essential(Essential::EtcdMember);
const API_SERVER: Stake = Stake::Essential(Essential::ApiServer);
const LEADER: Stake = Stake::Leader { is_leader: true };
const STANDBY: Stake = Stake::Leader { is_leader: false };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn facts(stake: Stake, urgency: Urgency) -> TurnFacts<'static> {
    TurnFacts {
        node: "one",
        stake,
        urgency,
        members: 3,
        rank: 1,
        without_lease: Duration::ZERO,
        is_api_away: false,
    }
}

/// A cluster in which a turn is taken: its answers by the time.
struct World {
    lease: fn(u64) -> TurnAnswer,
    takes: TurnAnswer,
    healthy_others: fn(u64) -> usize,
}

impl World {
    fn new(lease: fn(u64) -> TurnAnswer) -> Self {
        Self { lease, takes: TurnAnswer::Taken, healthy_others: |_| 2 }
    }

    /// Takes the turn, and returns how it ended and after how many seconds.
    fn take(&self, facts: TurnFacts<'_>) -> (TurnStep, u64) {
        let mut turn = TakeTurn::new(facts, Duration::ZERO);
        let (mut answer, mut now) = (TurnAnswer::Ready, Duration::ZERO);
        loop {
            answer = match turn.next(answer, now) {
                TurnStep::ReadLease => (self.lease)(now.as_secs()),
                TurnStep::TakeLease => self.takes.clone(),
                TurnStep::FindPeers(_) => self.peers(now),
                TurnStep::Pause(time, _) => {
                    now += time;
                    TurnAnswer::Ready
                }
                end => return (end, now.as_secs()),
            };
        }
    }

    fn check(&self, facts: &TurnFacts<'_>, go: Go) -> (TurnStep, u64) {
        let Some(mut check) = check_of(facts, go) else { return (TurnStep::Go(go), 0) };
        let (mut answer, mut now) = (TurnAnswer::Ready, Duration::ZERO);
        loop {
            answer = match check.next(&answer, now) {
                TurnStep::FindPeers(_) => self.peers(now),
                TurnStep::Pause(time, _) => {
                    now += time;
                    TurnAnswer::Ready
                }
                end => return (end, now.as_secs()),
            };
        }
    }

    fn peers(&self, now: Duration) -> TurnAnswer {
        let healthy_others = (self.healthy_others)(now.as_secs());
        let own = Some(Voter { healthy: healthy_others > 0 });
        let members = EtcdMembers { voters: 3, rank: 1, own, healthy_others, membership: None };
        TurnAnswer::Peers(Ok(Neighbours::Members(members)))
    }
}

fn check_of(facts: &TurnFacts<'_>, go: Go) -> Option<CheckPeers> {
    let essential = match facts.stake {
        Stake::Essential(essential) => Some(essential),
        Stake::Leader { .. } => None,
    };
    CheckPeers::new(essential, facts.urgency, facts.members, Some(go))
}

fn free(_: u64) -> TurnAnswer {
    TurnAnswer::Lease(None, Duration::ZERO)
}

fn held(unchanged: u64) -> TurnAnswer {
    let lease = LeaseState { holder: Some("two".to_owned()), duration: seconds(300) };
    TurnAnswer::Lease(Some(lease), seconds(unchanged))
}

fn away(_: u64) -> TurnAnswer {
    TurnAnswer::NoApi { may_answer: true }
}

fn refused(_: u64) -> TurnAnswer {
    TurnAnswer::NoApi { may_answer: false }
}

#[test]
fn free_lease_is_taken_at_once() {
    for stake in [ETCD, API_SERVER, STANDBY] {
        let end = World::new(free).take(facts(stake, Urgency::Comfortable));
        assert_eq!(end, (TurnStep::Go(Go::Leased), 0));
    }
}

#[test]
fn held_lease_is_waited_for_until_it_is_free_or_expired() {
    let until_free = World::new(|now| if now < 60 { held(0) } else { free(now) });
    let facts = facts(ETCD, Urgency::Comfortable);
    assert_eq!(until_free.take(facts), (TurnStep::Go(Go::Leased), 60));
    let of_dead_node = World::new(held);
    assert_eq!(of_dead_node.take(facts), (TurnStep::Go(Go::Leased), 300));
    let (end, after) = World::new(|_| held(0)).take(facts);
    let waited = seconds(900);
    assert_eq!(end, TurnStep::Refuse(Refusal::Busy { holder: "two".to_owned(), waited }));
    assert_eq!(after, 900);
}

#[test]
fn leader_takes_lease_when_no_other_node_has_for_some_time() {
    let facts = facts(LEADER, Urgency::Comfortable);
    assert_eq!(World::new(free).take(facts), (TurnStep::Go(Go::Leased), 10));
    let used = World::new(|now| if (4..40).contains(&now) { held(0) } else { free(now) });
    assert_eq!(used.take(facts), (TurnStep::Go(Go::Leased), 50));
    let again_and_again = World::new(|now| if now % 8 == 0 { held(0) } else { free(now) });
    assert_eq!(again_and_again.take(facts), (TurnStep::Go(Go::Leased), 300), "it has an end");
}

#[test]
fn absent_api_is_asked_again_for_a_moment() {
    let facts = facts(ETCD, Urgency::Comfortable);
    let back = World::new(|now| if now < 18 { away(now) } else { free(now) });
    assert_eq!(back.take(facts), (TurnStep::Go(Go::Leased), 18));
    assert_eq!(World::new(away).take(facts), (TurnStep::Refuse(Refusal::NoLease), 20));
    assert_eq!(World::new(refused).take(facts), (TurnStep::Refuse(Refusal::NoLease), 0));
    let known = TurnFacts { is_api_away: true, ..facts };
    assert_eq!(World::new(away).take(known), (TurnStep::Refuse(Refusal::NoLease), 0));
}

#[test]
fn without_lease_urgency_and_rank_decide() {
    let end = |stake, urgency, hours: u64| {
        let facts = TurnFacts { without_lease: seconds(3_600 * hours), ..facts(stake, urgency) };
        World::new(refused).take(facts)
    };
    let wait = (TurnStep::Refuse(Refusal::NoLease), 0);
    let go = |after| (TurnStep::Go(Go::WithoutLease), after);
    assert_eq!(end(ETCD, Urgency::Comfortable, 9), wait);
    assert_eq!(end(API_SERVER, Urgency::Due, 9), wait);
    assert_eq!(end(ETCD, Urgency::Urgent, 0), wait);
    assert_eq!(end(ETCD, Urgency::Urgent, 1), go(120));
    assert_eq!(end(ETCD, Urgency::Expired, 0), go(120));
    assert_eq!(end(API_SERVER, Urgency::Expired, 0), go(0));
    assert_eq!(end(LEADER, Urgency::Comfortable, 0), go(0));
    assert_eq!(end(STANDBY, Urgency::Expired, 0), go(0));
}

#[test]
fn lasting_lack_of_quorum_lets_all_go_at_once() {
    let lost = World { healthy_others: |_| 0, ..World::new(away) };
    let facts = facts(ETCD, Urgency::Comfortable);
    assert_eq!(lost.take(facts), (TurnStep::Go(Go::NothingToLose), 50));
    let election = World { healthy_others: |now| if now < 25 { 0 } else { 2 }, ..World::new(away) };
    assert_eq!(election.take(facts), (TurnStep::Refuse(Refusal::NoLease), 25));
    assert!(check_of(&facts, Go::NothingToLose).is_none());
}

#[test]
fn peers_are_checked_right_before_the_stop() {
    let due = facts(ETCD, Urgency::Comfortable);
    let world = |healthy_others| World { healthy_others, ..World::new(free) };
    assert_eq!(world(|_| 2).check(&due, Go::Leased), (TurnStep::Go(Go::Leased), 0));
    let (end, _) = world(|_| 1).check(&due, Go::Leased);
    assert!(matches!(end, TurnStep::Refuse(Refusal::Peers(_))), "{end:?}");
    let (end, after) = world(|_| 0).check(&due, Go::Leased);
    assert_eq!((end, after), (TurnStep::Go(Go::NothingToLose), 30));
    let election = world(|now| if now < 3 { 0 } else { 2 });
    assert_eq!(election.check(&due, Go::Leased), (TurnStep::Go(Go::Leased), 3));
    let too_late = facts(ETCD, Urgency::Expired);
    assert!(check_of(&too_late, Go::Leased).is_none());
    assert!(check_of(&facts(LEADER, Urgency::Due), Go::Leased).is_none());
}

#[test]
fn lease_that_another_node_took_first_is_read_again() {
    let mut turn = TakeTurn::new(facts(ETCD, Urgency::Comfortable), Duration::ZERO);
    assert_eq!(turn.next(free(0), Duration::ZERO), TurnStep::TakeLease);
    assert_eq!(turn.next(TurnAnswer::Changed, Duration::ZERO), TurnStep::ReadLease);
}
