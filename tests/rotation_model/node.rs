//! One node in a rotation: what its steps do, and what happens on it besides.

use std::collections::{BTreeMap, BTreeSet};

use kubecertd::model::{
    ApiServerFacts, BridgeHolder, CaFile, Chain, ControlPlaneFacts, LoadedFacts, ReloadingProgram,
    RestartedProgram, RootCa, RotationFacts, RotationLevel, RotationStep, SigningFiles,
    TrustedRoots,
};

use RootCa::{New, Old};

/// Chooses the next step.
pub type Planner = fn(&RotationFacts, RotationLevel, bool) -> Option<RotationStep>;

/// Which bridges a rotation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridges {
    /// Of the new root, signed by the old one.
    pub forth: bool,
    /// Of the old root, signed by the new one, for the way back.
    pub back: bool,
}

impl Bridges {
    pub fn behind(self, issuer: RootCa) -> Chain {
        let bridge = match issuer {
            Old => self.back,
            New => self.forth,
        };
        Chain { issuer, bridge }
    }
}

/// The certificate of a root with nothing behind it.
pub fn alone(issuer: RootCa) -> Chain {
    Chain { issuer, bridge: false }
}

/// A node to which nothing of a rotation has happened.
pub fn at_rest(is_control_plane: bool) -> RotationFacts {
    let loaded = LoadedFacts { trust: TrustedRoots::Old, client: alone(Old) };
    let facts = ControlPlaneFacts {
        ca_key: Old,
        signing: SigningFiles::CaFiles,
        signing_is_loaded: true,
        kubeconfigs: TrustedRoots::Old,
        clients: alone(Old),
        server: alone(Old),
        api_server: ApiServerFacts { accepts: TrustedRoots::Old, shows: alone(Old) },
        controller_manager: loaded,
        root_ca: TrustedRoots::Old,
        scheduler: loaded,
    };
    RotationFacts {
        ca: CaFile::Old,
        kubelet_accepts: TrustedRoots::Old,
        kubelet_trust: TrustedRoots::Old,
        kubelet_client: alone(Old),
        kubelet: loaded,
        control_plane: is_control_plane.then_some(facts),
    }
}

/// The node after a step.
pub fn after(node: &RotationFacts, step: RotationStep, bridges: Bridges) -> RotationFacts {
    let mut next = *node;
    let ca = next.ca.trust();
    match (step, next.control_plane.as_mut()) {
        (RotationStep::WriteCa(ca), _) => next.ca = ca,
        (RotationStep::TrustInKubelet(trust), _) => next.kubelet_trust = trust,
        (RotationStep::IssueKubeletClient(root), _) => next.kubelet_client = bridges.behind(root),
        (RotationStep::AddBridge(BridgeHolder::KubeletClient), _) => {
            next.kubelet_client.bridge = true;
        }
        (RotationStep::DropBridge(BridgeHolder::KubeletClient), _) => {
            next.kubelet_client.bridge = false;
        }
        (RotationStep::Await(ReloadingProgram::Kubelet), _) => next.kubelet_accepts = ca,
        (RotationStep::Restart(RestartedProgram::Kubelet), _) => {
            next.kubelet = LoadedFacts { trust: next.kubelet_trust, client: next.kubelet_client };
            next.kubelet_accepts = ca;
        }
        (step, Some(facts)) => on_control_plane(step, facts, &mut next.ca, bridges),
        (step, None) => panic!("a worker can't do {step:?}"),
    }
    next
}

fn on_control_plane(
    step: RotationStep,
    facts: &mut ControlPlaneFacts,
    ca: &mut CaFile,
    bridges: Bridges,
) {
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
        RotationStep::AddBridge(BridgeHolder::Clients) => facts.clients.bridge = true,
        RotationStep::AddBridge(BridgeHolder::Server) => facts.server.bridge = true,
        RotationStep::DropBridge(BridgeHolder::Clients) => facts.clients.bridge = false,
        RotationStep::DropBridge(BridgeHolder::Server) => facts.server.bridge = false,
        RotationStep::Await(ReloadingProgram::ApiServer) => {
            facts.api_server = ApiServerFacts { accepts: ca.trust(), shows: facts.server };
        }
        RotationStep::Restart(RestartedProgram::ControllerManager) => {
            facts.controller_manager =
                LoadedFacts { trust: facts.kubeconfigs, client: facts.clients };
            facts.root_ca = ca.trust();
            facts.signing_is_loaded = true;
        }
        RotationStep::Restart(RestartedProgram::Scheduler) => {
            facts.scheduler = LoadedFacts { trust: facts.kubeconfigs, client: facts.clients };
        }
        RotationStep::WriteCa(_)
        | RotationStep::TrustInKubelet(_)
        | RotationStep::IssueKubeletClient(_)
        | RotationStep::AddBridge(BridgeHolder::KubeletClient)
        | RotationStep::DropBridge(BridgeHolder::KubeletClient)
        | RotationStep::Await(ReloadingProgram::Kubelet)
        | RotationStep::Restart(RestartedProgram::Kubelet) => panic!("{step:?} is of any node"),
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
    let restarted = |program| vec![after(node, RotationStep::Restart(program), none)];
    match (program, &node.control_plane) {
        (Program::Kubelet, _) => {
            let reads = after(node, RotationStep::Await(ReloadingProgram::Kubelet), none);
            [restarted(RestartedProgram::Kubelet), vec![reads]].concat()
        }
        (Program::ApiServer, Some(facts)) => {
            // Its two files are read one after the other.
            let (accepts, shows) = (node.ca.trust(), facts.server);
            let read = [
                ApiServerFacts { accepts, ..facts.api_server },
                ApiServerFacts { shows, ..facts.api_server },
            ];
            let with = |api_server| {
                let facts = ControlPlaneFacts { api_server, ..*facts };
                RotationFacts { control_plane: Some(facts), ..*node }
            };
            read.map(with).to_vec()
        }
        (Program::ControllerManager, Some(_)) => restarted(RestartedProgram::ControllerManager),
        (Program::Scheduler, Some(_)) => restarted(RestartedProgram::Scheduler),
        (_, None) => Vec::new(),
    }
}

/// kubelet renews its certificate by itself and uses it at once. Nothing stands behind it.
pub fn kubelet_renewed(node: &RotationFacts, signer: RootCa) -> RotationFacts {
    let client = alone(signer);
    let kubelet = LoadedFacts { client, ..node.kubelet };
    RotationFacts { kubelet_client: client, kubelet, ..*node }
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

/// Two neighbouring levels, by the index of the lower one.
pub type LevelPair = usize;

/// The states of one node while all nodes are at two neighbouring levels or between them.
#[derive(Default)]
pub struct Reached {
    pub control_plane: BTreeSet<State>,
    pub workers: BTreeSet<State>,
}

/// A node, and what has happened in the whole cluster before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    pub facts: RotationFacts,
    /// All nodes have had the level `Servers`: there may be clients that know the new root alone.
    pub servers: bool,
    /// All nodes have had the level `Distrusted`: pods may know the new root alone.
    pub distrusted: bool,
    /// A file of this node was restored.
    pub restored: bool,
}

/// What the model allows besides steps, restarts and reloads.
#[derive(Clone, Copy)]
pub struct Model {
    pub planner: Planner,
    pub bridges: Bridges,
    /// kubelets renew their certificates by themselves.
    pub kubelets_renew: bool,
    /// One file of each node may be restored to what it was before the rotation, at any time.
    pub files_are_restored: bool,
    /// All nodes have to be done with a level before the next one.
    pub waits_for_all: bool,
    /// The last level that is gone to.
    pub last: RotationLevel,
}

impl Model {
    fn is_at(&self, facts: &RotationFacts, level: RotationLevel) -> bool {
        (self.planner)(facts, level, self.bridges.forth).is_none()
    }

    /// Finds all states of a node in every pair of levels.
    pub fn reached(&self) -> BTreeMap<LevelPair, Reached> {
        let mut signed: BTreeMap<LevelPair, BTreeSet<RootCa>> = BTreeMap::new();
        loop {
            let visit = |is_control_plane: bool| {
                let each = Program::ALL.map(|one| self.visit(is_control_plane, one, &signed));
                each.into_iter().flatten().collect::<BTreeSet<_>>()
            };
            let (control_plane, workers) = (visit(true), visit(false));
            let mut now: BTreeMap<LevelPair, BTreeSet<RootCa>> = BTreeMap::new();
            for (pair, state) in &control_plane {
                now.entry(*pair).or_default().extend(signers(&state.facts));
            }
            if now == signed || !self.kubelets_renew {
                let mut all: BTreeMap<LevelPair, Reached> = BTreeMap::new();
                for (pair, state) in control_plane {
                    all.entry(pair).or_default().control_plane.insert(state);
                }
                for (pair, state) in workers {
                    all.entry(pair).or_default().workers.insert(state);
                }
                return all;
            }
            signed = now;
        }
    }

    /// Only one program at a time is restarted by others than the planner: which step comes next
    /// depends on what a program has read only where that program itself is to be restarted, so
    /// that the others can't make it read anything else.
    fn visit(
        &self,
        is_control_plane: bool,
        program: Program,
        signed: &BTreeMap<LevelPair, BTreeSet<RootCa>>,
    ) -> BTreeSet<(LevelPair, State)> {
        let facts = at_rest(is_control_plane);
        let start = State { facts, servers: false, distrusted: false, restored: false };
        let (mut seen, mut open) = (BTreeSet::from([(0, start)]), vec![(0, start)]);
        while let Some((pair, state)) = open.pop() {
            let none = BTreeSet::new();
            let signers = signed.get(&pair).unwrap_or(&none);
            for next in self.next(pair, &state, program, signers) {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    }

    fn next(
        &self,
        pair: LevelPair,
        state: &State,
        program: Program,
        signers: &BTreeSet<RootCa>,
    ) -> Vec<(LevelPair, State)> {
        let facts = &state.facts;
        let (low, high) = (RotationLevel::ALL[pair], RotationLevel::ALL[pair + 1]);
        let mut all = Vec::new();
        for level in [low, high] {
            let step = (self.planner)(facts, level, self.bridges.forth);
            all.extend(step.map(|step| after(facts, step, self.bridges)));
        }
        all.extend(events(facts, program));
        if self.kubelets_renew && program == Program::Kubelet {
            all.extend(signers.iter().map(|signer| kubelet_renewed(facts, *signer)));
        }
        let mut all: Vec<_> =
            all.into_iter().map(|facts| (pair, State { facts, ..*state })).collect();
        if self.files_are_restored && !state.restored {
            let restored = |facts| (pair, State { facts, restored: true, ..*state });
            all.extend(restored_files(facts).into_iter().map(restored));
        }
        let is_at = |level| !self.waits_for_all || self.is_at(facts, level);
        if is_at(low) && pair > 0 {
            all.push((pair - 1, *state));
        }
        if is_at(high) {
            let servers = state.servers || high >= RotationLevel::Servers;
            let distrusted = state.distrusted || high == RotationLevel::Distrusted;
            all.push((pair, State { servers, distrusted, ..*state }));
            if high < self.last {
                all.push((pair + 1, State { servers, ..*state }));
            }
        }
        all
    }
}

/// Files that were restored to what they were before the rotation, one at a time.
pub fn restored_files(node: &RotationFacts) -> Vec<RotationFacts> {
    let rest = at_rest(node.control_plane.is_some());
    let mut all = vec![
        RotationFacts { ca: rest.ca, ..*node },
        RotationFacts { kubelet_trust: rest.kubelet_trust, ..*node },
        RotationFacts { kubelet_client: rest.kubelet_client, ..*node },
    ];
    if let (Some(facts), Some(rest)) = (node.control_plane, rest.control_plane) {
        for facts in [
            ControlPlaneFacts { kubeconfigs: rest.kubeconfigs, ..facts },
            ControlPlaneFacts { clients: rest.clients, ..facts },
            ControlPlaneFacts { server: rest.server, ..facts },
            // kubelet restarts kube-controller-manager for its manifest.
            ControlPlaneFacts { signing: rest.signing, ..facts },
        ] {
            all.push(RotationFacts { control_plane: Some(facts), ..*node });
        }
    }
    all
}
