//! A model of a cluster whose root CA is rotated: three control-plane nodes and two workers, whose
//! steps are made in any order, with restarts of whole nodes and changes of the goal in between. In
//! every state that can be reached, each client that has to reach a server can verify it and is
//! accepted, and there is a next step unless the goal is reached.
//!
//! The planner is the real one. Planners with a mistake are caught by the same model. All states
//! are visited by `cargo test --release --test rotation_model`, in two minutes; a build with debug
//! assertions visits those after one event.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use kubecertd::model::{
    ApiFacts, CaFile, ControlPlaneFacts, LevelRange, LoadedFacts, RestartedProgram, RootCa,
    RotationFacts, RotationLevel, RotationStep, SigningFiles, TrustedRoots,
};
use kubecertd::plan::{cluster_level, level_to_work_to, next_step, node_level, trust_in_objects};

use RootCa::{New, Old};

/// A node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Node {
    facts: RotationFacts,
    /// Whether a bridge to the new root stands behind its API server's certificate of the old one:
    /// it was issued on the way back.
    has_reverse_bridge: bool,
    /// Whether it is its turn. One control-plane node at a time has it, until it has no step left.
    has_turn: bool,
}

/// A state of the cluster. Nodes of one kind are sorted: which of them is which makes no
/// difference.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    control_plane: [Node; 3],
    workers: [Node; 2],
    api: ApiFacts,
    /// What the pod that started first read at its start.
    pods: TrustedRoots,
    goal: RotationLevel,
}

/// The parts of a planner, so that each can have a mistake.
#[derive(Clone, Copy)]
struct Planner {
    step: fn(&RotationFacts, RotationLevel) -> Option<RotationStep>,
    node_level: fn(&RotationFacts) -> LevelRange,
    cluster_level: fn(&[RotationFacts], &ApiFacts) -> LevelRange,
    level: fn(LevelRange, LevelRange, RotationLevel) -> Option<RotationLevel>,
    /// Whether the new root has a bridge that the old one signed.
    has_bridge: bool,
    /// Whether the old root has one that the new one signed, for the way back.
    has_reverse_bridge: bool,
    /// Whether pods have to know the new root before a level.
    pods_before: Option<RotationLevel>,
}

const REAL: Planner = Planner {
    step: next_step,
    node_level,
    cluster_level,
    level: level_to_work_to,
    has_bridge: true,
    has_reverse_bridge: true,
    pods_before: Some(RotationLevel::Distrusted),
};

fn loaded() -> LoadedFacts {
    LoadedFacts { trust: TrustedRoots::Old, client: Old }
}

fn node(control_plane: bool) -> Node {
    let facts = ControlPlaneFacts {
        ca_key: Old,
        signing: SigningFiles::CaFiles,
        signing_is_loaded: true,
        kubeconfigs: TrustedRoots::Old,
        clients: Old,
        server: Old,
        controller_manager: loaded(),
        root_ca: TrustedRoots::Old,
        scheduler: loaded(),
    };
    let facts = RotationFacts {
        ca: CaFile::Old,
        kubelet_trust: TrustedRoots::Old,
        kubelet_client: Old,
        kubelet: loaded(),
        control_plane: control_plane.then_some(facts),
    };
    Node { facts, has_reverse_bridge: false, has_turn: false }
}

fn restart(node: &mut RotationFacts, program: RestartedProgram) {
    let (kubelet, ca) = ((node.kubelet_trust, node.kubelet_client), node.ca.trust());
    match (program, &mut node.control_plane) {
        (RestartedProgram::Kubelet, _) => {
            node.kubelet = LoadedFacts { trust: kubelet.0, client: kubelet.1 };
        }
        (RestartedProgram::ControllerManager, Some(facts)) => {
            facts.controller_manager =
                LoadedFacts { trust: facts.kubeconfigs, client: facts.clients };
            facts.root_ca = ca;
            facts.signing_is_loaded = true;
        }
        (RestartedProgram::Scheduler, Some(facts)) => {
            facts.scheduler = LoadedFacts { trust: facts.kubeconfigs, client: facts.clients };
        }
        (_, None) => panic!("a worker has no {program:?}"),
    }
}

fn apply(Node { facts: node, has_reverse_bridge, .. }: &mut Node, step: RotationStep) {
    let facts = node.control_plane.as_mut();
    match (step, facts) {
        (RotationStep::Sign(signing), Some(facts)) => {
            let is_of_flags =
                (facts.signing == SigningFiles::CaFiles) != (signing == SigningFiles::CaFiles);
            facts.signing_is_loaded &= !is_of_flags;
            facts.signing = signing;
        }
        (RotationStep::SwapCa(ca, key), Some(facts)) => {
            facts.ca_key = key;
            node.ca = ca;
        }
        (RotationStep::TrustInKubeconfigs(trust), Some(facts)) => facts.kubeconfigs = trust,
        (RotationStep::IssueClients(root), Some(facts)) => facts.clients = root,
        (RotationStep::IssueServer(root), Some(facts)) => {
            facts.server = root;
            *has_reverse_bridge = root == Old;
        }
        (RotationStep::WriteCa(ca), _) => node.ca = ca,
        (RotationStep::TrustInKubelet(trust), _) => node.kubelet_trust = trust,
        (RotationStep::IssueKubeletClient(root), _) => node.kubelet_client = root,
        (RotationStep::Restart(program), _) => restart(node, program),
        (step, None) => panic!("a worker can't do {step:?}"),
    }
}

/// A certificate with what stands behind it.
#[derive(Clone, Copy)]
struct Chain {
    issuer: RootCa,
    /// Whether a certificate of the other root over this root's key stands behind it.
    bridge: bool,
}

impl Chain {
    fn is_accepted_by(self, trust: TrustedRoots) -> bool {
        let other = if self.issuer == Old { New } else { Old };
        trust.has(self.issuer) || (self.bridge && trust.has(other))
    }
}

/// A client of the API server.
#[derive(Debug)]
struct Client {
    name: &'static str,
    trust: TrustedRoots,
    certificate: Option<RootCa>,
}

impl State {
    fn start() -> Self {
        Self {
            control_plane: [node(true); 3],
            workers: [node(false); 2],
            api: ApiFacts { published: TrustedRoots::Old, objects: TrustedRoots::Old },
            pods: TrustedRoots::Old,
            goal: RotationLevel::Servers,
        }
    }

    fn nodes(&self) -> [RotationFacts; 5] {
        let ([a, b, c], [d, e]) = (self.control_plane, self.workers);
        [a, b, c, d, e].map(|node| node.facts)
    }

    fn sorted(mut self) -> Self {
        self.control_plane.sort_unstable();
        self.workers.sort_unstable();
        self
    }

    fn level(&self, planner: &Planner) -> LevelRange {
        (planner.cluster_level)(&self.nodes(), &self.api)
    }

    /// The states after one step of the rotation, by a node or in the API.
    fn steps(&self, planner: &Planner) -> Vec<Self> {
        let cluster = self.level(planner);
        let step = |Node { facts, .. }: &Node| {
            let level = (planner.level)((planner.node_level)(facts), cluster, self.goal)?;
            (planner.step)(facts, level)
        };
        let mut after = Vec::new();
        let steps = self.control_plane.map(|node| step(&node));
        let is_turn_over = !self
            .control_plane
            .iter()
            .zip(&steps)
            .any(|(node, step)| node.has_turn && step.is_some());
        for (at, step) in steps.iter().enumerate() {
            if let Some(step) = step.filter(|_| is_turn_over || self.control_plane[at].has_turn) {
                let mut next = *self;
                next.control_plane.iter_mut().for_each(|node| node.has_turn = false);
                next.control_plane[at].has_turn = true;
                apply(&mut next.control_plane[at], step);
                after.push(next);
            }
        }
        for at in 0..self.workers.len() {
            if let Some(step) = step(&self.workers[at]) {
                let mut next = *self;
                apply(&mut next.workers[at], step);
                after.push(next);
            }
        }
        let objects = trust_in_objects(cluster, self.goal);
        if self.api.objects != objects {
            after.push(Self { api: ApiFacts { objects, ..self.api }, ..*self });
        }
        // Each kube-controller-manager may be the leader.
        for node in &self.control_plane {
            let published = node.facts.control_plane.unwrap().root_ca;
            if published != self.api.published {
                after.push(Self { api: ApiFacts { published, ..self.api }, ..*self });
            }
        }
        after
    }

    /// The states after something that is no step: a node that starts again, pods that do, and
    /// another goal.
    fn events(&self, planner: &Planner) -> Vec<Self> {
        let mut after = Vec::new();
        for at in 0..self.control_plane.len() {
            let mut next = *self;
            let Node { facts, has_turn, .. } = &mut next.control_plane[at];
            restart(facts, RestartedProgram::Kubelet);
            restart(facts, RestartedProgram::ControllerManager);
            restart(facts, RestartedProgram::Scheduler);
            // It may be off for long, so another one gets its turn.
            *has_turn = false;
            after.push(next);
        }
        for at in 0..self.workers.len() {
            let mut next = *self;
            restart(&mut next.workers[at].facts, RestartedProgram::Kubelet);
            after.push(next);
        }
        after.push(Self { pods: self.api.published, ..*self });
        let floor = self.level(planner).floor;
        for goal in RotationLevel::ALL {
            // The word of the operator, who is asked when everything before is done.
            let may = |level: RotationLevel| {
                goal < level || (floor >= level.previous() && self.pods.has(New))
            };
            if planner.pods_before.is_none_or(may) {
                after.push(Self { goal, ..*self });
            }
        }
        after
    }

    /// Why a client can't reach a server in this state, or something else is wrong.
    fn fault(&self, planner: &Planner) -> Option<String> {
        let cluster = cluster_level(&self.nodes(), &self.api);
        let with_bridge = |issuer| Chain { issuer, bridge: issuer == New && planner.has_bridge };
        let unnamed = |name, trust| Client { name, trust, certificate: None };
        let mut clients = vec![
            unnamed("an old pod", self.pods),
            unnamed("a new pod", self.api.published),
            unnamed("a node that joins", self.api.objects),
        ];
        let of_loaded = |name, loaded: &LoadedFacts| Client {
            name,
            trust: loaded.trust,
            certificate: Some(loaded.client),
        };
        let nodes = self.nodes();
        let control_plane = self.control_plane.map(|node| node.facts);
        for node in &nodes {
            clients.push(of_loaded("kubelet", &node.kubelet));
        }
        for node in &control_plane {
            let facts = node.control_plane.unwrap();
            clients.push(of_loaded("kube-controller-manager", &facts.controller_manager));
            clients.push(of_loaded("kube-scheduler", &facts.scheduler));
            clients.push(of_loaded(
                "an administrator",
                &LoadedFacts { trust: facts.kubeconfigs, client: facts.clients },
            ));
            if facts.signing == SigningFiles::CaFiles
                && !matches!((node.ca, facts.ca_key), (CaFile::Old, Old) | (CaFile::New, New))
            {
                return Some(format!("kube-controller-manager can't sign with {:?}", node.ca));
            }
            if !facts.signing_is_loaded && node.ca.trust() == TrustedRoots::Both {
                return Some("a kube-controller-manager signs with two certificates".to_owned());
            }
        }
        // Those outside, whose files no step changes.
        let reaches = |level| cluster.floor >= level;
        if cluster.ceiling <= RotationLevel::Servers
            && (planner.has_bridge || cluster.ceiling <= RotationLevel::Clients)
        {
            let (trust, certificate) = (TrustedRoots::Old, Some(Old));
            clients.push(Client { name: "a client with the old root", trust, certificate });
        }
        if reaches(RotationLevel::Servers) {
            let (trust, certificate) = (TrustedRoots::New, Some(New));
            clients.push(Client { name: "a client with the new root", trust, certificate });
        }
        for Node { facts: server, has_reverse_bridge, .. } in &self.control_plane {
            let facts = server.control_plane.unwrap();
            let chain = match facts.server {
                // The bridge goes with the trust in the old root.
                New if server.ca == CaFile::New => Chain { issuer: New, bridge: false },
                New => with_bridge(New),
                Old => {
                    Chain { issuer: Old, bridge: *has_reverse_bridge && planner.has_reverse_bridge }
                }
            };
            for client in &clients {
                if !chain.is_accepted_by(client.trust) {
                    return Some(format!("{} can't verify the API server", client.name));
                }
                let accepted = client
                    .certificate
                    .is_none_or(|it| with_bridge(it).is_accepted_by(server.ca.trust()));
                if !accepted {
                    return Some(format!("{} is refused by the API server", client.name));
                }
            }
            // What any kube-controller-manager signs has no bridge.
            for signer in &control_plane {
                let facts = signer.control_plane.unwrap();
                let issuer = match facts.signing {
                    SigningFiles::Own(root) => root,
                    SigningFiles::CaFiles => facts.ca_key,
                };
                if !server.ca.trust().has(issuer) {
                    return Some("a signed certificate is refused by the API server".to_owned());
                }
            }
            for kubelet in &nodes {
                if !with_bridge(facts.clients).is_accepted_by(kubelet.ca.trust()) {
                    return Some("the API server is refused by kubelet".to_owned());
                }
            }
        }
        None
    }

    /// All nodes have the level of servers, the pods know both roots, and the operator said that
    /// the old one is to be distrusted.
    fn before_the_end() -> Self {
        let mut state = Self::start();
        while let Some(next) = state.steps(&REAL).into_iter().next() {
            state = next;
        }
        assert!(state.is_at_goal());
        Self { pods: state.api.published, goal: RotationLevel::Distrusted, ..state }
    }

    fn is_at_goal(&self) -> bool {
        let range = cluster_level(&self.nodes(), &self.api);
        range.floor >= self.goal && range.ceiling <= self.goal
    }
}

/// What the search found.
struct Found {
    states: usize,
    fault: Option<String>,
}

/// Visits all states that can be reached with this many events besides the steps, until a fault is
/// found. A state without a step has to be the goal; after each event it is tried whether the steps
/// lead there.
fn explore(planner: &Planner, events: usize, start: State) -> Found {
    let mut fewest_events: States = HashMap::default();
    fewest_events.insert(start, 0);
    let mut left = vec![(start, 0)];
    while let Some((state, happened)) = left.pop() {
        let fault = state.fault(planner);
        let steps = state.steps(planner);
        let is_stuck = || steps.is_empty() && !state.is_at_goal();
        let fault =
            fault.or_else(|| is_stuck().then(|| format!("there is no step to {:?}", state.goal)));
        if let Some(fault) = fault {
            let shown = format!("{fault}: {:#?} {:?}", state.nodes(), state.api);
            return Found { states: fewest_events.len(), fault: Some(shown) };
        }
        let mut visit = |next: State, happened: usize| {
            let next = next.sorted();
            let known = fewest_events.get(&next).copied();
            if known.is_none_or(|before| happened < before) {
                fewest_events.insert(next, happened);
                left.push((next, happened));
            }
        };
        steps.into_iter().for_each(|next| visit(next, happened));
        if happened < events {
            for next in state.events(planner) {
                visit(next, happened + 1);
            }
        }
    }
    Found { states: fewest_events.len(), fault: None }
}

/// The states that were seen, with the number of events before each.
type States = HashMap<State, usize, BuildHasherDefault<QuickHasher>>;

/// A hash of a state: many small numbers.
#[derive(Default)]
struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

/// The steps of the first node of its kind to a level.
fn steps_to(node: &mut Node, level: RotationLevel) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some(step) = next_step(&node.facts, level) {
        apply(node, step);
        steps.push(format!("{step:?}"));
        assert!(steps.len() < 20, "{steps:?}");
    }
    let LevelRange { floor, ceiling } = node_level(&node.facts);
    assert!(floor >= level && ceiling <= level, "{level:?}: {floor:?} to {ceiling:?}");
    steps
}

#[test]
fn levels_take_these_steps_on_and_back() {
    use RotationLevel as L;
    let mut controller = node(true);
    for (level, expected) in [
        (L::Staged, "Sign(Own(Old)), Restart(ControllerManager)"),
        (
            L::Trusted,
            "WriteCa(OldNew), TrustInKubeconfigs(Both), Restart(ControllerManager), \
             Restart(Scheduler), TrustInKubelet(Both), Restart(Kubelet)",
        ),
        (
            L::Clients,
            "Sign(Own(New)), IssueClients(New), Restart(ControllerManager), Restart(Scheduler), \
             IssueKubeletClient(New), Restart(Kubelet)",
        ),
        (L::Servers, "SwapCa(NewOld, New), IssueServer(New)"),
        (
            L::Distrusted,
            "WriteCa(New), TrustInKubeconfigs(New), Sign(CaFiles), Restart(ControllerManager), \
             Restart(Scheduler), TrustInKubelet(New), Restart(Kubelet)",
        ),
        (
            L::Servers,
            "Sign(Own(New)), Restart(ControllerManager), WriteCa(NewOld), \
             TrustInKubeconfigs(Both), Restart(ControllerManager), Restart(Scheduler), \
             TrustInKubelet(Both), Restart(Kubelet)",
        ),
        (L::Clients, "SwapCa(OldNew, Old), IssueServer(Old)"),
        (
            L::Trusted,
            "Sign(Own(Old)), IssueClients(Old), Restart(ControllerManager), Restart(Scheduler), \
             IssueKubeletClient(Old), Restart(Kubelet)",
        ),
        (
            L::Staged,
            "WriteCa(Old), TrustInKubeconfigs(Old), Restart(ControllerManager), \
             Restart(Scheduler), TrustInKubelet(Old), Restart(Kubelet)",
        ),
        (L::Rest, "Sign(CaFiles), Restart(ControllerManager)"),
    ] {
        assert_eq!(steps_to(&mut controller, level).join(", "), expected, "{level:?}");
    }
    let mut worker = node(false);
    for (level, expected) in [
        (L::Staged, ""),
        (L::Trusted, "WriteCa(OldNew), TrustInKubelet(Both), Restart(Kubelet)"),
        (L::Clients, "IssueKubeletClient(New), Restart(Kubelet)"),
        (L::Servers, ""),
        (L::Distrusted, "WriteCa(New), TrustInKubelet(New), Restart(Kubelet)"),
    ] {
        assert_eq!(steps_to(&mut worker, level).join(", "), expected, "{level:?}");
    }
}

/// The most events besides the steps: restarts of nodes in the middle of their turn, pods that
/// start again, and changes of the goal, on and back.
const EVENTS: usize = if cfg!(debug_assertions) { 1 } else { 4 };

#[test]
fn every_client_reaches_its_server_in_every_state() {
    for start in [State::start(), State::before_the_end()] {
        let found = explore(&REAL, EVENTS, start);
        assert_eq!(found.fault, None, "after {} states", found.states);
        println!("{} states", found.states);
    }
}

/// Where the old root can't sign a bridge, pods have to know the new one before it serves.
#[test]
fn every_client_reaches_its_server_without_bridge() {
    let pods_before = Some(RotationLevel::Servers);
    let planner = Planner { has_bridge: false, pods_before, ..REAL };
    let start = State { goal: RotationLevel::Clients, ..State::start() };
    let found = explore(&planner, EVENTS, start);
    assert_eq!(found.fault, None, "after {} states", found.states);
    println!("{} states", found.states);
}

/// `ca.crt` gets its second certificate before kube-controller-manager has files of its own.
fn ca_before_flags(node: &RotationFacts, level: RotationLevel) -> Option<RotationStep> {
    let step = next_step(node, level)?;
    let is_first = level == RotationLevel::Staged && node.ca == CaFile::Old;
    let is_flags = matches!(step, RotationStep::Sign(SigningFiles::Own(_)));
    Some(if is_first && is_flags { RotationStep::WriteCa(CaFile::OldNew) } else { step })
}

/// kube-controller-manager is not awaited after its manifest changed.
fn flags_without_restart(node: &RotationFacts, level: RotationLevel) -> Option<RotationStep> {
    next_step(&with_signing_loaded(node), level)
}

fn with_signing_loaded(node: &RotationFacts) -> RotationFacts {
    let mut node = *node;
    node.control_plane.iter_mut().for_each(|facts| facts.signing_is_loaded = true);
    node
}

/// The flags are put back while `ca.crt` still has two certificates.
fn flags_back_too_early(node: &RotationFacts, level: RotationLevel) -> Option<RotationStep> {
    let is_own = node.control_plane.is_some_and(|facts| facts.signing != SigningFiles::CaFiles);
    match next_step(node, level)? {
        RotationStep::WriteCa(CaFile::New) if is_own => {
            Some(RotationStep::Sign(SigningFiles::CaFiles))
        }
        step => Some(step),
    }
}

/// The new root signs before every node trusts it.
fn new_signer_too_early(node: &RotationFacts, level: RotationLevel) -> Option<RotationStep> {
    let old = node.control_plane.is_some_and(|facts| facts.signing == SigningFiles::Own(Old));
    if level == RotationLevel::Trusted && old {
        return Some(RotationStep::Sign(SigningFiles::Own(New)));
    }
    next_step(node, level)
}

/// What a process read at its start is taken for what its files hold.
fn with_all_loaded(node: &RotationFacts) -> RotationFacts {
    let mut node = with_signing_loaded(node);
    restart(&mut node, RestartedProgram::Kubelet);
    if node.control_plane.is_some() {
        restart(&mut node, RestartedProgram::ControllerManager);
        restart(&mut node, RestartedProgram::Scheduler);
    }
    node
}

/// A planner with a mistake, and the state in which it begins.
type Mistake = (&'static str, Planner, State);

fn mistakes() -> Vec<Mistake> {
    let start = State::start();
    let at_end = State::before_the_end();
    let no_barrier = |node: LevelRange, _: LevelRange, goal: RotationLevel| {
        (node.floor < goal || node.ceiling > goal).then_some(goal)
    };
    let two_levels = |node: LevelRange, cluster: LevelRange, goal: RotationLevel| {
        let level = cluster.floor.next().next().min(goal);
        if node.ceiling > goal {
            level_to_work_to(node, cluster, goal)
        } else {
            (node.floor < level).then_some(level)
        }
    };
    let hasty_way_back = |node: LevelRange, cluster: LevelRange, goal: RotationLevel| {
        if node.ceiling > goal { Some(goal) } else { level_to_work_to(node, cluster, goal) }
    };
    vec![
        ("no level is waited for", Planner { level: no_barrier, ..REAL }, start),
        ("two levels at once", Planner { level: two_levels, ..REAL }, start),
        ("the way back in one level", Planner { level: hasty_way_back, ..REAL }, start),
        ("ca.crt before the flags", Planner { step: ca_before_flags, ..REAL }, start),
        (
            "flags without a restart",
            Planner {
                step: flags_without_restart,
                node_level: |node| node_level(&with_signing_loaded(node)),
                cluster_level: |nodes, api| {
                    let nodes: Vec<_> = nodes.iter().map(with_signing_loaded).collect();
                    cluster_level(&nodes, api)
                },
                ..REAL
            },
            start,
        ),
        ("flags back too early", Planner { step: flags_back_too_early, ..REAL }, at_end),
        ("a new signer too early", Planner { step: new_signer_too_early, ..REAL }, start),
        (
            "files taken for what is in use",
            Planner {
                step: |node, level| next_step(&with_all_loaded(node), level),
                node_level: |node| node_level(&with_all_loaded(node)),
                cluster_level: |nodes, api| {
                    let nodes: Vec<_> = nodes.iter().map(with_all_loaded).collect();
                    cluster_level(&nodes, api)
                },
                ..REAL
            },
            at_end,
        ),
        (
            "workers that are not looked at",
            Planner { cluster_level: |nodes, api| cluster_level(&nodes[..3], api), ..REAL },
            at_end,
        ),
        (
            "objects that are not looked at",
            Planner {
                cluster_level: |nodes, api| {
                    cluster_level(nodes, &ApiFacts { objects: api.published, ..*api })
                },
                ..REAL
            },
            start,
        ),
        ("pods that know the old root alone", Planner { pods_before: None, ..REAL }, start),
        ("no bridge, as if there were one", Planner { has_bridge: false, ..REAL }, start),
        ("no bridge on the way back", Planner { has_reverse_bridge: false, ..REAL }, at_end),
    ]
}

#[test]
fn mistakes_of_planners_are_caught() {
    let mut missed = Vec::new();
    for (mistake, planner, start) in mistakes() {
        let found = explore(&planner, 2, start);
        match found.fault {
            Some(fault) => {
                let fault = fault.lines().next().unwrap_or_default().to_owned();
                println!("{mistake}: {fault} (after {} states)", found.states);
            }
            None => missed.push(mistake),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
