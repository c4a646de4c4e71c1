//! The plan for services: which step makes each one use the credentials on the disk, when, and what
//! is only reported.
//!
//! One step a service, in the order of the catalog, for all that it reads together, so that it
//! restarts once. A restart is made once for a content and never again: a service that is stale
//! nevertheless is a finding. And it is made only where what is on the disk is valid: a service
//! that holds something better is left alone.

use std::time::Duration;

use super::finding::{Finding, KUBELET_TAKES};
use super::freshness::{JudgedService, lingering, started_before};
use super::judge::kubelet_repaired_here;
use super::on_disk::OnDisk;
use super::steps::{Judged, Request};
use super::words::{remaining, span};
use crate::model::{
    ClockTrust, Condition, Constraints, ContentName, CredentialName, Evidence, Freshness, Health,
    Holding, Instance, Policy, Presence, RefreshStep, Remedy, Renewal, Restarted, Serves,
    ServiceFacts, ServiceMemory, ServiceName, Takes, Timestamp, Urgency, days,
};

/// The lifetime of a certificate that a service makes for itself in memory when it starts.
const IN_MEMORY_LIFETIME: Duration = days(365);

/// How long after it was issued here kubelet is restarted for its own certificate. Later, the cause
/// is another one.
const KUBELET_RESTART_WINDOW: Duration = Duration::from_secs(3_600);

/// The age at which a service with such a certificate is restarted: 11 months.
const MAX_AGE: Duration = days(334);

/// The cause of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The schedule, or a pass of it that was missed.
    Scheduled,
    /// An operator: a command, or a signal.
    Asked,
    /// Anything else: the daemon's start, a change of files, a pass before that failed.
    Other,
}

/// What a plan depends on besides the services.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'s> {
    /// What the files hold.
    pub on_disk: OnDisk<'s>,
    /// What is remembered, these services and contents included.
    pub memory: &'s ServiceMemory,
    /// Why there is a pass.
    pub trigger: Trigger,
    /// What was asked for.
    pub request: &'s Request,
    /// What counts as urgent.
    pub policy: &'s Policy,
    /// What limits the pass.
    pub constraints: &'s Constraints,
    /// The present time.
    pub now: Timestamp,
}

/// What is to be done about services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refresh {
    /// The steps, in the order of the catalog, at most one a service.
    pub steps: Vec<RefreshStep>,
    /// What an operator should know, and no step helps against.
    pub findings: Vec<Finding>,
}

/// Decides what is to be done about all services, given in the order of the catalog.
#[must_use]
pub fn plan_refresh(services: &[JudgedService], situation: &Situation<'_>) -> Refresh {
    let mut refresh = Refresh::default();
    for JudgedService { facts, freshness } in services {
        let service = facts.service.name.clone();
        match &facts.presence {
            Presence::Absent => {}
            Presence::Down(reason) => {
                let step = Planner { facts, instance: None, situation }.start_step();
                if step.is_none() {
                    refresh.findings.push(Finding::Down { service, reason: reason.clone() });
                }
                refresh.steps.extend(step);
            }
            Presence::Unknown(reason) => {
                refresh.findings.push(Finding::Unseen { service, reason: reason.clone() })
            }
            Presence::Running(_) | Presence::OutOfSight => {
                let planner = Planner { facts, instance: facts.presence.instance(), situation };
                let mut found = Vec::new();
                let mut wants = planner.wants(freshness, &mut found);
                let restarts = wants.iter().any(|want| want.remedy == Remedy::Restart);
                if restarts {
                    // It is restarted for another content, and reads this one again too.
                    found.retain(|finding| !matches!(finding, Finding::StillStale { .. }));
                }
                refresh.findings.extend(found);
                wants.extend(planner.issued_for_it());
                if !restarts {
                    wants.extend(planner.too_old(&mut refresh.findings));
                }
                if let Some(finding) = planner.needs_one_certificate() {
                    wants.retain(|want| want.remedy != Remedy::Restart);
                    refresh.findings.push(finding);
                }
                refresh.steps.extend(planner.step(wants));
            }
        }
    }
    // kubelet starts the static pods: it comes last while it is healthy, and first where it is not,
    // since no pod can start then.
    if let Some(first) =
        refresh.steps.iter().position(|step| is_for_unhealthy_kubelet(services, situation, step))
    {
        refresh.steps.get_mut(..=first).into_iter().for_each(|before| before.rotate_right(1));
    }
    refresh
}

/// Whether the step is for kubelet's own certificate, and kubelet is down or unhealthy.
fn is_for_unhealthy_kubelet(
    services: &[JudgedService],
    situation: &Situation<'_>,
    step: &RefreshStep,
) -> bool {
    let facts = services
        .iter()
        .map(|judged| &judged.facts)
        .find(|facts| facts.service.name == step.service);
    let unhealthy = facts.is_some_and(|facts| matches!(facts.health, Health::Unhealthy(_)));
    let is_kubelets = |judged: &&Judged| {
        step.contents.iter().any(|(name, _)| *name == judged.facts.credential.name)
    };
    let kubelets = situation
        .on_disk
        .credentials
        .iter()
        .filter(is_kubelets)
        .any(|judged| kubelet_repaired_here(&judged.facts).is_some());
    kubelets && (step.remedy == Remedy::Start || unhealthy)
}

/// One reason to refresh a service.
struct Want {
    /// For this content, with the fingerprint on the disk; `None` for the service's age.
    content: Option<(ContentName, String)>,
    remedy: Remedy,
    closing: Vec<u64>,
    why: String,
    /// The urgency of the certificate in use.
    urgency: Urgency,
    /// Whether this pass is the time for it, apart from deferrals.
    timely: bool,
}

/// The planner for one service.
struct Planner<'s> {
    facts: &'s ServiceFacts,
    instance: Option<&'s Instance>,
    situation: &'s Situation<'s>,
}

impl Planner<'_> {
    fn wants(
        &self,
        freshness: &[(ContentName, Freshness)],
        findings: &mut Vec<Finding>,
    ) -> Vec<Want> {
        let want = |(content, freshness): &(ContentName, Freshness)| {
            match freshness {
                Freshness::Fresh(_) | Freshness::ByItself | Freshness::NotRunning => None,
                Freshness::Unknown(reason) => {
                    findings.extend(self.unknown(content, reason));
                    None
                }
                // By a clock that is not trusted nothing expires.
                Freshness::Lingering { until, .. }
                    if self.situation.now < *until || !self.is_clock_trusted() =>
                {
                    None
                }
                Freshness::Lingering { .. } => self.close(content.credential()?),
                Freshness::Stale(evidence) => match self.in_the_way(content, *evidence) {
                    Some(finding) => {
                        findings.push(finding);
                        None
                    }
                    None => self.refresh(content, *evidence),
                },
            }
        };
        freshness.iter().filter_map(want).collect()
    }

    /// A fault of the credential itself is reported where that one is judged.
    fn unknown(&self, content: &ContentName, reason: &str) -> Option<Finding> {
        self.fingerprint(content)?;
        Some(Finding::Unknown {
            service: self.name(),
            content: content.clone(),
            reason: reason.to_owned(),
        })
    }

    /// Why a service that is stale is left alone.
    fn in_the_way(&self, content: &ContentName, evidence: Evidence) -> Option<Finding> {
        let service = self.name();
        let takes = content.credential().and_then(|name| Some(self.holding(name)?.takes));
        if takes == Some(Takes::ByHand) {
            return Some(Finding::ByHand { service, content: content.clone(), evidence });
        }
        if let Some(done) = self.restarted(content) {
            let (content, restarted) = (content.clone(), done.at);
            return Some(Finding::StillStale { service, content, evidence, restarted });
        }
        match content {
            ContentName::Credential(name) => self.left_to_others(name, evidence),
            ContentName::CaCertificates(file) => {
                let found = self.situation.on_disk.ca_certificates(file).ok()?;
                let is_expired = self.is_clock_trusted() && found.not_after < self.situation.now;
                let (content, condition) = (content.clone(), Condition::Expired);
                is_expired.then_some(Finding::Worse { service, content, condition })
            }
        }
    }

    /// Why it would not work after a restart.
    fn needs_one_certificate(&self) -> Option<Finding> {
        let file = self.facts.service.one_certificate.as_ref()?;
        let count = self.situation.on_disk.ca_certificates(file).ok()?.count;
        let (service, file) = (self.name(), file.clone());
        (count > 1).then_some(Finding::NeedsOneCertificate { service, file, count })
    }

    /// A credential that kubelet or an operator renews, or that can't be used.
    fn left_to_others(&self, credential: &CredentialName, evidence: Evidence) -> Option<Finding> {
        let judged = self.judged(credential)?;
        let (service, condition) = (self.name(), judged.judgement.condition);
        if matches!(judged.facts.credential.renewal, Renewal::Kubelet | Renewal::Operator(_)) {
            let known = self.situation.memory.appeared(credential);
            let there =
                known.map(|known| known.seen.since_boot.saturating_sub(known.at.since_boot));
            let overdue = evidence == Evidence::Serves && there > Some(KUBELET_TAKES);
            let credential = credential.clone();
            Some(Finding::LeftToKubelet { service, credential, overdue })
        } else if matches!(condition, Condition::Expired | Condition::NotYetValid) {
            let content = credential.clone().into();
            Some(Finding::Worse { service, content, condition })
        } else {
            None
        }
    }

    fn refresh(&self, content: &ContentName, evidence: Evidence) -> Option<Want> {
        let fingerprint = self.fingerprint(content)?;
        let holding = match content {
            ContentName::Credential(name) => Some(self.holding(name)?),
            ContentName::CaCertificates(_) => None,
        };
        let appeared = self.situation.memory.appeared.get(content);
        let end = appeared.and_then(|known| match holding.and_then(|one| one.serves.as_ref()) {
            Some(Serves::Certificate { fingerprint, .. }) => known.end_of(&fingerprint.to_string()),
            _ => self.instance.and_then(|instance| known.held_until(&instance.started)),
        });
        let reloads = holding.is_some_and(|holding| holding.takes == Takes::Reloads);
        Some(Want {
            remedy: if reloads { Remedy::Await } else { Remedy::Restart },
            closing: Vec::new(),
            why: format!("uses {} ({evidence})", content.outdated()),
            urgency: self.urgency(end),
            timely: self.timely(content),
            content: Some((content.clone(), fingerprint)),
        })
    }

    fn close(&self, credential: &CredentialName) -> Option<Want> {
        let content = ContentName::from(credential.clone());
        let fingerprint = self.fingerprint(&content)?;
        let appeared = self.situation.memory.appeared(credential)?;
        let lingering = lingering(
            &self.facts.service.name,
            self.holding(credential)?,
            self.instance?,
            appeared,
            self.situation.memory,
        )?;
        let end = lingering.end.map_or_else(String::new, |end| {
            format!(", which expires {}", remaining(self.situation.now, end))
        });
        Some(Want {
            remedy: Remedy::CloseConnections,
            why: format!(
                "{} of its connections use an outdated {credential}{end}",
                lingering.cookies.len()
            ),
            closing: lingering.cookies,
            urgency: self.urgency(lingering.end),
            timely: self.timely(&content),
            content: Some((content, fingerprint)),
        })
    }

    /// kubelet reads its own certificate when it starts. It is restarted once, within the hour, for
    /// a certificate that was issued here because its own could not be used; and for no other one.
    fn issued_for_it(&self) -> Option<Want> {
        self.facts.service.uses.iter().find_map(|one| {
            let judged = self.judged(&one.credential)?;
            kubelet_repaired_here(&judged.facts)?;
            let content = ContentName::from(one.credential.clone());
            let fingerprint = self.fingerprint(&content)?;
            let known = self.situation.memory.appeared(&one.credential)?;
            let just_now =
                known.seen.since_boot.saturating_sub(known.at.since_boot) <= KUBELET_RESTART_WINDOW;
            let not_seen = self.instance.is_none_or(|instance| started_before(instance, known));
            let wanted = known.ours
                && known.fingerprint == fingerprint
                && just_now
                && not_seen
                && self.restarted(&content).is_none();
            wanted.then(|| Want {
                remedy: if self.instance.is_some() { Remedy::Restart } else { Remedy::Start },
                closing: Vec::new(),
                why: format!("began before its {} was issued here", one.credential),
                urgency: Urgency::Expired,
                timely: true,
                content: Some((content, fingerprint)),
            })
        })
    }

    /// For a service that does not run.
    fn start_step(&self) -> Option<RefreshStep> {
        self.step(self.issued_for_it().into_iter().collect())
    }

    /// At the scheduled time only.
    fn too_old(&self, findings: &mut Vec<Finding>) -> Option<Want> {
        let instance = self.instance?;
        let age = instance.age;
        if !self.facts.service.ages || age < MAX_AGE {
            return None;
        }
        if self.situation.memory.stopped.get(&self.facts.service.name) == Some(&instance.id) {
            findings.push(Finding::StillOld { service: self.name(), age });
            return None;
        }
        (self.situation.trigger == Trigger::Scheduled).then(|| Want {
            content: None,
            remedy: Remedy::Restart,
            closing: Vec::new(),
            why: format!(
                "has been running for {}, and certificates that it keeps in memory expire a year \
                 after its start",
                span(age)
            ),
            urgency: self.left(IN_MEMORY_LIFETIME.checked_sub(age)),
            timely: true,
        })
    }

    /// All that is wanted of the service in one step.
    fn step(&self, mut wants: Vec<Want>) -> Option<RefreshStep> {
        let urgency = wants.iter().map(|want| want.urgency).max()?;
        let later = self.later(urgency, wants.iter().any(|want| want.timely));
        let any = |remedy: Remedy| wants.iter().any(|want| want.remedy == remedy);
        let (remedy, waits, restart_waits) = if any(Remedy::Start) {
            (Remedy::Start, later, None)
        } else if any(Remedy::Restart) {
            (Remedy::Restart, later, None)
        } else if any(Remedy::Await) {
            // Awaiting does no harm; closing connections that are in use might.
            wants.retain(|want| want.remedy == Remedy::Await || later.is_none());
            (Remedy::Await, None, later)
        } else {
            (Remedy::CloseConnections, later, self.restarted_for(&wants))
        };
        let closes = !matches!(remedy, Remedy::Restart | Remedy::Start);
        Some(RefreshStep {
            service: self.name(),
            instance: self.instance.map_or_else(String::new, |instance| instance.id.clone()),
            remedy,
            contents: wants.iter().filter_map(|want| want.content.clone()).collect(),
            closing: wants
                .iter()
                .filter(|_| closes)
                .flat_map(|want| &want.closing)
                .copied()
                .collect(),
            reason: self.reason(&wants),
            waits,
            restart_waits,
            urgency,
        })
    }

    fn reason(&self, wants: &[Want]) -> String {
        let mut reasons: Vec<String> = wants.iter().map(|want| want.why.clone()).collect();
        if let Health::Unhealthy(why) = &self.facts.health {
            reasons.push(format!("is unhealthy already: {why}"));
        }
        reasons.join("; ")
    }

    /// Why the step is deferred. An urgent one never is.
    fn later(&self, urgency: Urgency, timely: bool) -> Option<String> {
        if urgency > Urgency::Due {
            return None;
        }
        let holds = if self.situation.request.force {
            &[]
        } else {
            self.situation.constraints.reasons.as_slice()
        };
        let holds: Vec<String> = holds.iter().map(ToString::to_string).collect();
        let time = (!timely).then(|| {
            "another program replaced it: it is refreshed at the next scheduled time".to_owned()
        });
        join(holds.iter().chain(&time))
    }

    /// Where connections can't be closed, the service is restarted, and for a certificate only
    /// once.
    fn restarted_for(&self, wants: &[Want]) -> Option<String> {
        let contents = wants.iter().filter_map(|want| want.content.as_ref());
        let done = contents.filter_map(|(content, _)| self.restarted(content)).next()?;
        Some(format!("it was restarted for it already, at {}", done.at))
    }

    fn restarted(&self, content: &ContentName) -> Option<&Restarted> {
        let fingerprint = self.fingerprint(content)?;
        let same = |done: &&Restarted| {
            done.service == self.facts.service.name
                && done.content == *content
                && done.fingerprint == fingerprint
        };
        self.situation.memory.restarted.iter().find(same)
    }

    /// What was put in place here is used at once; what others put there at the scheduled time, or
    /// on request.
    fn timely(&self, content: &ContentName) -> bool {
        let only = &self.situation.request.only;
        let ours = self.situation.memory.appeared.get(content).is_some_and(|known| known.ours);
        let is_asked_for = || content.credential().is_some_and(|name| only.contains(name));
        match self.situation.trigger {
            Trigger::Scheduled => true,
            Trigger::Asked => ours || only.is_empty() || is_asked_for(),
            Trigger::Other => ours,
        }
    }

    fn urgency(&self, end: Option<Timestamp>) -> Urgency {
        match end.filter(|_| self.is_clock_trusted()) {
            None => Urgency::Comfortable,
            Some(end) => self.left(
                u64::try_from(end.seconds_since(self.situation.now)).ok().map(Duration::from_secs),
            ),
        }
    }

    fn left(&self, left: Option<Duration>) -> Urgency {
        match left {
            None => Urgency::Expired,
            Some(left) if left <= self.situation.policy.urgent_before => Urgency::Urgent,
            Some(_) => Urgency::Comfortable,
        }
    }

    fn is_clock_trusted(&self) -> bool {
        !matches!(self.situation.constraints.clock_trust, ClockTrust::NotTrusted(_))
    }

    fn judged(&self, credential: &CredentialName) -> Option<&Judged> {
        Judged::find(self.situation.on_disk.credentials, credential)
    }

    fn fingerprint(&self, content: &ContentName) -> Option<String> {
        self.situation.on_disk.fingerprint(content).ok()
    }

    fn holding(&self, credential: &CredentialName) -> Option<&Holding> {
        self.facts.holds.iter().find(|holding| holding.credential == *credential)
    }

    fn name(&self) -> ServiceName {
        self.facts.service.name.clone()
    }
}

fn join<'r>(reasons: impl Iterator<Item = &'r String>) -> Option<String> {
    let reasons: Vec<&str> = reasons.map(String::as_str).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;
