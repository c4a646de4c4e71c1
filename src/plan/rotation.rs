//! The rotation of the root CA: the next step of a node to a level, and the agreement of the nodes
//! on that level.
//!
//! A node makes the steps to a level in one order, wherever it begins: from the level before it,
//! from the one after it, or from anything else, such as a file that was restored. What makes that
//! safe is that all nodes are at two neighbouring levels or between them at any time. Both are
//! checked by a model of a cluster, whatever the order of the steps is.
//!
//! A node needs its turn only for restarts. Everything else is done as soon as it has heard of the
//! level, above all the change of the root that signs: kubelets have their certificates signed by
//! whichever kube-controller-manager is the leader.
//!
//! A renewal with the same key has only one step for each file and each program: everything that is
//! signed stays, and whatever trusts the root gets its new certificate.

use crate::model::{
    Agreement, BridgeHolder, Bridges, CaFile, Chain, ControlPlaneFacts, FoundControlPlane,
    FoundRotation, FrontProxyFacts, LoadedFacts, NodeProgress, OtherCas, ReloadingProgram,
    RestartedProgram, RootCa, RotationFacts, RotationLevel, RotationStep, SigningFiles,
    TrustedRoots,
};

/// What holds on a node that has a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    ca: CaFile,
    pub(super) ca_key: RootCa,
    pub(super) signing: SigningFiles,
    pub(super) trust: TrustedRoots,
    pub(super) clients: Chain,
    pub(super) servers: Chain,
}

pub(super) fn wanted(level: RotationLevel, bridges: Bridges) -> Wanted {
    use RootCa::{New, Old};
    let rest = Wanted {
        ca: CaFile::Old,
        ca_key: Old,
        signing: SigningFiles::CaFiles,
        trust: TrustedRoots::Old,
        clients: bridges.behind(Old),
        servers: bridges.behind(Old),
    };
    let staged = Wanted { signing: SigningFiles::Own(Old), ..rest };
    let trusted = Wanted { ca: CaFile::OldNew, trust: TrustedRoots::Both, ..staged };
    let clients =
        Wanted { signing: SigningFiles::Own(New), clients: bridges.behind(New), ..trusted };
    let servers =
        Wanted { ca: CaFile::NewOld, ca_key: New, servers: bridges.behind(New), ..clients };
    let alone = Chain { issuer: New, bridge: false };
    match level {
        RotationLevel::Rest => rest,
        RotationLevel::Staged => staged,
        RotationLevel::Trusted => trusted,
        RotationLevel::Clients => clients,
        RotationLevel::Servers => servers,
        RotationLevel::Distrusted | RotationLevel::Renewed => Wanted {
            ca: CaFile::New,
            signing: SigningFiles::CaFiles,
            trust: TrustedRoots::New,
            clients: alone,
            servers: alone,
            ..servers
        },
    }
}

/// The next step of a node to a level; `None` where it has everything of it.
///
/// No root is distrusted on a node that has certificates of it: one that was left out or off goes
/// to the level before that first.
#[must_use]
pub fn next_step(
    node: &RotationFacts,
    level: RotationLevel,
    bridges: Bridges,
) -> Option<RotationStep> {
    let wanted = wanted(present_level(node, level), bridges);
    match &node.control_plane {
        Some(facts) => control_plane_step(node, facts, &wanted),
        None => write_ca(node, None, &wanted).or_else(|| kubelet_step(node, &wanted)),
    }
}

/// The next step of a node in a renewal, to the old root or to the one that has its key; `None`
/// where it has that alone.
#[must_use]
pub fn next_renewal_step(node: &FoundRotation, level: RotationLevel) -> Option<RotationStep> {
    let Wanted { ca, trust, .. } = wanted(level, Bridges { forth: false, back: false });
    let is_trusted = |found: &[TrustedRoots]| found.iter().all(|one| *one == trust);
    let own = node.control_plane.as_ref();
    if node.ca != ca {
        return Some(RotationStep::WriteCa(ca));
    }
    if own.is_some_and(|own| !is_trusted(&own.kubeconfigs)) {
        return Some(RotationStep::TrustInKubeconfigs(trust));
    }
    if !is_trusted(&node.kubelet_trust) {
        return Some(RotationStep::TrustInKubelet(trust));
    }
    let is_renewed = level == RotationLevel::Renewed;
    if is_renewed && own.is_some_and(|own| !own.other_cas.are_in_place) {
        return Some(RotationStep::RenewOthers);
    }
    let outdated = own.and_then(outdated_program);
    let kubelet = (!node.kubelet.trust).then_some(RestartedProgram::Kubelet);
    outdated.or(kubelet).map(RotationStep::Restart)
}

/// The first program of the control plane that has not read the CA certificates as they are.
fn outdated_program(own: &FoundControlPlane) -> Option<RestartedProgram> {
    let has_published = own.controller_manager.trust && own.root_ca_is_read;
    let OtherCas { read_by_etcd, read_by_api_server, .. } = own.other_cas;
    let api_server_has_read = own.kubelet_ca_is_read.unwrap_or(true) && read_by_api_server;
    let programs = [
        (read_by_etcd, RestartedProgram::Etcd),
        (api_server_has_read, RestartedProgram::ApiServer),
        (has_published, RestartedProgram::ControllerManager),
        (own.scheduler.trust, RestartedProgram::Scheduler),
    ];
    programs.into_iter().find(|(has_read, _)| !has_read).map(|(_, program)| program)
}

/// The level to which a node works on its way to another one.
pub(super) fn present_level(node: &RotationFacts, level: RotationLevel) -> RotationLevel {
    match level {
        RotationLevel::Rest | RotationLevel::Staged if has_certificates_of(node, RootCa::New) => {
            RotationLevel::Trusted
        }
        RotationLevel::Distrusted if has_certificates_of(node, RootCa::Old) => {
            RotationLevel::Servers
        }
        level => level,
    }
}

fn has_certificates_of(node: &RotationFacts, root: RootCa) -> bool {
    let is_of = |chain: &Chain| chain.issuer == root;
    let served = node.kubelet_server.iter().flat_map(|one| [one.file, one.shows]);
    let mut kubelets = served.chain([node.kubelet_client, node.kubelet.client]);
    let of_control_plane = |facts: &ControlPlaneFacts| {
        let ControlPlaneFacts { clients, server, api_server, .. } = *facts;
        let loaded = [facts.controller_manager.client, facts.scheduler.client];
        let files = [clients, server, api_server.shows, api_server.kubelet_client];
        let front_proxy =
            facts.front_proxy.iter().flat_map(|one| [one.client].into_iter().chain(one.shows));
        files.iter().chain(&loaded).any(is_of) || front_proxy.into_iter().any(|one| one == root)
    };
    kubelets.any(|chain| is_of(&chain)) || node.control_plane.iter().any(of_control_plane)
}

fn control_plane_step(
    node: &RotationFacts,
    facts: &ControlPlaneFacts,
    wanted: &Wanted,
) -> Option<RotationStep> {
    use RestartedProgram::{ApiServer, ControllerManager, Scheduler};
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
    let read = &facts.api_server;
    let has_read = read.accepts == node.ca.trust()
        && read.shows == facts.server
        && read.kubelet_client == facts.clients;
    let has_read_front_proxy = facts.front_proxy.is_none_or(|one| one.shows == Some(one.client));
    let verifies_kubelets = read.kubelet_ca.is_none_or(|trust| trust == wanted.trust);
    let restart =
        |program, is_current: bool| (!is_current).then_some(RotationStep::Restart(program));
    let has_published = facts.root_ca == wanted.ca && facts.signing_is_loaded;
    before
        .or_else(|| write_ca(node, Some(facts.ca_key), wanted))
        .or(trust)
        .or_else(|| leaf_step(facts.clients, wanted.clients, BridgeHolder::Clients))
        .or_else(|| leaf_step(facts.server, wanted.servers, BridgeHolder::Server))
        .or_else(|| front_proxy_step(facts.front_proxy.as_ref()?, wanted))
        .or((!has_read).then_some(RotationStep::Await(ReloadingProgram::ApiServer)))
        .or(after)
        .or_else(|| restart(ApiServer, verifies_kubelets))
        .or_else(|| {
            let has_loaded = has_loaded(&facts.controller_manager, wanted.trust, facts.clients);
            restart(ControllerManager, has_loaded && has_published)
        })
        .or_else(|| restart(Scheduler, has_loaded(&facts.scheduler, wanted.trust, facts.clients)))
        .or_else(|| kubelet_step(node, wanted))
        .or((!has_read_front_proxy).then_some(RotationStep::Await(ReloadingProgram::ApiServer)))
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

/// Its CA goes the way of the root CA. Aggregated API servers may know what any API server trusts,
/// so that no bridge is needed, and nothing is restarted.
fn front_proxy_step(facts: &FrontProxyFacts, wanted: &Wanted) -> Option<RotationStep> {
    let FrontProxyFacts { ca, ca_key, client, shows } = *facts;
    let root = wanted.ca_key;
    if ca_key != root {
        return Some(RotationStep::SwapFrontProxyCa(wanted.ca, root));
    }
    if client != root && ca.trust().has(root) {
        return Some(RotationStep::IssueFrontProxyClient(root));
    }
    if ca == wanted.ca {
        return None;
    }
    // What is shown has to be trusted as long as it is not known to be another one.
    let distrusts = wanted.trust != TrustedRoots::Both && shows != Some(root);
    Some(match distrusts {
        true => RotationStep::Await(ReloadingProgram::ApiServer),
        false => RotationStep::WriteFrontProxyCa(wanted.ca),
    })
}

fn leaf_step(found: Chain, wanted: Chain, holder: BridgeHolder) -> Option<RotationStep> {
    if found.issuer != wanted.issuer {
        return Some(match holder {
            BridgeHolder::Clients => RotationStep::IssueClients(wanted.issuer),
            BridgeHolder::KubeletClient => RotationStep::IssueKubeletClient(wanted.issuer),
            BridgeHolder::Server => RotationStep::IssueServer(wanted.issuer),
            BridgeHolder::KubeletServer => RotationStep::IssueKubeletServer(wanted.issuer),
        });
    }
    match (found.bridge, wanted.bridge) {
        (false, true) => Some(RotationStep::AddBridge(holder)),
        (true, false) => Some(RotationStep::DropBridge(holder)),
        (true, true) | (false, false) => None,
    }
}

fn kubelet_step(node: &RotationFacts, wanted: &Wanted) -> Option<RotationStep> {
    let trust =
        (node.kubelet_trust != wanted.trust).then_some(RotationStep::TrustInKubelet(wanted.trust));
    let serving = node.kubelet_server.as_ref();
    let serves = serving.is_none_or(|serving| serving.shows == serving.file);
    let has_loaded = has_loaded(&node.kubelet, wanted.trust, node.kubelet_client) && serves;
    trust
        .or_else(|| leaf_step(node.kubelet_client, wanted.clients, BridgeHolder::KubeletClient))
        .or_else(|| leaf_step(serving?.file, wanted.servers, BridgeHolder::KubeletServer))
        .or((node.kubelet_accepts != node.ca.trust())
            .then_some(RotationStep::Await(ReloadingProgram::Kubelet)))
        .or((!has_loaded).then_some(RotationStep::Restart(RestartedProgram::Kubelet)))
}

/// Whether a program has read at its start what is in its files.
fn has_loaded(loaded: &LoadedFacts, trust: TrustedRoots, client: Chain) -> bool {
    *loaded == LoadedFacts { trust, client }
}

/// The CA certificates that the objects of the API are to have for a level: cluster-info, every
/// caBundle that held the old root, kube-root-ca.crt, the token Secrets, and
/// extension-apiserver-authentication.
#[must_use]
pub fn trust_in_objects(level: RotationLevel) -> TrustedRoots {
    wanted(level, Bridges { forth: false, back: false }).trust
}

/// `ca.crt` of a control-plane node that has a level.
#[must_use]
pub fn ca_file_at(level: RotationLevel) -> CaFile {
    wanted(level, Bridges { forth: false, back: false }).ca
}

/// What kube-controller-manager signs with on a node that has a level.
#[must_use]
pub fn signing_at(level: RotationLevel) -> SigningFiles {
    wanted(level, Bridges { forth: false, back: false }).signing
}

/// The next agreement on the way to a goal; `None` while a node has not heard of the present one or
/// is not done with it, the objects of the API are not, or the goal is reached. The nodes are all
/// those that are not left out; without any of them nothing is known.
///
/// When all are done with a level, they are asked once more before the next one: a kubelet may have
/// had its certificate signed by a node that was not done yet. Turning round needs no node: from
/// one level and the next, all nodes may work to either.
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
    let all_are_done = !nodes.is_empty() && nodes.iter().all(is_done) && objects_are_done;
    let is_behind = from != to && to.towards(goal) == from;
    match all_are_done {
        true if from != to => next(to, to),
        true if to != goal => next(to, to.towards(goal)),
        // The goal is behind the level to which they work.
        false if is_behind => next(to, from),
        true | false => None,
    }
}
