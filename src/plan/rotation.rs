//! The rotation of the root CA: the level of a node and of a cluster, and the next step to another
//! level.
//!
//! The steps of a level are made in one order whether the rotation goes on or back. What makes that
//! safe is that no node begins with a level before all nodes have the one before it. This is
//! checked by a model of a cluster, whatever the order of the nodes' steps is.
//!
//! Nothing makes these steps yet, and nothing may before this is right too: a single fact that
//! falls back by itself (a restored file, flags that `kubeadm upgrade` drops, a node that was left
//! out) takes its whole node back; the bridge is no fact yet, and neither is what the API server
//! has loaded; and the model knows no level that lags, and no certificate of another root than the
//! one that was asked for.

use crate::model::{
    ApiFacts, CaFile, ControlPlaneFacts, LevelRange, LoadedFacts, RestartedProgram, RootCa,
    RotationFacts, RotationLevel, RotationStep, SigningFiles, TrustedRoots,
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
}

fn wanted(level: RotationLevel) -> Wanted {
    use RootCa::{New, Old};
    let rest = Wanted {
        ca: CaFile::Old,
        ca_key: Old,
        signing: SigningFiles::CaFiles,
        trust: TrustedRoots::Old,
        clients: Old,
        server: Old,
    };
    let staged = Wanted { signing: SigningFiles::Own(Old), ..rest };
    let trusted = Wanted { ca: CaFile::OldNew, trust: TrustedRoots::Both, ..staged };
    let clients = Wanted { signing: SigningFiles::Own(New), clients: New, ..trusted };
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
            ..servers
        },
    }
}

/// The next step of a node to a level; `None` where it has it. The node has the level before it, or
/// the one after it, or is between the two.
#[must_use]
pub fn next_step(node: &RotationFacts, level: RotationLevel) -> Option<RotationStep> {
    let wanted = wanted(level);
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
    let clients =
        (facts.clients != wanted.clients).then_some(RotationStep::IssueClients(wanted.clients));
    let server =
        (facts.server != wanted.server).then_some(RotationStep::IssueServer(wanted.server));
    let read = LoadedFacts { trust: wanted.trust, client: wanted.clients };
    let restart =
        |program, loaded: &LoadedFacts| (*loaded != read).then_some(RotationStep::Restart(program));
    before
        .or_else(|| write_ca(node, Some(facts.ca_key), wanted))
        .or(trust)
        .or(clients)
        .or(server)
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

fn kubelet_step(node: &RotationFacts, wanted: &Wanted) -> Option<RotationStep> {
    let read = LoadedFacts { trust: wanted.trust, client: wanted.clients };
    if node.kubelet_trust != wanted.trust {
        Some(RotationStep::TrustInKubelet(wanted.trust))
    } else if node.kubelet_client != wanted.clients {
        Some(RotationStep::IssueKubeletClient(wanted.clients))
    } else if node.kubelet != read {
        Some(RotationStep::Restart(RestartedProgram::Kubelet))
    } else {
        None
    }
}

/// The levels between which a node is.
#[must_use]
pub fn node_level(node: &RotationFacts) -> LevelRange {
    let levels = RotationLevel::ALL.into_iter();
    let floor = levels.clone().take_while(|level| has_reached(node, *level)).last();
    let ceiling = levels.clone().find(|level| is_within(node, *level));
    LevelRange {
        floor: floor.unwrap_or(RotationLevel::Rest),
        ceiling: ceiling.unwrap_or(RotationLevel::Distrusted),
    }
}

/// Whether everything of a level holds, or of a later one.
fn has_reached(node: &RotationFacts, level: RotationLevel) -> bool {
    let trusts = |wanted: RootCa| {
        let kubelet = node.kubelet.trust.has(wanted) && node.kubelet_trust.has(wanted);
        let of_control_plane = |facts: &ControlPlaneFacts| {
            facts.kubeconfigs.has(wanted)
                && facts.controller_manager.trust.has(wanted)
                && facts.root_ca.has(wanted)
                && facts.scheduler.trust.has(wanted)
        };
        node.ca.trust().has(wanted) && kubelet && node.control_plane.iter().all(of_control_plane)
    };
    let has_new_clients = || {
        let kubelet = node.kubelet.client == RootCa::New && node.kubelet_client == RootCa::New;
        kubelet
            && node.control_plane.iter().all(|facts| {
                facts.clients == RootCa::New
                    && facts.controller_manager.client == RootCa::New
                    && facts.scheduler.client == RootCa::New
                    && facts.signing != SigningFiles::Own(RootCa::Old)
            })
    };
    let control_plane = node.control_plane.as_ref();
    match level {
        RotationLevel::Rest => true,
        RotationLevel::Staged => control_plane.is_none_or(|facts| {
            let is_own = facts.signing != SigningFiles::CaFiles && facts.signing_is_loaded;
            is_own || node.ca == CaFile::New
        }),
        RotationLevel::Trusted => trusts(RootCa::New),
        RotationLevel::Clients => has_new_clients(),
        RotationLevel::Servers => control_plane.is_none_or(|facts| {
            facts.server == RootCa::New && facts.ca_key == RootCa::New && node.ca != CaFile::OldNew
        }),
        RotationLevel::Distrusted => next_step(node, RotationLevel::Distrusted).is_none(),
    }
}

/// Whether nothing is there that only a later level has.
fn is_within(node: &RotationFacts, level: RotationLevel) -> bool {
    let control_plane = node.control_plane.as_ref();
    let is_any_new = |of_node: bool, of_control_plane: fn(&ControlPlaneFacts) -> bool| {
        of_node || control_plane.is_some_and(of_control_plane)
    };
    let trusts_new = is_any_new(
        node.ca != CaFile::Old
            || node.kubelet_trust != TrustedRoots::Old
            || node.kubelet.trust != TrustedRoots::Old,
        |facts| {
            facts.kubeconfigs != TrustedRoots::Old
                || facts.controller_manager.trust != TrustedRoots::Old
                || facts.root_ca != TrustedRoots::Old
                || facts.scheduler.trust != TrustedRoots::Old
        },
    );
    let has_new_client = is_any_new(
        node.kubelet_client == RootCa::New || node.kubelet.client == RootCa::New,
        |facts| {
            facts.clients == RootCa::New
                || facts.controller_manager.client == RootCa::New
                || facts.scheduler.client == RootCa::New
                || facts.signing == SigningFiles::Own(RootCa::New)
        },
    );
    let has_new_server =
        is_any_new(false, |facts| facts.server == RootCa::New || facts.ca_key == RootCa::New);
    let distrusts_old = is_any_new(
        node.ca == CaFile::New
            || node.kubelet_trust == TrustedRoots::New
            || node.kubelet.trust == TrustedRoots::New,
        |facts| {
            facts.kubeconfigs == TrustedRoots::New
                || facts.controller_manager.trust == TrustedRoots::New
                || facts.root_ca == TrustedRoots::New
                || facts.scheduler.trust == TrustedRoots::New
        },
    );
    let has_own_signing = control_plane
        .is_some_and(|facts| facts.signing != SigningFiles::CaFiles || !facts.signing_is_loaded);
    match level {
        RotationLevel::Rest => !has_own_signing && !trusts_new,
        RotationLevel::Staged => !trusts_new,
        RotationLevel::Trusted => !has_new_client && !has_new_server && !distrusts_old,
        RotationLevel::Clients => !has_new_server && !distrusts_old,
        RotationLevel::Servers => !distrusts_old,
        RotationLevel::Distrusted => true,
    }
}

/// The levels between which a cluster is: of all its nodes, and of the objects in its API.
#[must_use]
pub fn cluster_level(nodes: &[RotationFacts], api: &ApiFacts) -> LevelRange {
    let both = [api.published, api.objects];
    let of_api = LevelRange {
        floor: if both.iter().all(|trust| *trust == TrustedRoots::New) {
            RotationLevel::Distrusted
        } else if both.iter().all(|trust| trust.has(RootCa::New)) {
            RotationLevel::Servers
        } else {
            RotationLevel::Staged
        },
        ceiling: if both.contains(&TrustedRoots::New) {
            RotationLevel::Distrusted
        } else if both.contains(&TrustedRoots::Both) {
            RotationLevel::Trusted
        } else {
            RotationLevel::Rest
        },
    };
    nodes.iter().map(node_level).fold(of_api, |all, one| LevelRange {
        floor: all.floor.min(one.floor),
        ceiling: all.ceiling.max(one.ceiling),
    })
}

/// The level to which a node works now, on the way of its cluster to a goal; `None` where it waits
/// for others, or has the goal. It takes up nothing of a level before all have the one before, and
/// going back it gives up nothing before all are without the one after.
#[must_use]
pub fn level_to_work_to(
    node: LevelRange,
    cluster: LevelRange,
    goal: RotationLevel,
) -> Option<RotationLevel> {
    if node.ceiling > goal {
        let level = cluster.ceiling.previous().max(goal);
        (node.ceiling > level).then_some(level)
    } else {
        let level = cluster.floor.next().min(goal);
        (node.floor < level).then_some(level)
    }
}

/// What the objects of the API are to trust now, on the way to a goal.
#[must_use]
pub fn trust_in_objects(cluster: LevelRange, goal: RotationLevel) -> TrustedRoots {
    let level = if cluster.ceiling > goal {
        cluster.ceiling.previous().max(goal)
    } else {
        cluster.floor.next().min(goal)
    };
    wanted(level).trust
}
