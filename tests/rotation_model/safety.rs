//! Every client that has to reach a server can verify it and is accepted.

use std::collections::BTreeSet;

use kubecertd::model::{
    ApiServerFacts, Bridges, CaFile, Chain, ControlPlaneFacts, LoadedFacts, RootCa, RotationFacts,
    RotationLevel, RotationStep, SigningFiles, TrustedRoots,
};
use kubecertd::plan::{next_step, trust_in_objects};

use super::node::{
    Kind, Model, Phase, Program, State, States, after, alone, at_rest, events, restored_files,
};
use RootCa::{New, Old};
use RotationLevel as L;
use TrustedRoots as T;

pub const BOTH_WAYS: Bridges = Bridges { forth: true, back: true };
pub const FORTH: Bridges = Bridges { forth: true, back: false };
pub const NO_BRIDGE: Bridges = Bridges { forth: false, back: false };

pub fn real(bridges: Bridges) -> Model {
    Model {
        planner: next_step,
        bridges,
        verifies_kubelets: false,
        files_are_restored: false,
        restarts_all: false,
        waits_for_all: true,
        makes_sure: true,
        last: L::Distrusted,
    }
}

/// The first thing that goes wrong.
pub fn fault(model: &Model) -> Option<String> {
    let all = model.reached();
    all.iter().find_map(|(phase, states)| fault_in(model, *phase, states))
}

fn fault_in(model: &Model, phase: Phase, states: &States) -> Option<String> {
    let alone = states.iter().find_map(|state| {
        let problem = fault_of(phase, &state.facts)?;
        Some(format!("{phase:?}: {problem}: {state:?}"))
    });
    let flags: BTreeSet<_> = states.iter().map(|state| (state.servers, state.distrusted)).collect();
    alone.or_else(|| {
        flags.into_iter().find_map(|flags| {
            let is_meant = |state: &&State| (state.servers, state.distrusted) == flags;
            let facts: Vec<_> = states.iter().filter(is_meant).map(|state| &state.facts).collect();
            between_clients_and_servers(model, phase, flags, &facts)
        })
    })
}

/// What is wrong on a node alone.
fn fault_of(phase: Phase, node: &RotationFacts) -> Option<&'static str> {
    let facts = node.control_plane?;
    let signs = matches!(facts.signing, SigningFiles::Own(_)) && facts.signing_is_loaded;
    if node.ca.trust() == T::Both && !signs {
        return Some("kube-controller-manager has two certificates to sign with");
    }
    let first = match node.ca {
        CaFile::Old | CaFile::OldNew => Old,
        CaFile::New | CaFile::NewOld => New,
    };
    if first != facts.ca_key {
        return Some("ca.key is not of the first certificate in ca.crt");
    }
    let (low, high) = phase.levels();
    let is_published = [low, high].iter().any(|level| trust_at(*level) == facts.root_ca.trust());
    (!is_published).then_some("it publishes what no level has")
}

/// What is trusted at a level, in objects and else.
pub fn trust_at(level: L) -> T {
    match level {
        L::Rest | L::Staged => T::Old,
        L::Trusted | L::Clients | L::Servers => T::Both,
        L::Distrusted | L::Renewed => T::New,
    }
}

fn between_clients_and_servers(
    model: &Model,
    phase: Phase,
    flags: (bool, bool),
    nodes: &[&RotationFacts],
) -> Option<String> {
    // Many states differ in nothing that others see.
    let api_servers: BTreeSet<_> =
        nodes.iter().filter_map(|facts| Some(facts.control_plane?.api_server)).collect();
    let clients: BTreeSet<_> = outside(model, phase, flags)
        .into_iter()
        .chain(nodes.iter().flat_map(|facts| of_node(facts)))
        .collect();
    let unreached = unreached(&api_servers, &clients);
    if let Some(problem) = unreached {
        return Some(format!("{phase:?}: {problem}"));
    }
    let kubelets: BTreeSet<_> = nodes
        .iter()
        .map(|facts| (facts.kubelet_accepts, facts.kubelet_server.map(|serving| serving.shows)))
        .collect();
    for server in &api_servers {
        for (accepts, shows) in &kubelets {
            let verifies = match (server.kubelet_ca, shows) {
                (Some(trust), Some(shows)) => shows.verifies_by(trust),
                _ => true,
            };
            if !verifies || !server.kubelet_client.verifies_by(*accepts) {
                return Some(format!(
                    "{phase:?}: {server:?} does not reach a kubelet that accepts {accepts:?} and \
                     shows {shows:?}"
                ));
            }
        }
    }
    None
}

/// A client that does not reach a server.
fn unreached(servers: &BTreeSet<ApiServerFacts>, clients: &BTreeSet<Client>) -> Option<String> {
    for server in servers {
        for (name, loaded) in clients {
            let problem = if !server.shows.verifies_by(loaded.trust) {
                "can't verify"
            } else if !loaded.client.verifies_by(server.accepts) {
                "is refused by"
            } else {
                continue;
            };
            return Some(format!("{name} with {loaded:?} {problem} {server:?}"));
        }
    }
    None
}

type Client = (&'static str, LoadedFacts);

fn client(name: &'static str, trust: T, client: Chain) -> Client {
    (name, LoadedFacts { trust, client })
}

fn of_node(node: &RotationFacts) -> Vec<Client> {
    let mut all = vec![("kubelet", node.kubelet)];
    if let Some(facts) = node.control_plane {
        let ControlPlaneFacts { kubeconfigs, clients, controller_manager, scheduler, .. } = facts;
        all.extend([
            client("an administrator", kubeconfigs, clients),
            ("kube-controller-manager", controller_manager),
            ("kube-scheduler", scheduler),
        ]);
    }
    all
}

/// The clients that are not of the nodes: what they know, and what they log in with. A pod logs in
/// with a token, which is always accepted.
fn outside(model: &Model, phase: Phase, (servers, distrusted): (bool, bool)) -> Vec<Client> {
    let Bridges { forth, back } = model.bridges;
    let (low, high) = phase.levels();
    let is_distrusting = high == L::Distrusted;
    let by_token = |name, trust| {
        let accepted = if is_distrusting { New } else { Old };
        client(name, trust, alone(accepted))
    };
    let mut all = vec![by_token("a pod that knows both roots", T::Both)];
    // Without a bridge, whatever knows the old root alone is restarted before the servers. Nothing
    // knows it alone any more when it is distrusted.
    let old_is_known = !is_distrusting && (forth || high < L::Servers);
    if old_is_known {
        all.push(client("a client that knows the old root", T::Old, alone(Old)));
        all.push(by_token("a pod that knows the old root", T::Old));
    }
    if !is_distrusting {
        all.push(client("a client that knows both roots", T::Both, alone(Old)));
    }
    // Users get certificates of the root that signs, with nothing behind them. On the way back they
    // have others before the new root is distrusted.
    if low >= L::Trusted {
        all.push(client("a user with a certificate of the new root", T::Both, alone(New)));
    }
    // On the way back, what knows the new root alone needs the bridge, or is restarted before.
    let new_is_known = servers && (back || low >= L::Servers);
    if new_is_known {
        all.push(by_token("a pod that knows the new root", T::New));
        if low >= L::Trusted {
            all.push(client("a client that knows the new root", T::New, alone(New)));
        } else if forth {
            let chain = model.bridges.behind(New);
            all.push(client("a client that knows the new root", T::New, chain));
        }
    }
    if distrusted && (back || low >= L::Servers) {
        all.push(by_token("a pod that knows the new root", T::New));
    }
    // Where the old root is known to nothing else, cluster-info has both.
    let joins = [low, high].map(trust_in_objects).into_iter();
    all.extend(
        joins
            .filter(|trust| *trust != T::Old || old_is_known)
            .map(|trust| by_token("a node that joins", trust)),
    );
    all
}

fn all_models() -> impl Iterator<Item = Model> {
    [BOTH_WAYS, FORTH, NO_BRIDGE, Bridges { forth: false, back: true }].into_iter().flat_map(
        |bridges| {
            [false, true].map(|verifies_kubelets| Model { verifies_kubelets, ..real(bridges) })
        },
    )
}

#[test]
fn every_client_reaches_every_server() {
    for model in all_models() {
        let (bridges, verifies) = (model.bridges, model.verifies_kubelets);
        let all = model.reached();
        let states = all.values().map(States::len).sum::<usize>();
        println!("{bridges:?}, kubelets are verified: {verifies}: {states} states of a node");
        assert_eq!(all.len(), 2 * L::ALL.len() - 1, "every level is reached");
        let fault = all.iter().find_map(|(phase, states)| fault_in(&model, *phase, states));
        assert_eq!(fault, None, "{bridges:?}, kubelets are verified: {verifies}");
    }
}

#[test]
fn programs_that_are_restarted_together_read_nothing_else() {
    let model = Model { restarts_all: true, ..real(NO_BRIDGE) };
    assert_eq!(fault(&model), None);
}

#[test]
fn objects_trust_what_nodes_do() {
    for level in L::ALL {
        assert_eq!(trust_in_objects(level), trust_at(level), "{level:?}");
    }
}

/// A file that was restored costs no other node anything while the old root is trusted: what knows
/// the old root, or has the bridge behind its certificate.
#[test]
fn restored_file_takes_nothing_along() {
    let model = Model { files_are_restored: true, last: L::Servers, ..real(BOTH_WAYS) };
    for (phase, states) in model.reached() {
        let is_bridged = |chain: Chain| chain.issuer == Old || chain.bridge;
        let is_meant = |state: &State| {
            fault_of(phase, &state.facts).is_none()
                && of_node(&state.facts).iter().all(|(_, loaded)| is_bridged(loaded.client))
        };
        let states = states.into_iter().filter(is_meant);
        let states: States =
            states.map(|state| State { servers: false, distrusted: false, ..state }).collect();
        let facts: Vec<_> = states.iter().map(|state| &state.facts).collect();
        let bridged = |(name, loaded): &Client| {
            *name != "a user with a certificate of the new root" && is_bridged(loaded.client)
        };
        let servers: BTreeSet<_> =
            facts.iter().filter_map(|facts| Some(facts.control_plane?.api_server)).collect();
        let clients: BTreeSet<_> = outside(&model, phase, (false, false))
            .into_iter()
            .filter(bridged)
            .chain(facts.iter().flat_map(|facts| of_node(facts)))
            .collect();
        assert_eq!(unreached(&servers, &clients), None, "{phase:?}");
    }
}

/// Every fact of a node that has a level, written down a second time.
fn expected(kind: Kind, level: L, bridges: Bridges) -> RotationFacts {
    let mut facts = at_rest(kind);
    let ((clients, servers), ca, signing) = match level {
        L::Rest => ((Old, Old), CaFile::Old, SigningFiles::CaFiles),
        L::Staged => ((Old, Old), CaFile::Old, SigningFiles::Own(Old)),
        L::Trusted => ((Old, Old), CaFile::OldNew, SigningFiles::Own(Old)),
        L::Clients => ((New, Old), CaFile::OldNew, SigningFiles::Own(New)),
        L::Servers => ((New, New), CaFile::NewOld, SigningFiles::Own(New)),
        L::Distrusted | L::Renewed => ((New, New), CaFile::New, SigningFiles::CaFiles),
    };
    let chain = |root| match level {
        L::Distrusted => alone(root),
        _ => bridges.behind(root),
    };
    let (client, server, trust) = (chain(clients), chain(servers), trust_at(level));
    let loaded = LoadedFacts { trust, client };
    facts.ca = ca;
    (facts.kubelet_accepts, facts.kubelet_trust) = (trust, trust);
    (facts.kubelet_client, facts.kubelet) = (client, loaded);
    facts.kubelet_server.iter_mut().for_each(|serving| {
        (serving.file, serving.shows) = (server, server);
    });
    if let Some(control_plane) = &mut facts.control_plane {
        control_plane.ca_key = if level >= L::Servers { New } else { Old };
        control_plane.signing = signing;
        control_plane.kubeconfigs = trust;
        (control_plane.clients, control_plane.server) = (client, server);
        control_plane.api_server.accepts = trust;
        control_plane.api_server.shows = server;
        control_plane.api_server.kubelet_client = client;
        control_plane.api_server.kubelet_ca = kind.verifies_kubelets.then_some(trust);
        (control_plane.controller_manager, control_plane.scheduler) = (loaded, loaded);
        control_plane.root_ca = ca;
    }
    facts
}

/// From every state, also with a file restored or two, the steps lead to each level, and there they
/// end with everything of it.
#[test]
fn steps_end_at_the_level_from_anywhere() {
    let mut count = 0;
    for (bridges, verifies_kubelets) in [(BOTH_WAYS, false), (NO_BRIDGE, true)] {
        let model = Model { verifies_kubelets, ..real(bridges) };
        let starts: BTreeSet<_> =
            model.reached().into_values().flatten().map(|state| state.facts).collect();
        let once: BTreeSet<_> = starts.iter().flat_map(restored_files).collect();
        let again = once.iter().filter(|_| !bridges.forth);
        let twice: BTreeSet<_> = again.flat_map(restored_files).collect();
        let all: BTreeSet<_> = starts.into_iter().chain(once).chain(twice).collect();
        for start in &all {
            for level in L::ALL {
                steps_end_at(*start, level, bridges);
            }
        }
        count += all.len();
    }
    println!("from {count} states");
}

fn steps_end_at(start: RotationFacts, level: L, bridges: Bridges) {
    let mut facts = start;
    for _ in 0..40 {
        let Some(step) = next_step(&facts, level, bridges) else {
            let kind = Kind {
                is_control_plane: start.control_plane.is_some(),
                verifies_kubelets: start.kubelet_server.is_some(),
            };
            let mut expected = expected(kind, level, bridges);
            if !kind.is_control_plane && facts.ca.trust() == expected.ca.trust() {
                // A worker has no key, and the order does not matter.
                expected.ca = facts.ca;
            }
            assert_eq!(facts, expected, "{level:?}");
            return;
        };
        let next = after(&facts, step, bridges);
        assert_ne!(next, facts, "{step:?} changes nothing at {facts:?}");
        for root in [Old, New] {
            let is_distrusted = trusts(&facts, root) && !trusts(&next, root);
            assert!(!is_distrusted || !has_certificate(&facts, root), "{step:?} at {facts:?}");
        }
        facts = next;
    }
    panic!("no end: {start:?} to {level:?}");
}

/// Whether `ca.crt` and the kubeconfigs trust a root.
fn trusts(node: &RotationFacts, root: RootCa) -> bool {
    let kubeconfigs = node.control_plane.map(|facts| facts.kubeconfigs);
    let files = [node.ca.trust(), node.kubelet_trust].into_iter().chain(kubeconfigs);
    files.into_iter().all(|trust| trust.has(root))
}

/// Whether something on a node logs in or serves with a certificate of a root.
fn has_certificate(node: &RotationFacts, root: RootCa) -> bool {
    let mut all = vec![node.kubelet_client, node.kubelet.client];
    all.extend(node.kubelet_server.iter().flat_map(|one| [one.file, one.shows]));
    if let Some(facts) = node.control_plane {
        let ApiServerFacts { shows, kubelet_client, .. } = facts.api_server;
        all.extend([facts.clients, facts.server, shows, kubelet_client]);
        all.extend([facts.controller_manager.client, facts.scheduler.client]);
    }
    all.iter().any(|chain| chain.issuer == root)
}

/// A node that waits for its turn to restart something already signs with the root of the level:
/// kubelets of other nodes wait for that.
#[test]
fn root_that_signs_changes_before_anything_is_restarted() {
    for state in real(BOTH_WAYS).reached().into_values().flatten() {
        let Some(facts) = state.facts.control_plane else { continue };
        for level in [L::Trusted, L::Clients, L::Servers] {
            let root = if level == L::Trusted { Old } else { New };
            let step = next_step(&state.facts, level, BOTH_WAYS);
            let signs = facts.signing == SigningFiles::Own(root);
            assert!(signs || matches!(step, Some(RotationStep::Sign(_))), "{step:?}: {state:?}");
        }
    }
}

/// kubeadm signs with the first certificate and ca.key, and all control-plane nodes publish the
/// same bytes. A worker has no key.
#[test]
fn order_of_certificates_is_corrected_on_control_plane() {
    for is_control_plane in [true, false] {
        let kind = Kind { is_control_plane, verifies_kubelets: false };
        let facts = expected(kind, L::Trusted, BOTH_WAYS);
        let turned = RotationFacts { ca: CaFile::NewOld, ..facts };
        let step = is_control_plane.then_some(RotationStep::WriteCa(CaFile::OldNew));
        assert_eq!(next_step(&turned, L::Trusted, BOTH_WAYS), step);
    }
}

/// A node at rest has no step to make, and restarts change nothing.
#[test]
fn node_at_rest_is_left_alone() {
    for (is_control_plane, verifies_kubelets) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let rest = at_rest(Kind { is_control_plane, verifies_kubelets });
        assert_eq!(next_step(&rest, L::Rest, FORTH), None);
        let events = Program::ALL.into_iter().flat_map(|program| events(&rest, program));
        assert!(events.into_iter().all(|one| one == rest));
    }
}
