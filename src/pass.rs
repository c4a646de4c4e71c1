//! One pass, from top to bottom: recover, observe, plan, renew, bring copies up to date, refresh
//! services, roll back, persist.
//!
//! The order of the steps is defined here only; each step calls the layer that does it.

pub mod ca_renewal;
mod copies;
mod decision;
mod error;
mod event;
mod known;
mod membership;
mod memory;
mod names;
pub mod new_root;
mod orders;
mod renewal;
mod report;
pub mod requests;
pub mod restore;
mod roll_back;
pub mod rotation;
pub mod services;
mod settle;
pub mod sign;
mod survey;
mod turns;

use std::time::Duration;

pub use self::decision::{Preview, preview};
pub use self::error::PassError;
pub use self::event::{Emit, Event, Subject};
use self::memory::{Memory, replaced_ca_certificates};
pub use self::orders::{Orders, ScheduleMemory};
pub use self::report::Report;
use self::rotation::kept::{Rotation, issues_certificates};
pub use self::services::{Services, ServicesReport};
use self::settle::Settling;
pub use self::survey::{Survey, policy, survey, survey_observed};
use crate::act::Renewed;
use crate::credentials::located;
use crate::model::{
    AbsolutePath, ClockFacts, ClockTrust, CredentialName, Refused, Replaced, ReplacedCa, RootCa,
    Urgency,
};
use crate::observe::{Node, Platform, controller_manager_manifest, signing_files};
use crate::plan::{Moment, Trigger, last_seen, note_replaced};
use crate::state::{KnownCertificates, PassMemory, remove_drafts, rotation_key, untrusted_files};
use crate::store::{Recovered, Store, StoreError};
use crate::sys::uptime;

/// How long another kubecertd process that works on the same node is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a pass.
///
/// # Errors
/// When it could not begin; what goes wrong with single credentials is in the report.
pub fn run(node: &Node, orders: &Orders<'_>) -> Result<Report, PassError> {
    let start = Start::recover(node, orders)?;
    let survey = start.observe();
    let mut pass = start.plan(survey);
    pass.renew();
    pass.rotate();
    pass.sync_copies();
    pass.refresh_services();
    pass.roll_back();
    pass.conclude_rotation();
    pass.persist();
    Ok(pass.report)
}

/// A pass that has the store, and has not looked at the node yet.
struct Start<'p> {
    node: &'p Node,
    orders: &'p Orders<'p>,
    store: Store<'p>,
    recovered: Recovered,
    not_trusted: Vec<String>,
    /// What the passes before this one left in the state file.
    state: PassMemory,
    memory: Memory<'p>,
    /// Whom the credentials are known to be for.
    known: KnownCertificates,
    notes: Vec<String>,
}

/// A pass that has decided what to do.
struct Pass<'p> {
    node: &'p Node,
    orders: &'p Orders<'p>,
    store: Store<'p>,
    /// What the passes before this one left in the state file.
    state: PassMemory,
    memory: Memory<'p>,
    /// Whom the credentials are known to be for.
    known: KnownCertificates,
    /// The certificates that were put in place since the services were last refreshed.
    replaced: Vec<Replaced>,
    /// The certificates that servers refused, as it is to be remembered: known after the roll-back.
    refused: Vec<Refused>,
    /// The rotation of the root CA that this node takes part in.
    rotation: Option<Rotation>,
    report: Report,
}

impl<'p> Start<'p> {
    /// Takes the store, completes or drops what an earlier process left unfinished, and loads what
    /// is remembered.
    fn recover(node: &'p Node, orders: &'p Orders<'p>) -> Result<Self, PassError> {
        if node.platform == Platform::StarlingX {
            return Err(PassError::Platform);
        }
        let state_dir = &node.settings.paths.state;
        // Looked at before the files that are not trusted are replaced.
        let not_trusted = untrusted_files(&node.root, state_dir);
        let (store, recovered) = open_store(node)?;
        let drafts = remove_drafts(store.dir()).err();
        let drafts = drafts.map(|e| format!("{e}; the next write of the file takes its place"));
        let emit = |event: Event<'_>| (orders.emit)(&event);
        recovered.finished.iter().for_each(|name| emit(Event::Completed(subject(node, name))));
        recovered.dropped.iter().for_each(|name| emit(Event::Dropped(subject(node, name))));
        recovered.notes.iter().for_each(|note| emit(Event::Note(note)));
        let (state, state_note) = PassMemory::read(&node.root, state_dir);
        let (memory, memory_note) = Memory::read(node);
        let (known, known_note) = KnownCertificates::read(&node.root, state_dir);
        let notes: Vec<String> =
            drafts.into_iter().chain(state_note).chain(memory_note).chain(known_note).collect();
        notes.iter().for_each(|note| emit(Event::Note(note)));
        Ok(Self { node, orders, store, recovered, not_trusted, state, memory, known, notes })
    }

    /// Looks at every certificate, once none of them is just being written.
    fn observe(&self) -> Survey {
        let Orders { clock, request, stop, .. } = *self.orders;
        Settling::USUAL.survey(self.node, clock, request, stop)
    }

    /// Decides what is done about what was found.
    fn plan(mut self, survey: Survey) -> Pass<'p> {
        let Self { node, orders, .. } = self;
        services::note_before(node, &survey, &mut self.memory);
        let Preview { survey, plan, deferred, constraints, membership, notes } =
            decision::decide(node, orders, survey, &self.state, &self.memory.value);
        let report = Report {
            recovered: self.recovered,
            before: survey,
            after: None,
            plan,
            deferred,
            constraints,
            membership,
            services: ServicesReport::default(),
            results: Vec::new(),
            copies: Vec::new(),
            written: Vec::new(),
            not_trusted: self.not_trusted,
            rotation: None,
            rotation_trouble: None,
            notes: self.notes,
        };
        let (store, state, memory, known) = (self.store, self.state, self.memory, self.known);
        let (replaced, refused) = (Vec::new(), Vec::new());
        let mut pass = Pass {
            node,
            orders,
            store,
            state,
            memory,
            known,
            replaced,
            refused,
            rotation: None,
            report,
        };
        pass.note(notes);
        if let Some(finding) = &pass.report.membership {
            pass.emit(Event::MembershipFound(finding));
        }
        for deferred in &pass.report.deferred {
            let subject = subject(node, &deferred.credential);
            pass.emit(Event::Deferred { subject, deferred });
        }
        pass
    }
}

impl Pass<'_> {
    /// Renews what the plan says, and looks whether the new certificates are in place.
    fn renew(&mut self) {
        let Self { node, orders, .. } = *self;
        let note = copies::remember(node, &self.report.before);
        self.note(note);
        let mut jobs = renewal::jobs(node, &self.report.before, &self.report.plan, orders.request);
        if issues_certificates(node) {
            // By the root whose turn it is.
            jobs.retain(|job| !job.authority.root || job.urgency == Urgency::Expired);
        }
        // A command that has nothing to do leaves nothing behind.
        let is_trusted = !matches!(self.report.constraints.clock_trust, ClockTrust::NotTrusted(_));
        if is_trusted && (orders.remember.is_some() || !jobs.is_empty()) {
            self.remember_certificates(&[]);
        }
        if !jobs.is_empty() {
            let note = self.announce();
            self.note(note);
        }
        let renewal = renewal::renewal(node, orders, self.report.before.now);
        // Without jobs, too: backups beyond the configured number are removed.
        let kubeconfigs = node.catalog.kubeconfig_files();
        let (renewed, notes) = crate::act::renew(
            &node.root,
            &mut self.store,
            &jobs,
            &kubeconfigs,
            renewal,
            orders.progress,
        );
        self.note(notes);
        if renewed.is_empty() {
            return;
        }
        let after = self.survey_again();
        self.report.results = renewal::verify(after, renewed);
        for (name, result) in &self.report.results {
            let subject = subject(node, name);
            match result {
                Ok(renewed) => {
                    let reason = self.reason(name);
                    self.emit(Event::Renewed { subject, renewed, reason });
                }
                Err(error) => self.emit(Event::NotRenewed { subject, error }),
            }
        }
        let renewed: Vec<Renewed> = self
            .report
            .results
            .iter()
            .filter_map(|(_, result)| result.as_ref().ok().cloned())
            .collect();
        self.remember_certificates(&renewed);
        self.take_note_of(&renewed);
        // Kubeconfigs may have got the certificates of another CA with them.
        let (before, after) = (&self.report.before, self.report.at_end());
        let trusted = replaced_ca_certificates(&before.trust_files, &after.trust_files);
        self.replaced.extend(trusted);
    }

    /// Brings the copies up to date that are behind their originals.
    fn sync_copies(&mut self) {
        let Self { node, orders, .. } = *self;
        let Report { plan, constraints, .. } = &self.report;
        let latest = self.report.at_end();
        let copies::Followed { results, after, notes } =
            copies::follow(node, &mut self.store, orders, latest, constraints, plan);
        self.note(notes);
        self.report.after = after.or(self.report.after.take());
        for (name, result) in &results {
            let subject = subject(node, name);
            match result {
                Ok(renewed) => {
                    let reason = Some(self.reason(name)).filter(|reason| !reason.is_empty());
                    let reason = reason.unwrap_or("follows its original");
                    self.emit(Event::Copied { subject, renewed, reason });
                }
                Err(error) => self.emit(Event::NotCopied { subject, error }),
            }
        }
        let copied: Vec<Renewed> =
            results.iter().filter_map(|(_, result)| result.as_ref().ok().cloned()).collect();
        self.take_note_of(&copied);
        self.report.copies.retain(|(name, _)| !results.iter().any(|(other, _)| other == name));
        self.report.copies.extend(results);
    }

    /// Has the services use what is on the disk, as far as it is time for that.
    fn refresh_services(&mut self) {
        let Self { node, orders, .. } = *self;
        // All nodes wait for what another program has put in place, so it is used at once.
        let is_awaited = self.rotation.is_some();
        let trigger = if is_awaited { Trigger::Scheduled } else { orders.trigger };
        let orders = &Orders { trigger, ..*orders };
        let replaced = std::mem::take(&mut self.replaced);
        let latest = self.report.at_end();
        let refreshed = services::refresh_services(
            node,
            orders,
            latest,
            &self.report.constraints,
            &replaced,
            &mut self.memory,
        );
        refreshed.found.notes.iter().for_each(|note| self.emit(Event::Note(note)));
        self.report.services = std::mem::take(&mut self.report.services).then(refreshed);
    }

    /// Puts the earlier certificate back where a server refuses the new one, and has copies and
    /// services follow.
    fn roll_back(&mut self) {
        let Self { node, orders, .. } = *self;
        let now = orders.clock.now();
        let latest = self.report.at_end();
        let rolled_back =
            roll_back::roll_back(node, &mut self.store, latest, &self.memory.value, now);
        self.refused = roll_back::refusals(&self.report, &rolled_back, now);
        if rolled_back.is_empty() {
            return;
        }
        let in_place: Vec<Replaced> =
            rolled_back.iter().filter_map(|one| one.result.as_ref().ok().cloned()).collect();
        let files = roll_back::files(self.survey_again(), &in_place);
        self.report.written.extend(files);
        self.replaced = in_place;
        let failures = roll_back::failures(rolled_back);
        for (name, error) in &failures {
            self.emit(Event::NotRenewed { subject: subject(node, name), error });
        }
        self.report.results.retain(|(name, _)| !failures.iter().any(|(other, _)| other == name));
        self.report.results.extend(failures.into_iter().map(|(name, error)| (name, Err(error))));
        self.sync_copies();
        self.refresh_services();
    }

    /// Writes down what the next pass should know. A full disk costs the memory, not the pass.
    fn persist(&mut self) {
        let known = &self.report.services.found.notes;
        let note = self.memory.persist().err().filter(|note| !known.contains(note));
        self.note(note);
        let Self { orders, state, report, .. } = self;
        // A command that had nothing to do leaves nothing behind, unless the pass before it was
        // cut short.
        if orders.remember.is_none() && report.results.is_empty() && !state.unfinished {
            return;
        }
        let now = orders.clock.now();
        let clock =
            ClockFacts { now, last_seen: state.last_seen, synchronised: orders.synchronised };
        let (began, failed) = (report.before.now, report.failed());
        // A clock that is not trusted says nothing of the schedule.
        let trusted = !matches!(report.constraints.clock_trust, ClockTrust::NotTrusted(_));
        let remember = orders.remember.filter(|_| trusted);
        let next = PassMemory {
            last_seen: last_seen(&clock, &report.constraints.clock_trust),
            last_pass_began: Some(began),
            last_pass_succeeded: if failed { state.last_pass_succeeded } else { Some(began) },
            unfinished: failed,
            scheduled_until: remember
                .map_or(state.scheduled_until, |remember| Some(remember.scheduled_until)),
            observing_until: remember
                .map_or(state.observing_until, |remember| remember.observing_until),
            refused: self.refused.clone(),
        };
        let note = self
            .write(&next)
            .err()
            .map(|e| format!("{e}; the state of this pass was not saved, which does no harm"));
        self.note(note);
    }

    /// Writes down that a pass has begun, before it replaces anything: where it is cut short, the
    /// daemon's next start finds one that began and did not succeed, and makes it again.
    fn announce(&self) -> Option<String> {
        let began = Some(self.report.before.now);
        let begun = PassMemory { last_pass_began: began, unfinished: true, ..self.state.clone() };
        self.write(&begun)
            .err()
            .map(|e| format!("{e}; an interrupted pass is completed only by the next one"))
    }

    fn write(&self, state: &PassMemory) -> Result<(), crate::sys::FileError> {
        state.write(&self.node.root, &self.node.settings.paths.state)
    }

    /// Looks at every certificate once more, after some were replaced.
    fn survey_again(&mut self) -> &Survey {
        self.report.after.insert(survey(self.node, self.orders.clock.now()))
    }

    /// Writes down whom each credential is for, by what is in place now.
    fn remember_certificates(&mut self, renewed: &[Renewed]) {
        let latest = self.report.at_end();
        let last_seen = self.state.last_seen;
        let note = known::remember(self.node, latest, renewed, last_seen, &mut self.known);
        self.note(note);
    }

    /// Remembers certificates that were put in place, for the services and for the report.
    fn take_note_of(&mut self, renewed: &[Renewed]) {
        self.report.written.extend(renewed.iter().flat_map(|one| one.files.iter().cloned()));
        self.replaced.extend(renewed.iter().map(|renewed| Replaced {
            content: renewed.credential.clone().into(),
            fingerprint: renewed.fingerprint,
            not_after: renewed.not_after,
        }));
    }

    /// Does the same, and notes the time at once: the services are looked at before the refresh.
    fn note_renewed_now(&mut self, renewed: &[Renewed]) {
        let before = self.replaced.len();
        self.take_note_of(renewed);
        let replaced = self.replaced.split_off(before);
        self.note_replaced_now(replaced);
    }

    /// Remembers contents that were put in place just now.
    fn note_replaced_now(&mut self, replaced: Vec<Replaced>) {
        if let Ok(uptime) = uptime(&self.node.root) {
            let moment = Moment { uptime, at: self.orders.clock.now() };
            replaced.iter().for_each(|one| note_replaced(&mut self.memory.value, one, &moment));
        }
        self.replaced.extend(replaced);
    }

    /// What is true of the services now.
    fn look_at_services(&mut self) -> Services {
        let survey = survey(self.node, self.orders.clock.now());
        let constraints = &self.report.constraints;
        services::observe_services(self.node, self.orders, &survey, constraints, &mut self.memory)
    }

    /// The reason of the plan's step for a credential; empty where the plan has none.
    fn reason(&self, credential: &CredentialName) -> &str {
        let mut steps = self.report.plan.steps.iter();
        steps.find(|step| step.credential == *credential).map_or("", |step| &step.reason)
    }

    fn note(&mut self, notes: impl IntoIterator<Item = String>) {
        for note in notes {
            self.emit(Event::Note(&note));
            self.report.notes.push(note);
        }
    }

    fn emit(&self, event: Event<'_>) {
        (self.orders.emit)(&event);
    }
}

fn subject<'e>(node: &'e Node, credential: &'e CredentialName) -> Subject<'e> {
    let mut known = node.catalog.credentials.iter();
    let authority =
        known.find(|known| known.name == *credential).and_then(|known| known.authority.as_ref());
    Subject { credential, authority }
}

/// Opens the store, which completes an interrupted replacement of those files, of the root CA's,
/// and of those that a rotation writes.
///
/// # Errors
/// When it can't be opened, or another process holds it.
pub(crate) fn open_store(node: &Node) -> Result<(Store<'_>, Recovered), StoreError> {
    let (root, front_proxy) = (node.catalog.root_authority(), node.catalog.front_proxy_authority());
    let of_cas = root.into_iter().chain(front_proxy);
    let of_cas = of_cas.flat_map(|one| [one.certificate.clone(), one.key.clone()]);
    let state = &node.settings.paths.state;
    let of_rotation = [ReplacedCa::Root, ReplacedCa::FrontProxy]
        .into_iter()
        .flat_map(|ca| [RootCa::Old, RootCa::New].map(|root| rotation_key(state, ca, root)));
    let signing = root.into_iter().flat_map(signing_files);
    let targets = files(node).into_iter().chain(of_cas).chain(signing).chain(of_rotation);
    let targets: Vec<_> = targets.chain(controller_manager_manifest(node)).collect();
    Store::open(&node.root, state, LOCK_TIMEOUT, &targets)
}

/// Every file that a pass may replace: those that a kubeconfig refers to, where it does.
#[must_use]
pub fn files(node: &Node) -> Vec<AbsolutePath> {
    let located =
        node.catalog.credentials.iter().map(|credential| located(&node.root, credential).location);
    let kubeconfigs = node.catalog.kubeconfigs.values().cloned();
    located
        .flat_map(|location| location.files().cloned().collect::<Vec<_>>())
        .chain(kubeconfigs)
        .collect()
}
