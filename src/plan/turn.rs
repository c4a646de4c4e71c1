//! The turn of this node among those of its cluster, as a state machine: from the plan to restart a
//! service to the moment when it may be stopped, or not.
//!
//! The machine says what to find out or to do next, and is given the answer with the time; it never
//! waits or asks by itself. A turn has two parts. [`TakeTurn`] comes before the last look at the
//! service, and ends with the Lease, or with the decision to go without it. [`CheckPeers`] comes
//! right before the stop.

use std::time::Duration;

use super::neighbours::{MayStop, may_stop};
use super::restart_lease::{Claim, WithoutLease, claim, without_lease};
use crate::model::{Essential, LeaseState, Neighbours, Urgency};

/// How often a Lease of another node is looked at.
const LEASE_INTERVAL: Duration = Duration::from_secs(2);

/// How long the Lease is waited for: the turns of several nodes.
const TURN_TIMEOUT: Duration = Duration::from_secs(900);

/// How long the API may be away while the Lease is waited for: another node may be restarting the
/// API server that was asked.
const AWAY_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the Lease has to be free before the node of a leader takes it.
const LAST_IN_TURN: Duration = Duration::from_secs(10);

/// How long the node of a leader lets others go first.
const LEADER_TIMEOUT: Duration = Duration::from_secs(300);

/// A lack of etcd's quorum lasts when it is found again and again for so long: longer than a leader
/// election takes.
const QUORUM_LOSS: Duration = Duration::from_secs(30);

/// Between two questions about the quorum.
const QUORUM_INTERVAL: Duration = Duration::from_secs(1);

/// What a restart may cost the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stake {
    /// The whole cluster may miss the service.
    Essential(Essential),
    /// Another instance has to become the leader, where this node's is the leader.
    Leader {
        /// Whether it is.
        is_leader: bool,
    },
}

/// What is known before a turn.
#[derive(Clone, Copy, Debug)]
pub struct TurnFacts<'t> {
    /// This node's name in the Lease.
    pub node: &'t str,
    /// What is at stake.
    pub stake: Stake,
    /// How urgent the restart is.
    pub urgency: Urgency,
    /// How many members etcd has, as far as that is known.
    pub members: usize,
    /// How many of them come before this node's.
    pub rank: usize,
    /// For how long the Lease could not be had while one was needed.
    pub without_lease: Duration,
    /// Whether the API was found to be away earlier in this pass: then it is asked once.
    pub is_api_away: bool,
}

/// What to do next for a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnStep {
    /// Read the Lease.
    ReadLease,
    /// Write the Lease as one of this node, if it is unchanged since it was read.
    TakeLease,
    /// Find the other instances of a service.
    FindPeers(Essential),
    /// Wait. The holder is the node that holds the Lease meanwhile, if that is the reason.
    Pause(Duration, Option<String>),
    /// The turn is this node's.
    Go(Go),
    /// The service is not restarted in this pass.
    Refuse(Refusal),
}

/// By what right a service is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// This node holds the Lease.
    Leased,
    /// It goes without the Lease.
    WithoutLease,
    /// etcd has no quorum, so nothing can be lost.
    NothingToLose,
}

/// Why a service is not restarted in this pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another node held the Lease all the time.
    Busy {
        /// That node.
        holder: String,
        /// For how long it was waited for.
        waited: Duration,
    },
    /// The Lease can't be had, and there is time.
    NoLease,
    /// Its peers do not carry on, for an operator.
    Peers(String),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnAnswer {
    /// Nothing was done yet, or it was waited.
    Ready,
    /// The Lease, and how long it has been the same.
    Lease(Option<LeaseState>, Duration),
    /// The Lease was taken.
    Taken,
    /// The Lease has changed since it was read.
    Changed,
    /// The API did not answer, or not as it should. One that says why it never will is no use to
    /// ask again.
    NoApi {
        /// Whether it may answer later.
        may_answer: bool,
    },
    /// The other instances, or why they are not known.
    Peers(Result<Neighbours, String>),
}

/// The first part of a turn.
#[derive(Clone, Debug)]
pub struct TakeTurn<'t> {
    facts: TurnFacts<'t>,
    phase: Phase,
    began: Duration,
    /// When the API answered last.
    answered: Duration,
    /// Since when the Lease has been found free, for a leader.
    free_since: Option<Duration>,
    quorum: QuorumWatch,
}

/// What the first part is about.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The Lease.
    Lease,
    /// Whether there is a quorum to lose.
    Quorum,
    /// The nodes that come before this one.
    Delay,
}

impl<'t> TakeTurn<'t> {
    /// A turn that begins now, by any clock that runs on.
    #[must_use]
    pub fn new(facts: TurnFacts<'t>, now: Duration) -> Self {
        Self {
            facts,
            phase: Phase::Lease,
            began: now,
            answered: now,
            free_since: None,
            quorum: QuorumWatch::default(),
        }
    }

    /// Takes the answer to the last step, and says what comes next.
    pub fn next(&mut self, answer: TurnAnswer, now: Duration) -> TurnStep {
        if !matches!(answer, TurnAnswer::Ready | TurnAnswer::NoApi { .. }) {
            self.answered = now;
        }
        match answer {
            TurnAnswer::Ready => match self.phase {
                Phase::Lease => TurnStep::ReadLease,
                Phase::Quorum => TurnStep::FindPeers(Essential::EtcdMember),
                Phase::Delay => TurnStep::Go(Go::WithoutLease),
            },
            TurnAnswer::Lease(lease, unchanged) => self.judge_lease(lease.as_ref(), unchanged, now),
            TurnAnswer::Taken => TurnStep::Go(Go::Leased),
            TurnAnswer::Changed => TurnStep::ReadLease,
            TurnAnswer::NoApi { may_answer } => self.without_api(may_answer, now),
            TurnAnswer::Peers(found) => self.judge_quorum(&found, now),
        }
    }

    fn judge_lease(
        &mut self,
        lease: Option<&LeaseState>,
        unchanged: Duration,
        now: Duration,
    ) -> TurnStep {
        match claim(lease, self.facts.node, unchanged) {
            Claim::Wait { holder, .. } => {
                self.free_since = None;
                let waited = now.saturating_sub(self.began);
                if waited < TURN_TIMEOUT {
                    TurnStep::Pause(LEASE_INTERVAL, Some(holder))
                } else {
                    TurnStep::Refuse(Refusal::Busy { holder, waited })
                }
            }
            Claim::Take if self.lets_others_go_first(now) => {
                self.free_since.get_or_insert(now);
                TurnStep::Pause(LEASE_INTERVAL, None)
            }
            Claim::Take => TurnStep::TakeLease,
        }
    }

    fn lets_others_go_first(&self, now: Duration) -> bool {
        self.facts.stake == Stake::Leader { is_leader: true }
            && now.saturating_sub(self.began) < LEADER_TIMEOUT
            && self.free_since.is_none_or(|since| now.saturating_sub(since) < LAST_IN_TURN)
    }

    /// Components with a leader go on: another instance takes over in any case.
    fn without_api(&mut self, may_answer: bool, now: Duration) -> TurnStep {
        let is_away_for = now.saturating_sub(self.answered);
        if may_answer && !self.facts.is_api_away && is_away_for < AWAY_TIMEOUT {
            return TurnStep::Pause(LEASE_INTERVAL, None);
        }
        match self.facts.stake {
            Stake::Leader { .. } => TurnStep::Go(Go::WithoutLease),
            Stake::Essential(_) => {
                self.phase = Phase::Quorum;
                TurnStep::FindPeers(Essential::EtcdMember)
            }
        }
    }

    fn judge_quorum(&mut self, found: &Result<Neighbours, String>, now: Duration) -> TurnStep {
        let TurnFacts { stake, urgency, members, rank, without_lease: waited, .. } = self.facts;
        if may_stop(found, members) == MayStop::NoQuorum {
            return self.quorum.wait(now);
        }
        let rank = match stake {
            Stake::Essential(Essential::EtcdMember) => rank,
            // Clients of an API server turn to another one as soon as its certificate has expired.
            Stake::Essential(Essential::ApiServer) | Stake::Leader { .. } => 0,
        };
        match without_lease(urgency, waited, rank) {
            WithoutLease::Wait => TurnStep::Refuse(Refusal::NoLease),
            WithoutLease::GoAfter(Duration::ZERO) => TurnStep::Go(Go::WithoutLease),
            WithoutLease::GoAfter(delay) => {
                self.phase = Phase::Delay;
                TurnStep::Pause(delay, None)
            }
        }
    }
}

/// A lack of etcd's quorum, for as long as it has been found.
#[derive(Clone, Copy, Debug, Default)]
struct QuorumWatch {
    lost_since: Option<Duration>,
}

impl QuorumWatch {
    /// Another look found no quorum: waits for the next one, until the lack has lasted.
    fn wait(&mut self, now: Duration) -> TurnStep {
        let since = *self.lost_since.get_or_insert(now);
        if now.saturating_sub(since) >= QUORUM_LOSS {
            TurnStep::Go(Go::NothingToLose)
        } else {
            TurnStep::Pause(QUORUM_INTERVAL, None)
        }
    }
}

/// The second part of a turn: whether the peers of an essential service carry on without it. It is
/// left out where what the service uses has expired, and where nothing can be lost.
#[derive(Clone, Debug)]
pub struct CheckPeers {
    essential: Essential,
    members: usize,
    quorum: QuorumWatch,
}

impl CheckPeers {
    /// The check for a service, where etcd has so many members as far as that is known; `None`
    /// where the service needs none.
    #[must_use]
    pub fn new(
        essential: Option<Essential>,
        urgency: Urgency,
        members: usize,
        go: Option<Go>,
    ) -> Option<Self> {
        let left_out = urgency == Urgency::Expired || go == Some(Go::NothingToLose);
        let essential = essential.filter(|_| !left_out)?;
        Some(Self { essential, members, quorum: QuorumWatch::default() })
    }

    /// Takes the answer to the last step, and says what comes next.
    pub fn next(&mut self, answer: &TurnAnswer, now: Duration) -> TurnStep {
        let TurnAnswer::Peers(found) = answer else { return TurnStep::FindPeers(self.essential) };
        match may_stop(found, self.members) {
            MayStop::Yes => TurnStep::Go(Go::Leased),
            MayStop::No(reason) => TurnStep::Refuse(Refusal::Peers(reason)),
            MayStop::NoQuorum => self.quorum.wait(now),
        }
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
