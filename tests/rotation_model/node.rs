//! One node in a rotation: what its steps do, and what happens on it besides.

use std::collections::{BTreeMap, BTreeSet};

use kubecertd::model::{
    ApiServerFacts, BridgeHolder, Bridges, CaFile, Chain, ControlPlaneFacts, LoadedFacts,
    ReloadingProgram, RestartedProgram, RootCa, RotationFacts, RotationLevel, RotationStep,
    ServingFacts, SigningFiles, TrustedRoots,
};

use RootCa::{New, Old};

/// Chooses the next step.
pub type Planner = fn(&RotationFacts, RotationLevel, Bridges) -> Option<RotationStep>;

/// The certificate of a root with nothing behind it.
pub fn alone(issuer: RootCa) -> Chain {
    Chain { issuer, bridge: false }
}

/// The kinds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub is_control_plane: bool,
    /// API servers verify kubelets, whose serving certificates the root signs.
    pub verifies_kubelets: bool,
}

/// A node to which nothing of a rotation has happened.
pub fn at_rest(kind: Kind) -> RotationFacts {
    let loaded = LoadedFacts { trust: TrustedRoots::Old, client: alone(Old) };
    let api_server = ApiServerFacts {
        accepts: TrustedRoots::Old,
        shows: alone(Old),
        kubelet_client: alone(Old),
        kubelet_ca: kind.verifies_kubelets.then_some(TrustedRoots::Old),
    };
    let facts = ControlPlaneFacts {
        ca_key: Old,
        signing: SigningFiles::CaFiles,
        signing_is_loaded: true,
        kubeconfigs: TrustedRoots::Old,
        clients: alone(Old),
        server: alone(Old),
        api_server,
        controller_manager: loaded,
        root_ca: CaFile::Old,
        scheduler: loaded,
        front_proxy: None,
    };
    let serving = ServingFacts { file: alone(Old), shows: alone(Old) };
    RotationFacts {
        ca: CaFile::Old,
        kubelet_accepts: TrustedRoots::Old,
        kubelet_trust: TrustedRoots::Old,
        kubelet_client: alone(Old),
        kubelet: loaded,
        kubelet_server: kind.verifies_kubelets.then_some(serving),
        control_plane: kind.is_control_plane.then_some(facts),
    }
}

/// The node after a step.
pub fn after(node: &RotationFacts, step: RotationStep, bridges: Bridges) -> RotationFacts {
    let mut next = *node;
    let ca = next.ca.trust();
    let add = |chain: &mut Chain| {
        *chain = bridges.behind(chain.issuer);
        assert!(chain.bridge, "{step:?}: there is no bridge");
    };
    match (step, next.control_plane.as_mut(), next.kubelet_server.as_mut()) {
        (RotationStep::WriteCa(ca), ..) => next.ca = ca,
        (RotationStep::TrustInKubelet(trust), ..) => next.kubelet_trust = trust,
        (RotationStep::IssueKubeletClient(root), ..) => next.kubelet_client = bridges.behind(root),
        (RotationStep::AddBridge(BridgeHolder::KubeletClient), ..) => add(&mut next.kubelet_client),
        (RotationStep::DropBridge(BridgeHolder::KubeletClient), ..) => {
            next.kubelet_client.bridge = false;
        }
        (RotationStep::IssueKubeletServer(root), _, Some(serving)) => {
            serving.file = bridges.behind(root);
        }
        (RotationStep::AddBridge(BridgeHolder::KubeletServer), _, Some(serving)) => {
            add(&mut serving.file);
        }
        (RotationStep::DropBridge(BridgeHolder::KubeletServer), _, Some(serving)) => {
            serving.file.bridge = false;
        }
        (RotationStep::Await(ReloadingProgram::Kubelet), ..) => next.kubelet_accepts = ca,
        (RotationStep::Restart(RestartedProgram::Kubelet), _, serving) => {
            next.kubelet = LoadedFacts { trust: next.kubelet_trust, client: next.kubelet_client };
            next.kubelet_accepts = ca;
            serving.into_iter().for_each(|serving| serving.shows = serving.file);
        }
        (step, Some(facts), _) => on_control_plane(step, facts, &mut next.ca, bridges),
        (step, None, _) => panic!("a worker can't do {step:?}"),
    }
    next
}

fn on_control_plane(
    step: RotationStep,
    facts: &mut ControlPlaneFacts,
    ca: &mut CaFile,
    bridges: Bridges,
) {
    let add = |chain: &mut Chain| {
        *chain = bridges.behind(chain.issuer);
        assert!(chain.bridge, "{step:?}: there is no bridge");
    };
    let kubelet_ca = facts.api_server.kubelet_ca;
    let read = ApiServerFacts {
        accepts: ca.trust(),
        shows: facts.server,
        kubelet_client: facts.clients,
        kubelet_ca,
    };
    match step {
        RotationStep::Sign(signing) => {
            let (before, after) = (facts.signing, signing);
            let is_of_flags = [before, after].contains(&SigningFiles::CaFiles) && before != after;
            facts.signing_is_loaded &= !is_of_flags;
            facts.signing = signing;
        }
        RotationStep::SwapCa(swapped, key) => (*ca, facts.ca_key) = (swapped, key),
        RotationStep::TrustInKubeconfigs(trust) => facts.kubeconfigs = trust,
        RotationStep::IssueClients(root) => facts.clients = bridges.behind(root),
        RotationStep::IssueServer(root) => facts.server = bridges.behind(root),
        RotationStep::AddBridge(BridgeHolder::Clients) => add(&mut facts.clients),
        RotationStep::AddBridge(BridgeHolder::Server) => add(&mut facts.server),
        RotationStep::DropBridge(BridgeHolder::Clients) => facts.clients.bridge = false,
        RotationStep::DropBridge(BridgeHolder::Server) => facts.server.bridge = false,
        RotationStep::Await(ReloadingProgram::ApiServer) => facts.api_server = read,
        RotationStep::Restart(RestartedProgram::ApiServer) => {
            let kubelet_ca = kubelet_ca.map(|_| ca.trust());
            facts.api_server = ApiServerFacts { kubelet_ca, ..read };
        }
        RotationStep::Restart(RestartedProgram::ControllerManager) => {
            facts.controller_manager =
                LoadedFacts { trust: facts.kubeconfigs, client: facts.clients };
            facts.root_ca = *ca;
            facts.signing_is_loaded = true;
        }
        RotationStep::Restart(RestartedProgram::Scheduler) => {
            facts.scheduler = LoadedFacts { trust: facts.kubeconfigs, client: facts.clients };
        }
        step => panic!("{step:?} is not of a control plane"),
    }
}

/// A program that may be restarted, or read its files again, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Kubelet,
    ApiServer,
    ControllerManager,
    Scheduler,
}

impl Program {
    pub const ALL: [Self; 4] =
        [Self::Kubelet, Self::ApiServer, Self::ControllerManager, Self::Scheduler];
}

/// What can happen to a program at any time.
pub fn events(node: &RotationFacts, program: Program) -> Vec<RotationFacts> {
    let none = Bridges { forth: false, back: false };
    let restarted = |program| after(node, RotationStep::Restart(program), none);
    match (program, &node.control_plane) {
        (Program::Kubelet, _) => {
            let reads = after(node, RotationStep::Await(ReloadingProgram::Kubelet), none);
            vec![restarted(RestartedProgram::Kubelet), reads]
        }
        (Program::ApiServer, Some(facts)) => {
            // Its files are read one after the other.
            let before = facts.api_server;
            let with = |api_server| {
                let facts = ControlPlaneFacts { api_server, ..*facts };
                RotationFacts { control_plane: Some(facts), ..*node }
            };
            vec![
                with(ApiServerFacts { accepts: node.ca.trust(), ..before }),
                with(ApiServerFacts { shows: facts.server, ..before }),
                with(ApiServerFacts { kubelet_client: facts.clients, ..before }),
                restarted(RestartedProgram::ApiServer),
            ]
        }
        (Program::ControllerManager, Some(_)) => {
            vec![restarted(RestartedProgram::ControllerManager)]
        }
        (Program::Scheduler, Some(_)) => vec![restarted(RestartedProgram::Scheduler)],
        (_, None) => Vec::new(),
    }
}

/// kubelet renews a certificate by itself and uses it at once. Nothing stands behind it. Where it
/// serves one of the root, it is that one: its clients are seen where it serves none.
fn kubelet_renewed(node: &RotationFacts, signer: RootCa) -> RotationFacts {
    let new = alone(signer);
    match node.kubelet_server {
        Some(_) => {
            let serving = ServingFacts { file: new, shows: new };
            RotationFacts { kubelet_server: Some(serving), ..*node }
        }
        None => {
            let kubelet = LoadedFacts { client: new, ..node.kubelet };
            RotationFacts { kubelet_client: new, kubelet, ..*node }
        }
    }
}

/// The roots by which the kube-controller-manager of a node may sign, where it is the leader.
fn signers(node: &RotationFacts) -> Vec<RootCa> {
    let Some(facts) = &node.control_plane else { return Vec::new() };
    let by_ca_files = match (node.ca, facts.ca_key) {
        (CaFile::Old, Old) => vec![Old],
        (CaFile::New, New) => vec![New],
        _ => Vec::new(),
    };
    match (facts.signing, facts.signing_is_loaded) {
        (SigningFiles::Own(root), true) => vec![root],
        (SigningFiles::CaFiles, true) => by_ca_files,
        // It still has the files of its own, which hold what ca.key has.
        (SigningFiles::CaFiles, false) => [by_ca_files, vec![facts.ca_key]].concat(),
        (SigningFiles::Own(root), false) => [by_ca_files, vec![root]].concat(),
    }
}

/// Where the agreement of the nodes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All nodes go to this level or the next, from wherever they are between the two.
    Between(usize),
    /// All nodes were done with this level, and make sure of it.
    At(usize),
}

impl Phase {
    /// The levels to which nodes may work.
    pub fn levels(self) -> (RotationLevel, RotationLevel) {
        match self {
            Self::Between(low) => (RotationLevel::ALL[low], RotationLevel::ALL[low + 1]),
            Self::At(level) => (RotationLevel::ALL[level], RotationLevel::ALL[level]),
        }
    }
}

/// A node, and what has happened in the whole cluster before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    pub facts: RotationFacts,
    /// All nodes have had the level `Servers`: there may be clients that know the new root alone.
    pub servers: bool,
    /// A node has distrusted the old root: pods may know the new root alone.
    pub distrusted: bool,
    /// A file of this node was restored.
    pub restored: bool,
}

/// The states of one node in a phase.
pub type States = BTreeSet<State>;

type Signers = BTreeMap<Phase, BTreeSet<RootCa>>;

/// What the model allows besides steps, restarts and reloads.
#[derive(Clone, Copy)]
pub struct Model {
    pub planner: Planner,
    pub bridges: Bridges,
    /// API servers verify kubelets.
    pub verifies_kubelets: bool,
    /// One file of each node may be restored to what it was before the rotation, at any time.
    pub files_are_restored: bool,
    /// All programs may be restarted by others than the planner, and not one of them alone.
    pub restarts_all: bool,
    /// All nodes have to be done with a level before the next one.
    pub waits_for_all: bool,
    /// All nodes make sure of a level once all are done with it.
    pub makes_sure: bool,
    /// The last level that is gone to.
    pub last: RotationLevel,
}

impl Model {
    fn is_at(&self, facts: &RotationFacts, level: RotationLevel) -> bool {
        (self.planner)(facts, level, self.bridges).is_none()
    }

    /// Finds all states of a node in every phase.
    pub fn reached(&self) -> BTreeMap<Phase, States> {
        let mut signed = Signers::new();
        loop {
            let all: BTreeSet<_> = [true, false]
                .into_iter()
                .flat_map(|is_control_plane| {
                    let kind = Kind { is_control_plane, verifies_kubelets: self.verifies_kubelets };
                    self.visit_all(kind, &signed)
                })
                .collect();
            let mut now = Signers::new();
            for (phase, state) in &all {
                now.entry(*phase).or_default().extend(signers(&state.facts));
            }
            if now == signed {
                let mut by_phase: BTreeMap<Phase, States> = BTreeMap::new();
                for (phase, state) in all {
                    by_phase.entry(phase).or_default().insert(state);
                }
                return by_phase;
            }
            signed = now;
        }
    }

    /// Which step comes next depends on what a program has read only where that program itself is
    /// to be restarted. So one program alone that others restart shows all that it can read, and
    /// together they show nothing more, of which `restarts_all` makes sure.
    fn visit_all(&self, kind: Kind, signed: &Signers) -> BTreeSet<(Phase, State)> {
        if self.restarts_all {
            return self.visit(kind, &Program::ALL, signed);
        }
        let each = Program::ALL.map(|one| self.visit(kind, &[one], signed));
        each.into_iter().flatten().collect()
    }

    fn visit(
        &self,
        kind: Kind,
        programs: &[Program],
        signed: &Signers,
    ) -> BTreeSet<(Phase, State)> {
        let facts = at_rest(kind);
        let state = State { facts, servers: false, distrusted: false, restored: false };
        let start = (Phase::At(0), state);
        let (mut seen, mut open) = (BTreeSet::from([start]), vec![start]);
        while let Some((phase, state)) = open.pop() {
            let none = BTreeSet::new();
            let signers = signed.get(&phase).unwrap_or(&none);
            let is_new = |next: &(Phase, State)| seen.insert(*next);
            let next = self.next(phase, &state, programs, signers);
            open.extend(next.into_iter().filter(is_new));
        }
        seen
    }

    fn next(
        &self,
        phase: Phase,
        state: &State,
        programs: &[Program],
        signers: &BTreeSet<RootCa>,
    ) -> Vec<(Phase, State)> {
        let facts = &state.facts;
        let with = |facts| State { facts, ..*state };
        let (low, high) = phase.levels();
        let mut all: Vec<_> =
            [low, high].iter().filter_map(|level| self.stepped(facts, *level, signers)).collect();
        all.extend(programs.iter().flat_map(|program| events(facts, *program)));
        let renewed: Vec<_> =
            signers.iter().map(|signer| kubelet_renewed(facts, *signer)).collect();
        all.extend(&renewed);
        let mut all: Vec<_> = all.into_iter().map(|facts| (phase, with(facts))).collect();
        if self.files_are_restored && !state.restored {
            let restored = |facts| (phase, State { restored: true, ..with(facts) });
            all.extend(restored_files(facts).into_iter().map(restored));
        }
        if high == RotationLevel::Distrusted {
            all.push((phase, State { distrusted: true, ..*state }));
        }
        // What a node has told of itself may not be so any more when all others are done.
        let late: Vec<_> = [*facts].into_iter().chain(renewed).map(with).collect();
        for next in self.phases_after(phase, facts) {
            let servers =
                next >= Phase::At(RotationLevel::Servers as usize) && matches!(next, Phase::At(_));
            let moved = |state: &State| State { servers: state.servers || servers, ..*state };
            all.extend(late.iter().map(|state| (next, moved(state))));
        }
        all
    }

    fn stepped(
        &self,
        facts: &RotationFacts,
        level: RotationLevel,
        signers: &BTreeSet<RootCa>,
    ) -> Option<RotationFacts> {
        let step = (self.planner)(facts, level, self.bridges)?;
        match step {
            RotationStep::IssueKubeletClient(root) | RotationStep::IssueKubeletServer(root)
                if !signers.contains(&root) =>
            {
                None
            }
            step => Some(after(facts, step, self.bridges)),
        }
    }

    fn phases_after(&self, phase: Phase, facts: &RotationFacts) -> Vec<Phase> {
        let last = self.last as usize;
        let is_at =
            |level: usize| !self.waits_for_all || self.is_at(facts, RotationLevel::ALL[level]);
        match phase {
            Phase::Between(low) => {
                let done = [low, low + 1].into_iter().filter(|level| is_at(*level));
                match self.makes_sure {
                    true => done.map(Phase::At).collect(),
                    false => done.flat_map(|level| neighbours(level, last)).collect(),
                }
            }
            Phase::At(level) if is_at(level) => neighbours(level, last),
            Phase::At(_) => Vec::new(),
        }
    }
}

fn neighbours(level: usize, last: usize) -> Vec<Phase> {
    let below = level.checked_sub(1).map(Phase::Between);
    let above = (level < last).then_some(Phase::Between(level));
    below.into_iter().chain(above).collect()
}

/// Files that were restored to what they were before the rotation, one at a time.
pub fn restored_files(node: &RotationFacts) -> Vec<RotationFacts> {
    let rest = at_rest(Kind {
        is_control_plane: node.control_plane.is_some(),
        verifies_kubelets: node.kubelet_server.is_some(),
    });
    let mut all = vec![
        RotationFacts { kubelet_trust: rest.kubelet_trust, ..*node },
        RotationFacts { kubelet_client: rest.kubelet_client, ..*node },
    ];
    match (node.control_plane, rest.control_plane) {
        (Some(facts), Some(rest_facts)) => {
            let rest = rest_facts;
            for facts in [
                ControlPlaneFacts { kubeconfigs: rest.kubeconfigs, ..facts },
                ControlPlaneFacts { clients: rest.clients, ..facts },
                ControlPlaneFacts { server: rest.server, ..facts },
                // kubelet restarts kube-controller-manager for its manifest.
                ControlPlaneFacts { signing: rest.signing, ..facts },
            ] {
                all.push(RotationFacts { control_plane: Some(facts), ..*node });
            }
            let facts = ControlPlaneFacts { ca_key: rest.ca_key, ..facts };
            all.push(RotationFacts { ca: CaFile::Old, control_plane: Some(facts), ..*node });
        }
        _ => all.push(RotationFacts { ca: rest.ca, ..*node }),
    }
    all
}
