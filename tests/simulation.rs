//! Nights of whole clusters, in which every node's etcd has to be restarted for a new certificate.
//! The decisions are those of the program ([`TakeTurn`], [`CheckPeers`]); etcd, the API and time
//! are simulated. Nodes lose their power, the API goes away, the network splits, kubecertd is
//! killed, and clocks are an hour ahead.
//!
//! Of every stop of a member it is asserted that the others keep a quorum, or that there was none
//! to lose; that no member is stopped twice for its certificate; and that none uses an expired one
//! that could have been restarted in two nights before. A planner without the Lease, and one that
//! counts its own member as another one, break this.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use kubecertd::model::{Essential, EtcdMembers, LeaseState, Neighbours, Urgency, Voter};
use kubecertd::plan::{
    CheckPeers, Go, LEASE_DURATION, NEEDED_BEFORE_STOP, Stake, TakeTurn, TurnAnswer, TurnFacts,
    TurnStep,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// How many nights before its certificate expires a member has to be restarted for it.
const DUE_DAYS: u64 = 15;
const URGENT_DAYS: u64 = 3;
/// Stopping etcd takes so long: it serves no client, and still votes.
const STOPPING: u64 = 28;
/// For so long no member has a leader after the present one stopped.
const ELECTION: u64 = 2;
const NIGHTS: u64 = 1_000;
const NAMES: [&str; 7] = ["one", "two", "three", "four", "five", "six", "seven"];

/// The random numbers of one run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` up to but without `to`.
    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.next().is_multiple_of(chances)
    }
}

/// Which planner decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planner {
    /// The program's.
    Real,
    /// The program's, without the Lease.
    WithoutLease,
    /// The program's, which counts its own member as another one.
    OwnMemberTwice,
}

/// What a member of etcd does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Serves,
    /// It was stopped for its certificate, and votes until then.
    Stops {
        until: u64,
    },
    Starts {
        until: u64,
    },
    Off,
}

/// What kubecertd on a node does.
enum Work {
    /// Nothing until then.
    Sleeps { until: u64 },
    /// It takes its turn.
    Takes { turn: TakeTurn<'static>, answer: TurnAnswer, began: u64, at: u64 },
    /// It checks its peers.
    Checks { check: CheckPeers, answer: TurnAnswer, began: u64, at: u64 },
    /// It is about to stop the member.
    Stops { at: u64 },
    /// It waits until the member is healthy.
    Awaits { at: u64 },
}

struct Node {
    member: Member,
    work: Work,
    /// Without power until then.
    off_until: u64,
    /// Cut from the other nodes until then.
    split_until: u64,
    /// How far its clock is ahead.
    clock_ahead: u64,
    /// Nights in which it was due and nothing was in the way.
    good_nights: u32,
    /// When the certificate that etcd uses expires.
    expires: u64,
    /// How often the member was stopped for the present certificate.
    stops: u32,
    failures: u32,
    without_lease_since: Option<u64>,
    /// The Lease as it was last seen: its version, and since when.
    seen: (u64, u64),
    read: u64,
    /// When the Lease was renewed, while this node holds it.
    held: Option<u64>,
}

#[derive(Default)]
struct Lease {
    state: Option<LeaseState>,
    version: u64,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Violation {
    QuorumLost { night: u64, node: usize },
    StoppedTwice { night: u64, node: usize },
    Expired { night: u64, node: usize },
}

/// How a run went.
#[derive(Debug, Default)]
struct Figures {
    stops: u64,
    without_lease: u64,
    without_quorum: u64,
    refusals: u64,
}

struct Cluster {
    planner: Planner,
    random: Random,
    now: u64,
    nodes: Vec<Node>,
    lease: Lease,
    api_away_until: u64,
    election_until: u64,
    figures: Figures,
    violation: Option<Violation>,
}

impl Cluster {
    fn new(planner: Planner, size: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let node = |random: &mut Random| Node {
            member: Member::Serves,
            work: Work::Sleeps { until: 0 },
            off_until: 0,
            split_until: 0,
            clock_ahead: if random.one_in(4) { HOUR } else { 0 },
            good_nights: 0,
            expires: random.between(DUE_DAYS, DUE_DAYS + 3) * DAY,
            stops: 0,
            failures: 0,
            without_lease_since: None,
            seen: (0, 0),
            read: 0,
            held: None,
        };
        let nodes = (0..size).map(|_| node(&mut random)).collect();
        Self {
            planner,
            random,
            now: 0,
            nodes,
            lease: Lease::default(),
            api_away_until: 0,
            election_until: 0,
            figures: Figures::default(),
            violation: None,
        }
    }

    /// Simulates nights until one goes wrong.
    fn run(mut self, nights: u64) -> (Figures, Option<Violation>) {
        for night in 0..nights {
            self.begin_night(night);
            while self.violation.is_none() && self.step((night + 1) * DAY) {}
            if self.violation.is_some() {
                break;
            }
            self.now = (night + 1) * DAY;
        }
        (self.figures, self.violation)
    }

    /// All passes begin in the same second, or in half an hour; and something fails.
    fn begin_night(&mut self, night: u64) {
        let spread = if self.random.one_in(2) { 1 } else { 30 * MINUTE };
        let midnight = night * DAY;
        self.judge_expiry(night, midnight);
        for at in 0..self.nodes.len() {
            let ahead = self.nodes[at].clock_ahead;
            let begins = midnight + (DAY - ahead) % DAY + self.random.between(0, spread);
            if let Work::Sleeps { until } = &mut self.nodes[at].work {
                *until = (*until).min(begins).max(begins);
            }
            if self.random.one_in(30) {
                let length = if self.random.one_in(10) { 10 * DAY } else { 2 * HOUR };
                let from = midnight + self.random.between(0, HOUR);
                self.nodes[at].off_until = from + self.random.between(MINUTE, length);
            }
            if self.random.one_in(40) {
                self.nodes[at].split_until = midnight + self.random.between(MINUTE, HOUR);
            }
        }
        if self.random.one_in(20) {
            let length = if self.random.one_in(5) { 16 * DAY } else { 3 * HOUR };
            self.api_away_until = midnight + self.random.between(MINUTE, length);
        }
    }

    /// A night is good when no node was off or split, and the API was there, in the hours before.
    fn judge_expiry(&mut self, night: u64, midnight: u64) {
        let ended = |until: u64| until + 12 * HOUR < midnight;
        let good = ended(self.api_away_until)
            && self.nodes.iter().all(|one| ended(one.off_until) && ended(one.split_until));
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let is_due = node.expires.saturating_sub(midnight) <= DUE_DAYS * DAY;
            node.good_nights += u32::from(good && is_due);
            if node.expires < midnight && node.good_nights > 2 {
                self.violation.get_or_insert(Violation::Expired { night, node: at });
            }
        }
    }

    /// Does what comes next before the end; false where nothing is left.
    fn step(&mut self, end: u64) -> bool {
        let next = (0..self.nodes.len()).map(|at| (self.wakes(at), at)).min().unwrap();
        if next.0 >= end {
            return false;
        }
        self.now = self.now.max(next.0);
        self.let_pass_time();
        self.act(next.1);
        true
    }

    fn wakes(&self, at: usize) -> u64 {
        match self.nodes[at].work {
            Work::Sleeps { until } => until,
            Work::Takes { at, .. } | Work::Checks { at, .. } => at,
            Work::Stops { at } | Work::Awaits { at } => at,
        }
    }

    /// Members stop and start, and nodes lose and get their power.
    fn let_pass_time(&mut self) {
        let now = self.now;
        for at in 0..self.nodes.len() {
            let is_off = now < self.nodes[at].off_until;
            match self.nodes[at].member {
                Member::Off if !is_off => {
                    self.nodes[at].member = Member::Starts { until: now + 5 };
                }
                Member::Off => {}
                _ if is_off => {
                    self.nodes[at].member = Member::Off;
                    self.nodes[at].held = None;
                    self.nodes[at].work = Work::Sleeps { until: self.nodes[at].off_until };
                    self.election_until = now + ELECTION;
                }
                Member::Stops { until } if until <= now => {
                    let starts = self.random.between(5, 60);
                    self.nodes[at].member = Member::Starts { until: until + starts };
                    self.election_until = until + ELECTION;
                }
                Member::Starts { until } if until <= now => {
                    self.nodes[at].member = Member::Serves;
                    self.use_new_certificate(at);
                }
                Member::Serves | Member::Stops { .. } | Member::Starts { .. } => {}
            }
        }
    }

    fn votes(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        matches!(node.member, Member::Serves | Member::Stops { .. }) && node.split_until <= self.now
    }

    fn quorum(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    fn has_quorum(&self) -> bool {
        (0..self.nodes.len()).filter(|at| self.votes(*at)).count() >= self.quorum()
    }

    fn has_leader(&self) -> bool {
        self.has_quorum() && self.election_until <= self.now
    }

    fn is_healthy(&self, at: usize) -> bool {
        self.votes(at) && self.nodes[at].member == Member::Serves && self.has_leader()
    }

    fn has_api(&self, at: usize) -> bool {
        self.has_leader()
            && self.api_away_until <= self.now
            && self.nodes[at].split_until <= self.now
    }

    fn peers(&self, at: usize) -> TurnAnswer {
        if self.nodes[at].member != Member::Serves {
            return TurnAnswer::Peers(Err("it does not answer".to_owned()));
        }
        let is_split = self.nodes[at].split_until > self.now;
        let others = (0..self.nodes.len()).filter(|other| *other != at && !is_split);
        let healthy = others.filter(|other| self.is_healthy(*other)).count();
        let own = self.is_healthy(at);
        let twice = self.planner == Planner::OwnMemberTwice && own;
        TurnAnswer::Peers(Ok(Neighbours::Members(EtcdMembers {
            voters: self.nodes.len(),
            rank: at,
            own: Some(Voter { healthy: own }),
            healthy_others: healthy + usize::from(twice),
            membership: None,
        })))
    }

    fn urgency(&self, at: usize) -> Urgency {
        let clock = self.now + self.nodes[at].clock_ahead;
        let left = self.nodes[at].expires.saturating_sub(clock);
        match left {
            0 => Urgency::Expired,
            left if left <= URGENT_DAYS * DAY => Urgency::Urgent,
            _ => Urgency::Comfortable,
        }
    }

    fn act(&mut self, at: usize) {
        // kubecertd is killed now and then; systemd starts it again.
        if self.random.one_in(300) && !matches!(self.nodes[at].work, Work::Sleeps { .. }) {
            self.nodes[at].held = None;
            self.nodes[at].work = Work::Sleeps { until: self.now + 5 };
            return;
        }
        let sleeping = Work::Sleeps { until: u64::MAX };
        let work = std::mem::replace(&mut self.nodes[at].work, sleeping);
        self.nodes[at].work = match work {
            Work::Sleeps { .. } => self.begin_pass(at),
            Work::Takes { turn, answer, began, .. } => self.take(at, turn, answer, began),
            Work::Checks { check, answer, began, .. } => self.check(at, check, answer, began),
            Work::Stops { .. } => self.stop(at),
            Work::Awaits { .. } => self.await_healthy(at),
        };
    }

    fn is_due(&self, at: usize) -> bool {
        let clock = self.now + self.nodes[at].clock_ahead;
        self.nodes[at].expires.saturating_sub(clock) <= DUE_DAYS * DAY
    }

    fn midnight(&self) -> u64 {
        (self.now / DAY + 1) * DAY
    }

    fn begin_pass(&mut self, at: usize) -> Work {
        let (now, node) = (self.now, &self.nodes[at]);
        if node.member != Member::Serves || !self.is_due(at) {
            return Work::Sleeps { until: self.midnight() };
        }
        let waited = node.without_lease_since.map_or(0, |since| now - since);
        let facts = TurnFacts {
            node: NAMES[at],
            stake: Stake::Essential(Essential::EtcdMember),
            urgency: self.urgency(at),
            members: self.nodes.len(),
            rank: at,
            without_lease: Duration::from_secs(waited),
            is_api_away: false,
        };
        let turn = TakeTurn::new(facts, Duration::ZERO);
        Work::Takes { turn, answer: TurnAnswer::Ready, began: now, at: now }
    }

    fn take(
        &mut self,
        at: usize,
        mut turn: TakeTurn<'static>,
        answer: TurnAnswer,
        began: u64,
    ) -> Work {
        if self.planner == Planner::WithoutLease {
            return self.go(at, Go::WithoutLease);
        }
        let step = turn.next(answer, Duration::from_secs(self.now - began));
        let (answer, pause) = match step {
            TurnStep::ReadLease => (self.read_lease(at), 0),
            TurnStep::TakeLease => (self.take_lease(at), 0),
            TurnStep::FindPeers(_) => {
                self.nodes[at].without_lease_since.get_or_insert(self.now);
                (self.peers(at), 0)
            }
            TurnStep::Pause(time, _) => (TurnAnswer::Ready, time.as_secs()),
            TurnStep::Go(go) => return self.go(at, go),
            TurnStep::Refuse(_) => return self.refused(at),
        };
        Work::Takes { turn, answer, began, at: self.now + pause }
    }

    fn read_lease(&mut self, at: usize) -> TurnAnswer {
        if !self.has_api(at) {
            return TurnAnswer::NoApi { may_answer: true };
        }
        let version = self.lease.version;
        if self.nodes[at].seen.0 != version {
            self.nodes[at].seen = (version, self.now);
        }
        self.nodes[at].read = version;
        let unchanged = Duration::from_secs(self.now - self.nodes[at].seen.1);
        TurnAnswer::Lease(self.lease.state.clone(), unchanged)
    }

    fn take_lease(&mut self, at: usize) -> TurnAnswer {
        if !self.has_api(at) {
            return TurnAnswer::NoApi { may_answer: true };
        }
        if self.nodes[at].read != self.lease.version {
            return TurnAnswer::Changed;
        }
        let holder = Some(NAMES[at].to_owned());
        self.write_lease(LeaseState { holder, duration: LEASE_DURATION });
        self.nodes[at].held = Some(self.now);
        TurnAnswer::Taken
    }

    fn write_lease(&mut self, state: LeaseState) {
        self.lease.state = Some(state);
        self.lease.version += 1;
    }

    fn go(&mut self, at: usize, go: Go) -> Work {
        match go {
            Go::Leased => self.nodes[at].without_lease_since = None,
            Go::WithoutLease => self.figures.without_lease += 1,
            Go::NothingToLose => self.figures.without_quorum += 1,
        }
        let essential = Some(Essential::EtcdMember);
        let size = self.nodes.len();
        match CheckPeers::new(essential, self.urgency(at), size, Some(go)) {
            Some(check) => {
                let (answer, now) = (TurnAnswer::Ready, self.now);
                Work::Checks { check, answer, began: now, at: now }
            }
            None => self.stop_soon(),
        }
    }

    fn check(&mut self, at: usize, mut check: CheckPeers, answer: TurnAnswer, began: u64) -> Work {
        let (answer, pause) = match check.next(&answer, Duration::from_secs(self.now - began)) {
            TurnStep::FindPeers(_) => (self.peers(at), 0),
            TurnStep::Pause(time, _) => (TurnAnswer::Ready, time.as_secs()),
            TurnStep::Refuse(_) => {
                self.release(at);
                return self.refused(at);
            }
            _ => return self.stop_soon(),
        };
        Work::Checks { check, answer, began, at: self.now + pause }
    }

    fn refused(&mut self, at: usize) -> Work {
        self.figures.refusals += 1;
        self.nodes[at].failures += 1;
        let wait = (MINUTE << self.nodes[at].failures.min(6)).min(HOUR);
        Work::Sleeps { until: (self.now + wait).min(self.midnight()) }
    }

    /// Between the answer and the stop another node may do something.
    fn stop_soon(&mut self) -> Work {
        Work::Stops { at: self.now + self.random.between(0, 3) }
    }

    /// Stops the member, unless its Lease is about to expire and can't be renewed.
    fn stop(&mut self, at: usize) -> Work {
        if let Some(renewed) = self.nodes[at].held {
            let left = LEASE_DURATION.as_secs().saturating_sub(self.now - renewed);
            if left < NEEDED_BEFORE_STOP.as_secs() && !self.renew(at) {
                self.nodes[at].held = None;
                return self.refused(at);
            }
        }
        let night = self.now / DAY;
        let is_late = self.urgency(at) == Urgency::Expired;
        let others = (0..self.nodes.len()).filter(|other| *other != at && self.votes(*other));
        let others = others.filter(|other| self.nodes[*other].member == Member::Serves).count();
        let violation = if self.nodes[at].stops > 0 {
            Some(Violation::StoppedTwice { night, node: at })
        } else if self.has_quorum() && self.votes(at) && others < self.quorum() && !is_late {
            Some(Violation::QuorumLost { night, node: at })
        } else {
            None
        };
        self.violation = self.violation.take().or(violation);
        self.figures.stops += 1;
        self.nodes[at].stops += 1;
        self.nodes[at].failures = 0;
        self.nodes[at].member = Member::Stops { until: self.now + STOPPING };
        Work::Awaits { at: self.now + 1 }
    }

    fn renew(&mut self, at: usize) -> bool {
        let holds = |state: &LeaseState| state.holder.as_deref() == Some(NAMES[at]);
        if !self.has_api(at) || !self.lease.state.as_ref().is_some_and(holds) {
            return false;
        }
        let state = self.lease.state.clone().unwrap();
        self.write_lease(state);
        self.nodes[at].held = Some(self.now);
        true
    }

    fn release(&mut self, at: usize) {
        if self.nodes[at].held.take().is_some() && self.has_api(at) {
            self.write_lease(LeaseState { holder: None, duration: LEASE_DURATION });
        }
    }

    /// The restart is given up after four minutes; the Lease is kept meanwhile.
    fn await_healthy(&mut self, at: usize) -> Work {
        if let Some(renewed) = self.nodes[at].held
            && self.now - renewed >= MINUTE
        {
            self.renew(at);
        }
        match self.nodes[at].member {
            Member::Serves => {
                if self.is_healthy(at) {
                    self.release(at);
                } else {
                    self.nodes[at].held = None;
                }
                Work::Sleeps { until: self.midnight() }
            }
            Member::Off => Work::Sleeps { until: self.nodes[at].off_until },
            Member::Stops { .. } | Member::Starts { .. } => Work::Awaits { at: self.now + 1 },
        }
    }

    /// A member that starts reads the certificate that was renewed when it was due. The next one is
    /// due soon, so that there are more restarts than in a year.
    fn use_new_certificate(&mut self, at: usize) {
        if !self.is_due(at) {
            return;
        }
        let days = self.random.between(DUE_DAYS + 1, DUE_DAYS + 4);
        let node = &mut self.nodes[at];
        node.stops = 0;
        node.good_nights = 0;
        node.without_lease_since = None;
        node.expires = self.now + days * DAY;
    }
}

/// The violations of a planner over some seeds, each with its seed.
fn violations(planner: Planner, size: usize, seeds: u64, nights: u64) -> Vec<(u64, Violation)> {
    let run = |seed| Some((seed, Cluster::new(planner, size, seed).run(nights).1?));
    (0..seeds).filter_map(run).collect()
}

#[test]
fn thousand_nights_lose_no_quorum_and_no_certificate() {
    let mut all = Figures::default();
    for size in [3, 5, 7] {
        for seed in 0..4 {
            let (figures, violation) = Cluster::new(Planner::Real, size, seed).run(NIGHTS);
            println!("{size} nodes, seed {seed}: {NIGHTS} nights, {figures:?}");
            assert_eq!(violation, None, "{size} nodes, seed {seed}");
            all.stops += figures.stops;
            all.without_lease += figures.without_lease;
            all.without_quorum += figures.without_quorum;
            all.refusals += figures.refusals;
        }
    }
    assert!(all.stops > NIGHTS && all.refusals > NIGHTS, "{all:?}");
    assert!(all.without_lease > 0 && all.without_quorum > 0, "{all:?}");
}

#[test]
fn planner_without_lease_loses_quorum() {
    for size in [3, 5, 7] {
        let found = violations(Planner::WithoutLease, size, 4, NIGHTS);
        println!("{size} nodes: {found:?}");
        let lost = |(_, one): &(u64, Violation)| matches!(one, Violation::QuorumLost { .. });
        assert!(found.iter().all(lost) && found.len() == 4, "{size} nodes: {found:?}");
    }
}

#[test]
fn planner_that_counts_own_member_as_another_loses_quorum() {
    for size in [3, 5, 7] {
        let found = violations(Planner::OwnMemberTwice, size, 4, NIGHTS);
        println!("{size} nodes: {found:?}");
        let lost = |(_, one): &(u64, Violation)| matches!(one, Violation::QuorumLost { .. });
        assert!(found.iter().any(lost), "{size} nodes: {found:?}");
    }
}
