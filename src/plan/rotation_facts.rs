//! The facts by which the planner of a rotation decides, from what was found on a node one by one.
//!
//! Where several certificates or files have to agree, the one counts that is farthest from what is
//! wanted. What a program has not read yet counts as the other value: it is outdated, whatever it
//! is.

use super::rotation::{Wanted, present_level, wanted};
use crate::model::{
    ApiServerFacts, Bridges, Chain, ControlPlaneFacts, FoundControlPlane, FoundFrontProxy,
    FoundRotation, FrontProxyFacts, LoadedFacts, ReadByProgram, Reading, RotationFacts,
    RotationLevel, ServedByKubelet, ServingFacts, SigningFiles, TrustedRoots,
};

/// The facts of a node on its way to a level.
#[must_use]
pub fn rotation_facts(
    found: &FoundRotation,
    level: RotationLevel,
    bridges: Bridges,
) -> RotationFacts {
    let facts = facts(found, &wanted(level, bridges));
    match present_level(&facts, level) {
        before if before == level => facts,
        before => self::facts(found, &wanted(before, bridges)),
    }
}

fn facts(found: &FoundRotation, wanted: &Wanted) -> RotationFacts {
    let FoundRotation { ca, kubelet_client, kubelet, kubelet_server, control_plane, .. } = found;
    let kubelet_trust = trust(&found.kubelet_trust, wanted);
    let serving =
        |one: &ServedByKubelet| ServingFacts { file: one.file, shows: read(one.shown, one.file) };
    RotationFacts {
        ca: *ca,
        kubelet_accepts: found.kubelet_accepts.unwrap_or(ca.trust().outdated()),
        kubelet_trust,
        kubelet_client: *kubelet_client,
        kubelet: loaded(*kubelet, kubelet_trust, *kubelet_client),
        kubelet_server: kubelet_server.as_ref().map(serving),
        control_plane: control_plane.as_ref().map(|own| of_control_plane(found, own, wanted)),
    }
}

fn of_control_plane(
    found: &FoundRotation,
    own: &FoundControlPlane,
    wanted: &Wanted,
) -> ControlPlaneFacts {
    let kubeconfigs = trust(&own.kubeconfigs, wanted);
    let clients = chain(&own.clients, wanted.clients);
    let server = chain(&own.servers, wanted.servers);
    let kubelet_ca = |is_read: bool| match is_read {
        true => found.ca.trust(),
        false => found.ca.trust().outdated(),
    };
    let root_ca = if own.root_ca_is_read { found.ca } else { found.ca.outdated() };
    ControlPlaneFacts {
        ca_key: own.ca_key,
        signing: signing(own, wanted),
        signing_is_loaded: own.signing_is_loaded,
        kubeconfigs,
        clients,
        server,
        api_server: ApiServerFacts {
            accepts: own.api_server_accepts.unwrap_or(found.ca.trust().outdated()),
            shows: read(own.server_shown, server),
            kubelet_client: read(own.kubelet_client_used, clients),
            kubelet_ca: own.kubelet_ca_is_read.map(kubelet_ca),
        },
        controller_manager: loaded(own.controller_manager, kubeconfigs, clients),
        root_ca,
        scheduler: loaded(own.scheduler, kubeconfigs, clients),
        front_proxy: own.front_proxy.as_ref().map(|found| front_proxy(found, wanted)),
    }
}

fn front_proxy(found: &FoundFrontProxy, wanted: &Wanted) -> FrontProxyFacts {
    let mut others = found.clients.iter().filter(|one| **one != wanted.ca_key);
    let client = others.next().copied().unwrap_or(wanted.ca_key);
    let FoundFrontProxy { ca, ca_key, is_read, .. } = *found;
    FrontProxyFacts { ca, ca_key, client, shows: is_read.then_some(client) }
}

/// A pair that does not fit is not what is wanted, and is written again.
fn signing(own: &FoundControlPlane, wanted: &Wanted) -> SigningFiles {
    match wanted.signing {
        SigningFiles::Own(root) if !own.signing_fits => SigningFiles::Own(root.other()),
        _ => own.signing,
    }
}

fn loaded(found: ReadByProgram, trust: TrustedRoots, client: Chain) -> LoadedFacts {
    LoadedFacts {
        trust: if found.trust { trust } else { trust.outdated() },
        client: read(found.client, client),
    }
}

/// What a program uses. An earlier certificate counts as one of the other root. Of a program that
/// does not run, or where nothing is known, it is only known that it is to be waited for: it is no
/// reason to go back to the level before.
fn read(reading: Reading, file: Chain) -> Chain {
    match reading {
        Reading::Current => file,
        Reading::Outdated => Chain { issuer: file.issuer.other(), ..file },
        Reading::NotKnown => Chain { bridge: !file.bridge, ..file },
    }
}

/// The one that is not wanted; where all are, or there are none, that which is.
fn trust(found: &[TrustedRoots], wanted: &Wanted) -> TrustedRoots {
    let mut others = found.iter().filter(|one| **one != wanted.trust);
    others.next().copied().unwrap_or(wanted.trust)
}

/// One that the other root signed, before one without the bridge that is wanted.
fn chain(found: &[Chain], wanted: Chain) -> Chain {
    let mut others: Vec<_> = found.iter().filter(|one| **one != wanted).collect();
    others.sort_by_key(|one| one.issuer == wanted.issuer);
    others.first().copied().copied().unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CaFile, OtherCas, RestartedProgram, RootCa, RotationStep};
    use crate::plan::{next_renewal_step, next_step};

    const BRIDGES: Bridges = Bridges { forth: true, back: true };
    const READ: ReadByProgram = ReadByProgram { trust: true, client: Reading::Current };

    /// A control-plane node that has everything of a level.
    fn node(level: RotationLevel) -> FoundRotation {
        let (ca, key, signing) = match level {
            RotationLevel::Trusted => (CaFile::OldNew, RootCa::Old, SigningFiles::Own(RootCa::Old)),
            RotationLevel::Clients => (CaFile::OldNew, RootCa::Old, SigningFiles::Own(RootCa::New)),
            _ => (CaFile::NewOld, RootCa::New, SigningFiles::Own(RootCa::New)),
        };
        let Wanted { trust, clients, servers, .. } = wanted(level, BRIDGES);
        FoundRotation {
            ca,
            kubelet_accepts: Some(trust),
            kubelet_trust: vec![trust],
            kubelet_client: clients,
            kubelet: READ,
            kubelet_server: None,
            control_plane: Some(FoundControlPlane {
                ca_key: key,
                signing,
                signing_fits: true,
                signing_is_loaded: true,
                not_issued_here: Vec::new(),
                kubeconfigs: vec![trust; 3],
                other_cas: OtherCas {
                    are_in_place: true,
                    read_by_etcd: true,
                    read_by_api_server: true,
                },
                clients: vec![clients; 4],
                servers: vec![servers],
                api_server_accepts: Some(trust),
                server_shown: Reading::Current,
                kubelet_client_used: Reading::Current,
                kubelet_ca_is_read: None,
                controller_manager: READ,
                root_ca_is_read: true,
                scheduler: READ,
                front_proxy: None,
            }),
        }
    }

    fn step(found: &FoundRotation, level: RotationLevel) -> Option<RotationStep> {
        next_step(&rotation_facts(found, level, BRIDGES), level, BRIDGES)
    }

    #[test]
    fn node_that_has_a_level_has_nothing_to_do() {
        for level in [RotationLevel::Trusted, RotationLevel::Clients, RotationLevel::Servers] {
            assert_eq!(step(&node(level), level), None, "{level:?}");
        }
    }

    #[test]
    fn one_certificate_or_kubeconfig_behind_the_others_counts() {
        use RotationLevel::{Clients, Distrusted, Servers, Trusted};
        let old = Chain { issuer: RootCa::Old, bridge: true };
        let mut mixed = node(Clients);
        let own = mixed.control_plane.as_mut().unwrap();
        own.clients[2] = old;
        assert_eq!(step(&mixed, Clients), Some(RotationStep::IssueClients(RootCa::New)));
        let mut mixed = node(Trusted);
        mixed.control_plane.as_mut().unwrap().kubeconfigs[1] = TrustedRoots::Old;
        let both = RotationStep::TrustInKubeconfigs(TrustedRoots::Both);
        assert_eq!(step(&mixed, Trusted), Some(both));
        // A certificate of the old root comes before the distrust, wherever it stands.
        let mut mixed = node(Servers);
        let own = mixed.control_plane.as_mut().unwrap();
        own.clients = vec![Chain { issuer: RootCa::New, bridge: false }, old];
        assert_eq!(step(&mixed, Distrusted), Some(RotationStep::IssueClients(RootCa::New)));
    }

    #[test]
    fn outdated_program_is_waited_for_or_restarted() {
        use crate::model::ReloadingProgram;
        use RotationLevel::Trusted;
        let changed = |change: fn(&mut FoundControlPlane)| {
            let mut found = node(Trusted);
            change(found.control_plane.as_mut().unwrap());
            step(&found, Trusted)
        };
        let restart = |program| Some(RotationStep::Restart(program));
        let waits = Some(RotationStep::Await(ReloadingProgram::ApiServer));
        assert_eq!(changed(|own| own.api_server_accepts = None), waits);
        assert_eq!(changed(|own| own.server_shown = Reading::Outdated), waits);
        let kcm = restart(RestartedProgram::ControllerManager);
        assert_eq!(changed(|own| own.root_ca_is_read = false), kcm);
        assert_eq!(changed(|own| own.signing_is_loaded = false), kcm);
        assert_eq!(changed(|own| own.controller_manager.trust = false), kcm);
        let scheduler = restart(RestartedProgram::Scheduler);
        assert_eq!(changed(|own| own.scheduler.client = Reading::Outdated), scheduler);
        let api_server = restart(RestartedProgram::ApiServer);
        assert_eq!(changed(|own| own.kubelet_ca_is_read = Some(false)), api_server);
        assert_eq!(changed(|own| own.kubelet_ca_is_read = Some(true)), None);
    }

    #[test]
    fn programs_that_trust_the_root_are_restarted_after_its_renewal() {
        use RotationLevel::Renewed;
        let renewed = |change: fn(&mut FoundRotation)| {
            let mut found = node(RotationLevel::Servers);
            (found.ca, found.kubelet_trust) = (CaFile::New, vec![TrustedRoots::New]);
            let own = found.control_plane.as_mut().unwrap();
            own.kubeconfigs = vec![TrustedRoots::New];
            change(&mut found);
            next_renewal_step(&found, Renewed)
        };
        let restart = |program| Some(RotationStep::Restart(program));
        assert_eq!(renewed(|_| ()), None);
        assert_eq!(
            renewed(|found| found.ca = CaFile::Old),
            Some(RotationStep::WriteCa(CaFile::New))
        );
        let kubelet = restart(RestartedProgram::Kubelet);
        assert_eq!(renewed(|found| found.kubelet.trust = false), kubelet);
        type Change = fn(&mut FoundControlPlane);
        let of_own: [(Change, RestartedProgram); 6] = [
            (|own| own.other_cas.read_by_etcd = false, RestartedProgram::Etcd),
            (|own| own.other_cas.read_by_api_server = false, RestartedProgram::ApiServer),
            (|own| own.kubelet_ca_is_read = Some(false), RestartedProgram::ApiServer),
            (|own| own.controller_manager.trust = false, RestartedProgram::ControllerManager),
            (|own| own.root_ca_is_read = false, RestartedProgram::ControllerManager),
            (|own| own.scheduler.trust = false, RestartedProgram::Scheduler),
        ];
        for (change, program) in of_own {
            let mut found = node(RotationLevel::Servers);
            (found.ca, found.kubelet_trust) = (CaFile::New, vec![TrustedRoots::New]);
            let own = found.control_plane.as_mut().unwrap();
            own.kubeconfigs = vec![TrustedRoots::New];
            change(own);
            assert_eq!(next_renewal_step(&found, Renewed), restart(program));
        }
        let others = renewed(|found| {
            found.control_plane.as_mut().unwrap().other_cas.are_in_place = false;
        });
        assert_eq!(others, Some(RotationStep::RenewOthers));
        // A worker has none of them.
        let mut worker = node(RotationLevel::Servers);
        (worker.ca, worker.kubelet_trust) = (CaFile::New, vec![TrustedRoots::Old]);
        worker.control_plane = None;
        let trust = Some(RotationStep::TrustInKubelet(TrustedRoots::New));
        assert_eq!(next_renewal_step(&worker, Renewed), trust);
    }

    /// It does not run while its manifest changes, and holds no certificate of either root.
    #[test]
    fn program_that_does_not_run_is_waited_for_at_the_last_level() {
        use RotationLevel::{Distrusted, Rest};
        for (level, root) in [(Rest, RootCa::Old), (Distrusted, RootCa::New)] {
            let mut found = node(RotationLevel::Servers);
            let trust = if level == Rest { TrustedRoots::Old } else { TrustedRoots::New };
            let alone = Chain { issuer: root, bridge: false };
            found.ca = if level == Rest { CaFile::Old } else { CaFile::New };
            (found.kubelet_accepts, found.kubelet_trust) = (Some(trust), vec![trust]);
            found.kubelet_client = alone;
            let own = found.control_plane.as_mut().unwrap();
            (own.ca_key, own.signing) = (root, SigningFiles::CaFiles);
            own.kubeconfigs = vec![trust];
            (own.clients, own.servers) = (vec![alone], vec![alone]);
            own.api_server_accepts = Some(trust);
            let bridges = Bridges { forth: true, back: false };
            let step = |found: &FoundRotation| {
                next_step(&rotation_facts(found, level, bridges), level, bridges)
            };
            assert_eq!(step(&found), None, "{level}");
            let own = found.control_plane.as_mut().unwrap();
            own.controller_manager = ReadByProgram { trust: false, client: Reading::NotKnown };
            own.signing_is_loaded = false;
            let waits = RotationStep::Restart(RestartedProgram::ControllerManager);
            assert_eq!(step(&found), Some(waits), "{level}");
        }
    }
}
