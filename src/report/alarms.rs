//! Derives alarms from a pass: those in force now, and those that were raised, changed or cleared.

use std::collections::{BTreeMap, BTreeSet};

use super::AlarmLedger;
use super::ledger::Update;
use crate::act::RenewError;
use crate::act::refresh::{RefreshError, RefreshOutcome};
use crate::model::{
    AbsolutePath, Alarm, AlarmEvent, AlarmMemory, ClockTrust, Constraints, CredentialName,
    Deferral, MembershipFinding, ServiceName, Timestamp,
};
use crate::observe::{Node, host_name, other_renewers};
use crate::pass::{PassError, Preview, Report, ServicesReport, Survey, policy};
use crate::plan::{
    AlarmAssessment, AlarmInputs, AlarmSituation, ConfigurationCheck, Diff, NodeFindings, Renewals,
    Request, RotationInputs, ServiceOutcome, alarms, configuration_alarms, diff, node_alarms,
    note_pass_failed, note_renewals, note_services,
};
use crate::state::read_alarms;
use crate::store::StoreError;
use crate::sys::Root;

/// The changes of alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmChanges {
    /// The alarms in force now, the most severe first.
    pub in_force: Vec<Alarm>,
    /// The events since the last pass.
    pub events: Vec<AlarmEvent>,
    /// Notes about state that could not be read or written.
    pub notes: Vec<String>,
}

/// A pass as alarms look at it.
#[derive(Clone, Copy, Debug)]
pub enum PassView<'p> {
    /// The report of a pass that was made.
    Made(&'p Report),
    /// The error of a pass that could not be made, and a look at the node.
    NotMade(&'p PassError, &'p Preview),
}

/// Updates the alarms after a pass, by its request, the state of the configuration on disk, and the
/// time of its end.
#[must_use]
pub fn update_after_pass(
    ledger: &AlarmLedger,
    node: &Node,
    pass: PassView<'_>,
    request: &Request,
    configuration: ConfigurationCheck<'_>,
    now: Timestamp,
) -> AlarmChanges {
    if let PassView::NotMade(PassError::Store(StoreError::Busy { .. }), _) = pass {
        // Another process makes a pass, and updates the alarms itself.
        return unchanged(ledger, node);
    }
    let (host, renewers, policy) =
        (host_name(&node.root), other_renewers(&node.root), policy(node));
    let Findings { survey, deferred, constraints, membership, not_trusted, trouble } =
        Findings::of(pass);
    let limits = &node.settings.alarms;
    let not_copied = not_copied(pass);
    let progress = rotation_progress(pass);
    let seen = AlarmInputs {
        authorities: &survey.authorities,
        credentials: &survey.credentials,
        only: &request.only,
        deferred,
        membership,
        holds: &constraints.reasons,
        trust: &survey.trust,
        lacking: &survey.lacking,
        renewers: &renewers,
        unclear: &node.unclear,
        not_copied: &not_copied,
        not_trusted,
        rotation: rotation(pass, progress.as_deref()),
        policy: &policy,
        root_authority_within: limits.root_ca_expires_within.as_duration(),
        within: limits.ca_expires_within.as_duration(),
    };
    let (host, trouble) = (host.as_str(), trouble.as_deref());
    let schedule = schedule_trouble(node);
    let situation = AlarmSituation {
        host,
        now,
        seen: Some(seen),
        clock_trust: &constraints.clock_trust,
        trouble,
        configuration,
        schedule: ConfigurationCheck::new(schedule.as_deref()),
    };
    update_ledger(ledger, &node.root, &node.settings.paths.state, |memory| {
        note_results(memory, pass, survey, constraints, now);
        alarms(&situation, memory)
    })
}

/// How far a rotation of the root CA is that is under way after a pass, in words.
fn rotation_progress(pass: PassView<'_>) -> Option<String> {
    let PassView::Made(report) = pass else { return None };
    match report.rotation.as_ref().filter(|one| !one.is_over) {
        Some(found) => {
            let level = found.agreement.to;
            let waits = found.first_wait().map(|waits| format!("; this node waits: {waits}"));
            Some(format!("The nodes go to level {level}{}", waits.unwrap_or_default()))
        }
        None => report.rotation_trouble.as_ref().map(|_| "It can't be read.".to_owned()),
    }
}

fn rotation<'p>(pass: PassView<'p>, progress: Option<&'p str>) -> RotationInputs<'p> {
    let PassView::Made(report) = pass else { return RotationInputs::NotSeen };
    let held = report.rotation.as_ref().and_then(|one| one.held.as_deref());
    let held = held.or(report.rotation_trouble.as_deref());
    progress.map_or(RotationInputs::None, |progress| RotationInputs::UnderWay { progress, held })
}

/// Updates the alarms after a pass without even a look at the node.
#[must_use]
pub fn update_after_fault(
    ledger: &AlarmLedger,
    root: &Root,
    state: &AbsolutePath,
    trouble: &str,
    now: Timestamp,
) -> AlarmChanges {
    let host = host_name(root);
    let configuration = ConfigurationCheck::NotChecked;
    let situation = AlarmSituation {
        host: &host,
        now,
        seen: None,
        clock_trust: &ClockTrust::Trusted,
        trouble: Some(trouble),
        configuration,
        schedule: ConfigurationCheck::NotChecked,
    };
    update_ledger(ledger, root, state, |memory| alarms(&situation, memory))
}

/// Updates the alarms after the configuration was read. `trouble` is why it is refused, if it is.
#[must_use]
pub fn update_after_configuration(
    ledger: &AlarmLedger,
    node: &Node,
    trouble: Option<&str>,
    now: Timestamp,
) -> AlarmChanges {
    let host = host_name(&node.root);
    let schedule = schedule_trouble(node);
    update_ledger(ledger, &node.root, &node.settings.paths.state, |_| {
        configuration_alarms(&host, now, trouble, ConfigurationCheck::new(schedule.as_deref()))
    })
}

/// Updates the alarms about this node among those of its cluster, after an exchange with the API.
#[must_use]
pub fn update_after_exchange(
    ledger: &AlarmLedger,
    node: &Node,
    found: &NodeFindings<'_>,
) -> AlarmChanges {
    let state = &node.settings.paths.state;
    update_ledger(ledger, &node.root, state, |memory| node_alarms(found, memory))
}

fn schedule_trouble(node: &Node) -> Option<String> {
    node.settings.check_schedule().err().map(|e| e.to_string())
}

/// Reads the alarms in force. The text says why the file can't be used, if it can't.
#[must_use]
pub fn read_in_force(node: &Node) -> (Vec<Alarm>, Option<String>) {
    let (state, note) = read_alarms(&node.root, &node.settings.paths.state);
    (state.in_force, note)
}

fn unchanged(ledger: &AlarmLedger, node: &Node) -> AlarmChanges {
    let (state, note) = ledger.read(&node.root, &node.settings.paths.state);
    AlarmChanges { in_force: state.in_force, events: Vec::new(), notes: note.into_iter().collect() }
}

fn update_ledger(
    ledger: &AlarmLedger,
    root: &Root,
    state: &AbsolutePath,
    judge: impl Fn(&mut AlarmMemory) -> AlarmAssessment,
) -> AlarmChanges {
    let note_before = ledger.read(root, state).1;
    let Update { result: (in_force, events), note } = ledger.update(root, state, |now| {
        let assessment = judge(&mut now.memory);
        let Diff { in_force, events } = diff(&now.in_force, assessment);
        now.in_force.clone_from(&in_force);
        (in_force, events)
    });
    AlarmChanges { in_force, events, notes: note_before.into_iter().chain(note).collect() }
}

/// The findings of a pass that alarms are derived from.
struct Findings<'p> {
    survey: &'p Survey,
    deferred: &'p [Deferral],
    constraints: &'p Constraints,
    membership: Option<&'p MembershipFinding>,
    not_trusted: Option<&'p [String]>,
    trouble: Option<String>,
}

impl<'p> Findings<'p> {
    fn of(pass: PassView<'p>) -> Self {
        match pass {
            PassView::Made(report) => Self {
                survey: report.at_end(),
                deferred: &report.deferred,
                constraints: &report.constraints,
                membership: report.membership.as_ref(),
                not_trusted: Some(&report.not_trusted),
                trouble: None,
            },
            PassView::NotMade(error, preview) => Self {
                survey: &preview.survey,
                deferred: &preview.deferred,
                constraints: &preview.constraints,
                membership: preview.membership.as_ref(),
                not_trusted: None,
                trouble: Some(error.to_string()),
            },
        }
    }
}

fn note_results(
    memory: &mut AlarmMemory,
    pass: PassView<'_>,
    survey: &Survey,
    constraints: &Constraints,
    now: Timestamp,
) {
    let failed = match pass {
        PassView::Made(report) => report
            .results
            .iter()
            .filter_map(|(name, result)| failure(name, result.as_ref().err()?))
            .collect(),
        PassView::NotMade(..) => BTreeMap::new(),
    };
    let by_a_trusted_clock = !matches!(constraints.clock_trust, ClockTrust::NotTrusted(_));
    let renewals = Renewals {
        failed: &failed,
        credentials: &survey.credentials,
        by_a_trusted_clock,
        holds: &constraints.reasons,
        now,
    };
    note_renewals(memory, &renewals);
    match pass {
        PassView::Made(report) => {
            let found = &report.services.found;
            note_services(memory, &found.list, &found.findings, &service_ends(&report.services));
        }
        PassView::NotMade(error, preview) => {
            let due: BTreeSet<CredentialName> =
                preview.plan.issuing().map(|step| step.credential.clone()).collect();
            note_pass_failed(memory, due, &error.to_string());
        }
    }
}

fn not_copied(pass: PassView<'_>) -> BTreeMap<CredentialName, String> {
    match pass {
        PassView::Made(report) => report.not_copied().collect(),
        PassView::NotMade(..) => BTreeMap::new(),
    }
}

/// A renewal that was left for the next pass is no failure.
fn failure(name: &CredentialName, error: &PassError) -> Option<(CredentialName, String)> {
    match error {
        PassError::Renew(RenewError::Stopped | RenewError::Changed) => None,
        error => Some((name.clone(), error.to_string())),
    }
}

fn service_ends(services: &ServicesReport) -> BTreeMap<ServiceName, ServiceOutcome> {
    services.outcomes.iter().map(|outcome| (outcome.service.clone(), end(outcome))).collect()
}

fn end(outcome: &RefreshOutcome) -> ServiceOutcome {
    match &outcome.result {
        Ok(_) => ServiceOutcome::Updated,
        // It waits, or nothing could be observed: neither proves anything.
        Err(
            RefreshError::Held(_)
            | RefreshError::Stopped
            | RefreshError::NotKnown(_)
            | RefreshError::NotSeen(_),
        ) => ServiceOutcome::Open,
        // A stopped service reads the new files when it starts; an alarm is due only where it was
        // stopped here.
        Err(RefreshError::NotRunning(_)) if !outcome.restarted => ServiceOutcome::Open,
        Err(error) => ServiceOutcome::NotUpdated(error.to_string()),
    }
}
