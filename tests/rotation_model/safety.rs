//! Every client that has to reach a server can verify it and is accepted.

use std::collections::{BTreeMap, BTreeSet};

use kubecertd::model::{
    Chain, ControlPlaneFacts, LoadedFacts, RootCa, RotationFacts, RotationLevel, RotationStep,
    SigningFiles, TrustedRoots,
};
use kubecertd::plan::{next_step, trust_in_objects};

use super::node::{
    Bridges, LevelPair, Model, Program, Reached, State, after, alone, at_rest, events,
    restored_files,
};
use RootCa::{New, Old};

const BOTH_WAYS: Bridges = Bridges { forth: true, back: true };
const NO_BRIDGE: Bridges = Bridges { forth: false, back: false };

pub fn real(bridges: Bridges) -> Model {
    Model {
        planner: next_step,
        bridges,
        kubelets_renew: true,
        files_are_restored: false,
        waits_for_all: true,
        last: RotationLevel::Distrusted,
    }
}

/// A client of API servers.
struct Client {
    name: &'static str,
    loaded: LoadedFacts,
}

fn high(pair: LevelPair) -> RotationLevel {
    RotationLevel::ALL[pair + 1]
}

/// The first thing that goes wrong.
pub fn fault(model: &Model) -> Option<String> {
    let all = model.reached();
    all.iter().find_map(|(pair, reached)| fault_in(model, *pair, reached))
}

fn fault_in(model: &Model, pair: LevelPair, reached: &Reached) -> Option<String> {
    for state in reached.control_plane.iter().chain(&reached.workers) {
        if let Some(problem) = fault_of(&state.facts) {
            return Some(format!("{:?}: {problem}: {state:?}", high(pair)));
        }
    }
    // Many states differ in nothing that others see.
    for (servers, distrusted) in [(false, false), (true, false), (true, true), (false, true)] {
        let is_meant = |state: &&State| (state.servers, state.distrusted) == (servers, distrusted);
        let control_plane: Vec<_> =
            reached.control_plane.iter().filter(is_meant).map(|state| state.facts).collect();
        let workers: Vec<_> =
            reached.workers.iter().filter(is_meant).map(|state| state.facts).collect();
        let shown: BTreeSet<_> = control_plane
            .iter()
            .filter_map(|facts| Some(facts.control_plane?.api_server))
            .collect();
        let mut clients = outside(model, pair, servers, distrusted);
        clients.extend(control_plane.iter().chain(&workers).flat_map(of_node));
        let clients: BTreeMap<_, _> =
            clients.into_iter().map(|client| ((client.name, client.loaded), ())).collect();
        for api_server in &shown {
            for (name, loaded) in clients.keys() {
                if !api_server.shows.verifies_by(loaded.trust) {
                    return Some(format!(
                        "{:?}: {name} with {loaded:?} can't verify {api_server:?}",
                        high(pair)
                    ));
                }
                if !loaded.client.verifies_by(api_server.accepts) {
                    return Some(format!(
                        "{:?}: {name} with {loaded:?} is refused by {api_server:?}",
                        high(pair)
                    ));
                }
            }
        }
        let kubelets: BTreeSet<_> =
            control_plane.iter().chain(&workers).map(|facts| facts.kubelet_accepts).collect();
        let connecting: BTreeSet<_> =
            control_plane.iter().filter_map(|facts| Some(facts.control_plane?.clients)).collect();
        for accepts in &kubelets {
            if let Some(client) = connecting.iter().find(|one| !one.verifies_by(*accepts)) {
                return Some(format!(
                    "{:?}: an API server with {client:?} is refused by a kubelet that trusts \
                     {accepts:?}",
                    high(pair)
                ));
            }
        }
    }
    None
}

/// What is wrong on a node alone.
fn fault_of(node: &RotationFacts) -> Option<&'static str> {
    let facts = node.control_plane?;
    let signs = matches!(facts.signing, SigningFiles::Own(_)) && facts.signing_is_loaded;
    if node.ca.trust() == TrustedRoots::Both && !signs {
        return Some("kube-controller-manager has two certificates to sign with");
    }
    let first = match node.ca {
        kubecertd::model::CaFile::Old | kubecertd::model::CaFile::OldNew => Old,
        kubecertd::model::CaFile::New | kubecertd::model::CaFile::NewOld => New,
    };
    (first != facts.ca_key).then_some("ca.key is not of the first certificate in ca.crt")
}

fn of_node(node: &RotationFacts) -> Vec<Client> {
    let client = |name, loaded| Client { name, loaded };
    let mut all = vec![client("kubelet", node.kubelet)];
    if let Some(ControlPlaneFacts {
        kubeconfigs: trust,
        clients,
        controller_manager,
        scheduler,
        ..
    }) = node.control_plane
    {
        all.extend([
            client("an administrator", LoadedFacts { trust, client: clients }),
            client("kube-controller-manager", controller_manager),
            client("kube-scheduler", scheduler),
        ]);
    }
    all
}

/// The clients that are not of the nodes: what they know, and what they log in with. A pod logs in
/// with a token, which is always accepted.
fn outside(model: &Model, pair: LevelPair, servers: bool, distrusted: bool) -> Vec<Client> {
    use TrustedRoots as T;
    let Bridges { forth, back } = model.bridges;
    let high = high(pair);
    let is_distrusting = high == RotationLevel::Distrusted;
    let accepted = Chain { issuer: if is_distrusting { New } else { Old }, bridge: back };
    let client = |name, trust, client| Client { name, loaded: LoadedFacts { trust, client } };
    let mut all = Vec::new();
    // Without a bridge, whatever knows the old root alone is restarted before the servers.
    let reaches_old = !is_distrusting && (forth || high < RotationLevel::Servers);
    if reaches_old {
        all.push(client("a client that knows the old root", T::Old, alone(Old)));
        all.push(client("a pod that knows the old root", T::Old, accepted));
    }
    if !is_distrusting {
        all.push(client("a client that knows both roots", T::Both, alone(Old)));
    }
    // With a certificate of the new root from `Clients` on. Without a bridge, it gets one of the
    // old root before that is trusted alone.
    let logs_in_by_new = forth || pair >= RotationLevel::Trusted as usize;
    if logs_in_by_new && (high >= RotationLevel::Servers || servers) {
        all.push(client("a client that knows both roots", T::Both, model.bridges.behind(New)));
    }
    all.push(client("a pod that knows both roots", T::Both, accepted));
    // On the way back, they need the bridge, or are restarted before.
    let knows_new = is_distrusting || (servers && (back || high > RotationLevel::Servers));
    if knows_new && servers && logs_in_by_new {
        all.push(client("a client that knows the new root", T::New, model.bridges.behind(New)));
    }
    if distrusted && back {
        all.push(client("a pod that knows the new root", T::New, accepted));
    }
    for level in [RotationLevel::ALL[pair], high] {
        let trust = trust_in_objects(level);
        let can_join = trust != T::Old || reaches_old;
        all.extend(can_join.then(|| client("a node that joins", trust, accepted)));
    }
    all
}

#[test]
fn every_client_reaches_every_server_with_bridges() {
    assert_eq!(fault(&real(BOTH_WAYS)), None);
}

#[test]
fn every_client_that_knows_both_roots_reaches_every_server_without_bridge() {
    assert_eq!(fault(&real(NO_BRIDGE)), None);
    assert_eq!(fault(&real(Bridges { forth: true, back: false })), None);
    assert_eq!(fault(&real(Bridges { forth: false, back: true })), None);
}

#[test]
fn every_pair_of_levels_is_visited() {
    for bridges in [BOTH_WAYS, NO_BRIDGE] {
        let all = real(bridges).reached();
        let states = all.values().map(|one| one.control_plane.len() + one.workers.len());
        println!("{bridges:?}: {} states of a node", states.sum::<usize>());
        assert_eq!(all.len(), RotationLevel::ALL.len() - 1, "every pair of levels is reached");
    }
}

/// A file that was restored costs no other node anything while the old root is trusted.
#[test]
fn restored_file_takes_nothing_along() {
    let model = Model {
        files_are_restored: true,
        kubelets_renew: false,
        last: RotationLevel::Servers,
        ..real(BOTH_WAYS)
    };
    for (pair, reached) in model.reached() {
        let without_own = |state: &State| fault_of(&state.facts).is_none();
        let reached = Reached {
            control_plane: reached.control_plane.into_iter().filter(without_own).collect(),
            workers: reached.workers,
        };
        // What knows the new root alone can't verify a certificate that was restored.
        let all = Reached {
            control_plane: known_to_old(reached.control_plane),
            workers: known_to_old(reached.workers),
        };
        assert_eq!(fault_in(&model, pair, &all), None);
    }
}

fn known_to_old(states: BTreeSet<State>) -> BTreeSet<State> {
    states.into_iter().map(|state| State { servers: false, distrusted: false, ..state }).collect()
}

/// From every state, also with two files restored, the steps lead to each level, and there they
/// end.
#[test]
fn steps_end_at_the_level_from_anywhere() {
    let starts: BTreeSet<_> = real(BOTH_WAYS)
        .reached()
        .into_values()
        .flat_map(|one| one.control_plane.into_iter().chain(one.workers))
        .map(|state| state.facts)
        .collect();
    let once: BTreeSet<_> = starts.iter().flat_map(restored_files).collect();
    let twice: BTreeSet<_> = once.iter().flat_map(restored_files).collect();
    let all: BTreeSet<_> = starts.into_iter().chain(once).chain(twice).collect();
    for start in &all {
        for level in RotationLevel::ALL {
            steps_end_at(*start, level);
        }
    }
    println!("from {} states", all.len());
}

fn steps_end_at(start: RotationFacts, level: RotationLevel) {
    let mut facts = start;
    for _ in 0..30 {
        let Some(step) = next_step(&facts, level, true) else { return };
        let next = after(&facts, step, BOTH_WAYS);
        assert_ne!(next, facts, "{step:?} changes nothing at {facts:?}");
        facts = next;
    }
    panic!("no end: {start:?} to {level:?}");
}

/// The flags of kube-controller-manager are the first thing that is repaired.
#[test]
fn dropped_signing_flags_are_repaired_first() {
    let mut facts = at_rest(true);
    while let Some(step) = next_step(&facts, RotationLevel::Trusted, true) {
        facts = after(&facts, step, BOTH_WAYS);
    }
    facts.control_plane.as_mut().unwrap().signing = SigningFiles::CaFiles;
    facts.kubelet_trust = TrustedRoots::Old;
    let step = next_step(&facts, RotationLevel::Trusted, true);
    assert_eq!(step, Some(RotationStep::Sign(SigningFiles::Own(Old))));
}

/// A node at rest has no step to make, and restarts change nothing.
#[test]
fn node_at_rest_is_left_alone() {
    for is_control_plane in [true, false] {
        let rest = at_rest(is_control_plane);
        assert_eq!(next_step(&rest, RotationLevel::Rest, true), None);
        let events = Program::ALL.into_iter().flat_map(|program| events(&rest, program));
        assert!(events.into_iter().all(|one| one == rest));
    }
}
