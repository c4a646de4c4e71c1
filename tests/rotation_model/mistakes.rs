//! Planners with a mistake, each of which the model has to catch.

use kubecertd::model::{
    BridgeHolder, CaFile, ReloadingProgram, RestartedProgram, RootCa, RotationFacts, RotationLevel,
    RotationStep, SigningFiles, TrustedRoots,
};
use kubecertd::plan::next_step;

use super::node::{Bridges, Model, Planner};
use super::safety::{fault, real};
use RootCa::New;
use RotationLevel as L;

/// The step after the ones that are left out.
fn without(
    node: &RotationFacts,
    level: L,
    bridge: bool,
    is_left_out: fn(RotationStep) -> bool,
) -> Option<RotationStep> {
    next_step(node, level, bridge).filter(|step| !is_left_out(*step))
}

fn instead(node: &RotationFacts, level: L, bridge: bool, of: L, other: L) -> Option<RotationStep> {
    next_step(node, if level == of { other } else { level }, bridge)
}

const MISTAKES: &[(&str, Planner)] = &[
    ("kube-controller-manager gets no files of its own", |node, level, bridge| {
        without(node, level, bridge, |step| matches!(step, RotationStep::Sign(_)))
    }),
    ("ca.crt before the files to sign with", |node, level, bridge| {
        match instead(node, level, bridge, L::Staged, L::Trusted) {
            Some(RotationStep::Sign(_)) if node.ca == CaFile::Old && level == L::Staged => {
                Some(RotationStep::WriteCa(CaFile::OldNew))
            }
            step => step,
        }
    }),
    ("the old flags are loaded still", |node, level, bridge| {
        let mut seen = *node;
        seen.control_plane.iter_mut().for_each(|facts| facts.signing_is_loaded = true);
        next_step(&seen, level, bridge)
    }),
    ("no level at which everything trusts both", |node, level, bridge| {
        instead(node, level, bridge, L::Trusted, L::Clients)
    }),
    ("servers together with clients", |node, level, bridge| {
        instead(node, level, bridge, L::Clients, L::Servers)
    }),
    ("the old root is distrusted with the servers", |node, level, bridge| {
        instead(node, level, bridge, L::Servers, L::Distrusted)
    }),
    ("on the way back trust goes with the clients", |node, level, bridge| {
        instead(node, level, bridge, L::Trusted, L::Rest)
    }),
    ("kubelet is not restarted", |node, level, bridge| {
        without(node, level, bridge, |step| {
            step == RotationStep::Restart(RestartedProgram::Kubelet)
        })
    }),
    ("kube-scheduler is not restarted", |node, level, bridge| {
        let mut seen = *node;
        if let Some(facts) = &mut seen.control_plane {
            facts.scheduler = facts.controller_manager;
        }
        next_step(&seen, level, bridge)
    }),
    ("kubelet.conf is forgotten", |node, level, bridge| {
        let mut seen = *node;
        seen.kubelet_trust = match level {
            L::Rest | L::Staged => TrustedRoots::Old,
            L::Trusted | L::Clients | L::Servers => TrustedRoots::Both,
            L::Distrusted => TrustedRoots::New,
        };
        seen.kubelet.trust = seen.kubelet_trust;
        next_step(&seen, level, bridge)
    }),
    ("the kubeconfigs are forgotten", |node, level, bridge| {
        without(node, level, bridge, |step| matches!(step, RotationStep::TrustInKubeconfigs(_)))
    }),
    ("the API server is not waited for", |node, level, bridge| {
        let mut seen = *node;
        if let Some(facts) = &mut seen.control_plane {
            facts.api_server.accepts = node.ca.trust();
            facts.api_server.shows = facts.server;
        }
        next_step(&seen, level, bridge)
    }),
    ("kubelet is not waited for", |node, level, bridge| {
        let seen = RotationFacts { kubelet_accepts: node.ca.trust(), ..*node };
        next_step(&seen, level, bridge)
    }),
    ("the new root signs before it is trusted", |node, level, bridge| {
        let facts = node.control_plane.filter(|_| level >= L::Staged && level <= L::Trusted);
        match facts {
            Some(facts) if facts.signing != SigningFiles::Own(New) => {
                Some(RotationStep::Sign(SigningFiles::Own(New)))
            }
            Some(mut facts) => {
                facts.signing = SigningFiles::Own(RootCa::Old);
                next_step(&RotationFacts { control_plane: Some(facts), ..*node }, level, bridge)
            }
            None => next_step(node, level, bridge),
        }
    }),
    ("the old root signs until the servers", |node, level, bridge| {
        let step = next_step(node, level, bridge);
        match (step, level) {
            (Some(RotationStep::Sign(SigningFiles::Own(New))), L::Clients | L::Servers) => {
                let mut seen = *node;
                seen.control_plane
                    .iter_mut()
                    .for_each(|facts| facts.signing = SigningFiles::Own(New));
                next_step(&seen, level, bridge)
            }
            _ => step,
        }
    }),
    ("the key is swapped without ca.crt", |node, level, bridge| {
        match next_step(node, level, bridge) {
            Some(RotationStep::SwapCa(_, key)) => Some(RotationStep::SwapCa(node.ca, key)),
            step => step,
        }
    }),
    ("the bridge is dropped with the servers", |node, level, bridge| {
        let server = node.control_plane.filter(|facts| facts.server.bridge && bridge);
        match server {
            Some(_) if level == L::Servers => Some(RotationStep::DropBridge(BridgeHolder::Server)),
            _ => next_step(node, level, level == L::Clients && bridge),
        }
    }),
    ("the API server is waited for before its certificate", |node, level, bridge| {
        let step = next_step(node, level, bridge);
        match (step, &node.control_plane) {
            (Some(RotationStep::Await(ReloadingProgram::ApiServer)), Some(facts))
                if facts.api_server.accepts == node.ca.trust() =>
            {
                let mut seen = *node;
                seen.control_plane
                    .iter_mut()
                    .for_each(|facts| facts.api_server.shows = facts.server);
                next_step(&seen, level, bridge)
            }
            _ => step,
        }
    }),
];

fn models(planner: Planner) -> impl Iterator<Item = Model> {
    let all = [(false, false), (true, false), (true, true)];
    all.into_iter().map(move |(forth, back)| Model { planner, ..real(Bridges { forth, back }) })
}

#[test]
fn every_mistake_is_caught() {
    assert!(models(next_step).all(|model| fault(&model).is_none()), "without a mistake");
    let mut missed = Vec::new();
    for (mistake, planner) in MISTAKES {
        match models(*planner).find_map(|model| fault(&model)) {
            Some(fault) => println!("{mistake}: {fault}"),
            None => missed.push(*mistake),
        }
    }
    assert_eq!(missed, Vec::<&str>::new());
}

/// Levels that are begun before all nodes have the one before.
#[test]
fn cluster_that_does_not_wait_is_caught() {
    for model in models(next_step) {
        let hasty = Model { waits_for_all: false, last: L::Clients, ..model };
        assert!(fault(&hasty).is_some());
    }
}
