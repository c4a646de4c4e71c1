//! The difference between the alarms of two passes.

use std::cmp::Reverse;

use super::situation::AlarmAssessment;
use crate::model::{Alarm, AlarmEvent, AlarmKind, Severity};

/// The alarms that are in force from now on, and the events since the last pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The alarms, the worst first, after one about certificates that expired long ago.
    pub in_force: Vec<Alarm>,
    /// The events, in the same order; cleared alarms come last.
    pub events: Vec<AlarmEvent>,
}

/// Compares the alarms in force with those that are true now. An alarm that stays keeps the time
/// when it was raised; those that could not be observed stay as they are.
#[must_use]
pub fn diff(before: &[Alarm], now: AlarmAssessment) -> Diff {
    let (over, kept): (Vec<_>, Vec<_>) = before
        .iter()
        .filter(|alarm| !now.alarms.iter().any(|true_now| true_now.key() == alarm.key()))
        .partition(|alarm| !now.is_unseen(alarm));
    let kept: Vec<Alarm> = kept.into_iter().cloned().collect();
    let mut events = Vec::new();
    let mut in_force: Vec<Alarm> = Vec::new();
    for mut alarm in now.alarms {
        if in_force.iter().any(|other| other.key() == alarm.key()) {
            continue;
        }
        match before.iter().find(|known| known.key() == alarm.key()) {
            None => events.push(AlarmEvent::Raised(alarm.clone())),
            Some(known) => {
                alarm.raised = known.raised;
                if !alarm.says_the_same(known) {
                    events.push(AlarmEvent::Changed(alarm.clone()));
                }
            }
        }
        in_force.push(alarm);
    }
    in_force.extend(kept);
    in_force.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.key().cmp(&b.key())));
    events.sort_by_key(|event| rank(event.alarm()));
    events.extend(over.into_iter().cloned().map(AlarmEvent::Cleared));
    Diff { in_force, events }
}

/// The order of alarms: the worst first, after the one whose command has to come before anything
/// else.
fn rank(alarm: &Alarm) -> (bool, Reverse<Severity>) {
    (alarm.kind != AlarmKind::LongExpired, Reverse(alarm.kind.severity()))
}
