//! Alarms from what a pass found and did: which are in force now, and which are new or over.

use std::collections::{BTreeMap, BTreeSet};

use super::Ledger;
use super::ledger::Changed;
use crate::act::RenewError;
use crate::act::refresh::{RefreshError, RefreshOutcome};
use crate::model::{
    AbsolutePath, Alarm, AlarmEvent, AlarmMemory, Belief, Brakes, CredentialName, Deferred,
    ServiceName, Timestamp,
};
use crate::observe::{Node, host_name, other_renewers};
use crate::pass::{Outlook, PassError, Report, ServicesReport, Survey, policy};
use crate::plan::{
    AlarmSituation, Configuration, Diff, Picture, Renewals, Request, Seen, ServiceEnd, alarms,
    configuration_alarms, diff, note_pass_failed, note_renewals, note_services,
};
use crate::state::read_alarms;
use crate::store::StoreError;
use crate::sys::Root;

/// What is new of alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The alarms that are in force now, the worst first.
    pub in_force: Vec<Alarm>,
    /// What happened to them.
    pub events: Vec<AlarmEvent>,
    /// What could not be written down.
    pub notes: Vec<String>,
}

/// What became of a pass.
#[derive(Clone, Copy, Debug)]
pub enum Made<'m> {
    /// It was made.
    Well(&'m Report),
    /// It could not be made; what was found all the same.
    Not(&'m PassError, &'m Outlook),
}

/// Takes a pass into account: what it was asked for, what is thought of the configuration on disk,
/// and what time it is at its end.
#[must_use]
pub fn after_pass(
    ledger: &Ledger,
    node: &Node,
    made: Made<'_>,
    request: &Request,
    configuration: Configuration<'_>,
    now: Timestamp,
) -> News {
    if let Made::Not(PassError::Store(StoreError::Busy { .. }), _) = made {
        // Another one is at work, which takes its own pass into account.
        return unchanged(ledger, node);
    }
    let (host, renewers, policy) =
        (host_name(&node.root), other_renewers(&node.root), policy(node));
    let View { survey, deferred, brakes, not_trusted, trouble } = View::of(made);
    let limits = &node.settings.alarms;
    let not_copied = not_copied(made);
    let seen = Seen {
        authorities: &survey.authorities,
        credentials: &survey.credentials,
        only: &request.only,
        deferred,
        holds: &brakes.holds,
        lacking: &survey.lacking,
        renewers: &renewers,
        not_copied: &not_copied,
        not_trusted,
        policy: &policy,
        root_authority_within: limits.root_authority_expires_within.as_duration(),
        within: limits.authority_expires_within.as_duration(),
    };
    let (host, trouble) = (host.as_str(), trouble.as_deref());
    let situation = AlarmSituation {
        host,
        now,
        seen: Some(seen),
        belief: &brakes.belief,
        trouble,
        configuration,
    };
    settle(ledger, &node.root, &node.settings.paths.state, |memory| {
        take_note(memory, made, survey, brakes, now);
        alarms(&situation, memory)
    })
}

/// Takes into account that not even a look at the node was possible.
#[must_use]
pub fn after_fault(
    ledger: &Ledger,
    root: &Root,
    state: &AbsolutePath,
    trouble: &str,
    now: Timestamp,
) -> News {
    let host = host_name(root);
    let configuration = Configuration::NotChecked;
    let situation = AlarmSituation {
        host: &host,
        now,
        seen: None,
        belief: &Belief::Believed,
        trouble: Some(trouble),
        configuration,
    };
    settle(ledger, root, state, |memory| alarms(&situation, memory))
}

/// Takes into account that the configuration was read. `trouble` is why it is refused, if it is.
#[must_use]
pub fn after_configuration(
    ledger: &Ledger,
    node: &Node,
    trouble: Option<&str>,
    now: Timestamp,
) -> News {
    let host = host_name(&node.root);
    settle(ledger, &node.root, &node.settings.paths.state, |_| {
        configuration_alarms(&host, now, trouble)
    })
}

/// The alarms that are in force by what is written down. The text says what is wrong with the file,
/// if something is.
#[must_use]
pub fn in_force(node: &Node) -> (Vec<Alarm>, Option<String>) {
    let (state, note) = read_alarms(&node.root, &node.settings.paths.state);
    (state.in_force, note)
}

fn unchanged(ledger: &Ledger, node: &Node) -> News {
    let (state, note) = ledger.look(&node.root, &node.settings.paths.state);
    News { in_force: state.in_force, events: Vec::new(), notes: note.into_iter().collect() }
}

fn settle(
    ledger: &Ledger,
    root: &Root,
    state: &AbsolutePath,
    judge: impl Fn(&mut AlarmMemory) -> Picture,
) -> News {
    let note_before = ledger.look(root, state).1;
    let Changed { result: (in_force, events), note } = ledger.change(root, state, |now| {
        let picture = judge(&mut now.memory);
        let Diff { in_force, events } = diff(&now.in_force, picture);
        now.in_force.clone_from(&in_force);
        (in_force, events)
    });
    News { in_force, events, notes: note_before.into_iter().chain(note).collect() }
}

/// What is looked at of a pass, however it ended.
struct View<'m> {
    survey: &'m Survey,
    deferred: &'m [Deferred],
    brakes: &'m Brakes,
    not_trusted: Option<&'m [String]>,
    trouble: Option<String>,
}

impl<'m> View<'m> {
    fn of(made: Made<'m>) -> Self {
        match made {
            Made::Well(report) => Self {
                survey: report.at_end(),
                deferred: &report.deferred,
                brakes: &report.brakes,
                not_trusted: Some(&report.not_trusted),
                trouble: None,
            },
            Made::Not(error, outlook) => Self {
                survey: &outlook.survey,
                deferred: &outlook.deferred,
                brakes: &outlook.brakes,
                not_trusted: None,
                trouble: Some(error.to_string()),
            },
        }
    }
}

fn take_note(
    memory: &mut AlarmMemory,
    made: Made<'_>,
    survey: &Survey,
    brakes: &Brakes,
    now: Timestamp,
) {
    let failed = match made {
        Made::Well(report) => report
            .results
            .iter()
            .filter_map(|(name, result)| failure(name, result.as_ref().err()?))
            .collect(),
        Made::Not(..) => BTreeMap::new(),
    };
    let by_a_believed_clock = !matches!(brakes.belief, Belief::NotBelieved(_));
    let renewals = Renewals {
        failed: &failed,
        credentials: &survey.credentials,
        by_a_believed_clock,
        holds: &brakes.holds,
        now,
    };
    note_renewals(memory, &renewals);
    match made {
        Made::Well(report) => {
            let found = &report.services.found;
            note_services(memory, &found.list, &found.findings, &treated(&report.services));
        }
        Made::Not(error, outlook) => {
            let due: BTreeSet<CredentialName> =
                outlook.plan.issuing().map(|step| step.credential.clone()).collect();
            note_pass_failed(memory, due, &error.to_string());
        }
    }
}

fn not_copied(made: Made<'_>) -> BTreeMap<CredentialName, String> {
    match made {
        Made::Well(report) => report.not_copied().collect(),
        Made::Not(..) => BTreeMap::new(),
    }
}

/// What was left for the next pass is no failure.
fn failure(name: &CredentialName, error: &PassError) -> Option<(CredentialName, String)> {
    match error {
        PassError::Renew(RenewError::Stopped | RenewError::Changed) => None,
        error => Some((name.clone(), error.to_string())),
    }
}

fn treated(services: &ServicesReport) -> BTreeMap<ServiceName, ServiceEnd> {
    services.outcomes.iter().map(|outcome| (outcome.service.clone(), end(outcome))).collect()
}

fn end(outcome: &RefreshOutcome) -> ServiceEnd {
    match &outcome.result {
        Ok(_) => ServiceEnd::Updated,
        // It waits, or nothing could be seen: that is no news either way.
        Err(
            RefreshError::Held(_)
            | RefreshError::Stopped
            | RefreshError::NotKnown(_)
            | RefreshError::NotSeen(_),
        ) => ServiceEnd::Open,
        // What does not run reads what is there when it starts; it is ours to answer for only where
        // it was stopped here.
        Err(RefreshError::NotRunning(_)) if !outcome.restarted => ServiceEnd::Open,
        Err(error) => ServiceEnd::NotUpdated(error.to_string()),
    }
}
