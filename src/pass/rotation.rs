//! The rotation of the root CA in a pass: this node's steps to the level that the nodes have agreed
//! on, and the next agreement where all of them have it. A renewal of the root CA with its own key
//! is one with a single level.
//!
//! No step is remembered: each pass finds out what is true and makes the next ones. Steps that
//! write files are made one after the other; what reads them only when it starts is restarted by
//! the refresh of services in the same pass, and later steps wait for what a service has to read
//! again.

mod accepted;
mod coordinate;
mod find;
mod front_proxy;
pub(super) mod kept;
pub mod order;
pub mod preview;
mod publish;
mod renewal;
pub(super) mod report;
pub mod start;
mod step;
#[cfg(test)]
pub(crate) mod tests;

pub use self::coordinate::{NodeStanding, WaitReason};
use self::kept::remove_old_key;
pub use self::kept::{Rotation, RotationError, read_rotation};
pub use self::report::RotationReport;
use super::Pass;
use super::event::Event;
use crate::credentials::ObservedFiles;
use crate::model::{
    ClockTrust, DeferralReason, FoundRotation, NodeProgress, ReloadingProgram, RestartedProgram,
    RootCa, RotationLevel, RotationStep,
};
use crate::observe::{AcceptedClients, RotationTrouble, RunningServices, find_rotation};
use crate::plan::{next_renewal_step, next_step, rotation_facts};
use crate::state::{KeptRotation, KeptStanding, rotation_file};
use crate::sys::block_on;

/// The most steps in one pass: more than a level has.
const MAX_STEPS: usize = 24;

/// What is next on this node.
enum Next {
    Step(RotationStep),
    Done,
    Held(String),
}

impl Pass<'_> {
    /// Makes the steps that write files, up to one that a service has to make.
    pub(super) fn rotate(&mut self) {
        let found = self.find_rotation().map_err(|e| e.to_string());
        let found = found.and_then(|found| match found {
            None => {
                self.remove_old_key();
                self.renew_root()
            }
            some => Ok(some),
        });
        let rotation = match found {
            Ok(Some(rotation)) => rotation,
            Ok(None) => return,
            Err(error) => {
                let text = format!("root CA: {error}");
                self.report.rotation_trouble = Some(error);
                return self.note([text]);
            }
        };
        let mut report = RotationReport::new(&rotation);
        // The order is the operator's word that a new daemon waits for.
        let reasons = &mut self.report.constraints.reasons;
        reasons.retain(|reason| !matches!(reason, DeferralReason::New { .. }));
        let paused =
            rotation.intent.paused.as_ref().map(|reason| format!("it is paused: {reason}"));
        report.waits = paused.or_else(|| self.reason_to_wait());
        if report.waits.is_none() {
            self.make_steps(&rotation, &mut report);
        }
        self.report.rotation = Some(report);
        self.rotation = Some(rotation);
    }

    fn remove_old_key(&mut self) {
        if matches!(self.report.constraints.clock_trust, ClockTrust::NotTrusted(_)) {
            return;
        }
        match remove_old_key(self.node, self.orders.clock.now()) {
            Ok(true) => self.emit(Event::RotationStep("the key of the replaced one is removed")),
            Ok(false) => {}
            Err(error) => self.note([format!("root CA: {error}")]),
        }
    }

    /// Why nothing is changed now: the clock, kubeadm at work, or an operator's hold. A manifest
    /// that was just changed is no reason: it may be what has to be corrected.
    fn reason_to_wait(&self) -> Option<String> {
        let constraints = &self.report.constraints;
        if let ClockTrust::NotTrusted(reason) = &constraints.clock_trust {
            return Some(reason.clone());
        }
        let is_one = |reason: &&DeferralReason| {
            matches!(reason, DeferralReason::KubeadmRunning { .. } | DeferralReason::Hold(_))
        };
        constraints.reasons.iter().find(is_one).map(ToString::to_string)
    }

    fn make_steps(&mut self, rotation: &Rotation, report: &mut RotationReport) {
        for _ in 0..MAX_STEPS {
            let step = match self.next(rotation) {
                Next::Step(step) if !is_of_service(step) => step,
                Next::Step(_) | Next::Done => return,
                Next::Held(reason) => {
                    report.held = Some(reason);
                    return;
                }
            };
            if report.made.contains(&step) {
                let text = "it was made in this pass already, and is undone again";
                report.held = Some(format!("{}: {text}", describe(step)));
                return;
            }
            if let Err(reason) = self.make_step(rotation, step) {
                report.held = Some(format!("{}: {reason}", describe(step)));
                return;
            }
            self.emit(Event::RotationStep(&describe(step)));
            report.made.push(step);
        }
    }

    /// Finds out how far this node is after its services were refreshed, and goes on with the
    /// cluster where all nodes are done.
    pub(super) fn conclude_rotation(&mut self) {
        let Some(rotation) = self.rotation.take() else { return };
        let Some(mut report) = self.report.rotation.take() else { return };
        if report.held.is_none() && report.waits.is_none() {
            match self.next(&rotation) {
                Next::Done => report.is_done = true,
                Next::Step(step) => report.waits = Some(describe(step)),
                Next::Held(reason) => report.held = Some(reason),
            }
        }
        self.coordinate(&rotation, &mut report);
        let note = self.keep_standing(&report);
        self.note(note);
        // It is no order.
        self.report.written.push(rotation_file(&self.node.settings.paths.state));
        self.report.rotation = Some(report);
    }

    /// Keeps how far this node is, for `ca rotate status`.
    fn keep_standing(&self, report: &RotationReport) -> Option<String> {
        let state = &self.node.settings.paths.state;
        let (kept, _) = KeptRotation::read(&self.node.root, state);
        let generation = report.agreement.generation;
        let standing = KeptStanding {
            progress: NodeProgress { generation, is_done: report.is_done },
            // An order to pause is in the intent.
            waits: report.waits.clone().filter(|_| !report.is_paused),
            objects: report.objects.clone(),
            held: report.held.clone(),
        };
        let standing = Some(standing).filter(|_| kept.intent.is_some());
        if kept.standing == standing {
            return None;
        }
        KeptRotation { standing, ..kept }.write(&self.node.root, state).err().map(|e| e.to_string())
    }

    fn next(&mut self, rotation: &Rotation) -> Next {
        let found = match self.find_facts(rotation) {
            Ok(found) => found,
            Err(trouble) => return Next::Held(trouble.to_string()),
        };
        let (level, bridges) = (rotation.intent.agreement.to, rotation.intent.bridges());
        if rotation.intent.is_renewal() {
            return next_renewal_step(&found, level).map_or(Next::Done, Next::Step);
        }
        if let Some(reason) = lost_by_distrust(&found, level) {
            return Next::Held(reason);
        }
        match next_step(&rotation_facts(&found, level, bridges), level, bridges) {
            Some(step) => Next::Step(step),
            None => Next::Done,
        }
    }

    fn find_facts(&mut self, rotation: &Rotation) -> Result<FoundRotation, RotationTrouble> {
        let node = self.node;
        let files = ObservedFiles::of(&node.root);
        if !node.root.is_host() {
            return find_rotation(node, &files, &rotation.intent, None);
        }
        let services = self.look_at_services();
        let accepted = self.accepted(rotation);
        let memory = &self.memory.value;
        let running = RunningServices { judged: &services.list, memory, accepted };
        find_rotation(node, &files, &rotation.intent, Some(running))
    }

    /// The clients of which roots are accepted. Those of one key are, by either certificate.
    fn accepted(&self, rotation: &Rotation) -> AcceptedClients {
        if rotation.intent.is_renewal() {
            return AcceptedClients::default();
        }
        let asked = accepted::ask(self.node, rotation, self.orders.clock.now());
        block_on(asked).unwrap_or_default()
    }
}

/// Why a root is not distrusted on this node: certificates of it that no step issues anew.
fn lost_by_distrust(found: &FoundRotation, level: RotationLevel) -> Option<String> {
    let distrusted = match level {
        RotationLevel::Distrusted => RootCa::Old,
        RotationLevel::Rest | RotationLevel::Staged => RootCa::New,
        RotationLevel::Trusted
        | RotationLevel::Clients
        | RotationLevel::Servers
        | RotationLevel::Renewed => return None,
    };
    let lost = found.control_plane.iter().flat_map(|own| &own.not_issued_here);
    let lost = lost.filter(|(_, root)| *root == distrusted).map(|(name, _)| name.to_string());
    let lost: Vec<_> = lost.collect();
    (!lost.is_empty()).then(|| {
        format!(
            "{}: issued by the root CA that is to be trusted no more, and not by kubecertd: have \
             them issued by the other one first",
            lost.join(", ")
        )
    })
}

/// Whether a service makes the step, by reading its files again or by being restarted.
fn is_of_service(step: RotationStep) -> bool {
    matches!(step, RotationStep::Await(_) | RotationStep::Restart(_))
}

/// The step in words.
fn describe(step: RotationStep) -> String {
    use crate::model::{BridgeHolder, CaFile, SigningFiles, TrustedRoots};
    const ROOT: &str = "root CA";
    const FRONT_PROXY: &str = "CA of the front proxy";
    let age = |root| match root {
        RootCa::Old => "old",
        RootCa::New => "new",
    };
    let root = |root| format!("the {} {ROOT}", age(root));
    let trusted = |trusted| match trusted {
        TrustedRoots::Old => "the old root CA alone",
        TrustedRoots::Both => "both root CAs",
        TrustedRoots::New => "the new root CA alone",
    };
    let file = |file, ca: &str| match file {
        CaFile::Old => format!("the old {ca}"),
        CaFile::OldNew => format!("the old and the new {ca}"),
        CaFile::NewOld => format!("the new and the old {ca}"),
        CaFile::New => format!("the new {ca}"),
    };
    let holder = |holder| match holder {
        BridgeHolder::Clients => "the client certificates",
        BridgeHolder::KubeletClient => "kubelet's client certificate",
        BridgeHolder::Server => "the API server's certificate",
        BridgeHolder::KubeletServer => "kubelet's serving certificate",
    };
    match step {
        RotationStep::Sign(SigningFiles::CaFiles) => {
            "kube-controller-manager signs with ca.crt and ca.key".to_owned()
        }
        RotationStep::Sign(SigningFiles::Own(by)) => {
            format!("kube-controller-manager signs with {}, in files of its own", root(by))
        }
        RotationStep::WriteCa(ca) => format!("ca.crt has {}", file(ca, ROOT)),
        RotationStep::SwapCa(ca, key) => {
            format!("ca.crt has {}, and ca.key the key of {}", file(ca, ROOT), root(key))
        }
        RotationStep::TrustInKubeconfigs(trust) => {
            format!("the kubeconfigs of the control plane trust {}", trusted(trust))
        }
        RotationStep::TrustInKubelet(trust) => format!("kubelet.conf trusts {}", trusted(trust)),
        RotationStep::RenewOthers => "the other CAs are renewed too".to_owned(),
        RotationStep::IssueClients(by) => {
            format!("the client certificates of the control plane are issued by {}", root(by))
        }
        RotationStep::IssueKubeletClient(by) => {
            format!("kubelet's client certificate is issued by {}", root(by))
        }
        RotationStep::IssueServer(by) => {
            format!("the API server's certificate is issued by {}", root(by))
        }
        RotationStep::IssueKubeletServer(by) => {
            format!("kubelet's serving certificate is issued by {}", root(by))
        }
        RotationStep::AddBridge(one) => format!("the bridge is put behind {}", holder(one)),
        RotationStep::DropBridge(one) => format!("the bridge behind {} is removed", holder(one)),
        RotationStep::WriteFrontProxyCa(ca) => {
            format!("front-proxy-ca.crt has {}", file(ca, FRONT_PROXY))
        }
        RotationStep::SwapFrontProxyCa(ca, key) => format!(
            "front-proxy-ca.crt has {}, and front-proxy-ca.key the key of the {} one",
            file(ca, FRONT_PROXY),
            age(key)
        ),
        RotationStep::IssueFrontProxyClient(by) => {
            format!("front-proxy-client is issued by the {} {FRONT_PROXY}", age(by))
        }
        RotationStep::Await(ReloadingProgram::ApiServer) => {
            "kube-apiserver reads its files again".to_owned()
        }
        RotationStep::Await(ReloadingProgram::Kubelet) => "kubelet reads ca.crt again".to_owned(),
        RotationStep::Restart(program) => format!("{} is restarted", name(program)),
    }
}

fn name(program: RestartedProgram) -> &'static str {
    match program {
        RestartedProgram::Etcd => "etcd",
        RestartedProgram::ApiServer => "kube-apiserver",
        RestartedProgram::ControllerManager => "kube-controller-manager",
        RestartedProgram::Scheduler => "kube-scheduler",
        RestartedProgram::Kubelet => "kubelet",
    }
}
