//! The rotation of the root CA: the next step of a node to a level, and the agreement of the nodes
//! on that level.
//!
//! A node makes the steps to a level in one order, wherever it begins: from the level before it,
//! from the one after it, or from anything else, such as a file that was restored. What makes that
//! safe is that all nodes are at two neighbouring levels or between them at any time. Both are
//! checked by a model of a cluster, whatever the order of the steps is.
//!
//! Nothing makes these steps yet.

use crate::model::{
    Agreement, BridgeHolder, CaFile, Chain, ControlPlaneFacts, LoadedFacts, NodeProgress,
    ReloadingProgram, RestartedProgram, RootCa, RotationFacts, RotationLevel, RotationStep,
    SigningFiles, TrustedRoots,
};

/// What holds on a node that has a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    ca: CaFile,
    ca_key: RootCa,
    signing: SigningFiles,
    trust: TrustedRoots,
    clients: RootCa,
    server: RootCa,
    bridge: WantedBridge,
}

/// Whether a bridge is to stand behind certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WantedBridge {
    /// Behind those of the new root.
    New,
    /// Behind none.
    None,
    /// One that is there stays: behind certificates of the old root it connects clients that know
    /// the new one alone, on the way back.
    Kept,
}

fn wanted(level: RotationLevel, has_bridge: bool) -> Wanted {
    use RootCa::{New, Old};
    let rest = Wanted {
        ca: CaFile::Old,
        ca_key: Old,
        signing: SigningFiles::CaFiles,
        trust: TrustedRoots::Old,
        clients: Old,
        server: Old,
        bridge: WantedBridge::Kept,
    };
    let staged = Wanted { signing: SigningFiles::Own(Old), ..rest };
    let trusted = Wanted { ca: CaFile::OldNew, trust: TrustedRoots::Both, ..staged };
    let bridge = if has_bridge { WantedBridge::New } else { WantedBridge::Kept };
    let clients = Wanted { signing: SigningFiles::Own(New), clients: New, bridge, ..trusted };
    let servers = Wanted { ca: CaFile::NewOld, ca_key: New, server: New, ..clients };
    match level {
        RotationLevel::Rest => rest,
        RotationLevel::Staged => staged,
        RotationLevel::Trusted => trusted,
        RotationLevel::Clients => clients,
        RotationLevel::Servers => servers,
        RotationLevel::Distrusted => Wanted {
            ca: CaFile::New,
            signing: SigningFiles::CaFiles,
            trust: TrustedRoots::New,
            bridge: WantedBridge::None,
            ..servers
        },
    }
}

/// The next step of a node to a level; `None` where it has everything of it. `has_bridge` is
/// whether there is a bridge from the old root to the new one.
#[must_use]
pub fn next_step(
    node: &RotationFacts,
    level: RotationLevel,
    has_bridge: bool,
) -> Option<RotationStep> {
    let wanted = wanted(level, has_bridge);
    match &node.control_plane {
        Some(facts) => control_plane_step(node, facts, &wanted),
        None => write_ca(node, None, &wanted).or_else(|| kubelet_step(node, &wanted)),
    }
}

fn control_plane_step(
    node: &RotationFacts,
    facts: &ControlPlaneFacts,
    wanted: &Wanted,
) -> Option<RotationStep> {
    use RestartedProgram::{ControllerManager, Scheduler};
    let sign = (facts.signing != wanted.signing).then_some(RotationStep::Sign(wanted.signing));
    let restart_signer =
        (!facts.signing_is_loaded).then_some(RotationStep::Restart(ControllerManager));
    // With ca.crt and ca.key nothing is signed while ca.crt holds two certificates, so it gets
    // files of its own before that, and those are left when it is over.
    let (before, after) = match wanted.signing {
        SigningFiles::Own(_) => (sign.or(restart_signer), None),
        SigningFiles::CaFiles => (None, sign),
    };
    let trust = (facts.kubeconfigs != wanted.trust)
        .then_some(RotationStep::TrustInKubeconfigs(wanted.trust));
    let clients = leaf_step(facts.clients, wanted.clients, wanted.bridge, BridgeHolder::Clients);
    let server = leaf_step(facts.server, wanted.server, wanted.bridge, BridgeHolder::Server);
    let has_read =
        facts.api_server.accepts == node.ca.trust() && facts.api_server.shows == facts.server;
    let restart = |program, loaded: &LoadedFacts| {
        (!has_loaded(loaded, wanted)).then_some(RotationStep::Restart(program))
    };
    before
        .or_else(|| write_ca(node, Some(facts.ca_key), wanted))
        .or(trust)
        .or(clients)
        .or(server)
        .or((!has_read).then_some(RotationStep::Await(ReloadingProgram::ApiServer)))
        .or(after)
        .or_else(|| restart(ControllerManager, &facts.controller_manager))
        .or((facts.root_ca != wanted.trust).then_some(RotationStep::Restart(ControllerManager)))
        .or(restart_signer)
        .or_else(|| restart(Scheduler, &facts.scheduler))
        .or_else(|| kubelet_step(node, wanted))
}

fn write_ca(node: &RotationFacts, ca_key: Option<RootCa>, wanted: &Wanted) -> Option<RotationStep> {
    match ca_key {
        Some(key) if key != wanted.ca_key => Some(RotationStep::SwapCa(wanted.ca, wanted.ca_key)),
        _ if node.ca == wanted.ca => None,
        // A worker has no key, and the order of what it trusts does not matter.
        None if node.ca.trust() == wanted.ca.trust() => None,
        _ => Some(RotationStep::WriteCa(wanted.ca)),
    }
}

fn leaf_step(
    found: Chain,
    issuer: RootCa,
    bridge: WantedBridge,
    holder: BridgeHolder,
) -> Option<RotationStep> {
    if found.issuer != issuer {
        return Some(match holder {
            BridgeHolder::Clients => RotationStep::IssueClients(issuer),
            BridgeHolder::KubeletClient => RotationStep::IssueKubeletClient(issuer),
            BridgeHolder::Server => RotationStep::IssueServer(issuer),
        });
    }
    match bridge {
        WantedBridge::New if issuer == RootCa::New && !found.bridge => {
            Some(RotationStep::AddBridge(holder))
        }
        WantedBridge::None if found.bridge => Some(RotationStep::DropBridge(holder)),
        WantedBridge::New | WantedBridge::None | WantedBridge::Kept => None,
    }
}

fn kubelet_step(node: &RotationFacts, wanted: &Wanted) -> Option<RotationStep> {
    let trust =
        (node.kubelet_trust != wanted.trust).then_some(RotationStep::TrustInKubelet(wanted.trust));
    let holder = BridgeHolder::KubeletClient;
    trust
        .or_else(|| leaf_step(node.kubelet_client, wanted.clients, wanted.bridge, holder))
        .or((node.kubelet_accepts != node.ca.trust())
            .then_some(RotationStep::Await(ReloadingProgram::Kubelet)))
        .or((!has_loaded(&node.kubelet, wanted))
            .then_some(RotationStep::Restart(RestartedProgram::Kubelet)))
}

/// Whether a program has read at its start what it needs. The bridge behind its certificate is for
/// servers that know the old root alone, of which there are none after the level before this one.
fn has_loaded(loaded: &LoadedFacts, wanted: &Wanted) -> bool {
    loaded.trust == wanted.trust && loaded.client.issuer == wanted.clients
}

/// The CA certificates that the objects of the API are to have for a level: cluster-info, and every
/// caBundle that held the old root.
#[must_use]
pub fn trust_in_objects(level: RotationLevel) -> TrustedRoots {
    wanted(level, false).trust
}

/// The next agreement on the way to a goal; `None` while a node has not heard of the present one or
/// is not done with it, the objects of the API are not, or the goal is reached.
///
/// Turning round needs no node: from one level and the next, all nodes may work to either.
#[must_use]
pub fn next_agreement(
    present: &Agreement,
    goal: RotationLevel,
    nodes: &[NodeProgress],
    objects_are_done: bool,
) -> Option<Agreement> {
    let Agreement { generation, from, to } = *present;
    let next = |from, to| Some(Agreement { generation: generation.saturating_add(1), from, to });
    let is_done = |node: &NodeProgress| node.generation == generation && node.is_done;
    if nodes.iter().all(is_done) && objects_are_done {
        return (to != goal).then(|| next(to, to.towards(goal)))?;
    }
    // The goal is behind the level to which they work.
    let turns = from != to && to.towards(goal) == from;
    turns.then(|| next(to, from))?
}
