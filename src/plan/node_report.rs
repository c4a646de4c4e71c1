//! What a node reports to its cluster, when it does, and the state that a report shows.

use std::time::Duration;

use super::Judged;
use super::words::span;
use crate::model::{
    Alarm, AlarmCounts, Condition, FoundReport, NextExpiry, NodeReport, NodeRole, ReportedNode,
    Severity, Timestamp,
};

/// How often a report is sent where nothing changes.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(6 * 3_600);

/// A node whose report is older is silent: a pass a day, and a time for delays.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(26 * 3_600);

/// The credentials of a node, counted for its report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialCounts {
    /// The one that expires next.
    pub next: Option<NextExpiry>,
    /// How many are due, expired ones aside.
    pub due: u32,
    /// How many have expired.
    pub expired: u32,
}

/// Counts the credentials of a node.
#[must_use]
pub fn count_credentials(credentials: &[Judged]) -> CredentialCounts {
    let count = |wanted: &[Condition]| {
        let found = credentials.iter().filter(|one| wanted.contains(&one.judgement.condition));
        u32::try_from(found.count()).unwrap_or(u32::MAX)
    };
    let ends = credentials.iter().filter_map(|judged| {
        let name = Some(judged.facts.credential.name.clone());
        Some(NextExpiry { at: judged.facts.material.leaf()?.accepted_until(), name })
    });
    CredentialCounts {
        next: ends.min_by_key(|next| next.at),
        due: count(&[Condition::Due, Condition::Urgent]),
        expired: count(&[Condition::Expired]),
    }
}

/// Counts the alarms in force, the most severe of which comes first.
#[must_use]
pub fn count_alarms(in_force: &[Alarm]) -> AlarmCounts {
    let count = |severity| {
        let found = in_force.iter().filter(|alarm| alarm.kind.severity() == severity);
        u32::try_from(found.count()).unwrap_or(u32::MAX)
    };
    AlarmCounts {
        critical: count(Severity::Critical),
        major: count(Severity::Major),
        minor: count(Severity::Minor),
        warning: count(Severity::Warning),
        worst: in_force.first().map(|alarm| alarm.text.clone()),
    }
}

/// Whether a report is sent, where the Node holds this one: one that says something else besides
/// its times, or one that is as old as the interval.
#[must_use]
pub fn is_to_send(before: &FoundReport, report: &NodeReport) -> bool {
    let Some(before) = before.read() else { return true };
    let clock = if is_same_clock(before.clock, report.clock) { before.clock } else { report.clock };
    let same_times = NodeReport { at: before.at, pass: before.pass, clock, ..report.clone() };
    same_times != *before || is_older(before.at, report.at, REPORT_INTERVAL)
}

/// A clock that is ahead by a second more may be rounded to the next ten.
fn is_same_clock(before: Option<i64>, now: Option<i64>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => before.saturating_sub(now).unsigned_abs() <= 10,
        _ => before == now,
    }
}

/// Whether a time is not within this time before now. A time after now is of a clock that is
/// ahead, and proves as little.
fn is_older(time: Timestamp, now: Timestamp, limit: Duration) -> bool {
    now.seconds_since(time).unsigned_abs() >= limit.as_secs()
}

/// The state of a node as its report shows it. The worst comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Nothing needs attention.
    Fine,
    /// A worker that reports nothing: kubecertd need not run there.
    WorkerWithout,
    /// Credentials are due.
    Due(u32),
    /// A node of the control plane reports nothing.
    Without,
    /// Its report can't be used: why.
    Unreadable(String),
    /// Its report is too old.
    Silent,
    /// The last pass failed.
    Failed,
    /// Services use outdated credentials.
    Stale(u32),
    /// Alarms are in force: how many, and the text of the most severe one.
    Alarms(u32, Option<String>),
    /// Credentials have expired.
    Expired(u32),
}

impl NodeState {
    /// The word for programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::WorkerWithout | Self::Without => "without kubecertd",
            Self::Due(_) => "due",
            Self::Unreadable(_) => "unreadable",
            Self::Silent => "silent",
            Self::Failed => "failed",
            Self::Stale(_) => "stale",
            Self::Alarms(..) => "alarms",
            Self::Expired(_) => "expired",
        }
    }

    /// The state in a few words, for operators.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Fine | Self::WorkerWithout | Self::Without | Self::Failed => {
                self.as_str().to_owned()
            }
            Self::Due(count) => format!("{count} due"),
            Self::Unreadable(reason) => format!("report can't be used: {reason}"),
            Self::Silent => format!("silent for more than {}", span(SILENT_AFTER)),
            Self::Stale(count) => format!("{count} stale"),
            Self::Alarms(1, None) => "1 alarm".to_owned(),
            Self::Alarms(count, None) => format!("{count} alarms"),
            Self::Alarms(1, Some(text)) => format!("1 alarm: {text}"),
            Self::Alarms(count, Some(text)) => format!("{count} alarms: {text}"),
            Self::Expired(count) => format!("{count} expired"),
        }
    }

    /// Whether an operator has to do something.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        !matches!(self, Self::Fine | Self::WorkerWithout)
    }
}

/// The worst that the report of a node shows.
#[must_use]
pub fn node_state(node: &ReportedNode, now: Timestamp) -> NodeState {
    let report = match (&node.report, node.role) {
        (FoundReport::Absent, NodeRole::ControlPlane) => return NodeState::Without,
        (FoundReport::Absent, NodeRole::Worker) => return NodeState::WorkerWithout,
        (FoundReport::Unreadable(reason), _) => return NodeState::Unreadable(reason.clone()),
        (FoundReport::Read(report), _) => report,
    };
    let has_expired = report.next.as_ref().is_some_and(|next| next.at < now);
    let alarms = &report.alarms;
    match () {
        () if report.at > now.plus(SILENT_AFTER) => {
            NodeState::Unreadable(format!("it is dated {}, in the future", report.at))
        }
        () if is_silent(report, now) => NodeState::Silent,
        () if report.expired > 0 || has_expired => NodeState::Expired(report.expired.max(1)),
        () if alarms.total() > 0 => NodeState::Alarms(alarms.total(), alarms.worst.clone()),
        () if report.stale > 0 => NodeState::Stale(report.stale),
        () if report.failed => NodeState::Failed,
        () if report.due > 0 => NodeState::Due(report.due),
        () => NodeState::Fine,
    }
}

/// Whether a report says nothing of the present any more.
pub(super) fn is_silent(report: &NodeReport, now: Timestamp) -> bool {
    is_older(report.at, now, SILENT_AFTER)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{AlarmKind, CredentialName, Material};
    use crate::plan::service_fixtures::{judged, now};

    pub(in crate::plan) fn report() -> NodeReport {
        NodeReport::fine(now())
    }

    fn state(report: NodeReport) -> NodeState {
        let report = FoundReport::Read(Box::new(report));
        let node = ReportedNode { name: "cp1".to_owned(), role: NodeRole::ControlPlane, report };
        node_state(&node, now())
    }

    fn earlier(seconds: u64) -> Timestamp {
        now().minus(Duration::from_secs(seconds))
    }

    #[test]
    fn report_is_sent_when_changed_or_old() {
        let sent = |before: NodeReport| is_to_send(&FoundReport::Read(Box::new(before)), &report());
        assert!(is_to_send(&FoundReport::Absent, &report()));
        assert!(is_to_send(&FoundReport::Unreadable(String::new()), &report()));
        let times = |seconds| NodeReport { at: earlier(seconds), pass: earlier(9), ..report() };
        assert!(!sent(times(6 * 3_600 - 1)), "only its times differ");
        assert!(sent(times(6 * 3_600)));
        assert!(sent(NodeReport { at: now().plus(REPORT_INTERVAL), ..report() }), "a clock ahead");
        assert!(sent(NodeReport { due: 1, ..times(1) }));
        for (clock, sends) in
            [(Some(10), false), (Some(-10), false), (Some(20), true), (None, true)]
        {
            assert_eq!(sent(NodeReport { clock, ..times(1) }), sends, "{clock:?}");
        }
    }

    #[test]
    fn state_is_the_worst_of_a_report() {
        let fine = report();
        assert_eq!(state(fine.clone()), NodeState::Fine);
        let due = NodeReport { due: 2, ..fine };
        assert_eq!(state(due.clone()), NodeState::Due(2));
        let failed = NodeReport { failed: true, ..due };
        assert_eq!(state(failed.clone()), NodeState::Failed);
        let stale = NodeReport { stale: 1, ..failed };
        assert_eq!(state(stale.clone()), NodeState::Stale(1));
        let alarms = AlarmCounts { critical: u32::MAX, minor: 1, ..AlarmCounts::default() };
        let alarmed = NodeReport { alarms, ..stale };
        assert_eq!(state(alarmed.clone()), NodeState::Alarms(u32::MAX, None));
        let next = Some(NextExpiry { at: earlier(1), name: None });
        let expired = NodeReport { next, ..alarmed };
        assert_eq!(state(expired.clone()), NodeState::Expired(1));
        assert_eq!(state(NodeReport { expired: 3, ..expired.clone() }), NodeState::Expired(3));
        let at_limit = NodeReport { at: earlier(26 * 3_600 - 1), ..expired.clone() };
        assert_eq!(state(at_limit), NodeState::Expired(1));
        let silent = NodeReport { at: earlier(26 * 3_600), ..expired.clone() };
        assert_eq!(state(silent), NodeState::Silent);
        let ahead = NodeReport { at: Timestamp::MAX, ..expired };
        let reason = "it is dated 9999-12-31T23:59:59Z, in the future".to_owned();
        assert_eq!(state(ahead), NodeState::Unreadable(reason), "it is no sign of life");
    }

    #[test]
    fn worker_without_kubecertd_needs_no_attention() {
        let without = |role| {
            let report = FoundReport::Absent;
            node_state(&ReportedNode { name: "a".to_owned(), role, report }, now())
        };
        assert!(without(NodeRole::ControlPlane).needs_attention());
        assert!(!without(NodeRole::Worker).needs_attention());
    }

    #[test]
    fn credentials_and_alarms_are_counted() {
        let with = |name: &str, condition, end: u64| {
            let mut one = judged(name, name);
            one.judgement.condition = condition;
            if let Material::Whole(leaf) = &mut one.facts.material {
                leaf.not_after = now().plus(Duration::from_secs(end));
            }
            one
        };
        let credentials = [
            with("apiserver", Condition::Fresh, 9),
            with("etcd/server", Condition::Due, 5),
            with("etcd/peer", Condition::Urgent, 7),
        ];
        let at = now().plus(Duration::from_secs(5));
        let next = Some(NextExpiry { at, name: Some(CredentialName::constant("etcd/server")) });
        let counts = CredentialCounts { next, due: 2, expired: 0 };
        assert_eq!(count_credentials(&credentials), counts);
        let alarm = |kind, text: &str| Alarm {
            kind,
            entity: "host=cp1".to_owned(),
            about: Vec::new(),
            text: text.to_owned(),
            reason: String::new(),
            repair: String::new(),
            raised: now(),
        };
        let in_force = [alarm(AlarmKind::Expired, "a"), alarm(AlarmKind::HeldTooLong, "b")];
        let worst = Some("a".to_owned());
        let counts = AlarmCounts { critical: 1, minor: 1, worst, ..AlarmCounts::default() };
        assert_eq!(count_alarms(&in_force), counts);
    }
}
